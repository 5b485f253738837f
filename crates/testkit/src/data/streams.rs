//! Streams with groups, consumers, pending, acknowledged and deleted entries.

use anyhow::Result;

use super::Filler;
use crate::wire::send;

/// Milliseconds of the first id. Ids are given, not taken from the clock, so that two runs write the same.
const FIRST: u64 = 1_600_000_000_000;

impl Filler {
    pub(super) fn stream(&mut self, key: &[u8], large: bool) -> Result<()> {
        if !self.features.has("XADD") {
            return self.list(key, large);
        }
        let count = if large { self.rng.range(1_000, 3_000) } else { self.rng.range(1, 15) };
        let mut ids = Vec::new();
        let mut ms = FIRST;
        for i in 0..count {
            // Several entries in one millisecond, and gaps of all sizes.
            ms += [0, 1, 1, 1000, 90_000][self.rng.below(5) as usize];
            let id = format!("{ms}-{}", i + 1);
            let value = self.member_of_entry(i);
            if self.rng.one_in(4) {
                send!(self.wire, "XADD", key, id, "other", value, "fields", "here", "", "empty")?;
            } else {
                send!(self.wire, "XADD", key, id, "same", value, "field", "v")?;
            }
            ids.push(id);
        }
        for group in 0..self.rng.below(4) {
            self.group(key, &format!("group {group}"), &ids)?;
        }
        for id in &ids {
            if self.rng.one_in(6) {
                send!(self.wire, "XDEL", key, id)?;
            }
        }
        if self.rng.one_in(10) {
            let keep = self.rng.below(count).to_string();
            send!(self.wire, "XTRIM", key, "MAXLEN", keep)?;
        }
        Ok(())
    }

    /// A group whose consumers have read a part, acknowledged some of it, and passed some on.
    fn group(&mut self, key: &[u8], group: &str, ids: &[String]) -> Result<()> {
        let start = ["0", "$"][self.rng.below(2) as usize];
        send!(self.wire, "XGROUP", "CREATE", key, group, start)?;
        for consumer in ["alice", "bob\r\n\0", "carol"] {
            if self.rng.one_in(3) {
                continue;
            }
            let read = self.rng.range(1, 2 + ids.len() as u64 / 3).to_string();
            send!(self.wire, "XREADGROUP", "GROUP", group, consumer, "COUNT", read, "STREAMS", key, ">")?;
        }
        // What was not delivered is ignored by both.
        for id in ids {
            if self.rng.one_in(3) {
                send!(self.wire, "XACK", key, group, id)?;
            } else if self.rng.one_in(5) {
                send!(self.wire, "XCLAIM", key, group, "dave", "0", id, "RETRYCOUNT", "7")?;
            }
        }
        if self.features.has("XAUTOCLAIM") && self.rng.one_in(3) {
            send!(self.wire, "XGROUP", "CREATECONSUMER", key, group, "idle")?;
        }
        Ok(())
    }

    fn member_of_entry(&mut self, i: u64) -> Vec<u8> {
        match self.rng.below(10) {
            0 => self.rng.bytes(20),
            1 => self.text(200),
            2..5 => self.number().to_string().into_bytes(),
            _ => i.to_string().into_bytes(),
        }
    }
}
