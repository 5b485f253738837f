//! What a running server can do, asked from itself.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use redis::Value;

/// The commands that not every server has and that the generators use.
const ASKED: [&str; 17] = [
    "XADD",
    "XAUTOCLAIM",
    "XSETID",
    "ZPOPMIN",
    "LMOVE",
    "COPY",
    "GETEX",
    "GETDEL",
    "FUNCTION",
    "HPEXPIRE",
    "SWAPDB",
    "UNLINK",
    "GEOADD",
    "GEOSEARCHSTORE",
    "ZRANGESTORE",
    "BITFIELD",
    "PFADD",
];

/// The commands that a server has, and the version it reports.
#[derive(Debug, Clone)]
pub(crate) struct Features {
    known: BTreeSet<&'static str>,
    /// Of Redis; a Valkey or Redict reports the Redis it is compatible with.
    version: (u32, u32),
}

impl Features {
    pub(crate) fn of(url: &str) -> Result<Self> {
        let mut conn = redis::Client::open(url)?.get_connection_with_timeout(std::time::Duration::from_secs(5))?;
        let info: String = redis::cmd("INFO").arg("server").query(&mut conn)?;
        let version =
            info.lines().find_map(|line| line.strip_prefix("redis_version:")).context("INFO has no version")?;
        let mut numbers = version.split('.').filter_map(|number| number.parse().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let answers: Vec<Value> = redis::cmd("COMMAND").arg("INFO").arg(&ASKED).query(&mut conn)?;
        let known =
            |answer: &Value| matches!(answer, Value::Array(items) if !items.is_empty() && items[0] != Value::Nil);
        let known = ASKED.into_iter().zip(answers).filter(|(_, answer)| known(answer)).map(|(name, _)| name).collect();
        Ok(Self { known, version })
    }

    /// Whether the server has a command; only those in [`ASKED`] can be asked for.
    pub(crate) fn has(&self, command: &str) -> bool {
        debug_assert!(ASKED.contains(&command), "{command} is not among the commands that were asked for");
        self.known.contains(command)
    }

    /// Whether the server is at least that Redis.
    pub(crate) fn at_least(&self, major: u32, minor: u32) -> bool {
        self.version >= (major, minor)
    }
}
