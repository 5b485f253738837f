//! A batch: bytes for the target, and for each reply that they will draw a note of what it answers.
//!
//! A batch is kept until its last reply is there, so that a refused command can be named from its own bytes.

use keyferry_resp::encode;

use super::guard::Guard;

/// A batch is handed to the lane when it has this many bytes: several system calls' worth, a few milliseconds of
/// the target's work.
pub(crate) const FULL: usize = 128 * 1024;

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A SELECT of ours.
    Select,
    /// A key of the snapshot.
    Key,
    /// A function library or script of the snapshot, or emptying the target before it.
    Setup,
    /// A key of the snapshot that was rebuilt takes its place; 0 says that one is there.
    Move,
    /// A command of the stream, outside or inside a transaction.
    Command,
    /// A command of the stream that moves the deadline of a key; 0 says that the key is gone.
    Deadline,
    /// The checkpoint.
    Checkpoint,
    /// How many batches have applied: as many as this number, or one is missing. The last command of a transaction of ours.
    Count(u64),
    /// A PING of ours on an idle connection.
    KeepAlive,
}

/// A note for one reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expect {
    /// End offset of the command in the stream; 0 for the snapshot.
    pub(crate) offset: u64,
    /// Where the command begins in the batch's bytes.
    pub(crate) at: usize,
    pub(crate) what: What,
}

/// Commands on their way to the target.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) expects: Vec<Expect>,
    /// The offset that is applied when every reply of this batch is there. `None` while the snapshot lasts. Never
    /// within a transaction: a transaction counts when its EXEC is answered.
    pub(crate) applied: Option<u64>,
    /// The source wants to be told as soon as this batch is applied.
    pub(crate) wants_ack: bool,
    /// Position in the log that its checkpoint covers.
    pub(crate) position: Option<u64>,
    /// It is a transaction with a checkpoint at its end; else each command stands for itself.
    pub(crate) guarded: bool,
}

impl Batch {
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// No command is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.expects.is_empty()
    }

    /// How many replies it draws.
    pub(crate) fn replies(&self) -> usize {
        match self.guarded {
            // The prelude, `+QUEUED` for each command, the header of EXEC, and what each command answers.
            true => Guard::PRELUDE + 2 * self.expects.len() + 1,
            false => self.expects.len(),
        }
    }

    /// Makes it empty, keeping its memory unless a large value has made it large.
    pub(crate) fn clear(&mut self) {
        if self.bytes.capacity() > 4 * FULL {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.expects.clear();
        self.applied = None;
        self.wants_ack = false;
        self.guarded = false;
        self.position = None;
    }

    /// Notes that what is written next draws one reply.
    pub(crate) fn expect(&mut self, what: What, offset: u64) {
        self.expect_at(what, offset, self.bytes.len());
    }

    /// Notes a reply to what was written `at` or behind.
    pub(crate) fn expect_at(&mut self, what: What, offset: u64, at: usize) {
        self.expects.push(Expect { offset, at, what });
    }

    /// Makes the last note one of another kind.
    pub(crate) fn last_is(&mut self, what: What) {
        if let Some(expect) = self.expects.last_mut() {
            expect.what = what;
        }
    }

    /// Adds a whole command.
    pub(crate) fn command(&mut self, what: What, offset: u64, args: &[&[u8]]) {
        self.expect(what, offset);
        encode::command(&mut self.bytes, args);
    }

    /// Adds a SELECT.
    pub(crate) fn select(&mut self, db: u32, offset: u64) {
        self.expect(What::Select, offset);
        encode::array(&mut self.bytes, 2);
        encode::bulk(&mut self.bytes, b"SELECT");
        encode::bulk_int(&mut self.bytes, i64::from(db));
    }
}
