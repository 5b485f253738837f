//! The batches on a connection, how far each is written and answered, and what the next reply answers.

use std::collections::VecDeque;

use crate::target::{
    batch::{Batch, Expect},
    guard::Guard,
};

/// The batches that are on their way or wait to be.
#[derive(Default)]
pub(super) struct Flight {
    pub(super) batches: VecDeque<Batch>,
    /// Bytes of `batches`.
    pub(super) bytes: usize,
    /// Index of the batch that is being written, and how much of it has been.
    pub(super) writing: usize,
    pub(super) written: usize,
    /// How many replies of the first batch are there.
    pub(super) answered: usize,
}

impl Flight {
    pub(super) fn push(&mut self, batch: Batch) {
        self.bytes += batch.bytes.len();
        self.batches.push_back(batch);
        self.skip_written();
    }

    pub(super) fn unwritten(&self) -> &[u8] {
        self.batches.get(self.writing).map_or(&[], |b| &b.bytes[self.written..])
    }

    pub(super) fn wrote(&mut self, n: usize) {
        self.written += n;
        self.skip_written();
    }

    pub(super) fn skip_written(&mut self) {
        while self.batches.get(self.writing).is_some_and(|b| b.bytes.len() == self.written) {
            self.writing += 1;
            self.written = 0;
        }
    }

    /// Takes the first batch when it has been written and every reply to it is there.
    pub(super) fn pop_answered(&mut self) -> Option<Batch> {
        let done = self.writing > 0 && self.answered == self.batches.front()?.replies();
        let batch = if done { self.batches.pop_front() } else { None }?;
        self.bytes -= batch.bytes.len();
        self.writing -= 1;
        self.answered = 0;
        Some(batch)
    }
}

/// What was answered.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) keys: u64,
    pub(super) kept: u64,
    pub(super) commands: u64,
}

impl Counts {
    /// The target's own key was left as it is.
    pub(super) fn kept(&mut self) {
        self.keys += 1;
        self.kept += 1;
    }
}

/// What a reply to a batch is.
pub(super) enum Place {
    /// To what stands in front of the commands: which of them.
    Prelude(usize),
    /// `+QUEUED` for a command.
    Queued(Expect),
    /// The header of the answer to EXEC.
    Exec,
    /// What a command answers.
    Answer(Expect),
}

impl Place {
    /// MULTI is the last in front of the commands.
    pub(super) fn is_multi(&self) -> bool {
        matches!(self, Self::Prelude(n) if n + 1 == Guard::PRELUDE)
    }

    /// The place of reply number `n` to `batch`, which is less than [`Batch::replies`].
    pub(super) fn of(batch: &Batch, n: usize) -> Self {
        let commands = batch.expects.len();
        let n = if batch.guarded { n } else { n + Guard::PRELUDE + commands + 1 };
        match n.checked_sub(Guard::PRELUDE) {
            None => Self::Prelude(n),
            Some(n) if n < commands => Self::Queued(batch.expects[n]),
            Some(n) if n == commands => Self::Exec,
            Some(n) => Self::Answer(batch.expects[n - commands - 1]),
        }
    }
}
