//! Moving deadlines of the target from one distance behind those of the source to another: the grace is taken off at the end,
//! lowered in front of a cut-over, and given back when that is undone.
//!
//! The deadlines of the target are compared with those of the same keys at the source, which is asked for them.
//!
//! Invariants:
//! - A deadline becomes what it is at the source and the new distance, never earlier, and only where it is about the old
//!   distance later than that now. So a second time changes nothing.
//! - It can be done while the stream goes on. A deadline is moved only where it still is what was read before the source was
//!   asked; and where the source has renewed it meanwhile, it is moved on, until the source says the same behind it as before.
//! - Where the source does not have the key, or no deadline for it, nothing is changed.
//! - Nothing is changed for a connection that does not have the task any more, and behind its end only while no task of that name
//!   is there. Those that a cut-over lowers are lowered only while the checkpoint says so: whoever goes on from it lifts them.

use std::time::Duration;

use keyferry_keyspace::{info, objects::Objects};
use keyferry_model::{Error, ErrorKind, Result, Side};
use keyferry_net::{Connection, Endpoint, Value};

mod fields;
mod moves;

use moves::{Moves, Of};

use super::{fence::Fence, position::Place, refusal::ask, walk::scanned};
use crate::checks::Facts;

/// Keys that are looked at together: less than a millisecond of either server's time.
const KEYS: &[u8] = b"500";

/// Which of the keys have a deadline, and which one, as `ARGV[1]` says it.
const WITH_DEADLINE: &[u8] = b"local found={} for i,key in ipairs(KEYS) do local at=redis.call(ARGV[1],key) \
    if at>0 then found[#found+1]=i found[#found+1]=at end end return found";

/// Makes deadlines of the target's keys and of fields of its hashes that are about `from` behind those of the source lie `to`
/// behind them, when they are further away than `beyond`; answers how many there were. `epoch`: that of the connection that has
/// the task now; without one, nobody has it.
///
/// Errors: those of both sides; `CheckpointChanged` when the position at `place` is another one by then. What is done stays done.
pub(crate) async fn shift(
    source: &Endpoint,
    place: Place<'_>,
    epoch: Option<u64>,
    facts: &Facts,
    objects: &Objects,
    [from, to, beyond]: [Duration; 3],
) -> Result<u64> {
    let mut ours = Connection::open(place.endpoint).await?;
    let mut theirs = Connection::open(source).await?;
    let keyspace = theirs.info("keyspace").await?;
    let ours_keyspace = ours.info("keyspace").await?;
    let with_fields = |db: u32| info::keyspace(ours_keyspace.as_bytes()).any(|k| k.db.0 == db && k.field_expires > 0);
    let tell_fields = facts.source.field_deadlines() && facts.target.field_deadlines();
    let absolute = facts.source.tells_expiry() && facts.target.tells_expiry();
    let fence = Fence::new(place, epoch);
    let lowers = epoch.is_some() && to < from;
    let mut moves = Moves::new([&mut ours, &mut theirs], objects, fence, [from, to, beyond], [lowers, absolute]);
    let mut found = 0;
    for db_of_source in info::keyspace(keyspace.as_bytes()).map(|k| k.db.0) {
        let Some(db) = objects.database(db_of_source) else { continue };
        moves.theirs.command(&[b"SELECT", db_of_source.to_string().as_bytes()]).await?;
        ask(moves.ours, &[b"SELECT", db.to_string().as_bytes()]).await?;
        moves.fence.db = db;
        let mut cursor = b"0".to_vec();
        loop {
            let (next, keys) = scanned(ask(moves.ours, &[b"SCAN", &cursor, b"COUNT", KEYS]).await?)?;
            // A step of a table may give many more than were asked for, a script can take some thousands.
            for keys in keys.chunks(500) {
                if tell_fields && with_fields(db) {
                    found += fields::shift(&mut moves, keys).await?;
                }
                let mut deadlines = with_deadline(moves.ours, keys, moves.question()).await?;
                // What is not of the source has no name there.
                deadlines.retain(|(key, _)| objects.source_key(key).is_some());
                found += moves.shift(Of::Keys, deadlines).await?;
            }
            if next == b"0" {
                break;
            }
            cursor = next;
        }
    }
    Ok(found)
}

/// Those of `keys` that have a deadline, with it.
async fn with_deadline<'a>(
    conn: &mut Connection,
    keys: &'a [Vec<u8>],
    question: &[u8],
) -> Result<Vec<(&'a [u8], i64)>> {
    let count = keys.len().to_string();
    let mut args: Vec<&[u8]> = vec![b"EVAL", WITH_DEADLINE, count.as_bytes()];
    args.extend(keys.iter().map(Vec::as_slice));
    args.push(question);
    let Value::Array(found) = ask(conn, &args).await? else { return Err(odd(Side::Target)) };
    let pairs = found.chunks(2).map(|pair| match pair {
        [place, Value::Int(at)] => Ok((key_at(keys, place)?, *at)),
        _ => Err(odd(Side::Target)),
    });
    pairs.collect()
}

/// The key that a script has named by its place, from 1 on.
fn key_at<'a>(keys: &'a [Vec<u8>], place: &Value) -> Result<&'a [u8]> {
    let key = match place {
        Value::Int(i) => usize::try_from(*i - 1).ok().and_then(|i| keys.get(i)),
        _ => None,
    };
    key.map(Vec::as_slice).ok_or_else(|| odd(Side::Target))
}

fn odd(side: Side) -> Error {
    Error::new(ErrorKind::Protocol(side), format!("compare deadlines: an unexpected reply of the {side}"))
}
