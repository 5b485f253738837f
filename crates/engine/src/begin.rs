//! Where a task begins: decided from what the target, the spool and the source have. Start, resume and take-over are this
//! one path.
//!
//! | checkpoint on the target | spool | source | then |
//! |---|---|---|---|
//! | none | | | a full sync |
//! | in the snapshot or the stream | holds it, and all of the snapshot | goes on at the spool's end | on from the spool |
//! | in the stream | does not hold it | goes on at the checkpoint | on from the source |
//! | any other | | | a full sync again, on a target that is emptied first |
//!
//! Invariants:
//! - Nothing is written to the target before every question that can be asked beforehand has been answered.
//! - Taking over is one step on the target, and whoever had the task before writes nothing behind it.
//! - A full sync again only goes to databases that hold nothing but what this task has written.

use std::time::Duration;

use keyferry_keyspace::{ReplId, ReplOffset};
use keyferry_model::{Error, ErrorKind, OnConflict, OnLostBacklog, Result, SyncSpec, failpoint};
use keyferry_net::{Connection, Endpoint};
use keyferry_rdb::{Magic, Position};
use keyferry_spool::{self as spool, Handle, Head, Limits, Note, Opened, Spool};

use tokio_util::sync::CancellationToken;

use crate::{
    Stats,
    backoff::Backoff,
    checks::{self, Facts},
    source::{Framing, Link, Start, backlog_lost, now_ms, psync},
    target::{Checkpoint, Flags, LogId, Place, ask, try_out},
};

/// Everything that is needed to go on.
pub(crate) struct Begun {
    pub(crate) facts: Facts,
    pub(crate) link: Link,
    pub(crate) spool: Spool,
    /// Connected to the target, with the checkpoint's database selected.
    pub(crate) conn: Connection,
    /// What is on the target now.
    pub(crate) checkpoint: Checkpoint,
}

/// For how long the memory of a target that was emptied is waited for.
const EMPTYING: Duration = Duration::from_secs(30);

/// What the target says of the task.
enum Found {
    Nothing,
    Checkpoint(Checkpoint),
    /// Something that is not wanted any more.
    Forgotten,
}

/// What a full sync finds of the task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A position that is not wanted any more.
    Forgotten,
    /// A position, and nothing of the data yet.
    Untouched,
    /// What an earlier full sync has brought.
    Copied,
}

/// The two ends of a task and what is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) source: &'a Endpoint,
    pub(crate) target: &'a Endpoint,
    pub(crate) spec: &'a SyncSpec,
    pub(crate) stats: &'a Stats,
    /// Names this process among all that may run the task: a number by chance.
    pub(crate) holder: u64,
}

impl<'a> Task<'a> {
    pub(crate) fn place(&self) -> Place<'a> {
        let db = self.source.db.map_or(0, |db| self.target.db.unwrap_or(db));
        Place { endpoint: self.target, task: &self.spec.task, db, holder: self.holder }
    }

    /// `restart`: forget where the task was. `again`: this process has written to the target before, which therefore is not
    /// begun with as if it were new.
    ///
    /// Errors: those of both connections and of the checks; `NotEmpty`, `Broken`, `BacklogLost`, `TakenOver`, and those
    /// of the spool.
    pub(crate) async fn begin(&self, restart: bool, again: bool) -> Result<Begun> {
        let Self { source, target, spec, stats, .. } = *self;
        let mut source_conn = Connection::open(source).await?;
        let mut target_conn = Connection::open(target).await?;
        let facts = checks::ask(&mut source_conn, &mut target_conn, source, target).await?;
        let place = self.place();
        target_conn.command(&[b"SELECT", place.db.to_string().as_bytes()]).await?;
        let found = match place.read(&mut target_conn).await {
            // It is not looked at: something is there.
            Err(e) if restart && matches!(e.kind(), ErrorKind::Checkpoint | ErrorKind::Broken) => Found::Forgotten,
            Err(e) => return Err(e),
            Ok(None) => Found::Nothing,
            Ok(Some(_)) if restart => Found::Forgotten,
            Ok(Some(old)) => Found::Checkpoint(old),
        };
        if !spec.full_only {
            try_out(&mut target_conn).await?;
        }
        stats.keys_expected.set(facts.source_keys);
        let forgotten = match found {
            Found::Checkpoint(old) => return self.resume(facts, old).await,
            found => matches!(found, Found::Forgotten),
        };
        let ours = forgotten.then_some(place.db);
        let owner = match checks::target_is_empty(&mut target_conn, target, target.db.or(source.db), ours).await {
            Ok(()) => true,
            // The position is gone and the data is there: somebody uses it.
            Err(e) if e.kind() != ErrorKind::NotEmpty || again || spec.on_conflict == OnConflict::Abort => {
                return Err(e);
            }
            Err(_) => spec.on_conflict == OnConflict::Clear,
        };
        let link = psync(source, None).await?;
        let before = if forgotten { Before::Forgotten } else { Before::Nothing };
        self.full(facts, link, before, owner).await
    }

    /// Goes on where `old` says, or begins again.
    async fn resume(&self, facts: Facts, old: Checkpoint) -> Result<Begun> {
        if old.flags.broken {
            let what = format!("go on with task `{}` behind offset {}", self.spec.task, old.offset);
            return Err(Error::new(ErrorKind::Broken, what));
        }
        if old.chosen != self.source.db {
            let what = format!("go on with task `{}`: it copies other databases", self.spec.task);
            return Err(Error::new(ErrorKind::Checkpoint, what));
        }
        let received = ReplOffset(old.offset);
        if let Some(opened) = self.spool_with(&old).await? {
            let end = opened.stream_from.and_then(|from| opened.head.offset_at(from, opened.end));
            let handle = opened.spool.handle.clone();
            let (mut lost, mut unwanted) = (received, None);
            if let Some(end) = end {
                let link = psync(self.source, Some((opened.replid, end))).await?;
                if let Start::Continue { replid } = link.start {
                    let mut spool = opened.spool;
                    if let Some(replid) = replid.filter(|id| *id != opened.replid) {
                        spool.writer.note(Note::Replid(replid));
                        failpoint("replid-noted");
                    }
                    tracing::info!(offset = old.offset, "going on from the spool");
                    return self.go_on(facts, link, spool, &old, None).await;
                }
                (lost, unwanted) = (end, Some(link));
            }
            drop(opened.spool);
            handle.ended().await;
            return self.again(facts, unwanted, old, lost).await;
        }
        if old.snapshot.is_some() {
            return self.again(facts, None, old, received).await;
        }
        let link = psync(self.source, Some((old.replid, received))).await?;
        let Start::Continue { replid } = link.start else { return self.again(facts, Some(link), old, received).await };
        let replid = replid.unwrap_or(old.replid);
        let head = Head { replid, offset: received, framing: spool::Framing::Stream };
        let spool = spool::create(&self.spec.spool_dir, head, self.limits()?)?;
        tracing::info!(offset = old.offset, "going on from the source");
        let log = log_of(&spool.handle);
        self.go_on(facts, link, spool, &old, Some((log, replid))).await
    }

    /// The spool of the log that `old` speaks of, when it holds its position.
    async fn spool_with(&self, old: &Checkpoint) -> Result<Option<Opened>> {
        let opened = match spool::open(&self.spec.spool_dir, self.limits()?) {
            Ok(opened) => opened,
            Err(e) if matches!(e.kind(), ErrorKind::SpoolCorrupt | ErrorKind::SpoolVersion) => {
                tracing::warn!(error = %e, "the spool is not used");
                None
            }
            Err(e) => return Err(e),
        };
        let Some(mut opened) = opened else { return Ok(None) };
        // The last bytes of the snapshot had been written, and not what was noted behind them.
        if let (None, spool::Framing::Length(len)) = (opened.stream_from, opened.head.framing)
            && opened.end >= len
        {
            opened.spool.writer.note(Note::StreamFrom(len));
            opened.stream_from = Some(len);
        }
        let holds = |opened: &Opened| {
            let log = log_of(&opened.spool.handle);
            let position = match old.snapshot {
                Some(at) => Some(at.offset),
                None => opened.stream_from.and_then(|from| opened.head.position_of(from, ReplOffset(old.offset))),
            };
            log == old.log && position.is_some_and(|at| (opened.start..=opened.end).contains(&at))
        };
        if holds(&opened) {
            return Ok(Some(opened));
        }
        // Another one is going to be in its place.
        let handle = opened.spool.handle.clone();
        drop(opened);
        handle.ended().await;
        Ok(None)
    }

    /// A full sync on top of what an earlier one has left.
    async fn again(&self, facts: Facts, link: Option<Link>, old: Checkpoint, received: ReplOffset) -> Result<Begun> {
        let lost = match link.as_ref().map(|link| &link.start) {
            Some(Start::Full { offset, .. }) => backlog_lost(received, *offset),
            _ => Error::new(ErrorKind::BacklogLost, "go on within the snapshot: the spool does not hold all of it"),
        };
        let untouched = old.snapshot.is_some_and(|at| at.offset == 0);
        let clear = self.spec.on_conflict == OnConflict::Clear;
        if self.spec.on_lost_backlog == OnLostBacklog::Stop && !untouched {
            return Err(lost);
        }
        let refused = match () {
            () if !(untouched || old.flags.owner || clear) => "the target held keys of its own when the task began",
            // It has lost its data, more likely than that nothing of it is wanted any more.
            () if facts.source_keys == 0 && !untouched && !clear => "the source is empty now",
            () => "",
        };
        if !refused.is_empty() {
            let what = format!("copy everything again: {refused}");
            return Err(Error::new(ErrorKind::BacklogLost, what).caused_by(lost));
        }
        tracing::warn!(reason = %lost, "everything is copied again, and what the target has of this task is removed first");
        let link = match link {
            Some(link) => link,
            None => psync(self.source, None).await?,
        };
        let before = if untouched { Before::Untouched } else { Before::Copied };
        self.full(facts, link, before, old.flags.owner || clear).await
    }

    /// A full sync of what `link` brings. `owner`: all that is in the chosen databases is this task's.
    async fn full(&self, facts: Facts, link: Link, before: Before, owner: bool) -> Result<Begun> {
        let Start::Full { replid, offset, framing } = link.start else {
            return Err(Error::new(ErrorKind::Internal, "ask for a snapshot: the source goes on instead"));
        };
        let of_spool = match framing {
            Framing::Length(n) => spool::Framing::Length(n),
            Framing::Mark(mark) => spool::Framing::Mark(mark),
        };
        let head = Head { replid, offset, framing: of_spool };
        let spool = spool::create(&self.spec.spool_dir, head, self.limits()?)?;
        // The source may have taken minutes to begin: the target may have dropped an idle connection meanwhile.
        let place = self.place();
        let mut conn = place.connect().await?;
        // Whoever has the task writes nothing from here on.
        let mut epoch = now_ms();
        if before != Before::Nothing {
            match place.take(&mut conn, None).await {
                Ok(Some(old)) if before == Before::Untouched && old.snapshot.is_none_or(|at| at.offset > 0) => {
                    let what = "copy everything: what was on its way has come in between";
                    return Err(Error::new(ErrorKind::CheckpointChanged, what));
                }
                Ok(old) => epoch = epoch.max(old.map_or(0, |old| old.epoch)),
                Err(e) if !matches!(e.kind(), ErrorKind::Checkpoint | ErrorKind::Broken) => return Err(e),
                Err(_) => {}
            }
        }
        let held = facts.holds(self.spec) && matches!(self.spec.on_conflict, OnConflict::Ignore | OnConflict::Replace);
        let checkpoint = Checkpoint {
            epoch: epoch + 1,
            seq: 0,
            holder: self.holder,
            log: log_of(&spool.handle),
            replid,
            offset: offset.0,
            snapshot: Some(Position { magic: Magic::Redis, version: 0, db: 0, offset: 0 }),
            source_db: 0,
            chosen: self.source.db,
            keys: 0,
            // A target that had keys may have held ones from before.
            flags: Flags { owner, held_keys: held, ..Flags::default() },
        };
        // The source has begun to send: now, and not earlier, the target is emptied when that is wanted.
        if before == Before::Copied || self.spec.on_conflict == OnConflict::Clear {
            match self.empty_target(&mut conn, &facts, &place, &checkpoint).await {
                Ok(()) => return Ok(Begun { facts, link, spool, conn, checkpoint }),
                // There is no room for the checkpoint before the rest is gone.
                Err(e) if e.kind() == ErrorKind::TargetFull => {
                    let command: &[u8] = if self.source.db.is_some() { b"FLUSHDB" } else { b"FLUSHALL" };
                    ask(&mut conn, &[command]).await?;
                    failpoint("emptied-alone");
                }
                Err(e) => return Err(e),
            }
        } else if before != Before::Nothing {
            place.remove(&mut conn).await?;
            failpoint("position-removed");
        }
        let mut backoff = Backoff::new(Some(EMPTYING));
        while let Err(e) = place.put(&mut conn, None, Some(&checkpoint)).await {
            // What was removed is freed in the background.
            if e.kind() != ErrorKind::TargetFull {
                return Err(e);
            }
            backoff.again(e, &CancellationToken::new()).await?;
        }
        Ok(Begun { facts, link, spool, conn, checkpoint })
    }

    /// Removes everything from the chosen databases and writes the checkpoint, in one step: who finds the target later finds
    /// what was there before with its position, or nothing but the new one.
    async fn empty_target(
        &self,
        conn: &mut Connection,
        facts: &Facts,
        place: &Place<'_>,
        checkpoint: &Checkpoint,
    ) -> Result<()> {
        ask(conn, &[b"MULTI"]).await?;
        let queued = async {
            // Libraries belong to no database, and a function of the same name in another one is refused. They go first: a
            // target that saves itself within FLUSHALL, and ends there, would come back with libraries and without the rest.
            if self.source.db.is_none() && facts.target.functions() {
                ask(conn, &[b"FUNCTION", b"FLUSH"]).await?;
            }
            let mut command: Vec<&[u8]> = if self.source.db.is_some() { vec![b"FLUSHDB"] } else { vec![b"FLUSHALL"] };
            // A large target would be deaf for seconds.
            if facts.target.async_flush() {
                command.push(b"ASYNC");
            }
            ask(conn, &command).await?;
            place.queue(conn, checkpoint).await
        };
        let result = queued.await;
        if let Err(e) = result {
            ask(conn, &[b"DISCARD"]).await?;
            return Err(e);
        }
        failpoint("before-emptied");
        ask(conn, &[b"EXEC"]).await?;
        failpoint("after-emptied");
        Ok(())
    }

    /// Takes over where the task is now. `log`: the new log, with the id of its history, when it is one.
    async fn go_on(
        &self,
        facts: Facts,
        link: Link,
        spool: Spool,
        old: &Checkpoint,
        log: Option<(LogId, ReplId)>,
    ) -> Result<Begun> {
        let place = self.place();
        let mut conn = place.connect().await?;
        let gone = || Error::new(ErrorKind::CheckpointChanged, "take the task over: its position is no longer there");
        let taken = place.take(&mut conn, None).await?.ok_or_else(gone)?;
        if taken.flags.broken {
            return Err(Error::new(ErrorKind::Broken, "take the task over: a command was refused"));
        }
        let checkpoint = match log {
            // What was decided on may have moved on, and not anywhere else.
            Some(_) if taken.log != old.log || taken.snapshot.is_some() || taken.offset < old.offset => {
                return Err(gone());
            }
            Some((log, replid)) => {
                let checkpoint = Checkpoint { log, replid, ..taken };
                place.put(&mut conn, Some(&taken), Some(&checkpoint)).await?;
                checkpoint
            }
            None if taken.log == log_of(&spool.handle) => taken,
            None => return Err(gone()),
        };
        Ok(Begun { facts, link, spool, conn, checkpoint })
    }

    fn limits(&self) -> Result<Limits> {
        let max = match self.spec.spool_limit {
            Some(max) => max,
            None => spool::default_limit(&self.spec.spool_dir)?,
        };
        Ok(Limits::with_max_bytes(max).fitting())
    }
}

fn log_of(spool: &Handle) -> LogId {
    let head = spool.head();
    LogId { number: spool.id(), replid: head.replid, start: head.offset }
}
