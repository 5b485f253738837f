//! The rare ones: across keys, across databases, HyperLogLog, geo, publish, flush.

use anyhow::Result;

use super::mix::Mix;
use crate::wire::send;

/// Emptied now and then.
const FLUSHED: u64 = 14;
/// Swapped with each other now and then.
const SWAPPED: [&str; 2] = ["12", "13"];
/// One in so many of the rare ones.
const RARELY: u64 = 2_000;

impl Mix {
    pub(super) fn exotic(&mut self) -> Result<()> {
        if self.rng.one_in(RARELY) {
            return self.whole_database();
        }
        match self.rng.below(12) {
            0 => {
                // Set first, so that the key is there to be renamed.
                let (from, to) = (self.key("text"), self.key("text"));
                send!(self.wire, "SET", from, self.value())?;
                send!(self.wire, "RENAME", from, to)
            }
            1 if self.features.has("COPY") => {
                let (from, to) = (self.key("list"), self.key("list"));
                send!(self.wire, "RPUSH", from, "copied")?;
                send!(self.wire, "COPY", from, to, "DB", ((self.db + 1) % 16).to_string(), "REPLACE")
            }
            2 if self.features.has("COPY") => {
                send!(self.wire, "COPY", self.key("hash"), format!("{}:copy", self.key("hash")), "REPLACE")
            }
            3 => send!(self.wire, "MOVE", self.key("text"), ((self.db + 3) % 16).to_string()),
            4 => send!(self.wire, "PUBLISH", "load:channel", self.value()),
            5 if self.features.has("PFADD") => send!(self.wire, "PFADD", self.key("hll"), self.value(), self.value()),
            6 if self.features.has("PFADD") => send!(self.wire, "PFMERGE", self.key("hll"), self.key("hll")),
            7 if self.features.has("GEOADD") => {
                let (longitude, latitude) = (self.rng.below(180).to_string(), self.rng.below(85).to_string());
                send!(self.wire, "GEOADD", self.key("geo"), longitude, latitude, self.member())
            }
            8 if self.features.has("GEOSEARCHSTORE") => {
                let (to, from) = (self.key("geo"), self.key("geo"));
                send!(self.wire, "GEOSEARCHSTORE", to, from, "FROMLONLAT", "90", "40", "BYRADIUS", "9000", "km", "ASC")
            }
            9 => send!(self.wire, "SORT", self.key("set"), "ALPHA", "STORE", self.key("list")),
            _ => self.existing(),
        }
    }

    /// Renames what may expire meanwhile.
    fn existing(&mut self) -> Result<()> {
        let from = self.key("short");
        send!(self.wire, "SET", from, self.value(), "PX", "1500")?;
        send!(self.wire, "RENAME", from, self.key("short"))
    }

    fn whole_database(&mut self) -> Result<()> {
        if self.features.has("SWAPDB") && self.rng.one_in(2) {
            return send!(self.wire, "SWAPDB", SWAPPED[0], SWAPPED[1]);
        }
        send!(self.wire, "SELECT", FLUSHED.to_string())?;
        send!(self.wire, "FLUSHDB")?;
        send!(self.wire, "SELECT", self.db.to_string())
    }
}
