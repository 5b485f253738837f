//! Taking the grace off at the end, when nothing follows any more that could renew a key too late.
//!
//! The deadlines of the target are compared with those of the same keys at the source, which is asked for them.
//!
//! Invariants:
//! - A deadline becomes what it is at the source, never earlier, and only where it is about the grace later than that now.
//!   So a second time changes nothing.
//! - It is done when the task is over, never while it can be gone on with.
//! - Where the source does not have the key, or no deadline for it, nothing is changed.

use std::time::Duration;

use keyferry_keyspace::{info, objects::Objects};
use keyferry_model::{Error, ErrorKind, Result, Side};
use keyferry_net::{Connection, Endpoint, Value};

mod fields;

use super::{refusal::ask, walk::scanned};
use crate::checks::Facts;

/// Keys that are looked at together: less than a millisecond of either server's time.
const KEYS: &[u8] = b"500";

/// Which of the keys have a deadline.
const WITH_DEADLINE: &[u8] = b"local found={} for i,key in ipairs(KEYS) do \
    if redis.call('PTTL',key)>0 then found[#found+1]=i end end return found";

/// Gives each key the deadline behind `ARGV[2]`, when its own is later by half the grace `ARGV[1]` to one and a half: the
/// stream may have counted a relative time from a little later than the source did. `ARGV[2]` is 1 for absolute times.
const TAKE_OFF: &[u8] = b"if redis.replicate_commands then redis.replicate_commands() end \
    local grace,n,get,set=tonumber(ARGV[1]),0,'PTTL','PEXPIRE' \
    if ARGV[2]=='1' then get,set='PEXPIRETIME','PEXPIREAT' end \
    for i,key in ipairs(KEYS) do local at=tonumber(ARGV[i+2]) \
    local more=redis.call(get,key)-at \
    if at>0 and more>grace/2 and more<grace*3/2 then redis.call(set,key,ARGV[i+2]) n=n+1 end end return n";

/// Takes `grace` off the deadlines of the target's keys and of fields of its hashes; answers how many had it.
///
/// Errors: those of both sides. What is done stays done.
pub(crate) async fn take_off(
    source: &Endpoint,
    target: &Endpoint,
    facts: &Facts,
    objects: &Objects,
    grace: Duration,
) -> Result<u64> {
    let mut ours = Connection::open(target).await?;
    let mut theirs = Connection::open(source).await?;
    let keyspace = theirs.info("keyspace").await?;
    let ours_keyspace = ours.info("keyspace").await?;
    let with_fields = |db: u32| info::keyspace(ours_keyspace.as_bytes()).any(|k| k.db.0 == db && k.field_expires > 0);
    let tell_fields = facts.source.field_deadlines() && facts.target.field_deadlines();
    let absolute = facts.source.tells_expiry() && facts.target.tells_expiry();
    let question: &[u8] = if absolute { b"PEXPIRETIME" } else { b"PTTL" };
    let grace = grace.as_millis().to_string();
    let mut found = 0;
    for db_of_source in info::keyspace(keyspace.as_bytes()).map(|k| k.db.0) {
        let Some(db) = objects.database(db_of_source) else { continue };
        theirs.command(&[b"SELECT", db_of_source.to_string().as_bytes()]).await?;
        ask(&mut ours, &[b"SELECT", db.to_string().as_bytes()]).await?;
        let mut cursor = b"0".to_vec();
        loop {
            let (next, keys) = scanned(ask(&mut ours, &[b"SCAN", &cursor, b"COUNT", KEYS]).await?)?;
            // A step of a table may give many more than were asked for, a script can take some thousands.
            for keys in keys.chunks(500) {
                if tell_fields && with_fields(db) {
                    found += fields::take_off(&mut ours, &mut theirs, keys, objects, grace.as_bytes()).await?;
                }
                let keys = with_deadline(&mut ours, keys).await?;
                // What is not of the source has no name there.
                let named = keys.into_iter().filter_map(|key| Some((key, objects.source_key(key)?)));
                let (keys, names): (Vec<_>, Vec<_>) = named.unzip();
                let questions: Vec<[&[u8]; 2]> = names.iter().map(|name| [question, name.as_ref()]).collect();
                let deadlines = theirs.ask_all(&questions).await?;
                if let Some(Value::Error(text)) = deadlines.iter().find(|reply| matches!(reply, Value::Error(_))) {
                    return Err(theirs.refused(theirs.kind_of(text), "a question for a deadline", text));
                }
                found += lower(&mut ours, &keys, &deadlines, grace.as_bytes(), absolute).await?;
            }
            if next == b"0" {
                break;
            }
            cursor = next;
        }
    }
    Ok(found)
}

async fn with_deadline<'a>(conn: &mut Connection, keys: &'a [Vec<u8>]) -> Result<Vec<&'a [u8]>> {
    let count = keys.len().to_string();
    let mut args: Vec<&[u8]> = vec![b"EVAL", WITH_DEADLINE, count.as_bytes()];
    args.extend(keys.iter().map(Vec::as_slice));
    let Value::Array(found) = ask(conn, &args).await? else { return Err(odd(Side::Target)) };
    found.iter().map(|i| key_at(keys, i)).collect()
}

/// The key that a script has named by its place, from 1 on.
fn key_at<'a>(keys: &'a [Vec<u8>], place: &Value) -> Result<&'a [u8]> {
    let key = match place {
        Value::Int(i) => usize::try_from(*i - 1).ok().and_then(|i| keys.get(i)),
        _ => None,
    };
    key.map(Vec::as_slice).ok_or_else(|| odd(Side::Target))
}

async fn lower(
    conn: &mut Connection,
    keys: &[&[u8]],
    deadlines: &[Value],
    grace: &[u8],
    absolute: bool,
) -> Result<u64> {
    let deadline = |value: &Value| match value {
        Value::Int(n) => Ok(n.to_string()),
        _ => Err(odd(Side::Source)),
    };
    let deadlines = deadlines.iter().map(deadline).collect::<Result<Vec<_>>>()?;
    let count = keys.len().to_string();
    let mut args: Vec<&[u8]> = vec![b"EVAL", TAKE_OFF, count.as_bytes()];
    args.extend(keys);
    args.extend([grace, if absolute { b"1" } else { b"0" }]);
    args.extend(deadlines.iter().map(String::as_bytes));
    match ask(conn, &args).await? {
        Value::Int(n) => Ok(u64::try_from(n).unwrap_or_default()),
        _ => Err(odd(Side::Target)),
    }
}

fn odd(side: Side) -> Error {
    Error::new(ErrorKind::Protocol(side), format!("compare deadlines: an unexpected reply of the {side}"))
}
