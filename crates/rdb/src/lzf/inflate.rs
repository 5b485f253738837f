//! Decompression in pieces, for strings that should not be in memory at once.
//!
//! References reach back 8 KiB at most, so that is all that is kept of what was handed out.

use super::{MAX_GROWTH, step};
use crate::{error::Error, wire::offset};

/// How far back a reference can reach: 13 bits and one.
const WINDOW: usize = 8 << 10;

/// A compressed string on its way.
#[derive(Debug, Clone)]
pub(crate) struct Inflater {
    /// What references may reach, then what was not yet handed out.
    out: Vec<u8>,
    /// Bytes of `out` that were handed out.
    taken: usize,
    /// Bytes of the string that are still to be written to `out`.
    left: u64,
    /// Compressed bytes still to be read.
    packed_left: u64,
    /// Compressed bytes read.
    read: u64,
    chunk: usize,
}

impl Inflater {
    /// For a string of `len` bytes, compressed to `packed` bytes, to be handed out in pieces of `chunk` bytes.
    ///
    /// # Errors
    /// [`Error::Lzf`] where so few bytes cannot hold such a string.
    pub(crate) fn new(packed: u64, len: u64, chunk: usize) -> Result<Self, Error> {
        if len > packed.saturating_mul(offset(MAX_GROWTH)) {
            return Err(Error::Lzf { expected: "a length that the compressed bytes can hold", at: 0 });
        }
        Ok(Self { out: Vec::new(), taken: 0, left: len, packed_left: packed, read: 0, chunk })
    }

    /// Reads from `input`, the compressed bytes that follow those read before, until a piece is there or more are needed;
    /// gives the number of bytes read.
    ///
    /// # Errors
    /// [`Error::Lzf`], counted from the first compressed byte.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<usize, Error> {
        if self.taken > WINDOW.saturating_add(self.chunk) {
            let old = self.taken.saturating_sub(WINDOW);
            self.out.drain(..old);
            self.taken = WINDOW;
        }
        let whole = usize::try_from(self.packed_left).is_ok_and(|left| left <= input.len());
        let input =
            if whole { input.get(..usize::try_from(self.packed_left).unwrap_or(0)).unwrap_or(input) } else { input };
        let mut rest = input;
        while !rest.is_empty() && self.waiting() < self.chunk && (whole || rest.len() >= instruction_len(rest)) {
            let at = self.read.saturating_add(offset(input.len().saturating_sub(rest.len())));
            let before = self.out.len();
            let end = before.saturating_add(usize::try_from(self.left).unwrap_or(usize::MAX));
            rest = step(rest, 0, end, &mut self.out).map_err(|expected| Error::Lzf { expected, at })?;
            self.left = self.left.saturating_sub(offset(self.out.len().saturating_sub(before)));
        }
        let used = input.len().saturating_sub(rest.len());
        self.read = self.read.saturating_add(offset(used));
        self.packed_left = self.packed_left.saturating_sub(offset(used));
        if self.packed_left == 0 && self.left > 0 {
            return Err(Error::Lzf { expected: "as many bytes as announced", at: self.read });
        }
        Ok(used)
    }

    /// The next piece, where it is there: of the full size, except the last.
    pub(crate) fn take(&mut self) -> Option<std::ops::Range<usize>> {
        let waiting = self.waiting();
        if waiting < self.chunk && (self.packed_left > 0 || waiting == 0) {
            return None;
        }
        let start = self.taken;
        self.taken = start.saturating_add(waiting.min(self.chunk));
        Some(start..self.taken)
    }

    /// The bytes of a piece that was taken last.
    pub(crate) fn piece(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.out.get(range).unwrap_or_default()
    }

    /// Compressed bytes read so far.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Whether everything was read and handed out.
    pub(crate) fn is_finished(&self) -> bool {
        self.packed_left == 0 && self.waiting() == 0
    }

    /// Bytes of memory held.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.out.capacity()
    }

    fn waiting(&self) -> usize {
        self.out.len().saturating_sub(self.taken)
    }
}

/// Bytes of the instruction at the start of `rest`, or more than there are.
fn instruction_len(rest: &[u8]) -> usize {
    match rest.first() {
        Some(&control) if control < 32 => usize::from(control).saturating_add(2),
        Some(&control) if control >> 5 == 7 => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lzf::tests::compress;

    /// Decompresses `packed` as it arrives in pieces.
    fn inflate(packed: &[u8], len: usize, chunk: usize, cut: usize) -> Result<Vec<u8>, Error> {
        let mut inflater = Inflater::new(packed.len() as u64, len as u64, chunk)?;
        let (mut out, mut start, mut end) = (Vec::new(), 0, 0);
        while !inflater.is_finished() {
            start += inflater.feed(&packed[start..end])?;
            assert!(inflater.out.len() <= 2 * (WINDOW + chunk + 264));
            match inflater.take() {
                Some(range) => {
                    let piece = inflater.piece(range);
                    assert!(piece.len() == chunk || inflater.is_finished());
                    out.extend(piece);
                }
                None => end = packed.len().min(end + cut),
            }
        }
        Ok(out)
    }

    proptest! {
        #[test]
        fn pieces_add_up_to_the_whole(src in prop::collection::vec(0..4_u8, 1..900), times in 1..40_usize, chunk in 1..3000_usize, cut in 1..500_usize) {
            let packed = compress(&src);
            prop_assert_eq!(inflate(&packed, src.len(), chunk, cut), Ok(src.clone()));
            // Far more than the window: many copies, each compressed alone.
            let packed = packed.repeat(times);
            prop_assert_eq!(inflate(&packed, src.len() * times, chunk, cut), Ok(src.repeat(times)));
        }

        #[test]
        fn any_bytes_give_what_decompress_gives(src in prop::collection::vec(any::<u8>(), 1..300), len in 1..3000_usize, cut in 1..300_usize) {
            let mut whole = Vec::new();
            let expected = crate::lzf::decompress(&src, len, &mut whole).map(|()| whole);
            prop_assert_eq!(inflate(&src, len, 100, cut), expected);
        }
    }
}
