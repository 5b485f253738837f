//! Uniform data sets for measurements.

use anyhow::Result;

use super::Filler;
use crate::{
    Rng,
    wire::{Wire, send},
};

/// Members of a collection.
const MEMBERS: u64 = 10;

/// Writes `count` strings `key:0000000000` and up, of `len` random (incompressible) bytes each.
pub fn fill_strings(url: &str, count: u64, len: usize, seed: u64) -> Result<()> {
    let mut wire = Wire::connect(url)?;
    let mut rng = Rng::new(seed);
    let mut value = Vec::with_capacity(len + 8);
    for i in 0..count {
        value.clear();
        rng.fill(&mut value, len);
        send!(wire, "SET", format!("key:{i:010}"), value)?;
    }
    wire.finish()
}

/// Writes `count` each of hashes, sorted sets, lists and sets with 10 members of 20 bytes, and of strings of 100 bytes
/// that expire in some hours.
pub fn fill_bench_mixed(url: &str, count: u64, seed: u64) -> Result<()> {
    let mut filler = Filler::connect(url, seed)?;
    for i in 0..count {
        let mut members: Vec<String> = Vec::with_capacity(MEMBERS as usize);
        for m in 0..MEMBERS {
            members.push(format!("{m:02}{:018x}", filler.rng.bits()));
        }
        let scores: Vec<String> = (0..MEMBERS).map(|_| filler.rng.below(1_000_000).to_string()).collect();
        let fields: Vec<String> = (0..MEMBERS).map(|m| format!("field:{m}")).collect();
        let plain: Vec<&[u8]> = members.iter().map(String::as_bytes).collect();
        let with = |others: &'_ [String]| -> Vec<Vec<u8>> {
            others.iter().zip(&members).flat_map(|(a, b)| [a.clone().into_bytes(), b.clone().into_bytes()]).collect()
        };
        let (scored, mapped) = (with(&scores), with(&fields));
        collection(&mut filler.wire, "HSET", "hash", i, &refs(&mapped))?;
        collection(&mut filler.wire, "ZADD", "zset", i, &refs(&scored))?;
        collection(&mut filler.wire, "RPUSH", "list", i, &plain)?;
        collection(&mut filler.wire, "SADD", "set", i, &plain)?;
        let ttl = filler.rng.range(3_600_000, 36_000_000).to_string();
        let value = filler.rng.bytes(100);
        send!(filler.wire, "SET", format!("string:{i:010}"), value, "PX", ttl)?;
    }
    filler.wire.finish()
}

fn collection(wire: &mut Wire, command: &str, family: &str, i: u64, members: &[&[u8]]) -> Result<()> {
    let key = format!("{family}:{i:010}");
    let mut args = vec![command.as_bytes(), key.as_bytes()];
    args.extend_from_slice(members);
    wire.command(&args)
}

fn refs(items: &[Vec<u8>]) -> Vec<&[u8]> {
    items.iter().map(|item| &item[..]).collect()
}
