//! A batch: bytes for the target, and for each reply that they will draw a note of what it answers.
//!
//! A batch is kept until its last reply is there, so that a refused command can be named from its own bytes.
//!
//! Plain `SET`s that follow one another go out as one `MSET`, which costs the target and us far less than one reply for each.
//!
//! Invariant: bytes and notes fit each other at any time: what has been added is whole commands.

mod tries;

use keyferry_resp::encode;

use super::guard::Guard;
use crate::repair::Repaired;

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
    /// Keys of the snapshot that must not be there (MSETNX); 0 says that one of them is, and then none was written.
    New,
    /// A function library or script of the snapshot, or emptying the target before it.
    Setup,
    /// A key of the snapshot that was rebuilt takes its place; 0 says that one is there.
    Move,
    /// A command of the stream, outside or inside a transaction.
    Command,
    /// A command of the stream that moves the deadline of a key, or of fields; 0, or -2 for each field, says that they are
    /// gone.
    Deadline,
    /// The key of a repair with this place in it; a refusal is the reason why it was not copied.
    Repair(u32),
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
    /// End offset of the command in the stream, the first one where several are joined; 0 for the snapshot.
    pub(crate) offset: u64,
    /// Where the command begins in the batch's bytes.
    pub(crate) at: usize,
    pub(crate) what: What,
    /// How many keys, or commands of the stream, it answers at once.
    pub(crate) count: u32,
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
    /// Its checkpoint says that deadlines lack the grace.
    pub(crate) exact: bool,
    /// Where the bytes end when a [`set`](Self::set) was the last that was added.
    pub(crate) set_end: usize,
    /// Keys in it were copied again: somebody is told when it is on the target.
    pub(crate) repaired: Option<Repaired>,
}

/// So many pairs are joined at most: targets up to 6.2 take no command of more than a million arguments, and a transaction of
/// the source may be that long. More would save nothing.
const PAIRS: u32 = 1000;
/// Nothing is joined to a command of so many bytes: it may have to be moved, and is answered as a whole only.
const JOINED: usize = FULL / 2;

/// What a lone pair is set with, and several at once.
const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n";
const MSET: &[u8] = b"*5\r\n$4\r\nMSET\r\n";
/// Where pairs must be new.
const MSETNX: &[u8] = b"*3\r\n$6\r\nMSETNX\r\n";

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
        self.exact = false;
        self.position = None;
        self.set_end = 0;
        self.repaired = None;
    }

    /// Takes out what was added behind so many bytes and notes.
    pub(crate) fn cut(&mut self, bytes: usize, expects: usize) {
        self.bytes.truncate(bytes);
        self.expects.truncate(expects);
        self.set_end = 0;
    }

    /// Notes that what is written next draws one reply.
    pub(crate) fn expect(&mut self, what: What, offset: u64) {
        self.expect_at(what, offset, self.bytes.len());
    }

    /// Notes a reply to what was written `at` or behind.
    pub(crate) fn expect_at(&mut self, what: What, offset: u64, at: usize) {
        self.expects.push(Expect { offset, at, what, count: 1 });
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

    /// Adds a key with a string and without a deadline: two bulk strings, written by `pair`. With what was set right before
    /// it, it becomes one command.
    #[inline]
    pub(crate) fn set(&mut self, what: What, offset: u64, pair: impl FnOnce(&mut Vec<u8>)) {
        match self.expects.last_mut() {
            Some(last)
                if self.set_end == self.bytes.len()
                    && last.what == what
                    && last.count < PAIRS
                    && self.bytes.len() - last.at < JOINED =>
            {
                last.count += 1;
                let (at, count) = (last.at, last.count);
                self.join(at, count);
            }
            _ => {
                self.expect(what, offset);
                self.bytes.extend_from_slice(if what == What::New { MSETNX } else { SET });
            }
        }
        pair(&mut self.bytes);
        self.set_end = self.bytes.len();
    }

    /// Makes the command at `at`, the last one, ready for its pair number `count`.
    fn join(&mut self, at: usize, count: u32) {
        if count == 2 && self.bytes[at..].starts_with(SET) {
            self.bytes.splice(at..at + SET.len(), MSET.iter().copied());
            return;
        }
        // The name and two for each pair. Where the number gets longer, what is behind it moves.
        let mut number = itoa::Buffer::new();
        let old = number.format(2 * count - 1).len();
        let new = number.format(2 * count + 1).as_bytes();
        if old == new.len() {
            self.bytes[at + 1..=at + old].copy_from_slice(new);
        } else {
            self.bytes.splice(at + 1..=at + old, new.iter().copied());
        }
    }

    /// Adds a SELECT.
    pub(crate) fn select(&mut self, db: u32, offset: u64) {
        self.expect(What::Select, offset);
        encode::array(&mut self.bytes, 2);
        encode::bulk(&mut self.bytes, b"SELECT");
        encode::bulk_int(&mut self.bytes, i64::from(db));
    }
}

#[cfg(test)]
mod tests {
    use keyferry_resp::{Limits, request::Scanner};

    use super::*;

    /// The commands in the bytes, as words.
    fn words(batch: &Batch) -> Vec<Vec<String>> {
        let (mut rest, mut found) = (&batch.bytes[..], Vec::new());
        while let Some(request) = Scanner::new(Limits::default()).next(rest).unwrap() {
            found.push(request.args().map(|arg| String::from_utf8(arg.to_vec()).unwrap()).collect());
            rest = &rest[request.bytes().len()..];
        }
        assert!(rest.is_empty(), "whole commands");
        assert_eq!(found.len(), batch.expects.len(), "a note for each");
        found
    }

    fn set(batch: &mut Batch, what: What, n: u32) {
        let value = n.to_string().repeat(n as usize % 9);
        batch.set(what, u64::from(n), |out| {
            encode::bulk(out, format!("k{n}").as_bytes());
            encode::bulk(out, value.as_bytes());
        });
    }

    #[test]
    fn pairs_are_joined_whatever_their_number() {
        for (what, one, many) in [(What::Command, "SET", "MSET"), (What::New, "MSETNX", "MSETNX")] {
            let mut batch = Batch::default();
            batch.select(3, 0);
            // Past the next digit of the number of arguments: 9 to 11, 99 to 101, 999 to 1001.
            for n in 1..=PAIRS {
                set(&mut batch, what, n);
                if matches!(n, 1..=6 | 49..=51 | 499..=501 | PAIRS) {
                    let words = words(&batch);
                    assert_eq!((words.len(), words[1][0].as_str()), (2, if n == 1 { one } else { many }));
                    let expected: Vec<String> =
                        (1..=n).flat_map(|n| [format!("k{n}"), n.to_string().repeat(n as usize % 9)]).collect();
                    assert_eq!(words[1][1..], expected);
                    assert_eq!(batch.expects[1].count, n);
                }
            }
        }
    }

    #[test]
    fn no_command_grows_without_bound() {
        let mut batch = Batch::default();
        (0..2 * PAIRS + 1).for_each(|n| set(&mut batch, What::Command, n));
        let lens: Vec<usize> = words(&batch).iter().map(Vec::len).collect();
        assert_eq!(lens, [2001, 2001, 3]);
        let mut batch = Batch::default();
        for key in [b"large", b"small"] {
            batch
                .set(What::Command, 1, |out| [&key[..], &[b'x'; JOINED]].iter().for_each(|arg| encode::bulk(out, arg)));
        }
        assert_eq!(words(&batch).len(), 2);
    }

    #[test]
    fn only_what_follows_at_once_is_joined() {
        let mut batch = Batch::default();
        set(&mut batch, What::Command, 1);
        batch.command(What::Command, 2, &[b"DEL", b"k1"]);
        set(&mut batch, What::Command, 3);
        set(&mut batch, What::Command, 4);
        batch.select(1, 0);
        set(&mut batch, What::Command, 5);
        set(&mut batch, What::Key, 6);
        batch.expect(What::Command, 7);
        batch.bytes.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n");
        set(&mut batch, What::Command, 8);
        let names: Vec<String> = words(&batch).iter().map(|words| words[..2].join(" ")).collect();
        assert_eq!(names, ["SET k1", "DEL k1", "MSET k3", "SELECT 1", "SET k5", "SET k6", "SET a", "SET k8"]);
        batch.clear();
        set(&mut batch, What::Command, 9);
        assert_eq!(words(&batch).len(), 1);
    }
}
