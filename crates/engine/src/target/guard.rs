//! What stands around the commands of a batch: a transaction that writes nothing when another process has taken over, and
//! the checkpoint at its end.
//!
//! ```text
//! WATCH <checkpoint> <fence>
//! EVAL  <is the checkpoint the one of the batch before? if not, touch the fence>
//! MULTI
//! ...                                 commands of the batch
//! SELECT <database of the checkpoint>
//! HMSET <checkpoint> v <position> t <since when everything is there>
//! HINCRBY <checkpoint> n 1            how many batches have applied since the connection took over
//! EXEC                                nil when the checkpoint or the fence was touched
//! ```
//!
//! Invariants:
//! - Between two batches the connection is in the checkpoint's database: WATCH and GET look there.
//! - A batch only applies on top of the one before it: batches are on their way one behind the other, and when one is
//!   refused as a whole, those behind it must not apply.
//! - The script looks behind WATCH, so whoever takes over before it is seen by it, and whoever takes over after it is
//!   seen by EXEC.
//! - The HMSET of the checkpoint needs memory: a target that has none refuses the whole transaction.
//! - Where the script itself is refused, nothing is touched, and a batch may apply though the one before it was refused as
//!   a whole. Then `n` is not the number of the batch: the lane sees it, and whoever reads the checkpoint.

use keyferry_resp::encode;

use super::{
    batch::{Batch, What},
    checkpoint::{self, Checkpoint},
};

/// Touches the second key, which is watched and never there, when the checkpoint is gone or another one.
const FENCE: &[u8] = b"local v=redis.pcall('HGET',KEYS[1],'v') \
    if type(v)=='string' and string.sub(v,5,20)==ARGV[1] then return 1 end \
    redis.call('SET',KEYS[2],'1') redis.call('DEL',KEYS[2]) return 0";

/// The frame of the batches of one holder of a task.
pub(crate) struct Guard {
    pub(crate) key: Vec<u8>,
    /// Database of the target in which the checkpoint is.
    pub(crate) db: u32,
    fence: Vec<u8>,
    /// Epoch and number of the last batch that was sealed.
    turn: [u8; 16],
}

impl Guard {
    /// Replies in front of those to the commands: to WATCH, EVAL and MULTI.
    pub(crate) const PRELUDE: usize = 3;

    /// Behind `checkpoint`, which is on the target.
    pub(crate) fn new(task: &str, db: u32, checkpoint: &Checkpoint) -> Self {
        let key = checkpoint::key(task);
        let fence = [key.as_slice(), b":fence"].concat();
        Self { key, db, fence, turn: checkpoint.turn() }
    }

    /// Begins a batch, behind the last one that was sealed.
    pub(crate) fn open(&self, batch: &mut Batch) {
        let out = &mut batch.bytes;
        encode::command(out, &[b"WATCH", &self.key, &self.fence]);
        encode::command(out, &[b"EVAL", FENCE, b"2", &self.key, &self.fence, &self.turn]);
        encode::command(out, &[b"MULTI"]);
        batch.guarded = true;
    }

    /// Ends a batch that was opened. `selected`: the database that its commands have selected. `all_until`: up to when, in Unix
    /// milliseconds, all that the source had written is there; what is known of it from before stays otherwise.
    pub(crate) fn seal(
        &mut self,
        batch: &mut Batch,
        selected: Option<u32>,
        checkpoint: &Checkpoint,
        all_until: Option<u64>,
    ) {
        self.turn = checkpoint.turn();
        if selected != Some(self.db) {
            batch.select(self.db, 0);
        }
        let mut number = itoa::Buffer::new();
        let (bytes, time) = (checkpoint.encode(), all_until.map(|ms| number.format(ms).as_bytes()));
        match time {
            Some(time) => batch.command(What::Checkpoint, 0, &[b"HMSET", &self.key, b"v", &bytes, b"t", time]),
            None => batch.command(What::Checkpoint, 0, &[b"HMSET", &self.key, b"v", &bytes]),
        }
        batch.command(What::Count(checkpoint.seq), 0, &[b"HINCRBY", &self.key, b"n", b"1"]);
        encode::command(&mut batch.bytes, &[b"EXEC"]);
    }
}
