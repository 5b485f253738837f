//! The largest keys of a dump.

use std::{cmp::Reverse, collections::BinaryHeap};

use keyferry_rdb::ValueType;

use crate::rdb_tool::walk::Found;

/// Bytes of a key that are kept: enough to recognise it.
const KEY: usize = 1024;

/// A key among the largest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Large {
    /// Bytes in the file.
    pub(super) bytes: u64,
    pub(super) db: u32,
    /// Its first bytes, where it is very long.
    pub(super) key: Vec<u8>,
    /// Whether `key` is not all of it.
    pub(super) cut: bool,
    pub(super) kind: ValueType,
    /// Offset in the file.
    pub(super) at: u64,
}

impl Large {
    /// The largest first; of equals the one that stands first in the file.
    fn rank(&self) -> (u64, Reverse<u64>) {
        (self.bytes, Reverse(self.at))
    }
}

impl Ord for Large {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Large {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The largest of all keys that were added.
pub(super) struct Top {
    most: usize,
    /// The smallest of them on top.
    heap: BinaryHeap<Reverse<Large>>,
    /// What a key must exceed once there are enough.
    above: u64,
}

impl Top {
    pub(super) fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::new(), above: 0 }
    }

    #[inline]
    pub(super) fn add(&mut self, found: &Found, bytes: u64) {
        if bytes > self.above {
            self.insert(found, bytes);
        }
    }

    fn insert(&mut self, found: &Found, bytes: u64) {
        if self.most == 0 {
            self.above = u64::MAX;
            return;
        }
        if self.heap.len() == self.most {
            self.heap.pop();
        }
        let key = found.key.get(..KEY).unwrap_or(&found.key).to_vec();
        let cut = key.len() < found.key.len();
        self.heap.push(Reverse(Large { bytes, db: found.db, key, cut, kind: found.kind, at: found.at }));
        if self.heap.len() == self.most {
            self.above = self.heap.peek().map_or(0, |smallest| smallest.0.bytes);
        }
    }

    /// The largest first.
    pub(super) fn sorted(&self) -> Vec<&Large> {
        let mut all: Vec<_> = self.heap.iter().map(|large| &large.0).collect();
        all.sort_by(|a, b| b.cmp(a));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_and_of_equals_the_first() {
        let mut top = Top::new(3);
        for (at, bytes) in [5, 9, 1, 9, 7, 9, 2, 9].into_iter().enumerate() {
            let (key, at) = (vec![b'k'; 2000], at as u64);
            top.add(&Found { db: 0, key, kind: ValueType::STRING, expire_ms: None, at, value_at: at }, bytes);
        }
        let found: Vec<_> =
            top.sorted().into_iter().map(|large| (large.bytes, large.at, large.key.len(), large.cut)).collect();
        assert_eq!(found, [(9, 1, KEY, true), (9, 3, KEY, true), (9, 5, KEY, true)]);
    }

    #[test]
    fn none_are_wanted() {
        let mut top = Top::new(0);
        top.add(&Found { db: 0, key: vec![], kind: ValueType::STRING, expire_ms: None, at: 0, value_at: 0 }, 1);
        assert!(top.sorted().is_empty());
    }
}
