//! Where a snapshot ends and the stream begins, found in the bytes as they come.
//!
//! Invariant: the end is found when the last byte of the snapshot has been seen, whatever the decoder has done by then: a
//! link that is lost right behind it can be opened again.

use memchr::memmem::Finder;

use super::handshake::Framing;

/// Looks for the end of one snapshot.
pub(crate) struct SnapshotEnd {
    framing: End,
    /// The last bytes that were seen: less than a mark.
    tail: Vec<u8>,
}

enum End {
    Length(u64),
    Mark(Box<Finder<'static>>),
}

impl SnapshotEnd {
    pub(crate) fn new(framing: Framing) -> Self {
        let framing = match framing {
            Framing::Length(len) => End::Length(len),
            Framing::Mark(mark) => End::Mark(Box::new(Finder::new(&mark).into_owned())),
        };
        Self { framing, tail: Vec::new() }
    }

    /// Looks at the bytes that begin at `position`; gives the position behind the snapshot, and its mark, when that is among
    /// them.
    pub(crate) fn find(&mut self, position: u64, bytes: &[u8]) -> Option<u64> {
        let end = position + bytes.len() as u64;
        let finder = match &self.framing {
            End::Length(len) => return (end >= *len).then_some(*len),
            End::Mark(finder) => finder,
        };
        let mark = finder.needle();
        // Across the border of two pieces first.
        let before = self.tail.len();
        self.tail.extend_from_slice(&bytes[..bytes.len().min(mark.len() - 1)]);
        if let Some(at) = finder.find(&self.tail) {
            return Some(position - before as u64 + (at + mark.len()) as u64);
        }
        if let Some(at) = finder.find(bytes) {
            return Some(position + (at + mark.len()) as u64);
        }
        if bytes.len() >= mark.len() - 1 {
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[bytes.len() - (mark.len() - 1)..]);
        } else {
            let all = self.tail.len();
            self.tail.drain(..all.saturating_sub(mark.len() - 1));
        }
        None
    }
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
    fn a_length_is_known() {
        let mut search = SnapshotEnd::new(Framing::Length(10));
        assert_eq!(search.find(0, &[0; 9]), None);
        assert_eq!(search.find(9, &[0; 5]), Some(10));
    }
}
