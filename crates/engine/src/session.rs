//! The target side of a task: one session after the other, each with a connection of its own, each beginning where the
//! checkpoint on the target says.
//!
//! Invariants:
//! - A session writes behind what its own look at the checkpoint has found. A target that has lost its last writes gets
//!   them again from the spool.
//! - Each session has an epoch of its own: what an earlier connection still has on its way does not apply any more.
//! - A session speaks to the version of the target that the task was begun with: behind the same address there may be another
//!   server by now, which reads other payloads and knows other commands.
//! - What was refused within a transaction whose rest applied is never tried again: both sides differ then, and the
//!   checkpoint says so before the task ends.

use std::{cell::Cell, future::pending, sync::atomic::Ordering::Relaxed};

use keyferry_keyspace::{Flavor, ReplOffset, ServerVersion};
use keyferry_model::{Error, ErrorKind, Result, Retry, Side};
use keyferry_net::Connection;
use keyferry_spool::{Handle, Item, Reader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    Event,
    backoff::Backoff,
    begin::Task,
    checks::Facts,
    control::Limits,
    run::{BATCHES, CHUNKS, SPARE},
    source::{Chunk, Framing},
    stream::{Apply, Expiry, Older, Plan},
    target::{Checkpoint, Deadlines, Guard, Lane, Restore, place},
};

/// What all sessions of one log have in common.
pub(crate) struct Sessions<'a> {
    pub(crate) task: Task<'a>,
    pub(crate) facts: &'a Facts,
    pub(crate) framing: Framing,
    pub(crate) spool: Handle,
    /// Cancelled by whoever finds that the work is done.
    pub(crate) done: &'a CancellationToken,
    /// Cancelled by the user.
    pub(crate) stop: &'a CancellationToken,
    /// That of the last connection.
    pub(crate) epoch: &'a Cell<u64>,
}

impl Sessions<'_> {
    /// Writes what the spool holds from `checkpoint` on, over as many connections as it takes, until `done`.
    ///
    /// Errors: `SpoolDropped` when the target has fallen back behind what is kept; `TargetChanged`; `TakenOver`; what trying again
    /// cannot help. With [`Stats::broken`](crate::Stats) it is for the caller to note it on the target.
    pub(crate) async fn run(&self, conn: Connection, checkpoint: Checkpoint, mut reader: Reader) -> Result<()> {
        let mut next = (conn, checkpoint);
        let mut backoff = Backoff::new(self.task.spec.retry_window);
        loop {
            let (conn, checkpoint) = next;
            let before = self.task.stats.position.get();
            self.epoch.set(checkpoint.epoch);
            let Err(lost) = self.session(conn, checkpoint, &mut reader).await else { return Ok(()) };
            let stats = self.task.stats;
            if stats.broken.load(Relaxed) {
                return Err(lost);
            }
            // With `done` alone, what was wanted may not be on the target as a whole.
            if self.stop.is_cancelled() {
                return Ok(());
            }
            if self.done.is_cancelled() {
                return Err(lost);
            }
            if !is_of_target(lost.kind()) || lost.kind().policy().retry != Retry::Backoff {
                return Err(lost);
            }
            tracing::warn!(error = %lost, "the target is lost, trying again");
            stats.set_lost(Side::Target, true);
            stats.note_error(&lost);
            if stats.position.get() != before {
                backoff = Backoff::new(self.task.spec.retry_window);
            }
            let gone = || Error::new(ErrorKind::Lost(Side::Target), "end the task: the target is lost");
            let mut error = lost;
            next = loop {
                let again = tokio::select! {
                    biased;
                    () = self.ended_without_target() => return Err(gone()),
                    again = backoff.again(error, self.stop) => again?,
                };
                if !again {
                    return Ok(());
                }
                let reopened = tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Ok(()),
                    () = self.ended_without_target() => return Err(gone()),
                    reopened = self.reopen(checkpoint) => reopened,
                };
                match reopened {
                    Ok(next) => break next,
                    Err(e) => error = e,
                }
                stats.note_error(&error);
            };
            stats.set_lost(Side::Target, false);
            let copied = stats.is_copied();
            stats.resume(&next.1);
            match (copied, stats.is_copied()) {
                // The last answer of the snapshot was lost.
                (false, true) => stats.tell(Event::Copied { offset: next.1.offset }),
                (true, false) => stats.tell(Event::FellBack),
                _ => {}
            }
        }
    }

    /// All is to end, and not by the user: a paused source does not wait for a target to come back.
    async fn ended_without_target(&self) {
        self.done.cancelled().await;
        if self.stop.is_cancelled() {
            pending().await
        }
    }

    /// Connects again, and looks what the target has. `ours`: a checkpoint of this process.
    async fn reopen(&self, ours: Checkpoint) -> Result<(Connection, Checkpoint)> {
        let place = self.task.place();
        let mut conn = place.connect().await?;
        let found = place.take(&mut conn, Some(ours.epoch)).await?;
        let gone = |what: &str| {
            let what = format!("go on with the target {}: {what}", self.task.target);
            Error::new(ErrorKind::SpoolDropped, what)
        };
        let Some(found) = found else { return Err(gone("it no longer has the position of this task")) };
        if found.flags.broken {
            return Err(Error::new(ErrorKind::Broken, "go on with the target: a command was refused"));
        }
        if found.log != ours.log {
            return Err(gone("it has fallen back to before this full sync"));
        }
        let position = self.position(&found).unwrap_or_default();
        if position < self.spool.start() {
            return Err(gone("it has fallen back to before what the spool keeps"));
        }
        tracing::info!(offset = found.offset, "the target is back");
        Ok((conn, found))
    }

    /// Whether this is the server that all was decided for.
    ///
    /// Errors: `TargetChanged`; those of the connection.
    async fn is_known(&self, conn: &mut Connection) -> Result<()> {
        // In the same words as at the start.
        let (was, now) = (self.facts.target, ServerVersion::from_info(conn.info("all").await?.as_bytes()));
        if now.is_some_and(|now| holds_for(was, now)) {
            return Ok(());
        }
        let now = now.map_or_else(|| "of no known version".to_owned(), |now| now.to_string());
        let what = format!("go on with the target {}: it is {now} now, and was {was}", self.task.target);
        Err(Error::new(ErrorKind::TargetChanged, what))
    }

    /// The position in the log that a checkpoint stands for.
    fn position(&self, checkpoint: &Checkpoint) -> Option<u64> {
        match checkpoint.snapshot {
            Some(at) => Some(at.offset),
            None => self.spool.head().position_of(self.spool.stream_from()?, ReplOffset(checkpoint.offset)),
        }
    }

    async fn session(&self, mut conn: Connection, checkpoint: Checkpoint, reader: &mut Reader) -> Result<()> {
        let Task { spec, stats, .. } = self.task;
        self.is_known(&mut conn).await?;
        let position = self.position(&checkpoint);
        let position = position.ok_or_else(|| Error::new(ErrorKind::Internal, "find the checkpoint in the spool"))?;
        reader.seek(position)?;
        stats.position.set(position);
        let place_of_task = self.task.place();
        let mut modules = self.facts.modules.clone();
        // The snapshot says it too, at its start, which is not read again.
        modules.written_by(&self.facts.source);
        let vectors = (modules.vector_sets(), modules.read_vectors_of(&self.facts.source));
        let restore = Restore {
            modules,
            stats,
            server: self.facts.target,
            on_conflict: spec.on_conflict,
            on_unsupported: spec.on_unsupported,
            place: place(&spec.task),
            deadlines: if self.facts.holds(spec) { Deadlines::Held } else { Deadlines::Exact },
        };
        let older = Older::new(&self.facts.source, &self.facts.target, spec.on_unsupported, &restore.place)
            .with_vector_sets(vectors.0, vectors.1, &self.facts.source)
            .with_missing_keys(spec.objects.may_lack_keys());
        let plan = Plan {
            older,
            objects: &spec.objects,
            expiry: Expiry::new(spec.ttl_grace, &self.facts.source, &self.facts.target)
                .held_from(self.facts.holds_stream(spec)),
            framing: self.framing,
            stream_from: self.spool.stream_from(),
            full_only: spec.full_only,
            target_databases: self.facts.target_databases,
        };
        let guard = Guard::new(place_of_task.task, place_of_task.db, &checkpoint);
        let (chunks_tx, chunks) = mpsc::channel(CHUNKS);
        let (batches_tx, batches) = mpsc::channel(BATCHES);
        let (spare_tx, spare) = mpsc::channel(SPARE);
        let mut apply = Apply::new(stats, restore, plan, Some(guard), checkpoint);
        let lane = Lane::new(conn.into_parts().0, stats, spec.on_conflict, spare_tx);
        let fed = self.done.child_token();
        let work = async {
            tokio::try_join!(
                feed(reader, chunks_tx, &fed),
                async {
                    let result = apply.run(chunks, batches_tx, spare).await;
                    // Nothing more is wanted of the spool.
                    fed.cancel();
                    result
                },
                lane.run(batches),
            )
        };
        // What is paused writes nothing any more, and what is limited has to come to its end in time.
        let paused = async {
            self.stop.cancelled().await;
            if !stats.control.is_paused() {
                stats.control.set_limits(Limits::default());
                pending().await
            }
        };
        tokio::select! {
            biased;
            () = paused => {}
            result = work => {
                result?;
            }
        }
        // Ends the other parts also when the snapshot was all that was wanted: it is there, and answered.
        self.done.cancel();
        Ok(())
    }
}

/// Hands on what the spool has, until `stop` or until nobody wants more.
async fn feed(reader: &mut Reader, chunks: mpsc::Sender<Chunk>, stop: &CancellationToken) -> Result<()> {
    loop {
        let item = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            item = reader.next() => item?,
        };
        match item {
            Some(Item::Block(block)) => {
                let chunk = Chunk { bytes: block.bytes, received_ms: block.received_ms };
                if chunks.send(chunk).await.is_err() {
                    return Ok(());
                }
            }
            Some(Item::Note { .. }) => {}
            None => return Ok(()),
        }
    }
}

/// Whether what was decided for a server that `was` of this version holds for the one that is there `now`: one that can do as much,
/// and may do more. Beginning again gives up the link to the source, and with it a snapshot that has not come as a whole, so it is
/// left to servers that would refuse what is written.
fn holds_for(was: ServerVersion, now: ServerVersion) -> bool {
    let release = |(major, minor, _): (u32, u32, u32)| (major, minor);
    // The others began as Redis of the version that they name.
    let same = now.flavor == was.flavor
        || was.flavor == Flavor::Redis && matches!(now.flavor, Flavor::Valkey | Flavor::Redict);
    let newer = now.redis >= was.redis && (now.flavor != was.flavor || now.own >= was.own);
    let patch = release(now.redis) == release(was.redis) && release(now.own) == release(was.own);
    same && (newer || patch && (now.unlink() || !was.unlink()))
}

/// Whether an error says something of the target.
pub(crate) fn is_of_target(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Resolve(Side::Target)
            | ErrorKind::Connect(Side::Target)
            | ErrorKind::Loading(Side::Target)
            | ErrorKind::Timeout(Side::Target)
            | ErrorKind::Lost(Side::Target)
            | ErrorKind::TargetFull
            | ErrorKind::TargetDemoted
            | ErrorKind::TargetMisconf
            | ErrorKind::CheckpointChanged
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_server_is_begun_with_again() {
        let redis =
            |version: &str| ServerVersion::from_info(format!("redis_version:{version}\r\n").as_bytes()).unwrap();
        let valkey = |version: &str| {
            ServerVersion::from_info(format!("redis_version:7.2.4\r\nvalkey_version:{version}\r\n").as_bytes()).unwrap()
        };
        let holds = |was, now| holds_for(was, now);
        assert!(holds(redis("6.2.14"), redis("6.2.14")) && holds(redis("6.2.14"), redis("8.0.2")));
        assert!(holds(redis("7.0.15"), redis("7.0.14")) && !holds(redis("6.2.4"), redis("6.2.3")));
        assert!(!holds(redis("7.0.15"), redis("6.2.14")));
        assert!(holds(redis("7.2.4"), valkey("8.1.8")) && holds(redis("6.2.14"), valkey("7.2.5")));
        assert!(!holds(redis("7.4.1"), valkey("8.1.8")) && !holds(valkey("8.1.8"), redis("8.0.2")));
        assert!(holds(valkey("8.0.1"), valkey("9.0.0")) && holds(valkey("8.1.8"), valkey("8.1.1")));
        assert!(!holds(valkey("9.0.0"), valkey("8.1.8")));
    }
}
