//! What happens to a task that is worth keeping: few events, none of them for each key, command or batch.
//!
//! Invariant: what a database has brought is told before a position behind it is on its way to the target, so that it is not
//! forgotten when the process is killed. So is their sum, which shows whether one of them is not known. The next process may
//! tell them again, and then they are the same.

use std::sync::OnceLock;

use keyferry_keyspace::{Kind, ServerVersion};
use keyferry_model::{Error, Side};

use crate::CutoverReport;

/// What has happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// It is decided where the task begins.
    Begun(Begun),
    /// All of one database of the snapshot has been read, and is on its way.
    Read {
        /// Its number at the source.
        db: u32,
        /// Its number at the target.
        to: u32,
        /// What was chosen of it.
        counts: Counts,
    },
    /// All of the snapshot has been read, and is on its way.
    ReadAll {
        /// Keys of it that were chosen, over all processes: the sum of what the databases have brought.
        keys: u64,
    },
    /// The snapshot is on the target, which was not so before.
    Copied {
        /// Offset that is applied with it: where the stream begins, or behind that.
        offset: u64,
    },
    /// The target has lost a part of the snapshot that was on it. It is written again.
    FellBack,
    /// The connection to a side is lost, and is tried again.
    Lost(Side),
    /// It is decided again where the task begins, for this reason.
    Waiting(&'a Error),
    /// The target is the place to write.
    CutOver(&'a CutoverReport),
    /// A cut-over was undone, or refused.
    CutoverUndone(&'a Error),
}

/// Where a task begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Names the full copy: a number by chance; 0 for a file.
    pub copy: u64,
    /// Version of the source; `None` for a file.
    pub source: Option<ServerVersion>,
    /// Version of the target.
    pub target: ServerVersion,
    /// The offset that is on the target; within the snapshot where the stream begins.
    pub offset: u64,
    /// Something of the task is on the target already.
    pub resumed: bool,
    /// So is all of the snapshot.
    pub copied: bool,
    /// What has come of the present database of the snapshot is known.
    pub counted: bool,
}

/// Keys and bytes of a snapshot by type. Bytes are those of the keys and of their values as the snapshot has them, which may
/// be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts([(u64, u64); Kind::ALL.len()]);

impl Counts {
    /// Nothing.
    pub(crate) const NONE: Self = Self([(0, 0); Kind::ALL.len()]);
    /// Its length in a checkpoint.
    pub(crate) const LEN: usize = Kind::ALL.len() * 16;

    /// Keys and bytes of one type.
    pub fn of(&self, kind: Kind) -> (u64, u64) {
        self.0[kind as usize]
    }

    /// Nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    #[inline]
    pub(crate) fn add(&mut self, kind: Kind, bytes: u64) {
        let (keys, sum) = &mut self.0[kind as usize];
        *keys += 1;
        *sum += bytes;
    }

    /// Its bytes: keys and bytes of each type in the order of [`Kind::ALL`], each as 8 bytes, little endian.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for (keys, bytes) in self.0 {
            out.extend(keys.to_le_bytes());
            out.extend(bytes.to_le_bytes());
        }
    }

    /// Reads what [`Self::encode`] has written: numbers, taken one after the other.
    pub(crate) fn decode(mut number: impl FnMut() -> u64) -> Self {
        Self([(); Kind::ALL.len()].map(|()| (number(), number())))
    }
}

/// Who is told.
type Listen = Box<dyn Fn(Event<'_>) + Send + Sync>;

/// Who is told, once that is said.
#[derive(Default)]
pub(crate) struct Listener(OnceLock<Listen>);

impl Listener {
    /// The first one stays.
    pub(crate) fn set(&self, listen: Listen) {
        let _ = self.0.set(listen);
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        if let Some(listen) = self.0.get() {
            listen(event);
        }
    }
}
