//! A full sync, the first or another one: from a link on which a snapshot comes to a target that says so.
//!
//! Invariants:
//! - Whoever had the task writes nothing behind the moment at which it is taken over.
//! - The databases are emptied, and the new position written, in one step.

use std::time::Duration;

use keyferry_keyspace::ReplOffset;
use keyferry_model::{Error, ErrorKind, OnConflict, OnLostBacklog, Result, failpoint};
use keyferry_net::Connection;
use keyferry_rdb::{Magic, Position};
use keyferry_spool::{self as spool, Head};
use tokio_util::sync::CancellationToken;

use super::{Begun, Task, log_of};
use crate::{
    Counts,
    backoff::Backoff,
    checks::Facts,
    source::{Framing, Link, Start, backlog_lost, now_ms, psync},
    target::{Checkpoint, Flags, Place, ask},
};

/// For how long the memory of a target that was emptied is waited for.
const EMPTYING: Duration = Duration::from_secs(30);

/// What a full sync finds of the task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    /// A position that is not wanted any more.
    Forgotten,
    /// A position, and nothing of the data yet.
    Untouched,
    /// What an earlier full sync has brought.
    Copied,
}

impl Task<'_> {
    /// A full sync on top of what an earlier one has left.
    pub(super) async fn again(
        &self,
        facts: Facts,
        link: Option<Link>,
        old: Checkpoint,
        received: ReplOffset,
    ) -> Result<Begun> {
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
            () if !untouched && !self.spec.objects.is_whole() => {
                "keys and types are chosen, and others may have written to the same databases"
            }
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
    pub(super) async fn full(&self, facts: Facts, link: Link, before: Before, owner: bool) -> Result<Begun> {
        let Start::Full { replid, offset, framing } = link.start else {
            return Err(Error::new(ErrorKind::Internal, "ask for a snapshot: the source goes on instead"));
        };
        let of_spool = match framing {
            Framing::Length(n) => spool::Framing::Length(n),
            Framing::Mark(mark) => spool::Framing::Mark(mark),
        };
        let head = Head { replid, offset, framing: of_spool, source: facts.source };
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
            chosen: self.chosen(),
            keys: 0,
            counts: Some(Counts::NONE),
            // A target that had keys may have held ones from before.
            flags: Flags {
                owner,
                held_keys: held,
                held_fields: held && facts.target.field_deadlines(),
                ..Flags::default()
            },
        };
        // The source has begun to send: now, and not earlier, the target is emptied when that is wanted.
        if before == Before::Copied || self.spec.on_conflict == OnConflict::Clear {
            match self.empty_target(&mut conn, &facts, &place, &checkpoint).await {
                Ok(()) => return Ok(Begun { facts, link: Ok(link), spool, conn, checkpoint, all_until_ms: None }),
                // There is no room for the checkpoint before the rest is gone.
                Err(e) if e.kind() == ErrorKind::TargetFull => {
                    self.flush(&mut conn, &[], place.db).await?;
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
        Ok(Begun { facts, link: Ok(link), spool, conn, checkpoint, all_until_ms: None })
    }

    /// Removes everything from the chosen databases; `db` is selected again then.
    async fn flush(&self, conn: &mut Connection, option: &[&[u8]], db: u32) -> Result<()> {
        let Some(databases) = self.spec.objects.databases() else {
            ask(conn, &[&[b"FLUSHALL".as_slice()], option].concat()).await?;
            return Ok(());
        };
        for (_, db) in databases {
            ask(conn, &[b"SELECT", db.to_string().as_bytes()]).await?;
            ask(conn, &[&[b"FLUSHDB".as_slice()], option].concat()).await?;
            failpoint("database-emptied");
        }
        ask(conn, &[b"SELECT", db.to_string().as_bytes()]).await?;
        Ok(())
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
            if self.spec.objects.databases().is_none() && facts.target.functions() {
                ask(conn, &[b"FUNCTION", b"FLUSH"]).await?;
            }
            // A large target would be deaf for seconds.
            let option: &[&[u8]] = if facts.target.async_flush() { &[b"ASYNC"] } else { &[] };
            self.flush(conn, option, place.db).await?;
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
}
