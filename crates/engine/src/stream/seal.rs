//! Batches are closed and handed to the lane.
//!
//! Invariants:
//! - A batch does not end within a transaction of the source. In front of one that does not end, it can: `transaction.rs`.
//! - Its checkpoint covers what is in it and in those before, and nothing else.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};
use tokio::{sync::mpsc, time::Instant};

use super::apply::Apply;
use crate::{
    stats::lock,
    target::{Batch, Checkpoint, Flags},
};

/// How often a checkpoint is written for an offset that moves without anything to write.
const IDLE: Duration = Duration::from_secs(1);
/// Longer than anything waits.
const NEVER: Duration = Duration::from_secs(24 * 3600);

impl Apply<'_> {
    /// Gives the lane what is in the batch, with the checkpoint that covers it.
    pub(super) async fn hand_on(
        &mut self,
        batches: &mpsc::Sender<Batch>,
        spare: &mut mpsc::Receiver<Batch>,
    ) -> Result<()> {
        if let Some(db) = self.missing_database {
            let what = format!("write to database {db} of the target: it has only {}", self.target_databases);
            return Err(Error::new(ErrorKind::NoSuchDatabase, what));
        }
        if !self.in_transaction {
            return self.close(batches, spare).await;
        }
        // The rest of it is on its way, or will be sent again.
        let due = self.next_checkpoint();
        if Instant::now() < due {
            return Ok(());
        }
        self.cut_transaction();
        self.close(batches, spare).await?;
        self.decode_transaction_again()
    }

    async fn close(&mut self, batches: &mpsc::Sender<Batch>, spare: &mut mpsc::Receiver<Batch>) -> Result<()> {
        let idle = self.batch.is_empty();
        let due = self.has_to_say_held() || Instant::now() >= self.due;
        let batch = if self.guard.is_some() && idle && !due {
            if self.batch.applied.is_none() {
                return Ok(());
            }
            let Batch { applied, wants_ack, .. } = self.batch;
            (self.batch.applied, self.batch.wants_ack) = (None, false);
            Batch { applied, wants_ack, ..Batch::default() }
        } else {
            if idle && self.batch.applied.is_none() && !self.has_moved() {
                return Ok(());
            }
            self.seal();
            let mut next = spare.try_recv().unwrap_or_default();
            if let Some(guard) = &self.guard {
                guard.open(&mut next);
            }
            std::mem::replace(&mut self.batch, next)
        };
        self.stats.control.admit(&batch).await;
        batches.send(batch).await.or_err(ErrorKind::Internal, || "hand a batch to the lane: it has ended".into())
    }

    /// Whether there is a position that no checkpoint says yet.
    fn has_moved(&self) -> bool {
        let offset = if self.in_transaction { self.open.offset } else { self.offset };
        self.checked != (offset, self.checkpoint.snapshot.map(|at| at.offset)) || self.has_to_say_held()
    }

    /// A checkpoint is wanted whatever the last one says: nobody writes one behind it for a while.
    pub(super) fn say_last_words(&mut self) {
        self.due = Instant::now();
        // Where it says up to when all is there.
        if self.stats.all_until_ms().is_some() {
            self.checked.0 = u64::MAX;
        }
    }

    /// Whether no checkpoint says yet that deadlines are being held, or that they no longer are.
    fn has_to_say_held(&self) -> bool {
        self.guard.is_some() && self.stats.has_to_say_held()
    }

    /// When a checkpoint has to be written though nothing comes in.
    pub(super) fn next_checkpoint(&self) -> Instant {
        match self.guard.is_some() && self.has_moved() && !self.must_end_transaction() {
            true if self.has_to_say_held() => Instant::now(),
            true => self.due,
            false => Instant::now() + NEVER,
        }
    }

    /// Ends the batch with a checkpoint that covers it.
    fn seal(&mut self) {
        let Some(guard) = &mut self.guard else { return };
        self.checkpoint.seq += 1;
        self.stats.say_held(self.checkpoint.seq);
        let held = |flag: &AtomicBool| flag.load(Relaxed) && !self.stats.settled.load(Relaxed);
        let flags = Flags {
            held_keys: held(&self.stats.held_keys),
            held_fields: held(&self.stats.held_fields),
            holding: self.stats.is_holding(),
            exact: self.stats.lacks_grace(),
            ..self.checkpoint.flags
        };
        let checkpoint = Checkpoint {
            replid: lock(&self.stats.replid).unwrap_or(self.checkpoint.replid),
            offset: self.offset,
            source_db: self.source_db,
            flags,
            ..self.checkpoint
        };
        self.batch.exact = flags.exact;
        guard.seal(&mut self.batch, self.lane_db, &checkpoint, self.stats.all_until_ms());
        self.batch.position = match self.checkpoint.snapshot {
            Some(at) => Some(at.offset),
            None => self.stream_from.map(|from| from + (self.offset - self.checkpoint.log.start.0)),
        };
        self.lane_db = Some(guard.db);
        self.checked = (self.offset, self.checkpoint.snapshot.map(|at| at.offset));
        self.due = Instant::now() + IDLE;
    }
}
