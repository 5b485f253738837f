//! What stands in front of scripts that move deadlines on a connection of their own, outside the transactions of the stream: they
//! look at the checkpoint in the same step, and do nothing when somebody else has the task by then, or a later connection.
//!
//! So what a target runs long after nobody waits for it any more moves nothing. Holding and settling ask for more (`hold.rs`).

use super::{checkpoint, position::Place};

/// A script behind the fence: `KEYS[1]` is the checkpoint, in database `ARGV[2]`; the keys are in `ARGV[3]`. Nothing is done, and
/// 0 is answered, unless it is that of `ARGV[1]`, epoch and holder; or is not there, when that is empty. The script finds it as `v`.
macro_rules! behind_fence {
    ($($script:expr),+) => {
        concat!(
            "if redis.replicate_commands then redis.replicate_commands() end \
            redis.call('SELECT',ARGV[2]) local v=redis.call('HGET',KEYS[1],'v') redis.call('SELECT',ARGV[3]) \
            if (v and string.sub(v,5,12)..string.sub(v,21,28) or '')~=ARGV[1] then return 0 end ",
            $($script),+
        )
        .as_bytes()
    };
}
pub(super) use behind_fence;

/// The first arguments of such a script.
pub(super) struct Fence {
    /// `KEYS[1]`.
    pub(super) key: Vec<u8>,
    owner: Vec<u8>,
    home: u32,
    /// Of the keys.
    pub(super) db: u32,
}

impl Fence {
    /// For whoever has the task with this epoch; without one, while nobody has it.
    pub(super) fn new(place: Place<'_>, epoch: Option<u64>) -> Self {
        let owner = epoch.map(|epoch| [epoch.to_le_bytes(), place.holder.to_le_bytes()].concat());
        Self { key: checkpoint::key(place.task), owner: owner.unwrap_or_default(), home: place.db, db: 0 }
    }

    /// `ARGV[1]` to `ARGV[3]`.
    pub(super) fn args(&self) -> [Vec<u8>; 3] {
        [self.owner.clone(), self.home.to_string().into_bytes(), self.db.to_string().into_bytes()]
    }
}
