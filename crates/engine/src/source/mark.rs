//! Where a snapshot ends and the stream begins, found in the bytes as they come.
//!
//! Invariant: the end is found when the last byte of the snapshot has been seen, whatever the decoder has done by then: a
//! link that is lost right behind it can be opened again.

use super::handshake::Framing;

/// Looks for the end of one snapshot.
pub(crate) struct SnapshotEnd {
    end: End,
    /// The last bytes that were seen: less than a mark.
    tail: Vec<u8>,
}

enum End {
    Length(u64),
    Mark(Box<Search>),
}

impl SnapshotEnd {
    pub(crate) fn new(framing: Framing) -> Self {
        let end = match framing {
            Framing::Length(len) => End::Length(len),
            Framing::Mark(mark) => End::Mark(Box::new(Search::new(mark))),
        };
        Self { end, tail: Vec::new() }
    }

    /// Looks at the bytes that begin at `position`; gives the position behind the snapshot, and its mark, when that is among
    /// them.
    pub(crate) fn find(&mut self, position: u64, bytes: &[u8]) -> Option<u64> {
        let end = position + bytes.len() as u64;
        let search = match &self.end {
            End::Length(len) => return (end >= *len).then_some(*len),
            End::Mark(search) => search,
        };
        // Across the border of two pieces first.
        let before = self.tail.len();
        self.tail.extend_from_slice(&bytes[..bytes.len().min(MARK - 1)]);
        if let Some(at) = search.find(&self.tail) {
            return Some(position - before as u64 + (at + MARK) as u64);
        }
        if let Some(at) = search.find(bytes) {
            return Some(position + (at + MARK) as u64);
        }
        if bytes.len() >= MARK - 1 {
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[bytes.len() - (MARK - 1)..]);
        } else {
            let all = self.tail.len();
            self.tail.drain(..all.saturating_sub(MARK - 1));
        }
        None
    }
}

/// Bytes of a mark.
const MARK: usize = 40;
/// Bytes of a mark that are looked at together.
const WORD: usize = 8;
/// Wherever a mark is, exactly one word at a multiple of this lies within it.
const STEP: usize = MARK - WORD + 1;

/// Finds a mark, looking at one word in 33 bytes: a snapshot is long, and a general search for a substring was seen to cost
/// a thirtieth of a full copy.
struct Search {
    mark: [u8; MARK],
    /// A bit for each hash of a word of the mark.
    words: [u64; 16],
}

impl Search {
    fn new(mark: [u8; MARK]) -> Self {
        let mut words = [0; 16];
        for word in mark.windows(WORD) {
            let hash = hash(word);
            words[hash / 64] |= 1 << (hash % 64);
        }
        Self { mark, words }
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        (0..bytes.len().saturating_sub(WORD - 1)).step_by(STEP).find_map(|at| {
            let hash = hash(&bytes[at..at + WORD]);
            if self.words[hash / 64] >> (hash % 64) & 1 == 0 {
                return None;
            }
            let from = at.saturating_sub(STEP - 1);
            let around = &bytes[from..bytes.len().min(at + MARK)];
            around.windows(MARK).position(|window| window == self.mark).map(|i| from + i)
        })
    }
}

/// Less than 1024. Spreads words that differ in a few bits.
fn hash(word: &[u8]) -> usize {
    let word = word.try_into().map_or(0, u64::from_le_bytes);
    (word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_wherever_it_is_cut() {
        let mark = *b"0123456789abcdef0123456789abcdef01234567";
        let mut bytes = b"snapshot 0123456789abcdef0123456789abcdef0123456".to_vec();
        bytes.extend(mark);
        let end = bytes.len() as u64;
        bytes.extend(b"*1\r\n$4\r\nPING\r\n");
        for step in 1..bytes.len() {
            let mut search = SnapshotEnd::new(Framing::Mark(mark));
            let mut position = 100;
            let found = bytes.chunks(step).find_map(|piece| {
                position += piece.len() as u64;
                search.find(position - piece.len() as u64, piece)
            });
            assert_eq!(found, Some(100 + end), "in pieces of {step}");
        }
    }

    #[test]
    fn a_mark_is_found_at_every_place() {
        let mark = *b"fa91c53e0d7b2486fa91c53e0d7b2486abcdef01";
        let search = Search::new(mark);
        // As much like the mark as it gets.
        let noise: Vec<u8> = mark.iter().cycle().skip(8).take(150).copied().collect();
        for at in 0..=noise.len() {
            let (before, behind) = noise.split_at(at);
            let bytes = [before, &mark, behind].concat();
            let expected = bytes.windows(MARK).position(|window| window == mark);
            assert_eq!(search.find(&bytes), expected, "at {at}");
            assert_eq!(search.find(&bytes[..at + MARK - 1]), expected.filter(|found| *found < at), "cut off at {at}");
        }
        assert_eq!(search.find(&noise[..31]), None);
    }

    #[test]
    fn a_length_is_known() {
        let mut search = SnapshotEnd::new(Framing::Length(10));
        assert_eq!(search.find(0, &[0; 9]), None);
        assert_eq!(search.find(9, &[0; 5]), Some(10));
    }
}
