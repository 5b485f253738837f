//! Where a task begins: decided from what the target, the spool and the source have. Start, resume and take-over are this
//! one path.
//!
//! | checkpoint on the target | spool | source | then |
//! |---|---|---|---|
//! | none | | holds the turn of a cut-over | on from the source |
//! | none | | | a full sync |
//! | in the snapshot or the stream | holds it, and all of the snapshot | goes on at the spool's end, or cannot be reached | on from the spool |
//! | in the stream | does not hold it | goes on at the checkpoint | on from the source |
//! | any other | | | a full sync again, on a target that is emptied first |
//!
//! Invariants:
//! - Nothing is written to the target before every question that can be asked beforehand has been answered.
//! - Taking over is one step on the target, and whoever had the task before writes nothing behind it.
//! - A full sync again only goes to databases that hold nothing but what this task has written.

use keyferry_keyspace::{ReplId, ReplOffset};
use keyferry_model::{Error, ErrorKind, OnConflict, Result, Retry, Side, SyncSpec, failpoint};
use keyferry_net::{Connection, Endpoint};
use keyferry_spool::{self as spool, Handle, Head, Limits, Note, Opened, Spool};

use crate::{
    Gate, Stats,
    checks::{self, Facts},
    source::{Link, Start, psync},
    target::{Checkpoint, LogId, Place, try_out},
};

mod full;
mod turned;

use full::Before;

/// Everything that is needed to go on.
pub(crate) struct Begun {
    pub(crate) facts: Facts,
    /// Or why the source cannot be reached: then what the spool holds is applied meanwhile.
    pub(crate) link: Result<Link>,
    pub(crate) spool: Spool,
    /// Connected to the target, with the checkpoint's database selected.
    pub(crate) conn: Connection,
    /// What is on the target now.
    pub(crate) checkpoint: Checkpoint,
    /// Up to when, in Unix milliseconds, all that the source had written is there, where that is known.
    pub(crate) all_until_ms: Option<u64>,
}

/// What the target says of the task.
enum Found {
    Nothing,
    Checkpoint(Box<Checkpoint>),
    /// A cut-over has left the position at the source.
    Turned(Box<turned::Turned>),
    /// Something that is not wanted any more.
    Forgotten,
}

/// The ends of the task that goes the other way. Each keeps its database, which may have another number on the other side.
pub fn reversed(source: &Endpoint, target: &Endpoint) -> (Endpoint, Endpoint) {
    let db = source.db.map(|db| target.db.unwrap_or(db));
    (Endpoint { side: Side::Source, db, ..target.clone() }, Endpoint { side: Side::Target, ..source.clone() })
}

/// The two ends of a task and what is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) source: &'a Endpoint,
    pub(crate) target: &'a Endpoint,
    pub(crate) spec: &'a SyncSpec,
    pub(crate) stats: &'a Stats,
    /// Has the last word before a task begins anew.
    pub(crate) gate: &'a dyn Gate,
    /// Names this process among all that may run the task: a number by chance.
    pub(crate) holder: u64,
}

impl<'a> Task<'a> {
    pub(crate) fn place(&self) -> Place<'a> {
        // In a database that is chosen: with those it goes when they are emptied.
        let databases = self.spec.objects.databases().unwrap_or_default();
        let db = databases.iter().map(|(_, to)| *to).min().unwrap_or(0);
        Place { endpoint: self.target, task: &self.spec.task, db, holder: self.holder }
    }

    /// What the checkpoint keeps of what is chosen.
    pub(crate) fn chosen(&self) -> Option<u32> {
        let objects = &self.spec.objects;
        let only_databases = objects.is_whole() && !objects.may_lack_keys();
        self.source.db.filter(|_| only_databases).or_else(|| Checkpoint::chosen_by(objects))
    }

    /// `restart`: forget where the task was. `again`: this process has written to the target before, which therefore is not
    /// begun with as if it were new.
    ///
    /// Errors: those of both connections and of the checks; `NotEmpty`, `Broken`, `BacklogLost`, `TakenOver`, and those
    /// of the spool.
    pub(crate) async fn begin(&self, restart: bool, again: bool) -> Result<Begun> {
        let Self { source, target, spec, stats, .. } = *self;
        let source_conn = Connection::open(source).await;
        let can_pass = |e: &Error| e.kind().policy().retry == Retry::Backoff && !restart;
        let mut source_conn = match source_conn {
            Ok(conn) => conn,
            Err(lost) if can_pass(&lost) => return self.without_source(lost).await,
            Err(e) => return Err(e),
        };
        let mut target_conn = Connection::open(target).await?;
        let facts = checks::ask(&mut source_conn, &mut target_conn, source, target, &spec.objects).await?;
        let place = self.place();
        target_conn.command(&[b"SELECT", place.db.to_string().as_bytes()]).await?;
        let mut turned = self.turned(&mut source_conn).await?;
        self.is_alone(&mut source_conn).await?;
        let has_turned = turned.is_some();
        let found = match place.read(&mut target_conn).await {
            // It is not looked at: something is there.
            Err(e) if restart && matches!(e.kind(), ErrorKind::Checkpoint | ErrorKind::Broken) => Found::Forgotten,
            Err(e) => return Err(e),
            Ok(None) => match place.elsewhere(&mut target_conn, false).await? {
                Some(db) if !restart => {
                    let what = format!("go on: the task has begun with other databases, its position is in {db}");
                    return Err(Error::new(ErrorKind::Checkpoint, what));
                }
                _ => turned.take_if(|_| !restart).map_or(Found::Nothing, |turn| Found::Turned(Box::new(turn))),
            },
            Ok(Some(_)) if restart => Found::Forgotten,
            Ok(Some(old)) => Found::Checkpoint(Box::new(old)),
        };
        if !spec.full_only {
            try_out(&mut target_conn).await?;
        }
        stats.keys_expected.set(facts.source_keys);
        let forgotten = matches!(found, Found::Forgotten);
        let old = match found {
            Found::Turned(turn) => Some(self.adopt(&place, &mut target_conn, *turn).await?),
            Found::Checkpoint(old) => Some(*old),
            Found::Nothing | Found::Forgotten => None,
        };
        if has_turned && (old.is_some() || restart) {
            self.forget_turn(&mut source_conn).await?;
        }
        if let Some(old) = old {
            return self.resume(facts, old).await;
        }
        if !restart && place.has_turned(&mut target_conn).await? {
            let what =
                "begin: the task has been cut over to this target; what goes on is the task in the other direction";
            return Err(Error::new(ErrorKind::NotEmpty, what));
        }
        let ours = forgotten.then_some(place.db);
        let owner = match checks::target_is_empty(&mut target_conn, target, &spec.objects, ours).await {
            Ok(()) => true,
            // The position is gone and the data is there: somebody uses it.
            Err(e) if e.kind() != ErrorKind::NotEmpty || again || spec.on_conflict == OnConflict::Abort => {
                return Err(e);
            }
            Err(_) => spec.on_conflict == OnConflict::Clear,
        };
        if !again {
            self.gate.ask().await?;
        }
        if restart {
            place.elsewhere(&mut target_conn, true).await?;
            place.forget_turn(&mut target_conn).await?;
            failpoint("elsewhere-removed");
        }
        let link = psync(source, None).await?;
        let before = if forgotten { Before::Forgotten } else { Before::Nothing };
        self.full(facts, link, before, owner).await
    }

    /// Goes on with what the spool holds, while the source cannot be reached. Errors: `lost`, which says so, where that is
    /// not possible.
    async fn without_source(&self, lost: Error) -> Result<Begun> {
        let Ok(mut conn) = Connection::open(self.target).await else { return Err(lost) };
        let place = self.place();
        conn.command(&[b"SELECT", place.db.to_string().as_bytes()]).await?;
        let Some(old) = place.read(&mut conn).await? else { return Err(lost) };
        self.check(&old)?;
        let Some(opened) = self.spool_with(&old).await? else { return Err(lost) };
        let Opened { spool, head, stream_from, end, .. } = opened;
        // The rest of a snapshot cannot be had any more; and behind its end a log has nothing to apply.
        let all = stream_from.and_then(|from| head.offset_at(from, end)).is_some_and(|end| old.offset <= end.0);
        if !all {
            close(spool).await;
            return Err(lost);
        }
        let facts = match checks::ask_target_alone(&mut conn, self.target, head.source).await {
            Ok(facts) => facts,
            Err(e) => {
                close(spool).await;
                return Err(e);
            }
        };
        tracing::warn!(error = %lost, offset = old.offset, "going on from the spool, and trying the source again");
        self.go_on(facts, Err(lost), spool, &old, None, false).await
    }

    /// Whether `old` can be gone on with.
    fn check(&self, old: &Checkpoint) -> Result<()> {
        if old.flags.broken {
            let what = format!("go on with task `{}` behind offset {}", self.spec.task, old.offset);
            return Err(Error::new(ErrorKind::Broken, what));
        }
        if old.chosen != self.chosen() {
            let what = format!("go on with task `{}`: it has begun with other rules of what is chosen", self.spec.task);
            return Err(Error::new(ErrorKind::Checkpoint, what));
        }
        Ok(())
    }

    /// Goes on where `old` says, or begins again.
    async fn resume(&self, facts: Facts, old: Checkpoint) -> Result<Begun> {
        self.check(&old)?;
        let received = ReplOffset(old.offset);
        if let Some(opened) = self.spool_with(&old).await? {
            let end = opened.stream_from.and_then(|from| opened.head.offset_at(from, opened.end));
            let (mut lost, mut unwanted) = (received, None);
            // What the target has and the spool has not is of the history that `old` names, and of no other.
            let mut elsewhere = false;
            if let Some(end) = end {
                let link = match psync(self.source, Some((opened.replid, end))).await {
                    Ok(link) => link,
                    Err(e) => {
                        close(opened.spool).await;
                        return Err(e);
                    }
                };
                elsewhere = end < received
                    && match link.start {
                        Start::Continue { replid } => replid.unwrap_or(opened.replid) != old.replid,
                        Start::Full { .. } => opened.replid != old.replid,
                    };
                if let (Start::Continue { replid }, false) = (&link.start, elsewhere) {
                    let replid = *replid;
                    let mut spool = opened.spool;
                    if let Some(replid) = replid.filter(|id| *id != opened.replid) {
                        spool.writer.note(Note::Replid(replid));
                        failpoint("replid-noted");
                    }
                    tracing::info!(offset = old.offset, "going on from the spool");
                    let asked = (end, replid.unwrap_or(opened.replid));
                    return self.go_on(facts, Ok(link), spool, &old, Some(asked), false).await;
                }
                (lost, unwanted) = (end, Some(link));
            }
            close(opened.spool).await;
            if !elsewhere {
                return self.again(facts, unwanted, old, lost).await;
            }
            drop(unwanted);
        }
        if old.snapshot.is_some() {
            return self.again(facts, None, old, received).await;
        }
        let link = psync(self.source, Some((old.replid, received))).await?;
        let Start::Continue { replid } = link.start else { return self.again(facts, Some(link), old, received).await };
        let replid = replid.unwrap_or(old.replid);
        let head = Head { replid, offset: received, framing: spool::Framing::Stream, source: facts.source };
        let spool = spool::create(&self.spec.spool_dir, head, self.limits()?)?;
        tracing::info!(offset = old.offset, "going on from the source");
        self.go_on(facts, Ok(link), spool, &old, Some((received, replid)), true).await
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
            // In the stream the target may be ahead of what was in a file when the last process was killed.
            let end = if old.snapshot.is_some() { opened.end } else { u64::MAX };
            log == old.log && position.is_some_and(|at| (opened.start..=end).contains(&at))
        };
        if holds(&opened) {
            return Ok(Some(opened));
        }
        // Another one is going to be in its place.
        close(opened.spool).await;
        Ok(None)
    }

    /// Takes over where the task is now. `asked`: the offset at which the source goes on, and the history. `new`: the log begins
    /// there.
    async fn go_on(
        &self,
        facts: Facts,
        link: Result<Link>,
        spool: Spool,
        old: &Checkpoint,
        asked: Option<(ReplOffset, ReplId)>,
        new: bool,
    ) -> Result<Begun> {
        match self.take_over(&spool.handle, old, asked, new).await {
            Ok((conn, checkpoint, all_until_ms)) => Ok(Begun { facts, link, spool, conn, checkpoint, all_until_ms }),
            Err(e) => {
                close(spool).await;
                Err(e)
            }
        }
    }

    async fn take_over(
        &self,
        spool: &Handle,
        old: &Checkpoint,
        asked: Option<(ReplOffset, ReplId)>,
        new: bool,
    ) -> Result<(Connection, Checkpoint, Option<u64>)> {
        let place = self.place();
        let mut conn = place.connect().await?;
        let all_until_ms = place.all_until_ms(&mut conn).await?;
        let gone = || Error::new(ErrorKind::CheckpointChanged, "take the task over: its position has moved");
        let taken = place.take(&mut conn, None).await?.ok_or_else(gone)?;
        if taken.flags.broken {
            return Err(Error::new(ErrorKind::Broken, "take the task over: a command was refused"));
        }
        // What has come in between, from whoever had the task, is of the history that the source goes on with, or of another.
        if asked.is_some_and(|(offset, replid)| taken.offset > offset.0 && taken.replid != replid) {
            return Err(gone());
        }
        let checkpoint = match asked.filter(|_| new) {
            // What was decided on may have moved on, and not anywhere else.
            Some(_) if taken.log != old.log || taken.snapshot.is_some() || taken.offset < old.offset => {
                return Err(gone());
            }
            Some((_, replid)) => {
                let checkpoint = Checkpoint { log: log_of(spool), replid, ..taken };
                place.put(&mut conn, Some(&taken), Some(&checkpoint)).await?;
                checkpoint
            }
            None if taken.log == log_of(spool) => taken,
            None => return Err(gone()),
        };
        Ok((conn, checkpoint, all_until_ms))
    }

    fn limits(&self) -> Result<Limits> {
        let max = match self.spec.spool_limit {
            Some(max) => max,
            None => spool::default_limit(&self.spec.spool_dir)?,
        };
        Ok(Limits::with_max_bytes(max).fitting())
    }
}

/// Whoever opens the log next, or begins another, must be alone with it.
async fn close(spool: Spool) {
    let handle = spool.handle.clone();
    drop(spool);
    handle.ended().await;
}

fn log_of(spool: &Handle) -> LogId {
    let head = spool.head();
    LogId { number: spool.id(), replid: head.replid, start: head.offset }
}
