//! Some keys of the source, by type and size. Names of keys stay in here.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
};

use keyferry_keyspace::info;
use keyferry_net::Value;

use crate::server::Server;

/// Keys that are looked at: enough to see what makes up a hundredth of the data, and asked for in a few milliseconds.
const KEYS: u64 = 1000;
/// Keys in one step.
const STEP: &[u8] = b"100";
/// For an element of a collection whose size is not told: what a small one takes with its overhead.
const ELEMENT: u64 = 64;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) seen: Vec<SampledKey>,
    /// Sizes are estimated from the number of elements.
    pub(crate) estimated: bool,
}

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct SampledKey {
    pub(crate) db: u32,
    /// As TYPE says it.
    pub(crate) kind: String,
    /// Bytes that it takes in memory.
    pub(crate) bytes: u64,
}

/// Looks at keys of the chosen databases, at places by chance. Errors: why the source does not tell.
pub(crate) async fn take(source: &mut Server, chosen: impl Fn(u32) -> bool) -> Result<Sample, String> {
    let databases: Vec<(u32, u64)> =
        info::keyspace(&source.info).filter(|k| chosen(k.db.0)).map(|k| (k.db.0, k.keys)).collect();
    let all = source.keys(chosen).max(1);
    let mut sample = Sample { seen: Vec::new(), estimated: !tells_memory(source).await? };
    for (db, keys) in databases {
        source.ask(&[b"SELECT", db.to_string().as_bytes()]).await?;
        let share = u128::from(KEYS) * u128::from(keys) / u128::from(all);
        let wanted = u64::try_from(share).unwrap_or(KEYS).max(10);
        let end = (sample.seen.len() as u64).saturating_add(wanted);
        let whole = keys <= KEYS;
        let mut cursor = if whole { b"0".to_vec() } else { somewhere() };
        // Some steps give nothing; there are never more of them than this.
        for _ in 0..2 * KEYS / 100 {
            let (next, names) = scanned(source.ask(&[b"SCAN", &cursor, b"COUNT", STEP]).await?)?;
            look(source, db, &names, &mut sample).await?;
            if sample.seen.len() as u64 >= end || whole && next == b"0" {
                break;
            }
            cursor = if whole { next } else { somewhere() };
        }
    }
    Ok(sample)
}

/// MEMORY came with 4.0; some services do not allow it.
async fn tells_memory(source: &mut Server) -> Result<bool, String> {
    let replies = source.ask_all(&[[&b"MEMORY"[..], b"USAGE", b"keyferry-precheck"]]).await?;
    Ok(!matches!(replies.first(), Some(Value::Error(_)) | None))
}

async fn look(source: &mut Server, db: u32, names: &[Vec<u8>], sample: &mut Sample) -> Result<(), String> {
    // A step of a large table may give many more than were asked for.
    for names in names.chunks(100) {
        let questions: Vec<[&[u8]; 2]> = names.iter().map(|name| [&b"TYPE"[..], name]).collect();
        let replies = source.ask_all(&questions).await?;
        let mut kinds = Vec::with_capacity(names.len());
        for reply in &replies {
            match reply {
                Value::Status(kind) => kinds.push(String::from_utf8_lossy(kind).into_owned()),
                Value::Error(_) => return Err("TYPE is refused".into()),
                _ => return Err("TYPE has an unexpected reply".into()),
            }
        }
        let questions: Vec<Vec<&[u8]>> = names
            .iter()
            .zip(&kinds)
            .map(|(name, kind)| match sample.estimated {
                true => length_of(kind, name),
                false => vec![&b"MEMORY"[..], b"USAGE", name],
            })
            .collect();
        let sizes = source.ask_all(&questions).await?;
        for (kind, size) in kinds.into_iter().zip(sizes) {
            // A key that has gone meanwhile has no size, and a type without a known length none either.
            let Value::Int(size) = size else { continue };
            let unit = if sample.estimated && kind != "string" { ELEMENT } else { 1 };
            let bytes = u64::try_from(size).unwrap_or(0).saturating_mul(unit);
            if kind != "none" {
                sample.seen.push(SampledKey { db, kind, bytes });
            }
        }
    }
    Ok(())
}

/// The question for the number of elements, or of bytes of a string.
fn length_of<'a>(kind: &str, name: &'a [u8]) -> Vec<&'a [u8]> {
    let command: &[u8] = match kind {
        "list" => b"LLEN",
        "set" => b"SCARD",
        "zset" => b"ZCARD",
        "hash" => b"HLEN",
        "stream" => b"XLEN",
        "string" => b"STRLEN",
        // Has an integer as its answer for every type.
        _ => b"EXISTS",
    };
    vec![command, name]
}

/// The parts of a reply to SCAN.
pub(crate) fn scanned(reply: Value) -> Result<(Vec<u8>, Vec<Vec<u8>>), String> {
    let odd = || "SCAN has an unexpected reply".to_owned();
    let Value::Array(parts) = reply else { return Err(odd()) };
    let [Value::Bulk(next), Value::Array(names)] = parts.as_slice() else { return Err(odd()) };
    let names = names.iter().filter_map(Value::as_bytes).map(<[u8]>::to_vec).collect();
    Ok((next.clone(), names))
}

/// A cursor by chance: dict.c dictScan takes any number, and begins at the part of it that the table has. 48 bits, as
/// later servers keep something else above them.
fn somewhere() -> Vec<u8> {
    (RandomState::new().build_hasher().finish() >> 16).to_string().into_bytes()
}
