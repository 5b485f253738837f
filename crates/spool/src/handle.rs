//! What can be asked of a log and released from anywhere.

use std::{sync::Arc, time::SystemTime};

use keyferry_keyspace::ReplId;

use crate::{head::Head, shared::Shared};

/// Why nothing more is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The limit of this log is reached: it goes on when something is released.
    Limit,
    /// The disk is full, in the words of the system: it goes on when there is room.
    Disk(String),
}

/// Whether the log takes bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It does.
    Flowing,
    /// It does not, and the writer waits. Nothing is lost by that.
    Full {
        /// When it began.
        since: SystemTime,
        /// Why.
        reason: Reason,
    },
}

/// What the reader has handed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records from memory.
    pub memory_records: u64,
    /// Records from files.
    pub disk_records: u64,
    /// Their bytes.
    pub disk_bytes: u64,
}

/// Asks about a log that is in use, and releases what is no longer needed.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    /// Names the log among all that there are: drawn at random when it began.
    pub fn id(&self) -> u64 {
        self.shared.log
    }

    /// What the log begins with.
    pub fn head(&self) -> &Head {
        &self.shared.head
    }

    /// Says that nothing in front of `position` will be read again, unless the target falls back. Segments that lie
    /// further in front of it than the margin are deleted, in the background. Never the one that holds `position`, and
    /// never one that the reader has not passed. An earlier position than before changes nothing.
    pub fn release(&self, position: u64) {
        let mut state = self.shared.lock();
        state.released = state.released.max(position.min(state.end));
        if state.release() {
            self.shared.work.notify_one();
        }
    }

    /// The first position that is kept.
    pub fn start(&self) -> u64 {
        self.shared.lock().segments.front().map_or(0, |segment| segment.base)
    }

    /// The position behind the last byte that was taken.
    pub fn end(&self) -> u64 {
        self.shared.lock().end
    }

    /// The position up to which the files hold everything. A process that is killed goes on from here.
    pub fn written(&self) -> u64 {
        let state = self.shared.lock();
        let first = (state.written_seq - state.front_seq()) as usize;
        state.records.get(first).map_or(state.end, |record| record.position)
    }

    /// The id of the lineage behind the last byte.
    pub fn replid(&self) -> ReplId {
        self.shared.lock().replid
    }

    /// Where the stream begins, when that has been noted.
    pub fn stream_from(&self) -> Option<u64> {
        self.shared.lock().stream_from
    }

    /// Bytes of all files, with what is on its way into them.
    pub fn used_bytes(&self) -> u64 {
        self.shared.lock().used
    }

    /// Bytes that are held in memory.
    pub fn memory_bytes(&self) -> usize {
        self.shared.lock().memory
    }

    /// The limit that `used_bytes` keeps.
    pub fn limit(&self) -> u64 {
        self.shared.lock().limits.max_bytes
    }

    /// Whether the log takes bytes.
    pub fn state(&self) -> State {
        let state = self.shared.lock();
        match (&state.disk_full, state.limit_reached) {
            (Some((since, what)), _) => State::Full { since: *since, reason: Reason::Disk(what.clone()) },
            (None, Some((since, _))) => State::Full { since, reason: Reason::Limit },
            (None, None) => State::Flowing,
        }
    }

    /// Waits until nothing touches the files any more, once the writer is gone. Only then the log can be opened or begun
    /// again.
    pub async fn ended(&self) {
        loop {
            let change = {
                let state = self.shared.lock();
                if state.ended {
                    return;
                }
                self.shared.change(state)
            };
            change.await;
        }
    }

    /// What the reader has handed out so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }
}
