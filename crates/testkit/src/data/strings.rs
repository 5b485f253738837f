//! Strings, and what is built on them: bitmaps and HyperLogLog.

use anyhow::Result;

use super::Filler;
use crate::wire::send;

impl Filler {
    /// A number, an empty string, a short text, or one right at the limit of the embedded encoding.
    pub(super) fn short_string(&mut self, key: &[u8]) -> Result<()> {
        let value = match self.rng.below(8) {
            0..3 => self.number().to_string().into_bytes(),
            3 if self.rng.one_in(10) => Vec::new(),
            4 => {
                let len = self.rng.range(42, 48) as usize;
                self.rng.bytes(len)
            }
            _ => self.text(40),
        };
        send!(self.wire, "SET", key, value)
    }

    /// A text of some hundred bytes, or of a megabyte.
    pub(super) fn long_text(&mut self, key: &[u8], large: bool) -> Result<()> {
        let value = self.text(if large { 1 << 20 } else { 2_000 });
        send!(self.wire, "SET", key, value)
    }

    /// Random bytes, with line ends among them.
    pub(super) fn random_binary(&mut self, key: &[u8], large: bool) -> Result<()> {
        let len = self.rng.range(1, if large { 300_000 } else { 300 }) as usize;
        let mut value = self.rng.bytes(len);
        value.extend_from_slice(b"\r\n$3\r\n");
        send!(self.wire, "SET", key, value)
    }

    /// The same byte again and again, with a random tail: long matches for a compressor.
    pub(super) fn compressible(&mut self, key: &[u8], large: bool) -> Result<()> {
        let len = self.rng.range(21, if large { 500_000 } else { 600 }) as usize;
        let mut value = vec![b'a' + self.rng.below(26) as u8; len];
        self.rng.fill(&mut value, 5);
        send!(self.wire, "SET", key, value)
    }

    /// Bits far apart.
    pub(super) fn bitmap(&mut self, key: &[u8], large: bool) -> Result<()> {
        for _ in 0..self.rng.range(1, 6) {
            let bit = self.rng.below(if large { 4_000_000 } else { 2_000 });
            send!(self.wire, "SETBIT", key, bit.to_string(), "1")?;
        }
        Ok(())
    }

    /// Sparse, or with so many elements that it is dense.
    pub(super) fn hyperloglog(&mut self, key: &[u8], large: bool) -> Result<()> {
        if !self.features.has("PFADD") {
            return self.short_string(key);
        }
        for _ in 0..if large { 5_000 } else { self.rng.range(1, 20) } {
            let element = self.rng.bits().to_be_bytes();
            send!(self.wire, "PFADD", key, element)?;
        }
        Ok(())
    }
}
