//! Lists, sets, hashes and sorted sets that grow and shrink.

use anyhow::Result;

use super::mix::Mix;
use crate::wire::send;

impl Mix {
    pub(super) fn list(&mut self) -> Result<()> {
        let (key, value) = (self.key("list"), self.value());
        match self.rng.below(14) {
            0..4 => send!(self.wire, "RPUSH", key, value, self.member()),
            4 => send!(self.wire, "LPUSH", key, value),
            5..8 => send!(self.wire, "LPOP", key),
            8 => send!(self.wire, "RPOP", key),
            9 if self.features.has("LMOVE") => {
                send!(self.wire, "LMOVE", key, self.key("list"), "LEFT", ["LEFT", "RIGHT"][self.rng.below(2) as usize])
            }
            10 => send!(self.wire, "RPOPLPUSH", key, self.key("list")),
            11 => send!(self.wire, "LREM", key, "1", self.member()),
            12 => send!(self.wire, "LINSERT", key, "BEFORE", self.member(), value),
            _ => send!(self.wire, "LTRIM", key, "0", "99"),
        }
    }

    pub(super) fn set(&mut self) -> Result<()> {
        let (key, member) = (self.key("set"), self.member());
        match self.rng.below(12) {
            0..5 => send!(self.wire, "SADD", key, member, self.rng.below(100).to_string()),
            5 | 6 => send!(self.wire, "SREM", key, member),
            7 | 8 => send!(self.wire, "SPOP", key),
            9 if self.features.at_least(3, 2) => send!(self.wire, "SPOP", key, "3"),
            10 => send!(self.wire, "SMOVE", key, self.key("set"), member),
            _ => send!(self.wire, "SUNIONSTORE", key, self.key("set"), self.key("set")),
        }
    }

    pub(super) fn hash(&mut self) -> Result<()> {
        let (key, field) = (self.key("hash"), self.member());
        match self.rng.below(12) {
            0..4 => send!(self.wire, "HSET", key, field, self.value()),
            4 => send!(self.wire, "HMSET", key, field, self.value(), "fixed", "1"),
            5..7 => send!(self.wire, "HINCRBY", key, "count", self.rng.below(100).to_string()),
            7 => send!(self.wire, "HINCRBYFLOAT", key, "sum", "0.25"),
            8 | 9 => send!(self.wire, "HDEL", key, field),
            10 if self.features.has("HPEXPIRE") => {
                let ms = self.rng.range(50, 100_000).to_string();
                send!(self.wire, "HPEXPIRE", key, ms, "FIELDS", "1", field)
            }
            _ => send!(self.wire, "HSETNX", key, field, self.value()),
        }
    }

    pub(super) fn zset(&mut self) -> Result<()> {
        let (key, member) = (self.key("zset"), self.member());
        let score = format!("{}.{}", self.rng.below(1000), self.rng.below(1000));
        match self.rng.below(14) {
            0..4 => send!(self.wire, "ZADD", key, score, member),
            4 => send!(self.wire, "ZADD", key, "inf", member, "-3", self.member()),
            5..8 => send!(self.wire, "ZINCRBY", key, score, format!("n{member}")),
            8 => send!(self.wire, "ZREM", key, member),
            9 if self.features.has("ZPOPMIN") => send!(self.wire, "ZPOPMIN", key),
            10 => send!(self.wire, "ZREMRANGEBYRANK", key, "100", "-1"),
            11 => send!(self.wire, "ZINTERSTORE", self.key("zset"), "2", key, self.key("zset"), "AGGREGATE", "MAX"),
            12 if self.features.has("ZRANGESTORE") => {
                send!(self.wire, "ZRANGESTORE", self.key("zset"), key, "0", "20")
            }
            13 if self.features.at_least(3, 2) => send!(self.wire, "ZADD", key, "XX", "CH", score, member),
            _ => send!(self.wire, "ZADD", key, "-1e-3", member),
        }
    }
}
