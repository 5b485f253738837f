//! The grace of fields of hashes: hash by hash, some hundred fields at a time.

use keyferry_model::{ErrorKind, Result, Side};
use keyferry_net::Value;

use super::{
    key_at,
    moves::{Moves, Of, deadlines_of_fields},
    odd,
};
use crate::target::{refusal::ask, walk::scanned};

/// Fields that are looked at in one step.
const FIELDS: &[u8] = b"500";

/// Which of the keys are hashes with a deadline on a field, or with too many fields to look at here. HLEN counts fields that
/// are over and still there, HKEYS does not name them.
const WITH_FIELDS: &[u8] = b"local found={} for i,key in ipairs(KEYS) do \
    if redis.call('TYPE',key).ok=='hash' then local any=redis.call('HLEN',key)>tonumber(ARGV[1]) \
    if not any then local names=redis.call('HKEYS',key) if #names>0 then \
    for _,left in ipairs(redis.call('HPTTL',key,'FIELDS',#names,unpack(names))) do any=any or left>0 end end end \
    if any then found[#found+1]=i end end end return found";

/// Moves the deadlines of fields of those of `keys` that are hashes; answers how many.
pub(super) async fn shift(moves: &mut Moves<'_>, keys: &[Vec<u8>]) -> Result<u64> {
    let count = keys.len().to_string();
    let mut args: Vec<&[u8]> = vec![b"EVAL", WITH_FIELDS, count.as_bytes()];
    args.extend(keys.iter().map(Vec::as_slice));
    args.push(FIELDS);
    let Value::Array(hashes) = ask(moves.ours, &args).await? else { return Err(odd(Side::Target)) };
    let mut found = 0;
    for hash in &hashes {
        let key = key_at(keys, hash)?;
        // What is not of the source has no name there.
        if moves.objects.source_key(key).is_some() {
            found += of_hash(moves, key).await?;
        }
    }
    Ok(found)
}

async fn of_hash(moves: &mut Moves<'_>, key: &[u8]) -> Result<u64> {
    let (mut cursor, mut found) = (b"0".to_vec(), 0);
    loop {
        let (next, names) = match ask(moves.ours, &[b"HSCAN", key, &cursor, b"COUNT", FIELDS, b"NOVALUES"]).await {
            Ok(reply) => scanned(reply)?,
            // Somebody has put something else in its place.
            Err(e) if e.kind() == ErrorKind::CommandRefused => return Ok(found),
            Err(e) => return Err(e),
        };
        for names in names.chunks(500) {
            let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            let deadlines = match deadlines_of_fields(moves.ours, key, &names).await? {
                Value::Array(deadlines) if deadlines.len() == names.len() => deadlines,
                Value::Error(text) if text.starts_with(b"WRONGTYPE") => return Ok(found),
                _ => return Err(odd(Side::Target)),
            };
            let with = names.into_iter().zip(deadlines).filter_map(|(name, deadline)| match deadline {
                Value::Int(at) if at > 0 => Some((name, at)),
                _ => None,
            });
            found += moves.shift(Of::Hash(key), with.collect()).await?;
        }
        if next == b"0" {
            return Ok(found);
        }
        cursor = next;
    }
}
