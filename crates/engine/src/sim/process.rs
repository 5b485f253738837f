//! A process with the task: one session after the other over the product's own feed of chunks, stream loop and lane, as
//! `session.rs` does it, until everything is there or another process has the task.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use keyferry_keyspace::{ReplId, ReplOffset, ServerVersion};
use keyferry_model::{Error, ErrorKind, OnConflict, OnUnsupported, Result, Retry, Side};
use keyferry_net::{Connection, Endpoint, Stream};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    Rng,
    source::{GRACE_MS, START, Source},
    target::Target,
};
use crate::{
    Stats,
    holding::Bounds,
    run::{BATCHES, CHUNKS, SPARE},
    session::is_of_target,
    source::{Chunk, now_ms},
    stream::{Apply, Expiry, Older, Plan},
    target::{Checkpoint, Deadlines, Flags, Guard, Lane, LogId, Modules, Place, Restore, ask, place},
};

/// Longer than all silences and pauses of a case that come one behind the other.
const STALL: Duration = Duration::from_secs(1800);

/// The age of the bytes is not what holding depends on here.
const NEVER: Bounds = Bounds { from: Duration::MAX, until: Duration::ZERO };

/// More than all faults of a case can end: a refusal lasts for so many commands, and a try is one at least.
const SESSIONS: usize = 1000;

/// How a process has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum End {
    Finished,
    TakenOver,
    /// It has found that writes are missing.
    Broken,
}

pub(super) struct Process {
    target: Rc<Target>,
    source: Rc<Source>,
    endpoint: Endpoint,
    rng: Rng,
    holder: u64,
    /// How often it is still killed.
    kills: u64,
}

/// The checkpoint with which the task has begun.
pub(super) fn beginning(source: &Source) -> Checkpoint {
    let replid = ReplId::parse(&[b'a'; 40]).unwrap();
    Checkpoint {
        log: LogId { number: 5, replid, start: ReplOffset(START) },
        replid,
        offset: START,
        snapshot: Checkpoint::BEGINNING.snapshot.filter(|_| source.copies),
        flags: Flags { owner: true, ..Flags::default() },
        ..Checkpoint::BEGINNING
    }
}

impl Process {
    pub(super) fn new(target: &Rc<Target>, source: &Rc<Source>, rng: &mut Rng) -> Self {
        let mut rng = rng.fork();
        Self {
            target: Rc::clone(target),
            source: Rc::clone(source),
            endpoint: Endpoint::parse(Side::Target, "redis://memory").unwrap(),
            holder: rng.next(),
            kills: rng.below(3),
            rng,
        }
    }

    /// Goes on until the end, killed and started again now and then. `Err`: what must not happen.
    pub(super) async fn run(&mut self) -> Result<End, String> {
        loop {
            let life = match self.kills {
                0 => Duration::MAX,
                // Half of them soon.
                _ => Duration::from_micros(self.rng.size(24)),
            };
            if let Ok(end) = timeout(life, Box::pin(self.live())).await {
                return end;
            }
            self.kills -= 1;
            self.target.count("kills");
            self.target.event(&format!("process {:x} is killed", self.holder));
            self.holder = self.rng.next();
            sleep(self.rng.millis(3000)).await;
        }
    }

    /// What one process does.
    async fn live(&mut self) -> Result<End, String> {
        let stats = Rc::new(Stats::default());
        let mut ours = None;
        for _ in 0..SESSIONS {
            self.target.fault().map_or(Ok(()), Err)?;
            let error = match self.open(ours).await {
                Ok((conn, checkpoint)) => {
                    ours = Some(checkpoint.epoch);
                    stats.resume(&checkpoint);
                    // As at the start of a task, or it has caught up before anything else.
                    if checkpoint.flags.holding && self.rng.one_in(2) {
                        stats.begin_holding(None);
                    }
                    self.target.watch(&stats);
                    match self.session(&stats, conn, checkpoint).await {
                        Ok(()) => return self.finished(&stats),
                        Err(e) => e,
                    }
                }
                Err(e) => e,
            };
            self.target.fault().map_or(Ok(()), Err)?;
            self.target.event(&format!("process {:x}: {error}", self.holder));
            match error.kind() {
                ErrorKind::TakenOver if ours.is_some() => {
                    self.target.count("processes that were told so");
                    return Ok(End::TakenOver);
                }
                ErrorKind::Broken if self.target.is_holed() => {
                    self.target.count("broken");
                    return Ok(End::Broken);
                }
                kind if is_of_target(kind) && kind.policy().retry == Retry::Backoff => {}
                kind => return Err(format!("{}: {error}", kind.policy().code)),
            }
            sleep(Duration::from_millis(50) + self.rng.millis(5000)).await;
        }
        Err("it begins again and again".to_owned())
    }

    fn finished(&self, stats: &Stats) -> Result<End, String> {
        self.target.event(&format!("process {:x} has finished", self.holder));
        if stats.applied.get() != self.source.offset() {
            return Err(format!("the end is {}, and {} is applied", self.source.offset(), stats.applied.get()));
        }
        self.target.finish(self.holder);
        Ok(End::Finished)
    }

    /// As `Sessions::reopen`.
    async fn open(&self, ours: Option<u64>) -> Result<(Connection, Checkpoint)> {
        let place = Place { endpoint: &self.endpoint, task: "t", db: 0, holder: self.holder };
        let mut conn = Connection::over(Stream::Memory(self.target.connect()), &self.endpoint);
        ask(&mut conn, &[b"SELECT", b"0"]).await?;
        let found = place.take(&mut conn, ours).await?;
        let found = found.ok_or_else(|| Error::new(ErrorKind::Internal, "find the checkpoint"))?;
        Ok((conn, found))
    }

    /// As `Sessions::session`.
    async fn session(&mut self, stats: &Stats, conn: Connection, checkpoint: Checkpoint) -> Result<()> {
        let position = match checkpoint.snapshot {
            Some(at) => at.offset,
            None => self.source.stream_from + checkpoint.offset - START,
        };
        if checkpoint.snapshot.is_some_and(|at| at.offset > 0) {
            self.target.count("resumed within the snapshot");
        }
        let server = ServerVersion::from_info(b"redis_version:7.0.0\r\n").unwrap();
        let restore = Restore {
            stats,
            server,
            modules: Modules::default(),
            on_conflict: OnConflict::Abort,
            on_unsupported: OnUnsupported::Fail,
            place: place("t"),
            deadlines: Deadlines::Exact,
        };
        let objects = keyferry_keyspace::objects::Objects::default();
        let plan = Plan {
            older: Older::new(&server, &server, OnUnsupported::Fail, &restore.place),
            objects: &objects,
            expiry: Expiry::new(Duration::from_millis(GRACE_MS as u64), &server, &server).held_from(Some(NEVER)),
            framing: self.source.framing,
            stream_from: Some(self.source.stream_from),
            full_only: false,
            target_databases: 16,
        };
        let (chunks_tx, chunks) = mpsc::channel(CHUNKS);
        let (batches_tx, batches) = mpsc::channel(BATCHES);
        let (spare_tx, spare) = mpsc::channel(SPARE);
        let guard = Guard::new("t", 0, &checkpoint);
        let mut apply = Apply::new(stats, restore, plan, Some(guard), checkpoint);
        let lane = Lane::new(conn.into_parts().0, stats, OnConflict::Abort, spare_tx);
        let work = async {
            tokio::try_join!(
                feed(&self.source, &self.target, &mut self.rng, stats, position, chunks_tx),
                apply.run(chunks, batches_tx, spare),
                lane.run(batches)
            )
        };
        Box::pin(work).await.map(|_| ())
    }
}

/// Hands on the log from `position` on, cut anywhere, and waits for its end to be applied.
async fn feed(
    source: &Source,
    target: &Target,
    rng: &mut Rng,
    stats: &Stats,
    position: u64,
    chunks: mpsc::Sender<Chunk>,
) -> Result<()> {
    let mut at = position as usize;
    let bits = [4, 9, 13, 20][rng.index(4)];
    // So many of each take long enough for one session.
    let (least, mut pauses) = (source.log.len() as u64 / 1000, rng.size(6));
    let pace = [2, 10, 200][rng.index(3)];
    while at < source.log.len() {
        let end = source.log.len().min(at + (least + rng.size(bits)) as usize);
        let chunk = Chunk { bytes: Bytes::copy_from_slice(&source.log[at..end]), received_ms: now_ms() };
        if chunks.send(chunk).await.is_err() {
            return Ok(());
        }
        at = end;
        if rng.one_in(20) {
            hold_or_not(source, target, stats, at).await?;
        }
        if pauses > 0 && rng.one_in(pace) {
            pauses -= 1;
            match rng.below(20) {
                // What has come as a whole is applied, without more.
                0 => applied(source, stats, at).await?,
                1 => sleep(rng.millis(30_000)).await,
                _ => sleep(rng.millis(100)).await,
            }
        }
    }
    applied(source, stats, at).await
}

/// Begins to hold deadlines, or ends it, as the delay would; the target has to be told, wherever the source stands still.
async fn hold_or_not(source: &Source, target: &Target, stats: &Stats, position: usize) -> Result<()> {
    if stats.is_holding() {
        stats.end_holding();
    } else if stats.is_copied() {
        stats.begin_holding(None);
        target.count("holds");
        let offset = (position as u64).saturating_sub(source.stream_from) + START;
        if source.within.iter().any(|&(from, to)| (from..to).contains(&offset)) {
            target.count("holds within a transaction");
        }
    }
    let mut waited = Duration::ZERO;
    while stats.has_to_say_held() {
        let pause = Duration::from_millis(20).max(waited / 8);
        sleep(pause).await;
        waited += pause;
        if waited > STALL {
            return Err(Error::new(ErrorKind::Internal, "the target is not told whether deadlines are being held"));
        }
    }
    Ok(())
}

/// Waits until all that stands in front of `position` and is whole is applied.
async fn applied(source: &Source, stats: &Stats, position: usize) -> Result<()> {
    let Some(offset) = (position as u64).checked_sub(source.stream_from).map(|n| START + n) else { return Ok(()) };
    let Some(&whole) = source.wholes[..source.wholes.partition_point(|&whole| whole <= offset)].last() else {
        return Ok(());
    };
    let mut waited = Duration::ZERO;
    while stats.applied.get() < whole || !stats.is_copied() {
        let pause = Duration::from_millis(20).max(waited / 8);
        sleep(pause).await;
        waited += pause;
        if waited > STALL {
            let what = format!("what came does not go on: {} of {whole} is applied", stats.applied.get());
            return Err(Error::new(ErrorKind::Internal, what));
        }
    }
    Ok(())
}
