//! Any bytes give a value, or an error with its offset; never a panic, and never more memory than a bound that does not
//! depend on what the bytes say. Seeded: the same flips every time.
//!
//! A binary of its own, since all its memory is counted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::{alloc::System, collections::BTreeMap, fs, path::Path};

use cap::Cap;
use keyferry_rdb::{
    Group, Item, Limits, Reader, ValueType, dump,
    object::{DecodeLimits, ValueDecoder},
    rebuild::{FieldTtl, Plan, Rebuilder, Target},
    string,
};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

const FLIPS: usize = 100_000;
/// The dumps are below 5 KB and nothing of them is larger than that when it is whole. What a flipped length asks for is
/// bounded by the limits of the decoder only where bytes have come in for it.
const MEMORY_LIMIT: usize = 64 << 20;

#[test]
fn flipped_bytes_give_values_or_errors_in_bounded_memory() {
    let dumps = golden();
    let values = values(&dumps);
    assert!(dumps.len() > 20 && values.len() > 20, "{} dumps, {} types", dumps.len(), values.len());
    let mut rng = Rng(0x5eed);
    let (mut read, mut failed) = (0, 0);
    let before = MEMORY.allocated();
    for flip in 0..FLIPS {
        // Dumps as a whole, and more often values, where each type comes up as often as all others.
        let result = if flip % 4 == 0 {
            let mut bytes = dumps[rng.below(dumps.len())].clone();
            rng.flip(&mut bytes);
            read_dump(&bytes)
        } else {
            let (kind, payloads) = &values[rng.below(values.len())];
            let mut raw = payloads[rng.below(payloads.len())].clone();
            rng.flip(&mut raw);
            check_payload(*kind, &raw);
            let target = [Target::redis(2, 8), Target::redis(6, 0), Target::valkey(9, 0), Target::redis(8, 6)];
            read_value(*kind, &raw, target[rng.below(4)])
        };
        match result {
            Ok(()) => read += 1,
            Err(()) => failed += 1,
        }
    }
    let most = MEMORY.max_allocated().saturating_sub(before);
    assert!(most < MEMORY_LIMIT, "{most} bytes were held at once");
    // Both ends are met often, or the flips do not go where they should.
    assert!(read > FLIPS / 20 && failed > FLIPS / 20, "{read} read, {failed} failed");
}

/// All golden dumps, by name.
fn golden() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rdb"));
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The values of all dumps, by type.
fn values(dumps: &[Vec<u8>]) -> Vec<(ValueType, Vec<Vec<u8>>)> {
    let mut values: BTreeMap<String, (ValueType, Vec<Vec<u8>>)> = BTreeMap::new();
    for bytes in dumps {
        let mut reader = Reader::new(Limits::default());
        let mut from = 0;
        while !reader.is_finished() {
            // Only the module values of 4.0 cannot be read: they do not say where they end.
            let Ok(next) = reader.next(&bytes[from..]) else { break };
            let (used, item) = next.expect("the dump is whole");
            if let Item::Entry(entry) = item {
                let of_type = values.entry(format!("{:?}", entry.kind)).or_insert((entry.kind, Vec::new()));
                of_type.1.push(entry.raw.to_vec());
            }
            from += used;
        }
    }
    values.into_values().collect()
}

/// Reads a dump to its end or to an error, whose offset is within it.
fn read_dump(bytes: &[u8]) -> Result<(), ()> {
    let mut reader = Reader::new(Limits::default());
    let mut from = 0;
    while !reader.is_finished() {
        match reader.next(&bytes[from..]) {
            Err(error) => {
                assert!(error.at() <= bytes.len() as u64, "{error}");
                return Err(());
            }
            // A length that was flipped asks for more than there is.
            Ok(None) => return Err(()),
            Ok(Some((used, item))) => {
                assert!(used > 0 && used <= bytes.len() - from);
                if let Item::Entry(entry) = &item
                    && entry.kind.group() == Group::String
                {
                    let (text, used) = string::parse(entry.raw).expect("the reader has found it whole");
                    assert_eq!(used, entry.raw.len());
                    let _ = text.append_to(&mut Vec::new());
                }
                from += used;
            }
        }
    }
    Ok(())
}

/// Decodes a value element by element and writes the commands that rebuild it.
fn read_value(kind: ValueType, raw: &[u8], target: Target) -> Result<(), ()> {
    let plan = Plan { field_ttl: FieldTtl::Keep, expire_ms: Some(1), ..Plan::default() };
    let mut rebuilder = Rebuilder::new(b"key", kind.group(), target, plan).ok();
    let mut decoder = ValueDecoder::new(kind, DecodeLimits::default());
    let mut commands = Vec::new();
    let mut from = 0;
    while !decoder.is_finished() {
        match decoder.next(&raw[from..]) {
            Err(error) => {
                assert!(error.at() <= raw.len() as u64, "{error}");
                return Err(());
            }
            Ok((used, element)) => {
                let waits = element.is_none();
                if let Some(element) = &element
                    && rebuilder.as_mut().is_some_and(|rebuilder| rebuilder.push(element, &mut commands).is_err())
                {
                    rebuilder = None;
                }
                commands.clear();
                from += used;
                assert!(from <= raw.len());
                if waits && !decoder.is_finished() {
                    return Err(());
                }
            }
        }
    }
    Ok(())
}

/// A payload whose bytes were flipped after its checksum was made is refused; one that has the right checksum is not.
fn check_payload(kind: ValueType, raw: &[u8]) {
    let mut payload = Vec::new();
    dump::write(&mut payload, kind, raw, kind.dump_version() as u16);
    let (found, found_raw, _) = dump::verify(&payload).expect("the checksum is right");
    assert!(found == kind && found_raw == raw);
    payload[raw.len() / 2 + 1] ^= 1;
    assert!(dump::verify(&payload).is_err());
}

/// Knuth's generator with a mixed output: enough to choose bytes.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed >> 33) as usize) % limit
    }

    /// One to three bytes become others.
    fn flip(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= (1 + self.below(255)) as u8;
            }
        }
    }
}
