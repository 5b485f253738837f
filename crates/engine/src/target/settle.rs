//! Setting the deadlines of the snapshot right when the target has caught up; see `hold.rs`.
//!
//! The keys of the target are gone through with SCAN while the stream goes on. What the stream moves meanwhile may be missed:
//! the stream settles what a RENAME, MOVE or COPY has made by itself from the moment on at which settling begins, and counts
//! what else may move keys ([`Stats::moves`]).
//!
//! Invariants:
//! - It begins when everything that was written at the source while the copy ran is on the target.
//! - It has ended when a whole pass has found nothing and nothing was moved while it went by.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use keyferry_keyspace::info;
use keyferry_model::{Error, ErrorKind, Result, Side, failpoint};
use keyferry_net::{Connection, Endpoint, Value};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    hold::{SETTLE_FIELDS, SETTLE_KEYS},
    refusal::ask,
};
use crate::{Stats, backoff::Backoff, stream::Databases};

/// Keys that are looked at in one script: less than a millisecond of the target's time.
const KEYS: &[u8] = b"500";
/// Fields likewise: some milliseconds. A hash with more of them is looked at in steps.
pub(crate) const FIELDS: &[u8] = b"500";
/// How often it is looked whether the target has caught up.
const LOOK: Duration = Duration::from_millis(100);

/// Takes held deadlines back when the target has caught up.
pub(crate) struct Settler<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) stats: &'a Stats,
    pub(crate) databases: Databases,
    pub(crate) grace: Duration,
    pub(crate) retry_window: Option<Duration>,
    pub(crate) stop: &'a CancellationToken,
}

/// Asks the target, without changing anything, whether it lets deadlines be settled.
///
/// Errors: `Permission` and others of the target.
pub(crate) async fn try_out(conn: &mut Connection) -> Result<()> {
    let asked = async {
        ask(conn, &[b"SCAN", b"0", b"COUNT", b"1"]).await?;
        ask(conn, &[b"EVAL", SETTLE_KEYS, b"1", b"__keyferry_nothing", b"0", b"1", FIELDS]).await
    };
    match asked.await {
        // What a script is not allowed to do is said in many words.
        Err(e) if matches!(e.kind(), ErrorKind::CommandRefused | ErrorKind::UnsupportedByTarget) => {
            Err(Error::new(ErrorKind::Permission(Side::Target), "try out how deadlines are set").caused_by(e))
        }
        result => result.map(|_| ()),
    }
}

impl Settler<'_> {
    /// Waits until the target has caught up, then goes through its keys until no held deadline is left, or until `stop`.
    ///
    /// Errors: those that trying again cannot help, such as `Permission`.
    pub(crate) async fn run(self) -> Result<()> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(()),
            result = self.settle_whenever_needed() => result,
        }
    }

    /// A target that has fallen back may have held deadlines again. It never ends but with an error.
    async fn settle_whenever_needed(&self) -> Result<()> {
        loop {
            if !self.stats.is_settled() && self.stats.has_caught_up() {
                self.settle().await?;
            }
            sleep(LOOK).await;
        }
    }

    async fn settle(&self) -> Result<()> {
        let mut found = 0;
        let generation = self.stats.generation.get();
        while !self.stats.is_settled() && self.stats.generation.get() == generation {
            // What was decoded before this moment is on the target behind this wait, counted or settled by the stream.
            self.stats.settling.store(true, Relaxed);
            let moves = self.stats.moves.get();
            let begun = Instant::now();
            while !self.stats.has_applied_since(begun) {
                if self.stats.generation.get() != generation {
                    return Ok(());
                }
                sleep(LOOK).await;
            }
            failpoint("pass-begun");
            let n = self.pass().await?;
            failpoint("pass-ended");
            found += n;
            let same = self.stats.generation.get() == generation;
            if n == 0 && same && self.stats.moves.get() == moves {
                tracing::info!(deadlines = found, "the deadlines of the snapshot are no longer held");
                failpoint("settled");
                self.stats.settled.store(true, Relaxed);
            }
        }
        Ok(())
    }

    /// Goes through all chosen databases once; answers how many deadlines were held.
    async fn pass(&self) -> Result<u64> {
        let mut target = Target { settler: self, conn: None, db: 0, lost: 0 };
        let Value::Bulk(text) = target.ask(&[b"INFO", b"keyspace"]).await? else { return Err(odd()) };
        let mut found = 0;
        for db in info::keyspace(&text).map(|k| k.db.0).filter(|&db| self.databases.has_target(db)) {
            (target.db, target.conn) = (db, None);
            found += target.database().await?;
        }
        // A server that was restarted may go through its keys in another order.
        Ok(found + target.lost)
    }
}

/// A connection that is opened again where it is lost.
struct Target<'a> {
    settler: &'a Settler<'a>,
    conn: Option<Connection>,
    db: u32,
    /// How often it was lost.
    lost: u64,
}

impl Target<'_> {
    async fn ask(&mut self, args: &[&[u8]]) -> Result<Value> {
        let Settler { endpoint, stats, retry_window, stop, .. } = *self.settler;
        let mut backoff = Backoff::new(retry_window);
        loop {
            stats.control.unpaused().await;
            let reply = async {
                let conn = match &mut self.conn {
                    Some(conn) => conn,
                    none => {
                        let conn = none.insert(Connection::open(endpoint).await?);
                        ask(conn, &[b"SELECT", self.db.to_string().as_bytes()]).await?;
                        conn
                    }
                };
                ask(conn, args).await
            };
            let error = match reply.await {
                Ok(value) => return Ok(value),
                Err(e) => e,
            };
            tracing::warn!(error = %error, "going through the target's deadlines again");
            stats.note_error(&error);
            (self.conn, self.lost) = (None, self.lost + 1);
            backoff.again(error, stop).await?;
        }
    }

    async fn database(&mut self) -> Result<u64> {
        let grace = self.settler.grace.as_millis().to_string();
        let fields: &[u8] = if self.settler.stats.held_fields.load(Relaxed) { b"1" } else { b"0" };
        let (mut cursor, mut found) = (b"0".to_vec(), 0);
        loop {
            let (next, keys) = scanned(self.ask(&[b"SCAN", &cursor, b"COUNT", KEYS]).await?)?;
            let mut rest = &keys[..];
            while !rest.is_empty() {
                let count = rest.len().to_string();
                let mut args: Vec<&[u8]> = vec![b"EVAL", SETTLE_KEYS, count.as_bytes()];
                args.extend(rest.iter().map(Vec::as_slice));
                args.extend([grace.as_bytes(), fields, FIELDS]);
                let Value::Array(reply) = self.ask(&args).await? else { return Err(odd()) };
                failpoint("keys-settled");
                let [Value::Int(n), Value::Int(seen), Value::Array(large)] = &reply[..] else { return Err(odd()) };
                found += count_of(*n);
                for key in large.iter().filter_map(Value::as_bytes) {
                    found += self.hash(key, grace.as_bytes()).await?;
                }
                rest = &rest[usize::try_from(*seen).unwrap_or_default().clamp(1, rest.len())..];
            }
            if next == b"0" {
                return Ok(found);
            }
            cursor = next;
        }
    }

    async fn hash(&mut self, key: &[u8], grace: &[u8]) -> Result<u64> {
        let (mut cursor, mut found) = (b"0".to_vec(), 0);
        loop {
            let (next, names) = match self.ask(&[b"HSCAN", key, &cursor, b"COUNT", FIELDS, b"NOVALUES"]).await {
                Ok(reply) => scanned(reply)?,
                // The stream has put something else in its place.
                Err(e) if e.kind() == ErrorKind::CommandRefused => return Ok(found + 1),
                Err(e) => return Err(e),
            };
            // A step of a table may give many more than were asked for, a script can take some thousands.
            for names in names.chunks(1000) {
                let mut args: Vec<&[u8]> = vec![b"EVAL", SETTLE_FIELDS, b"1", key, grace];
                args.extend(names.iter().map(Vec::as_slice));
                let Value::Int(n) = self.ask(&args).await? else { return Err(odd()) };
                found += count_of(n);
            }
            if next == b"0" {
                return Ok(found);
            }
            cursor = next;
        }
    }
}

/// The next cursor and the names that a SCAN gives.
pub(super) fn scanned(reply: Value) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let Value::Array(parts) = reply else { return Err(odd()) };
    let Ok([Value::Bulk(cursor), Value::Array(names)]) = <[Value; 2]>::try_from(parts) else { return Err(odd()) };
    let names = names.into_iter().map(|name| match name {
        Value::Bulk(name) => Ok(name),
        _ => Err(odd()),
    });
    Ok((cursor, names.collect::<Result<_>>()?))
}

fn count_of(n: i64) -> u64 {
    u64::try_from(n).unwrap_or_default()
}

fn odd() -> Error {
    Error::new(ErrorKind::Protocol(Side::Target), "go through the target's deadlines: an unexpected reply")
}
