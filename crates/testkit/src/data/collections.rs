//! Lists, sets, hashes and sorted sets, small and large.

use anyhow::Result;

use super::Filler;
use crate::wire::send;

/// Members of a large collection: past the limits of the compact encodings (128 to 512).
const LARGE: std::ops::Range<u64> = 1_500..4_000;
const SMALL: std::ops::Range<u64> = 1..12;
/// Arguments in one command.
const CHUNK: usize = 500;

impl Filler {
    fn count(&mut self, large: bool) -> u64 {
        let range = if large { LARGE } else { SMALL };
        self.rng.range(range.start, range.end)
    }

    /// A member: a number, a text, random bytes, and rarely one that is too long for the compact encodings.
    fn member(&mut self, i: u64) -> Vec<u8> {
        match self.rng.below(50) {
            0 => format!("{i}:{}", "long".repeat(30)).into_bytes(),
            1..15 => self.number().to_string().into_bytes(),
            15..20 => self.rng.bytes(12),
            _ => format!("{i}:{}", self.rng.below(1000)).into_bytes(),
        }
    }

    fn many(&mut self, command: &str, key: &[u8], items: &[Vec<u8>]) -> Result<()> {
        for chunk in items.chunks(CHUNK) {
            let mut args = vec![command.as_bytes(), key];
            args.extend(chunk.iter().map(|item| &item[..]));
            self.wire.command(&args)?;
        }
        Ok(())
    }

    pub(super) fn list(&mut self, key: &[u8], large: bool) -> Result<()> {
        let mut items: Vec<Vec<u8>> = (0..self.count(large)).map(|i| self.member(i)).collect();
        if large {
            // Too large for a node with others, and one that can be compressed.
            items.push(self.rng.bytes(20_000));
            items.push(self.text(30_000));
        }
        self.many("RPUSH", key, &items)
    }

    pub(super) fn list_of_numbers(&mut self, key: &[u8], large: bool) -> Result<()> {
        let items: Vec<Vec<u8>> = (0..self.count(large)).map(|_| self.number().to_string().into_bytes()).collect();
        self.many("LPUSH", key, &items)
    }

    pub(super) fn set_of_numbers(&mut self, key: &[u8], large: bool) -> Result<()> {
        // One width for the whole set in two of three cases, so that all widths of the integer encoding occur.
        let limit = [1 << 15, 1 << 31, i64::MAX as u64][self.rng.below(3) as usize];
        // Up to 512 stay integers.
        let count = if large { self.rng.range(300, 900) } else { self.count(false) };
        let items: Vec<Vec<u8>> = (0..count).map(|_| self.rng.below(limit).to_string().into_bytes()).collect();
        self.many("SADD", key, &items)
    }

    pub(super) fn set(&mut self, key: &[u8], large: bool) -> Result<()> {
        let items: Vec<Vec<u8>> = (0..self.count(large)).map(|i| self.member(i)).collect();
        self.many("SADD", key, &items)
    }

    pub(super) fn hash(&mut self, key: &[u8], large: bool) -> Result<()> {
        let mut items = Vec::new();
        for i in 0..self.count(large) {
            items.push(format!("f{i}").into_bytes());
            items.push(self.member(i));
        }
        self.many("HMSET", key, &items)?;
        if self.features.has("HPEXPIRE") && self.rng.one_in(3) {
            let far = self.rng.range(1_000_000, 1_000_000_000).to_string();
            send!(self.wire, "HPEXPIRE", key, far, "FIELDS", "1", "f0")?;
            if items.len() > 4 && self.rng.one_in(3) {
                let near = self.rng.range(500, 60_000).to_string();
                send!(self.wire, "HPEXPIRE", key, near, "FIELDS", "1", "f1")?;
            }
        }
        Ok(())
    }

    pub(super) fn zset(&mut self, key: &[u8], large: bool) -> Result<()> {
        let mut items = Vec::new();
        for i in 0..self.count(large) {
            items.push(self.score().into_bytes());
            items.push(self.member(i));
        }
        self.many("ZADD", key, &items)
    }

    pub(super) fn geo(&mut self, key: &[u8], large: bool) -> Result<()> {
        if !self.features.has("GEOADD") {
            return self.zset(key, large);
        }
        let mut items = Vec::new();
        for i in 0..self.count(large) {
            items.push(format!("{}.{}", self.rng.below(180), self.rng.below(1_000_000)).into_bytes());
            items.push(format!("-{}.{}", self.rng.below(85), self.rng.below(1_000_000)).into_bytes());
            items.push(format!("place {i}").into_bytes());
        }
        for chunk in items.chunks(3 * 100) {
            self.many("GEOADD", key, chunk)?;
        }
        Ok(())
    }
}
