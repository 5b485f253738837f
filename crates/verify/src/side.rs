//! One of the two sides: what it is, and what it can be asked.

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use keyferry_keyspace::{
    Flavor, ServerVersion,
    info::{self, DbKeys},
};
use keyferry_model::{Error, ErrorKind, Result};
use keyferry_net::{Connection, Endpoint};
use tokio::time::Instant;

use crate::{
    asker::{Answer, Answers, Asker, Batch},
    deadline::Deadline,
};

/// Facts of one side, as its server told them.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) endpoint: Endpoint,
    pub(crate) version: ServerVersion,
    /// Cursors of another one mean nothing.
    pub(crate) start: Start,
    pub(crate) databases: Vec<DbKeys>,
    /// Whether it tells when fields of hashes expire.
    pub(crate) tells_fields: bool,
    /// Writes since the last snapshot, and when that was. `None` where it does not tell.
    written: Option<(String, String)>,
}

impl Side {
    /// Errors: those of a connection, `Cluster`, `Protocol` when INFO names no version.
    pub(crate) async fn meet(endpoint: &Endpoint) -> Result<Self> {
        let mut conn = Connection::open(endpoint).await?;
        let asked = Instant::now();
        let text = conn.info("all").await?;
        let text = text.as_bytes();
        let side = endpoint.side;
        if info::field(text, "cluster_enabled") == Some("1") {
            let what = format!("ask the {side} {endpoint}: it is a cluster node");
            return Err(Error::new(ErrorKind::Cluster(side), what));
        }
        let version = ServerVersion::from_info(text).ok_or_else(|| {
            Error::new(ErrorKind::Protocol(side), format!("read INFO of the {side} {endpoint}: it names no version"))
        })?;
        let tells_fields = match version.flavor {
            Flavor::Redis => version.redis >= (7, 4, 0),
            Flavor::Valkey => version.own >= (9, 0, 0),
            Flavor::Redict | Flavor::Other => false,
        };
        // Another server that only looks like Redis may count otherwise.
        let told = version.flavor != Flavor::Other;
        let field = |name| info::field(text, name).filter(|_| told).map(str::to_owned);
        Ok(Self {
            endpoint: endpoint.clone(),
            version,
            start: Start::read(text, asked),
            databases: info::keyspace(text).collect(),
            tells_fields,
            written: field("rdb_changes_since_last_save").zip(field("rdb_last_save_time")),
        })
    }

    /// Whether nothing was written between then and `later`, as far as the server's own count tells.
    pub(crate) fn is_unchanged(&self, later: &Self) -> bool {
        later.start.is(&self.start) && self.written.is_some() && self.written == later.written
    }

    /// Keys of a database, and those among them that expire.
    pub(crate) fn keys(&self, db: u32) -> (u64, u64) {
        self.databases.iter().find(|found| found.db.0 == db).map_or((0, 0), |found| (found.keys, found.expires))
    }

    /// Whether it tells how much memory a value takes.
    pub(crate) fn tells_memory(&self) -> bool {
        self.version.redis >= (4, 0, 0)
    }

    /// Asks for deadlines: so many answers as [`Self::deadlines`] takes.
    pub(crate) fn ask_deadlines<'k>(&self, batch: &mut Batch, keys: impl Iterator<Item = &'k [u8]>) {
        let name: &[u8] = if self.version.tells_expiry() { b"PEXPIRETIME" } else { b"PTTL" };
        batch.push(&[b"TIME"]);
        keys.for_each(|key| batch.push(&[name, key]));
    }

    /// The time on its clock, and the deadlines of `count` keys.
    pub(crate) fn deadlines(&self, asker: &Asker, answers: &mut Answers, count: usize) -> Result<(i64, Vec<Deadline>)> {
        let now = match answers.next() {
            Answer::Array(raw) => time(raw),
            Answer::Error(text) => return Err(asker.refused("TIME", text)),
            _ => None,
        };
        let now = now.ok_or_else(|| asker.unexpected("TIME"))?;
        let from = (!self.version.tells_expiry()).then_some(now);
        let one = |_| match answers.next() {
            Answer::Int(n) => Ok(Deadline::read(n, from)),
            Answer::Error(text) => Err(asker.refused("PTTL", text)),
            _ => Err(asker.unexpected("PTTL")),
        };
        Ok((now, (0..count).map(one).collect::<Result<_>>()?))
    }
}

/// For how long a server had been up at some moment between its question and its answer.
#[derive(Clone, Copy)]
struct Up {
    asked: Instant,
    answered: Instant,
    seconds: u64,
}

/// Which start of a server it is.
#[derive(Clone)]
pub(crate) struct Start {
    /// Changes with each start. Empty where the server does not tell.
    pub(crate) run_id: String,
    up: Option<Up>,
}

impl Start {
    /// Seconds by which two clocks may go apart meanwhile.
    const APART: u64 = 5;

    /// From the reply of INFO, which was asked for at that moment.
    pub(crate) fn read(info: &[u8], asked: Instant) -> Self {
        let up = info::field(info, "uptime_in_seconds").and_then(|seconds| seconds.parse().ok());
        Self {
            run_id: info::field(info, "run_id").unwrap_or_default().to_owned(),
            up: up.map(|seconds| Up { asked, answered: Instant::now(), seconds }),
        }
    }

    /// Whether it is still the one of `before`, as far as the server tells.
    pub(crate) fn is(&self, before: &Self) -> bool {
        let (Some(then), Some(now), true) = (before.up, self.up, self.run_id.is_empty()) else {
            return self.run_id == before.run_id;
        };
        // So long it was at least, however late the answers were.
        let between = now.asked.saturating_duration_since(then.answered).as_secs();
        before.run_id.is_empty() && now.seconds + Self::APART >= then.seconds + between
    }

    /// What is kept of it: where it has no name, no other process takes it for its own.
    pub(crate) fn kept(&self) -> &str {
        static PROCESS: LazyLock<String> = LazyLock::new(|| {
            let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("{}-{}", std::process::id(), begun.as_nanos())
        });
        if self.run_id.is_empty() { &PROCESS } else { &self.run_id }
    }

    /// Whether another start can be told from this one.
    pub(crate) fn is_told(&self) -> bool {
        !self.run_id.is_empty() || self.up.is_some()
    }
}

/// Milliseconds since 1970 in the reply of TIME.
pub(crate) fn time(raw: &[u8]) -> Option<i64> {
    let mut parts = crate::flat::elements(raw).map(|part| std::str::from_utf8(part?).ok()?.parse::<i64>().ok());
    let (seconds, micros) = (parts.next()??, parts.next()??);
    seconds.checked_mul(1000)?.checked_add(micros / 1000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn another_start() {
        let start = |info: &str| Start::read(info.as_bytes(), Instant::now());
        let (named, up) = (start("run_id:a\r\nuptime_in_seconds:900\r\n"), start("uptime_in_seconds:900\r\n"));
        let silent = start("redis_version:7.0.0\r\n");
        tokio::time::advance(Duration::from_secs(60)).await;
        for (now, before, is) in [
            ("run_id:a\r\nuptime_in_seconds:1\r\n", &named, true),
            ("run_id:b\r\nuptime_in_seconds:960\r\n", &named, false),
            ("uptime_in_seconds:960\r\n", &named, false),
            // Where there is no name: started again when it was not up for all the time.
            ("uptime_in_seconds:960\r\n", &up, true),
            ("uptime_in_seconds:957\r\n", &up, true),
            ("uptime_in_seconds:920\r\n", &up, false),
            ("uptime_in_seconds:1\r\n", &up, false),
            ("", &silent, true),
        ] {
            assert_eq!(start(now).is(before), is, "{now}");
        }
        // Asked right behind the first answer, and answered a minute later.
        let asked = Instant::now() - Duration::from_secs(60);
        assert!(Start::read(b"uptime_in_seconds:900\r\n", asked).is(&up));
        assert!(named.is_told() && up.is_told() && !silent.is_told());
    }
}
