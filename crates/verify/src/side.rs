//! One of the two sides: what it is, and what it can be asked.

use keyferry_keyspace::{
    Flavor, ServerVersion,
    info::{self, DbKeys},
};
use keyferry_model::{Error, ErrorKind, Result};
use keyferry_net::{Connection, Endpoint};

use crate::{
    asker::{Answer, Answers, Asker, Batch},
    deadline::Deadline,
};

/// Facts of one side, as its server told them.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) endpoint: Endpoint,
    pub(crate) version: ServerVersion,
    /// Changes with each start of the server; cursors of another start mean nothing.
    pub(crate) run_id: String,
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
            run_id: info::field(text, "run_id").unwrap_or_default().to_owned(),
            databases: info::keyspace(text).collect(),
            tells_fields,
            written: field("rdb_changes_since_last_save").zip(field("rdb_last_save_time")),
        })
    }

    /// Whether nothing was written between then and `later`, as far as the server's own count tells.
    pub(crate) fn is_unchanged(&self, later: &Self) -> bool {
        self.run_id == later.run_id && self.written.is_some() && self.written == later.written
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

/// Milliseconds since 1970 in the reply of TIME.
pub(crate) fn time(raw: &[u8]) -> Option<i64> {
    let mut parts = crate::flat::elements(raw).map(|part| std::str::from_utf8(part?).ok()?.parse::<i64>().ok());
    let (seconds, micros) = (parts.next()??, parts.next()??);
    seconds.checked_mul(1000)?.checked_add(micros / 1000)
}
