//! Received bytes that wait to be decoded, in one piece.
//!
//! A chunk is decoded where it lies. Only an item that begins in one chunk and ends in another is put together, with some
//! of what follows it.

use bytes::{Buf as _, Bytes};

/// Chunks one behind the other, used up from the front.
///
/// It holds at most one item that is not complete yet and one chunk; the decoders bound the item.
#[derive(Default)]
pub(crate) struct Input {
    /// The beginning of an item that `chunk` goes on with, and then the first `copied` bytes of `chunk`. What is in front of
    /// `start` is used up. With nothing behind `start`, the next item begins in `chunk`.
    carry: Vec<u8>,
    start: usize,
    copied: usize,
    chunk: Bytes,
    /// What is shown has changed from `carry` to `chunk`, in which there is more.
    unseen: bool,
}

/// So much of a chunk is copied at first: most items are smaller.
const STEP: usize = 4 * 1024;
/// Memory that is kept when nothing is carried: a chunk and some more.
const KEEP: usize = 512 * 1024;

impl Input {
    /// Adds a chunk, when [`Input::more`] has said that there is nothing more.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
        if self.carries() {
            self.copy();
        }
    }

    /// Bytes from the start of the next item on; not always all.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.carries() { &self.carry[self.start..] } else { &self.chunk }
    }

    /// Shows more bytes of the item at the front. `false` when all that came are shown.
    pub(crate) fn more(&mut self) -> bool {
        if std::mem::take(&mut self.unseen) {
            return true;
        }
        if !self.carries() {
            self.carry.clear();
            self.start = 0;
            self.carry.extend_from_slice(&self.chunk);
        } else if self.copied < self.chunk.len() {
            self.copy();
            return true;
        }
        self.copied = 0;
        self.chunk = Bytes::new();
        false
    }

    pub(crate) fn consume(&mut self, n: usize) {
        if !self.carries() {
            self.chunk.advance(n);
            self.unseen = false;
            return;
        }
        self.start += n;
        let left = self.carry.len() - self.start;
        // The carried item is done: the rest is in the chunk too.
        if left <= self.copied {
            self.chunk.advance(self.copied - left);
            self.unseen = self.chunk.len() > left;
            self.copied = 0;
            self.start = 0;
            self.carry.clear();
            if self.carry.capacity() > KEEP {
                self.carry = Vec::new();
            }
        }
    }

    fn carries(&self) -> bool {
        self.start < self.carry.len()
    }

    /// Copies as much as is carried already.
    fn copy(&mut self) {
        let carried = self.carry.len() - self.start;
        let rest = &self.chunk[self.copied..];
        let piece = &rest[..rest.len().min(carried.max(STEP))];
        if self.start > 0 && self.carry.len() + piece.len() > self.carry.capacity() {
            self.carry.drain(..self.start);
            self.start = 0;
        }
        if self.carry.len() > KEEP {
            // A large value: growing by doubling would hold twice as much.
            self.carry.reserve_exact(piece.len().max(self.carry.len() / 8));
        }
        self.carry.extend_from_slice(piece);
        self.copied += piece.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items of `1..=max` bytes, in chunks of up to `chunk` bytes: all that have come are seen as a whole, once and in order.
    fn run(max: usize, chunk: usize) -> Input {
        let mut input = Input::default();
        let sent: Vec<u8> = (0..300_000u32).map(|n| (n / 251 + n % 251) as u8).collect();
        let item = |at: usize| 1 + at * 7919 % max;
        let mut at = 0;
        let mut left = sent.as_slice();
        for round in 0.. {
            let (piece, rest) = left.split_at(left.len().min(1 + round * 31 % chunk));
            left = rest;
            input.push(Bytes::copy_from_slice(piece));
            loop {
                let shown = input.bytes();
                assert_eq!(shown, &sent[at..at + shown.len()]);
                // As the decoders do: all items that are shown, and then one call.
                let mut used = 0;
                while used < shown.len() && shown.len() - used >= item(at + used) {
                    used += item(at + used);
                }
                input.consume(used);
                at += used;
                if !input.more() {
                    break;
                }
            }
            assert_eq!(input.bytes(), &sent[at..sent.len() - left.len()]);
            assert!(input.bytes().len() < item(at), "an item that has come is not seen");
            if left.is_empty() {
                break;
            }
        }
        input
    }

    #[test]
    fn every_byte_is_seen_once() {
        for max in [1, 2, 10, 100, 5000, 40_000] {
            for chunk in [1, 13, 4096, 10_000, 100_000] {
                if chunk > 1 || max < 1000 {
                    run(max, chunk);
                }
            }
        }
    }

    #[test]
    fn memory_of_a_large_item_is_given_back() {
        let mut input = Input::default();
        for _ in 0..20 {
            input.push(Bytes::from(vec![7; 100_000]));
            while input.more() {}
        }
        assert_eq!(input.bytes().len(), 2_000_000);
        input.consume(2_000_000);
        assert!(input.carry.capacity() <= KEEP);
    }
}
