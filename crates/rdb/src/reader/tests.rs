//! The reader against golden dumps of real servers, in every way of cutting, and against bytes that no server writes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    Group, LimitKind, ValueType, dump,
    golden::{self, Golden, Key},
    lzf, string,
};

mod layouts;
mod opcodes;

/// What the reader found of each key, in the form of what the server said.
fn found(golden: &Golden) -> BTreeMap<(u32, Vec<u8>), Key> {
    let mut keys = BTreeMap::new();
    let (reader, error) = golden::read(
        &golden.bytes,
        Limits::default(),
        || usize::MAX,
        |item| {
            if let Item::Entry(entry) = item {
                let mut payload = Vec::new();
                dump::write_with_meta(&mut payload, entry.meta, entry.kind, entry.raw, golden.version);
                let crc = u64::from_le_bytes(*payload.last_chunk().unwrap());
                let group = entry.kind.group().name().to_owned();
                keys.insert((entry.db, entry.key.to_vec()), Key { group, expire_ms: entry.expire_ms, crc });
            }
        },
    );
    assert_eq!(error, None, "{}", golden.name);
    assert!(reader.is_finished(), "{}", golden.name);
    assert_eq!(reader.offset(), golden.bytes.len() as u64, "{}", golden.name);
    keys
}

#[test]
fn golden_dumps_hold_what_their_servers_say() {
    for golden in golden::all("") {
        if golden.name == "redis-4.0-hellotype" {
            continue;
        }
        let found = found(&golden);
        for (key, told) in &golden.keys {
            assert_eq!(found.get(key), Some(told), "{} {key:?}", golden.name);
        }
        assert_eq!(found.len(), golden.keys.len(), "{}", golden.name);
    }
}

#[test]
fn golden_dumps_cover_the_types_that_servers_write() {
    let mut seen = BTreeSet::new();
    for golden in golden::all("") {
        golden::read(
            &golden.bytes,
            Limits::default(),
            || usize::MAX,
            |item| {
                if let Item::Entry(entry) = item {
                    seen.insert(entry.kind.name());
                }
            },
        );
    }
    let mut missing = BTreeSet::new();
    for magic in [Magic::Redis, Magic::Valkey] {
        missing.extend((0..=255).filter_map(|byte| ValueType::from_byte(byte, magic)).map(ValueType::name));
    }
    missing.retain(|name| !seen.contains(name));
    // Written by no server at hand: Redis 2.4 and the release candidates of 7.4.
    assert_eq!(missing, BTreeSet::from(["hash-zipmap", "hash-metadata-pre-ga", "hash-listpack-ex-pre-ga"]));
}

#[test]
fn plain_strings_decode_to_what_was_set() {
    let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    expected.insert(b"lzf:abc".to_vec(), b"abc".repeat(100));
    expected.insert(b"lzf:run".to_vec(), b"a".repeat(1000));
    expected.insert(b"no-int".to_vec(), b"007".to_vec());
    expected.insert(b"empty".to_vec(), Vec::new());
    for golden in golden::all("") {
        let mut strings = 0;
        golden::read(
            &golden.bytes,
            Limits::default(),
            || usize::MAX,
            |item| {
                let Item::Entry(entry) = item else { return };
                if entry.kind.group() != Group::String {
                    return;
                }
                let (text, used) = string::parse(entry.raw).unwrap();
                assert_eq!(used, entry.raw.len());
                let mut decoded = Vec::new();
                text.append_to(&mut decoded).unwrap();
                if let Some(expected) = expected.get(entry.key) {
                    assert_eq!(&decoded, expected, "{}", golden.name);
                    strings += 1;
                } else if let Some(number) = entry.key.strip_prefix(b"int:") {
                    assert_eq!(decoded, number, "{}", golden.name);
                    strings += 1;
                } else if let Some(length) = entry.key.strip_prefix(b"noise:") {
                    assert_eq!(decoded.len().to_string().as_bytes(), length, "{}", golden.name);
                }
            },
        );
        assert!(strings == 0 || strings == 21, "{} {strings}", golden.name);
    }
}

#[test]
fn every_item_beside_the_keys_is_given() {
    let of = |name: &str| golden::items(&golden::all(name)[0].bytes, || usize::MAX).0;
    assert_eq!(of("redis-2.8")[0], "Header { version: 6, magic: Redis }");
    assert_eq!(of("redis-8.6")[0], "Header { version: 13, magic: Redis }");
    assert_eq!(of("valkey-9.0")[0], "Header { version: 80, magic: Valkey }");
    assert!(of("redis-7.0").last().unwrap().contains("checksum: Disabled"), "the first by name is the one without");
    assert_eq!(of("redis-2.8").last().unwrap(), "End { checksum: Ok }");
    let counted = |name: &str, what: &str| of(name).iter().filter(|item| item.starts_with(what)).count();
    assert_eq!(counted("redis-7.2-stack", "ModuleAux"), 3);
    assert_eq!(counted("redis-7.4-cluster", "SlotInfo"), 25);
    assert_eq!(counted("valkey-9.0-cluster", "SlotInfo"), 0, "Valkey reads it, and writes none");
    assert_eq!(counted("redis-7.2", "Function"), 0, "the first by name is the one with modules");
    assert_eq!(counted("redis-8.2", "Function"), 1);
    assert_eq!(counted("redis-8.2", "SelectDb"), 3);
    assert_eq!(counted("redis-8.2", "ResizeDb"), 3);
    assert!(counted("redis-8.2", "Aux") > 3);
}

#[test]
fn clocks_of_access_belong_to_their_entry() {
    for (name, idle, freq) in [("redis-5.0", true, false), ("redis-6.0", false, true), ("redis-6.2", false, false)] {
        let golden = golden::all(name).into_iter().find(|golden| golden.name == name).unwrap();
        golden::read(
            &golden.bytes,
            Limits::default(),
            || usize::MAX,
            |item| {
                if let Item::Entry(entry) = item {
                    assert_eq!((entry.idle_s.is_some(), entry.freq.is_some()), (idle, freq), "{name}");
                }
            },
        );
    }
}

#[test]
fn a_module_value_of_a_release_candidate_is_named() {
    let golden = &golden::all("redis-4.0-hellotype")[0];
    let (_, error) = golden::items(&golden.bytes, || 1);
    let Some(Error::OpaqueModule { db: 0, at }) = error else { panic!("{error:?}") };
    assert_eq!(golden.bytes[at as usize], 6);
}

#[test]
fn one_byte_at_a_time_gives_the_same_items() {
    for golden in golden::all("") {
        let whole = golden::items(&golden.bytes, || usize::MAX);
        assert_eq!(golden::items(&golden.bytes, || 1), whole, "{}", golden.name);
    }
}

#[test]
fn a_truncated_dump_never_ends() {
    for golden in golden::all("") {
        let step = if golden.name == "redis-8.6" { 1 } else { 13 };
        let whole = golden::items(&golden.bytes, || usize::MAX);
        if whole.1.is_some() {
            continue;
        }
        for len in (0..golden.bytes.len()).rev().step_by(step) {
            let (items, error) = golden::items(&golden.bytes[..len], || usize::MAX);
            assert_eq!(error, None, "{} {len}", golden.name);
            assert!(items.len() < whole.0.len() && items[..] == whole.0[..items.len()], "{} {len}", golden.name);
        }
    }
}

#[test]
fn bytes_behind_the_end_are_left_alone() {
    let golden = &golden::all("redis-7.4")[0];
    let mut bytes = golden.bytes.clone();
    bytes.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    let (mut reader, error) = golden::read(&bytes, Limits::default(), || usize::MAX, |_| {});
    assert_eq!((error, reader.offset()), (None, golden.bytes.len() as u64));
    assert_eq!(reader.next(b"*1\r\n").unwrap(), None);
}

#[test]
fn a_flipped_bit_is_found_at_the_end() {
    let golden = &golden::all("redis-6.2")[0];
    let mut bytes = golden.bytes.clone();
    let at = bytes.windows(5).position(|w| w == b"value").unwrap();
    bytes[at] ^= 1;
    let (_, error) = golden::items(&bytes, || usize::MAX);
    let Some(Error::Checksum { at, .. }) = error else { panic!("{error:?}") };
    assert_eq!(at, golden.bytes.len() as u64 - 8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_cutting_gives_the_same_items(pick in any::<prop::sample::Index>(), cuts in prop::collection::vec(1..400_usize, 1..40)) {
        let all = golden::all("");
        let golden = pick.get(&all);
        let mut cuts = cuts.iter().cycle();
        let cut = golden::items(&golden.bytes, || *cuts.next().unwrap());
        prop_assert_eq!(cut, golden::items(&golden.bytes, || usize::MAX));
    }

    #[test]
    fn mutated_dumps_give_items_or_an_error(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in 1..3000_usize,
    ) {
        let all = golden::all("");
        let mut bytes = pick.get(&all).bytes.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bounded(&bytes, cut)?;
    }

    #[test]
    fn arbitrary_bytes_give_items_or_an_error(
        header in prop::sample::select(vec!["", "REDIS0001", "REDIS0009", "REDIS0013", "VALKEY080"]),
        body in prop::collection::vec(any::<u8>(), 0..600),
        cut in 1..700_usize,
    ) {
        bounded(&[header.as_bytes(), &body].concat(), cut)?;
    }

    #[test]
    fn opcodes_and_types_in_any_order_give_items_or_an_error(
        parts in prop::collection::vec((prop_oneof![0..28_u8, 243..=255_u8], prop::collection::vec(0..9_u8, 0..12)), 0..40),
        header in prop::sample::select(vec!["REDIS0004", "REDIS0013", "VALKEY080"]),
    ) {
        let mut bytes = header.as_bytes().to_vec();
        for (opcode, body) in parts {
            bytes.push(opcode);
            bytes.extend(body);
        }
        bounded(&bytes, 7)?;
        prop_assert_eq!(golden::items(&bytes, || 1), golden::items(&bytes, || usize::MAX));
    }
}

/// Reads with small limits and checks that the reader kept to them.
fn bounded(bytes: &[u8], cut: usize) -> Result<(), TestCaseError> {
    let limits = Limits { max_value: 500, max_string: 200 };
    let (reader, error) = golden::read(bytes, limits, || cut, |_| {});
    // A vector doubles when it grows.
    prop_assert!(reader.key.capacity() <= 400 && reader.text.capacity() <= 400);
    if let Some(error) = error {
        prop_assert!(error.at() <= bytes.len() as u64, "{}", error);
        prop_assert!(error.at() >= reader.offset() || matches!(error, Error::BadMagic { .. }), "{}", error);
    }
    Ok(())
}

#[test]
fn a_promise_of_a_huge_string_allocates_nothing() {
    let mut out = Vec::new();
    assert!(lzf::decompress(&[0; 8], 1 << 40, &mut out).is_err());
    assert_eq!(out.capacity(), 0);
    for head in [&b"\x81\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\xc3\x01\x81\x00\x00\x00\xff\xff\xff\xff\xff\x00"] {
        let bytes = [b"REDIS0011\x00", head].concat();
        let (reader, error) = golden::read(&bytes, Limits::default(), || usize::MAX, |_| {});
        assert!(matches!(error, Some(Error::OverLimit { what: LimitKind::String, at: 10, .. })), "{error:?}");
        assert_eq!(reader.key.capacity(), 0);
    }
}
