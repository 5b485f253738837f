//! The grace of fields of hashes: hash by hash, some hundred fields at a time.

use keyferry_keyspace::objects::Objects;
use keyferry_model::{ErrorKind, Result, Side};
use keyferry_net::{Connection, Value};

use super::{key_at, odd};
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

/// As `TAKE_OFF` for keys: behind the grace come pairs of a field and its deadline at the source.
const TAKE_OFF: &[u8] = b"if redis.replicate_commands then redis.replicate_commands() end \
    if redis.call('TYPE',KEYS[1]).ok~='hash' then return 0 end \
    local grace,n=tonumber(ARGV[1]),0 \
    for i=2,#ARGV,2 do local at=tonumber(ARGV[i+1]) \
    local more=redis.call('HPEXPIRETIME',KEYS[1],'FIELDS',1,ARGV[i])[1]-at \
    if at>0 and more>grace/2 and more<grace*3/2 then \
    redis.call('HPEXPIREAT',KEYS[1],ARGV[i+1],'FIELDS',1,ARGV[i]) n=n+1 end end return n";

/// Takes the grace off the fields of those of `keys` that are hashes; answers how many had it.
pub(super) async fn take_off(
    ours: &mut Connection,
    theirs: &mut Connection,
    keys: &[Vec<u8>],
    objects: &Objects,
    grace: &[u8],
) -> Result<u64> {
    let count = keys.len().to_string();
    let mut args: Vec<&[u8]> = vec![b"EVAL", WITH_FIELDS, count.as_bytes()];
    args.extend(keys.iter().map(Vec::as_slice));
    args.push(FIELDS);
    let Value::Array(hashes) = ask(ours, &args).await? else { return Err(odd(Side::Target)) };
    let mut found = 0;
    for hash in &hashes {
        let key = key_at(keys, hash)?;
        // What is not of the source has no name there.
        if let Some(name) = objects.source_key(key) {
            found += of_hash(ours, theirs, key, &name, grace).await?;
        }
    }
    Ok(found)
}

/// `name`: that of the key at the source.
async fn of_hash(ours: &mut Connection, theirs: &mut Connection, key: &[u8], name: &[u8], grace: &[u8]) -> Result<u64> {
    let (mut cursor, mut found) = (b"0".to_vec(), 0);
    loop {
        let (next, names) = match ask(ours, &[b"HSCAN", key, &cursor, b"COUNT", FIELDS, b"NOVALUES"]).await {
            Ok(reply) => scanned(reply)?,
            // Somebody has put something else in its place.
            Err(e) if e.kind() == ErrorKind::CommandRefused => return Ok(found),
            Err(e) => return Err(e),
        };
        for names in names.chunks(500) {
            let count = names.len().to_string();
            let mut question: Vec<&[u8]> = vec![b"HPEXPIRETIME", name, b"FIELDS", count.as_bytes()];
            question.extend(names.iter().map(Vec::as_slice));
            let deadlines = match theirs.ask(&question).await? {
                Value::Array(deadlines) if deadlines.len() == names.len() => deadlines,
                // At the source it is no hash any more.
                Value::Error(text) if text.starts_with(b"WRONGTYPE") => return Ok(found),
                Value::Error(text) => {
                    return Err(theirs.refused(theirs.kind_of(&text), "a question for deadlines of fields", &text));
                }
                _ => return Err(odd(Side::Source)),
            };
            let pairs = names.iter().zip(deadlines).filter_map(|(name, deadline)| match deadline {
                Value::Int(at) if at > 0 => Some((name.as_slice(), at.to_string())),
                _ => None,
            });
            let pairs: Vec<(&[u8], String)> = pairs.collect();
            if pairs.is_empty() {
                continue;
            }
            let mut args: Vec<&[u8]> = vec![b"EVAL", TAKE_OFF, b"1", key, grace];
            args.extend(pairs.iter().flat_map(|(name, at)| [*name, at.as_bytes()]));
            let Value::Int(n) = ask(ours, &args).await? else { return Err(odd(Side::Target)) };
            found += u64::try_from(n).unwrap_or_default();
        }
        if next == b"0" {
            return Ok(found);
        }
        cursor = next;
    }
}
