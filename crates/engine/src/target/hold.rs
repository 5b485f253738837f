//! Deadlines of the snapshot while the stream is behind it.
//!
//! A key of the snapshot may be renewed by the stream, which is applied behind the whole snapshot, an hour later or more. A
//! target is a primary and would have dropped the key by then. So every deadline of the snapshot is first written
//! *held*: later by a fixed distance that nobody else writes. When the target has caught up, [`settle`] takes the distance
//! off again, and adds the grace.
//!
//! Invariants:
//! - A held deadline says by itself that it is held and what it really is. Nothing is kept beside it: it goes along when
//!   the stream renames, moves or copies the key, and a process that dies loses nothing.
//! - Only held deadlines are changed, each in one step with looking at it: one that the stream has set, renewed or removed
//!   meanwhile is left alone.
//! - A key whose time is over stays until the source says DEL, or until it is settled.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use keyferry_keyspace::info;
use keyferry_model::{Error, ErrorKind, Result, Side};
use keyferry_net::{Connection, Endpoint, Value};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{Stats, backoff::Backoff, stream::Databases};

/// Distance of a held deadline of a key: 142,808 years in milliseconds. Below 2^53, so that scripts count exactly.
const KEY: u64 = 1 << 52;
/// A key that lives until the year 2527 is not held: it has time. Held ones are less than this above [`KEY`].
const KEY_BEFORE: u64 = 1 << 44;
/// Distance of a held deadline of a field: 1,115 years. Redis takes none from 2^46 on.
pub(crate) const FIELD: u64 = 1 << 45;
/// A field that lives until the year 2109 is not held. Held ones are less than this above [`FIELD`].
pub(crate) const FIELD_BEFORE: u64 = 1 << 42;

/// Keys that are looked at in one script: less than a millisecond of the target's time.
const KEYS: &[u8] = b"500";
/// Fields likewise. A hash with more of them is looked at in steps.
const FIELDS: &str = "256";
/// How often it is looked whether the target has caught up.
const LOOK: Duration = Duration::from_millis(100);

/// A time to live counts from now, so a held one may be smaller than its distance by what has gone since 1970: less than
/// 2^41 ms. Answers how many were held, and which hashes are too large to be looked at here.
const SETTLE_KEYS: &[u8] = b"local grace,fields,n,large=tonumber(ARGV[1]),ARGV[2]=='1',0,{} \
    local function live(left,distance) return string.format('%.0f',math.max(left-distance+grace,grace,1)) end \
    for _,key in ipairs(KEYS) do \
    local left=redis.call('PTTL',key) \
    if left>=2^52-2^41 and left<2^52+2^44 then redis.call('PEXPIRE',key,live(left,2^52)) n=n+1 end \
    if fields and redis.call('TYPE',key).ok=='hash' then \
    if redis.call('HLEN',key)>tonumber(ARGV[3]) then large[#large+1]=key else \
    local names=redis.call('HKEYS',key) \
    if #names>0 then for i,left in ipairs(redis.call('HPTTL',key,'FIELDS',#names,unpack(names))) do \
    if left>=2^45-2^41 and left<2^45+2^42 then \
    redis.call('HPEXPIRE',key,live(left,2^45),'FIELDS',1,names[i]) n=n+1 end end end end end end \
    return {n,large}";

/// The same for some fields of one hash.
const SETTLE_FIELDS: &[u8] = b"local grace,n,names=tonumber(ARGV[1]),0,{} \
    for i=2,#ARGV do names[i-1]=ARGV[i] end \
    for i,left in ipairs(redis.call('HPTTL',KEYS[1],'FIELDS',#names,unpack(names))) do \
    if left>=2^45-2^41 and left<2^45+2^42 then \
    redis.call('HPEXPIRE',KEYS[1],string.format('%.0f',math.max(left-2^45+grace,grace,1)),'FIELDS',1,names[i]) \
    n=n+1 end end \
    return n";

/// The held form of a key's deadline.
pub(crate) fn held(at: u64) -> u64 {
    if at < KEY_BEFORE { at + KEY } else { at }
}

/// Takes held deadlines back when the target has caught up.
pub(crate) struct Settler<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) stats: &'a Stats,
    pub(crate) databases: Databases,
    pub(crate) grace: Duration,
    pub(crate) retry_window: Option<Duration>,
    pub(crate) stop: &'a CancellationToken,
}

impl Settler<'_> {
    /// Waits until the target has caught up, then goes through its keys until no held deadline is left, or until `stop`.
    ///
    /// Errors: those that trying again cannot help, such as `Permission`.
    pub(crate) async fn run(self) -> Result<()> {
        while !self.stats.has_caught_up() {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                () = sleep(LOOK) => {}
            }
        }
        let mut backoff = Backoff::new(self.retry_window);
        while !self.stats.is_settled() {
            let pass = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                pass = self.pass() => pass,
            };
            match pass {
                // A key that was renamed while we went by may have been missed: then another one was found.
                Ok(0) => self.stats.settled.store(true, Relaxed),
                Ok(n) => tracing::info!(deadlines = n, "the deadlines of the snapshot are no longer held"),
                Err(e) => {
                    tracing::debug!(error = %e, "going through the target's deadlines again");
                    if !backoff.again(e, self.stop).await? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Goes through all chosen databases once; answers how many deadlines were held.
    async fn pass(&self) -> Result<u64> {
        let mut conn = Connection::open(self.endpoint).await?;
        let text = conn.info("keyspace").await?;
        let databases = info::keyspace(text.as_bytes()).map(|k| k.db.0);
        let mut found = 0;
        for db in databases.filter(|&db| self.databases.has_target(db)) {
            conn.command(&[b"SELECT", db.to_string().as_bytes()]).await?;
            found += self.database(&mut conn).await?;
        }
        Ok(found)
    }

    async fn database(&self, conn: &mut Connection) -> Result<u64> {
        let grace = self.grace.as_millis().to_string();
        let fields: &[u8] = if self.stats.held_fields.load(Relaxed) { b"1" } else { b"0" };
        let (mut cursor, mut found) = (b"0".to_vec(), 0);
        loop {
            let (next, keys) = scanned(conn.command(&[b"SCAN", &cursor, b"COUNT", KEYS]).await?)?;
            if !keys.is_empty() {
                let count = keys.len().to_string();
                let mut args: Vec<&[u8]> = vec![b"EVAL", SETTLE_KEYS, count.as_bytes()];
                args.extend(keys.iter().map(Vec::as_slice));
                args.extend([grace.as_bytes(), fields, FIELDS.as_bytes()]);
                let Value::Array(reply) = conn.command(&args).await? else { return Err(odd()) };
                let [Value::Int(n), Value::Array(large)] = &reply[..] else { return Err(odd()) };
                found += u64::try_from(*n).unwrap_or_default();
                for key in large.iter().filter_map(Value::as_bytes) {
                    found += fields_of(conn, key, grace.as_bytes()).await?;
                }
            }
            if next == b"0" {
                return Ok(found);
            }
            cursor = next;
        }
    }
}

async fn fields_of(conn: &mut Connection, key: &[u8], grace: &[u8]) -> Result<u64> {
    let (mut cursor, mut found) = (b"0".to_vec(), 0);
    loop {
        let scan: [&[u8]; 6] = [b"HSCAN", key, &cursor, b"COUNT", FIELDS.as_bytes(), b"NOVALUES"];
        let (next, names) = scanned(conn.command(&scan).await?)?;
        // A step of a table may give many more than were asked for, a script can take some thousands.
        for names in names.chunks(1000) {
            let mut args: Vec<&[u8]> = vec![b"EVAL", SETTLE_FIELDS, b"1", key, grace];
            args.extend(names.iter().map(Vec::as_slice));
            let Value::Int(n) = conn.command(&args).await? else { return Err(odd()) };
            found += u64::try_from(n).unwrap_or_default();
        }
        if next == b"0" {
            return Ok(found);
        }
        cursor = next;
    }
}

/// The next cursor and the names that a SCAN gives.
fn scanned(reply: Value) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let Value::Array(parts) = reply else { return Err(odd()) };
    let Ok([Value::Bulk(cursor), Value::Array(names)]) = <[Value; 2]>::try_from(parts) else { return Err(odd()) };
    let names = names.into_iter().map(|name| match name {
        Value::Bulk(name) => Ok(name),
        _ => Err(odd()),
    });
    Ok((cursor, names.collect::<Result<_>>()?))
}

fn odd() -> Error {
    Error::new(ErrorKind::Protocol(Side::Target), "go through the target's deadlines: an unexpected reply")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_where_the_scripts_look_for_them() {
        for script in [SETTLE_KEYS, SETTLE_FIELDS] {
            let script = std::str::from_utf8(script).unwrap();
            assert!(script.contains("left>=2^45-2^41 and left<2^45+2^42"), "{script}");
        }
        assert!(std::str::from_utf8(SETTLE_KEYS).unwrap().contains("left>=2^52-2^41 and left<2^52+2^44"));
        assert_eq!((KEY, KEY_BEFORE, FIELD, FIELD_BEFORE), (1 << 52, 1 << 44, 1 << 45, 1 << 42));
        // Up to the year 2039 a deadline of 1970, held, is still taken for one.
        assert!(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() < 1 << 41);
    }

    #[test]
    fn what_lives_long_is_not_held() {
        assert_eq!(held(5), KEY + 5);
        assert_eq!(held(KEY_BEFORE), KEY_BEFORE);
        assert_eq!(held(u64::MAX), u64::MAX);
    }
}
