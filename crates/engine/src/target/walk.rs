//! Going through the keys of the target with SCAN while the stream goes on, to settle deadlines or to hold them.
//!
//! Invariants:
//! - Each key is changed in one step with looking at it (`hold.rs`), and no script looks at more than some hundred keys or
//!   fields: a target does nothing else meanwhile.
//! - It ends within its way when what it was begun for is over. The target sees to it that those who hold and those who settle
//!   are never at work together, also where a request is run long after nobody waits for it any more.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use keyferry_keyspace::info;
use keyferry_model::{Error, ErrorKind, Result, Side, failpoint};
use keyferry_net::{Connection, Value};
use tokio::time::sleep;

use super::{
    checkpoint,
    hold::{HOLD_FIELDS, HOLD_KEYS, SETTLE_FIELDS, SETTLE_KEYS},
    refusal::ask,
    settle::Settler,
};
use crate::backoff::Backoff;

/// How often it is looked whether the time has come.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Keys that are looked at in one script: less than a millisecond of the target's time.
const KEYS: &[u8] = b"500";
/// Fields likewise: some milliseconds. A hash with more of them is looked at in steps.
pub(crate) const FIELDS: &[u8] = b"500";

/// What becomes of deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Held ones are made what they are.
    Settle,
    /// Those with the grace are held, on top of the batch of this number.
    Hold { seq: u64 },
}

/// What a way through the keys has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// So many deadlines were changed, or may have been missed.
    Whole(u64),
    /// It was not gone to its end.
    Cut,
}

/// A connection that is opened again where it is lost.
pub(super) struct Walk<'a> {
    settler: &'a Settler<'a>,
    change: Change,
    /// See [`Stats::round`](crate::Stats::round).
    round: (u64, u64),
    fields: &'static [u8],
    conn: Option<Connection>,
    db: u32,
    /// How often it was lost.
    lost: u64,
}

impl<'a> Walk<'a> {
    /// With `fields`, those of hashes are looked at, too.
    pub(super) fn new(settler: &'a Settler<'a>, change: Change, fields: bool) -> Self {
        let (round, fields): (_, &[u8]) = (settler.stats.round(), if fields { b"1" } else { b"0" });
        Self { settler, change, round, fields, conn: None, db: 0, lost: 0 }
    }

    /// Goes through all chosen databases once.
    ///
    /// Errors: those that trying again cannot help, such as `Permission`.
    pub(super) async fn all(mut self) -> Result<Pass> {
        let Value::Bulk(text) = self.ask(&[b"INFO", b"keyspace"]).await? else { return Err(odd()) };
        let mut found = 0;
        for db in info::keyspace(&text).map(|k| k.db.0).filter(|&db| self.settler.objects.source_database(db).is_some())
        {
            (self.db, self.conn) = (db, None);
            match self.database().await? {
                Pass::Whole(n) => found += n,
                Pass::Cut => return Ok(Pass::Cut),
            }
        }
        // A server that was restarted may go through its keys in another order.
        Ok(Pass::Whole(found + self.lost))
    }

    /// Waits until the checkpoint on the target says whether deadlines are being held; `false` when it is not wanted any more.
    pub(super) async fn may_begin(&mut self) -> Result<bool> {
        while !matches!(self.change_keys(&[]).await?, Value::Array(_)) {
            if !self.goes_on() {
                return Ok(false);
            }
            sleep(LOOK).await;
        }
        Ok(true)
    }

    /// Whether what it was begun for is still wanted.
    pub(super) fn goes_on(&self) -> bool {
        let stats = self.settler.stats;
        stats.round() == self.round && stats.is_holding() == (self.change != Change::Settle)
    }

    async fn ask(&mut self, args: &[&[u8]]) -> Result<Value> {
        let Settler { place, stats, retry_window, stop, .. } = *self.settler;
        let mut backoff = Backoff::new(retry_window);
        loop {
            stats.control.unpaused().await;
            let reply = async {
                let conn = match &mut self.conn {
                    Some(conn) => conn,
                    none => {
                        let conn = none.insert(Connection::open(place.endpoint).await?);
                        ask(conn, &[b"SELECT", self.db.to_string().as_bytes()]).await?;
                        conn
                    }
                };
                ask(conn, args).await
            };
            stats.asks.store(true, Relaxed);
            let reply = reply.await;
            stats.asks.store(false, Relaxed);
            let error = match reply {
                Ok(value) => return Ok(value),
                Err(e) => e,
            };
            tracing::warn!(error = %error, "going through the target's deadlines again");
            stats.note_error(&error);
            (self.conn, self.lost) = (None, self.lost + 1);
            backoff.again(error, stop).await?;
        }
    }

    async fn database(&mut self) -> Result<Pass> {
        let (mut cursor, mut found) = (b"0".to_vec(), 0);
        loop {
            let (next, mut keys) = scanned(self.ask(&[b"SCAN", &cursor, b"COUNT", KEYS]).await?)?;
            // What is not of the source is left alone, as far as its name tells.
            let objects = self.settler.objects;
            if !objects.is_whole() {
                keys.retain(|key| objects.source_key(key).is_some());
            }
            let mut rest = &keys[..];
            while !rest.is_empty() {
                if !self.goes_on() {
                    return Ok(Pass::Cut);
                }
                // A step of a table may give many more than were asked for.
                let Value::Array(reply) = self.change_keys(&rest[..rest.len().min(1000)]).await? else {
                    return Ok(Pass::Cut);
                };
                failpoint(if self.change == Change::Settle { "keys-settled" } else { "keys-held" });
                let [Value::Int(n), Value::Int(seen), Value::Array(large)] = &reply[..] else { return Err(odd()) };
                found += count_of(*n);
                for key in large.iter().filter_map(Value::as_bytes) {
                    match self.hash(key).await? {
                        Pass::Whole(n) => found += n,
                        Pass::Cut => return Ok(Pass::Cut),
                    }
                }
                rest = &rest[usize::try_from(*seen).unwrap_or_default().clamp(1, rest.len())..];
            }
            if next == b"0" {
                return Ok(Pass::Whole(found));
            }
            cursor = next;
        }
    }

    async fn hash(&mut self, key: &[u8]) -> Result<Pass> {
        let (mut cursor, mut found) = (b"0".to_vec(), 0);
        loop {
            let (next, names) = match self.ask(&[b"HSCAN", key, &cursor, b"COUNT", FIELDS, b"NOVALUES"]).await {
                Ok(reply) => scanned(reply)?,
                // The stream has put something else in its place.
                Err(e) if e.kind() == ErrorKind::CommandRefused => return Ok(Pass::Whole(found + 1)),
                Err(e) => return Err(e),
            };
            // A step of a table may give many more than were asked for, a script can take some thousands.
            for names in names.chunks(1000) {
                if !self.goes_on() {
                    return Ok(Pass::Cut);
                }
                match self.change_fields(key, names).await? {
                    Value::Int(..0) => return Ok(Pass::Cut),
                    Value::Int(n) => found += count_of(n),
                    _ => return Err(odd()),
                }
            }
            if next == b"0" {
                return Ok(Pass::Whole(found));
            }
            cursor = next;
        }
    }

    async fn change_keys(&mut self, keys: &[Vec<u8>]) -> Result<Value> {
        let (script, seq) = match self.change {
            Change::Settle => (SETTLE_KEYS, 0),
            Change::Hold { seq } => (HOLD_KEYS, seq),
        };
        let (count, fence) = ((keys.len() + 1).to_string(), self.fence(seq));
        let mut args: Vec<&[u8]> = vec![b"EVAL", script, count.as_bytes(), &fence.key];
        args.extend(keys.iter().map(Vec::as_slice));
        args.extend(fence.args());
        args.extend([self.fields, FIELDS]);
        self.ask(&args).await
    }

    async fn change_fields(&mut self, key: &[u8], names: &[Vec<u8>]) -> Result<Value> {
        let (script, seq) = match self.change {
            Change::Settle => (SETTLE_FIELDS, 0),
            Change::Hold { seq } => (HOLD_FIELDS, seq),
        };
        let fence = self.fence(seq);
        let mut args: Vec<&[u8]> = vec![b"EVAL", script, b"2", &fence.key, key];
        args.extend(fence.args());
        args.extend(names.iter().map(Vec::as_slice));
        self.ask(&args).await
    }

    fn fence(&self, seq: u64) -> Fence {
        let Settler { place, epoch, .. } = self.settler;
        let owner = [epoch.get().to_le_bytes(), place.holder.to_le_bytes()].concat();
        let grace = self.settler.grace.as_millis();
        let numbers = [seq.into(), place.db.into(), self.db.into(), grace].map(|n: u128| n.to_string());
        Fence { key: checkpoint::key(place.task), owner, numbers }
    }
}

/// What a script looks at before it changes anything, see `hold.rs`, and the grace.
struct Fence {
    key: Vec<u8>,
    owner: Vec<u8>,
    numbers: [String; 4],
}

impl Fence {
    fn args(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.owner.as_slice()).chain(self.numbers.iter().map(String::as_bytes))
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
