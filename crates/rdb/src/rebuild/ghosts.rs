//! Entries that are pending in a group though the stream has them no more.
//!
//! `XCLAIM` makes no pending entry of what the stream does not have (t_stream.c xclaimCommand, from Redis 5.0 on), so such an
//! entry is added in its place, claimed, and deleted again: what is pending stays so. A dump has the entries before what is
//! pending, so that their IDs must be known from a first pass over the value.

use super::{
    Rebuilder,
    command::{self, argument, digits, header, id},
};
use crate::{
    object::{Element, StreamId},
    wire::offset,
};

/// IDs of the pending entries of a stream, from a first pass over its elements. Takes 16 bytes for each.
#[derive(Debug, Clone, Default)]
pub struct PendingIds {
    ids: Vec<StreamId>,
}

impl PendingIds {
    /// Notes the ID of a pending entry; other elements are passed over.
    pub fn note(&mut self, element: &Element<'_>) {
        if let Element::Pending { id, .. } = element {
            self.ids.push(*id);
        }
    }

    /// Number of IDs; an entry that is pending in several groups counts for each.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// What is known of the entries that are pending and gone.
#[derive(Default)]
pub(super) struct Ghosts {
    /// Pending entries in rising order, gone or not; those behind `next` were not yet come past.
    pending: Vec<StreamId>,
    next: usize,
    /// Entries added in front of all others: they are trimmed away, which leaves no trace.
    front: u64,
    /// Entries added between or behind others.
    middle: Vec<StreamId>,
}

impl Ghosts {
    /// The next entry that is pending, below `at` and not in the stream.
    fn below(&mut self, at: StreamId) -> Option<StreamId> {
        let found = self.pending.get(self.next).copied().filter(|&id| id < at)?;
        self.next = self.next.saturating_add(1);
        Some(found)
    }

    /// Entries that are in the stream for a while.
    pub(super) fn count(&self) -> u64 {
        self.front.saturating_add(offset(self.middle.len()))
    }
}

impl Rebuilder {
    /// Makes pending entries also of those that the stream has no more. During the rebuild the stream has them, with a field
    /// of one byte.
    #[must_use]
    pub fn with_pending(mut self, pending: PendingIds) -> Self {
        let mut ids = pending.ids;
        ids.sort_unstable();
        ids.dedup();
        self.stream.ghosts = Ghosts { pending: ids, ..Ghosts::default() };
        self
    }

    /// Adds what is pending and gone before `at`, which the stream has.
    pub(super) fn add_ghosts(&mut self, at: StreamId, out: &mut Vec<u8>) {
        self.add_ghosts_below(at, out);
        let ghosts = &mut self.stream.ghosts;
        if ghosts.pending.get(ghosts.next) == Some(&at) {
            ghosts.next = ghosts.next.saturating_add(1);
        }
    }

    /// Adds what is pending and gone behind the last entry, up to the last ID of the stream.
    pub(super) fn add_last_ghosts(&mut self, last_id: StreamId, out: &mut Vec<u8>) {
        // IDs end at the greatest, which only a ruined stream has.
        self.add_ghosts_below(StreamId { ms: last_id.ms, seq: last_id.seq.saturating_add(1) }, out);
    }

    fn add_ghosts_below(&mut self, at: StreamId, out: &mut Vec<u8>) {
        while let Some(ghost) = self.stream.ghosts.below(at) {
            self.command(out, &[b"XADD", &[], &id(ghost), b"x", b"y"]);
            self.stream.last = ghost;
            if self.stream.entries == 0 {
                self.stream.ghosts.front = self.stream.ghosts.front.saturating_add(1);
            } else {
                self.stream.ghosts.middle.push(ghost);
            }
        }
    }

    /// Deletes what was added here, and says again what the stream knows of its past.
    pub(super) fn remove_ghosts(&mut self, out: &mut Vec<u8>) {
        let ghosts = std::mem::take(&mut self.stream.ghosts);
        if ghosts.count() == 0 {
            return;
        }
        if ghosts.front > 0 {
            let keep = self.stream.entries.saturating_add(offset(ghosts.middle.len()));
            self.command(out, &[b"XTRIM", &[], b"MAXLEN", &digits(keep)]);
        }
        for some in ghosts.middle.chunks(self.plan.batch_elements.max(1)) {
            header(out, offset(some.len()).saturating_add(2));
            argument(out, b"XDEL");
            argument(out, &self.key);
            for &ghost in some {
                argument(out, &command::id(ghost));
            }
            self.commands = self.commands.saturating_add(1);
        }
        if let Some(info) = self.stream.info.filter(|_| self.target.stream_history) {
            self.set_history(info, out);
        }
    }
}
