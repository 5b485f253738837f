//! Transactions and scripts: what must arrive as a whole, and what decides by chance or by the clock.

use anyhow::Result;

use super::mix::Mix;
use crate::wire::send;

const SEVERAL: &str = "redis.call('SET', KEYS[1], ARGV[1]) redis.call('RPUSH', KEYS[2], ARGV[1], ARGV[1])
redis.call('LTRIM', KEYS[2], -50, -1) return redis.call('INCR', KEYS[3])";

/// Moves a member that the server chooses. Before 5.0 a script must ask for its effects to be replicated.
const BY_CHANCE: &str = "if redis.replicate_commands then redis.replicate_commands() end
local m = redis.call('SPOP', KEYS[1])
if m then redis.call('SADD', KEYS[2], m) redis.call('HSET', KEYS[3], 'last', m) end return m";

const BY_CLOCK: &str = "if redis.replicate_commands then redis.replicate_commands() end
local t = redis.call('TIME') redis.call('ZADD', KEYS[1], t[1] + t[2] / 1000000, ARGV[1])
redis.call('SET', KEYS[2], t[1] .. '.' .. t[2], 'PX', 2000) return t[1]";

impl Mix {
    pub(super) fn transaction(&mut self) -> Result<()> {
        send!(self.wire, "MULTI")?;
        match self.rng.below(4) {
            0 => {
                // Also across databases; after EXEC the connection is back where it was.
                let other = self.rng.below(16).to_string();
                send!(self.wire, "INCR", self.key("number"))?;
                send!(self.wire, "SELECT", other)?;
                send!(self.wire, "SET", self.key("text"), self.value())?;
                send!(self.wire, "SELECT", self.db.to_string())?;
            }
            1 => {
                send!(self.wire, "RPOPLPUSH", self.key("list"), self.key("list"))?;
                send!(self.wire, "SPOP", self.key("set"))?;
                send!(self.wire, "SET", self.key("short"), self.value(), "PX", "700")?;
            }
            // Nothing that changes data.
            2 if self.rng.one_in(3) => send!(self.wire, "GET", self.key("text"))?,
            _ => {
                for _ in 0..self.rng.range(2, 8) {
                    match self.rng.below(4) {
                        0 => self.hash()?,
                        1 => self.zset()?,
                        2 => self.number()?,
                        _ => self.string()?,
                    }
                }
            }
        }
        if self.rng.one_in(20) { send!(self.wire, "DISCARD") } else { send!(self.wire, "EXEC") }
    }

    pub(super) fn script(&mut self) -> Result<()> {
        match self.rng.below(3) {
            0 if self.features.at_least(3, 2) => {
                send!(self.wire, "EVAL", BY_CHANCE, "3", self.key("set"), self.key("set"), self.key("hash"))
            }
            1 if self.features.at_least(3, 2) => {
                send!(self.wire, "EVAL", BY_CLOCK, "2", self.key("zset"), self.key("short"), self.member())
            }
            _ => {
                let value = self.value();
                send!(self.wire, "EVAL", SEVERAL, "3", self.key("text"), self.key("list"), self.key("number"), value)
            }
        }
    }
}
