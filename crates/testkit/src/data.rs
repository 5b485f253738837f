//! Data sets: the same call with the same seed writes the same keys and values.
//!
//! Expiries are the exception: they are set as a time from now.

mod bench;
mod collections;
mod mixed;
mod streams;
mod strings;

use anyhow::Result;
pub use bench::{fill_bench_mixed, fill_strings};
pub use mixed::fill_mixed;

use crate::{
    Rng,
    features::Features,
    wire::{Wire, send},
};

/// Where a generator writes.
struct Filler {
    wire: Wire,
    rng: Rng,
    features: Features,
}

impl Filler {
    fn connect(url: &str, seed: u64) -> Result<Self> {
        Ok(Self { wire: Wire::connect(url)?, rng: Rng::new(seed), features: Features::of(url)? })
    }

    /// Printable text of up to `max` bytes, short words that repeat: it can be compressed.
    fn text(&mut self, max: u64) -> Vec<u8> {
        const WORDS: [&str; 8] = ["ferry ", "key ", "north ", "south ", "river ", "load ", "deck ", "quay "];
        let len = self.rng.range(1, max.max(2)) as usize;
        let mut text = Vec::with_capacity(len + 8);
        while text.len() < len {
            text.extend_from_slice(WORDS[self.rng.below(8) as usize].as_bytes());
        }
        text.truncate(len);
        text
    }

    /// A signed number of any of the widths that servers encode differently.
    fn number(&mut self) -> i64 {
        let bits = [7, 8, 13, 15, 16, 24, 31, 32, 47, 63][self.rng.below(10) as usize];
        let number = (self.rng.bits() >> (64 - bits)) as i64;
        if self.rng.one_in(2) { -number } else { number }
    }

    /// A score: whole, fractional, negative, huge, tiny or infinite.
    fn score(&mut self) -> String {
        match self.rng.below(8) {
            0 => "inf".into(),
            1 => "-inf".into(),
            2 => format!("{}", self.rng.below(1000)),
            3 => format!("-{}", self.rng.below(1 << 60)),
            4 => format!("{:e}", f64::from_bits(self.rng.below(0x7fe0 << 48))),
            5 => format!("-0.{}", self.rng.below(1_000_000_000_000_000_000)),
            _ => format!("{}.{}", self.rng.below(100), self.rng.below(1000)),
        }
    }

    /// Gives a key an expiry: mostly far, sometimes near.
    fn expire(&mut self, key: &[u8]) -> Result<()> {
        let ms = match self.rng.below(20) {
            0 => self.rng.range(100, 5_000),
            1..4 => self.rng.range(5_000, 120_000),
            4..12 => self.rng.range(600_000, 86_400_000),
            _ => self.rng.range(86_400_000, 86_400_000 * 1000),
        };
        send!(self.wire, "PEXPIRE", key, ms.to_string())
    }
}
