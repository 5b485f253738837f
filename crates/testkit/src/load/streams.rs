//! Streams: appended, trimmed, read by groups, acknowledged, claimed, deleted.
//!
//! Ids that only the server knows are taken from it by small scripts. The keys of this family are never deleted, since
//! their groups would go with them.

use anyhow::Result;

use super::mix::Mix;
use crate::wire::send;

/// Streams are in the databases below this one only; elsewhere the turn goes to lists.
const DATABASES: u64 = 4;
/// Streams in each of these databases.
const KEYS: u64 = 5;
const GROUPS: [&str; 2] = ["first", "second"];

const DELETE: &str = "local e = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 3)
for _, entry in ipairs(e) do redis.call('XDEL', KEYS[1], entry[1]) end return #e";
const ACKNOWLEDGE: &str = "local e = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 5)
for _, entry in ipairs(e) do redis.call('XACK', KEYS[1], ARGV[1], entry[1]) end return #e";
const CLAIM: &str = "local e = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 2)
for _, entry in ipairs(e) do redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1]) end return #e";

impl Mix {
    pub(super) fn prepare_streams(&mut self) -> Result<()> {
        if !self.features.has("XADD") {
            return Ok(());
        }
        for db in 0..DATABASES {
            send!(self.wire, "SELECT", db.to_string())?;
            for key in 0..KEYS {
                for group in GROUPS {
                    send!(self.wire, "XGROUP", "CREATE", format!("load:stream:{key}"), group, "0", "MKSTREAM")?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn stream(&mut self) -> Result<()> {
        if !self.features.has("XADD") || self.db >= DATABASES {
            return self.list();
        }
        let key = format!("load:stream:{}", self.rng.below(KEYS));
        let group = GROUPS[self.rng.below(2) as usize];
        let consumer = format!("consumer {}", self.rng.below(3));
        match self.rng.below(16) {
            0..5 => send!(self.wire, "XADD", key, "*", "field", self.value()),
            5 => send!(self.wire, "XADD", key, "MAXLEN", "~", "500", "*", "a", self.value(), "b", "2"),
            6 => send!(self.wire, "XTRIM", key, "MAXLEN", "800"),
            7..10 => send!(self.wire, "XREADGROUP", "GROUP", group, consumer, "COUNT", "4", "STREAMS", key, ">"),
            10 => send!(self.wire, "XREADGROUP", "GROUP", group, consumer, "COUNT", "2", "NOACK", "STREAMS", key, ">"),
            11 | 12 => send!(self.wire, "EVAL", ACKNOWLEDGE, "1", key, group),
            13 => send!(self.wire, "EVAL", CLAIM, "1", key, group, consumer),
            14 if self.features.has("XAUTOCLAIM") => {
                send!(self.wire, "XAUTOCLAIM", key, group, consumer, "0", "0", "COUNT", "3")
            }
            _ => send!(self.wire, "EVAL", DELETE, "1", key),
        }
    }
}
