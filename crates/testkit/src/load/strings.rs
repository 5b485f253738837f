//! Strings, numbers, bitmaps and keys that expire soon.

use anyhow::Result;

use super::mix::Mix;
use crate::wire::send;

impl Mix {
    pub(super) fn string(&mut self) -> Result<()> {
        let (key, value) = (self.key("text"), self.value());
        match self.rng.below(14) {
            0..5 => send!(self.wire, "SET", key, value),
            // Kept short by the SET of others.
            5 => send!(self.wire, "APPEND", key, value),
            6 => {
                let offset = self.rng.below(500).to_string();
                send!(self.wire, "SETRANGE", key, offset, value)
            }
            7 => send!(self.wire, "DEL", key),
            8 if self.features.has("UNLINK") => send!(self.wire, "UNLINK", key, self.key("text")),
            9 if self.features.has("GETDEL") => send!(self.wire, "GETDEL", key),
            10 => send!(self.wire, "MSET", key, value, self.key("text"), "other"),
            11 => send!(self.wire, "GETSET", key, value),
            12 => self.bits(),
            _ => send!(self.wire, "SETNX", key, value),
        }
    }

    fn bits(&mut self) -> Result<()> {
        let key = self.key("bits");
        match self.rng.below(4) {
            0 => send!(self.wire, "BITOP", "XOR", key, self.key("bits"), self.key("bits")),
            1 if self.features.has("BITFIELD") => {
                send!(self.wire, "BITFIELD", key, "INCRBY", "u5", "100", "1", "SET", "i8", "#3", "-7")
            }
            _ => {
                let bit = self.rng.below(4_000).to_string();
                send!(self.wire, "SETBIT", key, bit, "1")
            }
        }
    }

    pub(super) fn number(&mut self) -> Result<()> {
        let key = self.key("number");
        let by = self.rng.below(1_000).to_string();
        match self.rng.below(10) {
            0..4 => send!(self.wire, "INCR", key),
            4 => send!(self.wire, "DECRBY", key, by),
            5 => send!(self.wire, "INCRBY", key, by),
            6 if self.rng.one_in(4) => send!(self.wire, "DEL", key),
            _ => send!(self.wire, "INCRBYFLOAT", self.key("float"), format!("0.{by}")),
        }
    }

    /// Keys with 50 to 3000 ms to live, that are renewed, counted up and persisted meanwhile.
    pub(super) fn expiring(&mut self) -> Result<()> {
        let (key, value) = (self.key("short"), self.value());
        let ms = self.rng.range(50, 3_000);
        let text = ms.to_string();
        match self.rng.below(12) {
            0..3 => send!(self.wire, "SET", key, value, "PX", text),
            3 => send!(self.wire, "PSETEX", key, text, value),
            4 => send!(self.wire, "SETEX", key, (1 + ms / 1000).to_string(), value),
            5 => send!(self.wire, "PEXPIRE", key, text),
            6 => send!(self.wire, "EXPIRE", key, (1 + ms / 1000).to_string()),
            7 => send!(self.wire, "PERSIST", key),
            8 if self.features.has("GETEX") => match self.rng.below(2) {
                0 => send!(self.wire, "GETEX", key, "PX", text),
                _ => send!(self.wire, "GETEX", key, "PERSIST"),
            },
            9 | 10 => {
                // A counter that starts anew when its time has run out.
                let counter = self.key("counter");
                send!(self.wire, "INCR", counter)?;
                send!(self.wire, "PEXPIRE", counter, text)
            }
            _ => {
                // A collection that expires as a whole.
                let list = self.key("brief");
                send!(self.wire, "RPUSH", list, value)?;
                send!(self.wire, "PEXPIRE", list, text)
            }
        }
    }
}
