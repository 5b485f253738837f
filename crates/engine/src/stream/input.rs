//! Received bytes that wait to be decoded, in one piece.

/// A buffer that is filled at its end and used up from its front.
///
/// It holds at most one item that is not complete yet and one chunk; the decoders bound the item.
#[derive(Default)]
pub(crate) struct Input {
    buf: Vec<u8>,
    start: usize,
}

/// What the buffer may keep when it is empty: a chunk and some more.
const KEEP: usize = 512 * 1024;

impl Input {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        if self.start == self.buf.len() {
            self.buf.clear();
            self.start = 0;
            if self.buf.capacity() > KEEP {
                self.buf = Vec::new();
            }
        } else if self.start > 0 && self.buf.len() + chunk.len() > self.buf.capacity() {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        if self.buf.len() > KEEP {
            // A large value: growing by doubling would hold twice as much.
            self.buf.reserve_exact((chunk.len()).max(self.buf.len() / 8));
        }
        self.buf.extend_from_slice(chunk);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buf[self.start..]
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.buf.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_not_consumed() {
        let mut input = Input::default();
        let mut expected = Vec::new();
        let mut next = 0u8;
        for round in 0..1000usize {
            let chunk: Vec<u8> = (0..round % 97)
                .map(|_| {
                    next = next.wrapping_add(1);
                    next
                })
                .collect();
            input.push(&chunk);
            expected.extend_from_slice(&chunk);
            assert_eq!(input.bytes(), expected);
            let used = expected.len() * (round % 5) / 4;
            input.consume(used);
            expected.drain(..used);
        }
        assert!(input.buf.capacity() <= KEEP);
    }
}
