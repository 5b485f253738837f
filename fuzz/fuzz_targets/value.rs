//! Values, element by element, and the commands that rebuild them: no panic, bounded memory, one verdict however the bytes
//! are cut.
//!
//! The first four bytes of the input say into which pieces the rest is cut; the last of them also which target the commands
//! are for. The rest is read as a DUMP payload, whose checksum need not be right.

#![no_main]

use keyferry_rdb::{
    Error, Magic, ValueType,
    object::{DecodeLimits, ValueDecoder},
    packed::{Packed, Packing},
    rebuild::{FieldTtl, PendingIds, Plan, Rebuilder, Target},
};
use libfuzzer_sys::fuzz_target;

/// Limits that short inputs reach.
const TIGHT: DecodeLimits = DecodeLimits { max_string: 64, max_pending: 3, chunk: 16 };
/// Bytes of version and checksum at the end of a payload.
const FOOTER: usize = 10;

fuzz_target!(|data: &[u8]| {
    let Some((steps, input)) = data.split_first_chunk::<4>() else { return };
    for packing in [Packing::Listpack, Packing::Ziplist, Packing::Zipmap, Packing::Intset] {
        if let Ok(mut packed) = Packed::open(packing, input) {
            while packed.next().is_some() {
                assert!(packed.offset() <= input.len() as u64);
            }
        }
    }
    let Some((&ty, raw)) = input.split_first() else { return };
    let raw = &raw[..raw.len().saturating_sub(FOOTER)];
    for magic in [Magic::Redis, Magic::Valkey] {
        let Some(kind) = ValueType::from_byte(ty, magic) else { continue };
        for limits in [DecodeLimits { chunk: 300, ..DecodeLimits::default() }, TIGHT] {
            let whole = value(kind, raw, &[raw.len()], limits, steps[3]);
            assert_eq!(value(kind, raw, &ends(steps, raw.len()), limits, steps[3]), whole);
        }
    }
});

/// Where the pieces end: the steps are taken in turn, each one byte longer than it says.
fn ends(steps: &[u8; 4], len: usize) -> Vec<usize> {
    let mut at = 0;
    let mut ends = Vec::new();
    for step in steps.iter().cycle() {
        at = len.min(at + usize::from(*step) + 1);
        ends.push(at);
        if at == len {
            break;
        }
    }
    ends
}

fn target(choice: u8) -> Target {
    match choice & 3 {
        0 => Target::redis(2, 8),
        1 => Target::redis(6, 0),
        2 => Target::valkey(8, 1),
        _ => Target::redis(8, 6),
    }
}

/// What a value came to: its commands, how far it was read, and the error that ended it.
type Verdict = (Vec<u8>, u64, Option<Error>);

fn value(kind: ValueType, raw: &[u8], ends: &[usize], limits: DecodeLimits, choice: u8) -> Verdict {
    let field_ttl = if choice & 4 == 0 { FieldTtl::Drop } else { FieldTtl::Keep };
    let plan = Plan { field_ttl, batch_bytes: 200, batch_elements: 5, expire_ms: Some(1), ..Plan::default() };
    let mut pending = PendingIds::default();
    if choice & 8 == 0 {
        decode(kind, raw, ends, limits, |element| pending.note(element));
    }
    let mut rebuilder = Rebuilder::new(b"key", kind.group(), target(choice), plan).ok().map(|r| r.with_pending(pending));
    let mut out = Vec::new();
    let (offset, error) = decode(kind, raw, ends, limits, |element| {
        if let Some(all) = &mut rebuilder {
            if all.push(element, &mut out).is_err() {
                rebuilder = None;
            }
        }
    });
    // Commands are whole: each marker of one stands at the start of a line.
    assert!(out.is_empty() || out.starts_with(b"*") && out.ends_with(b"\r\n"));
    (out, offset, error)
}

fn decode(
    kind: ValueType,
    raw: &[u8],
    ends: &[usize],
    limits: DecodeLimits,
    mut see: impl FnMut(&keyferry_rdb::object::Element<'_>),
) -> (u64, Option<Error>) {
    let mut decoder = ValueDecoder::new(kind, limits);
    let mut from = 0;
    for &end in ends {
        loop {
            assert_eq!(decoder.offset(), from as u64);
            match decoder.next(&raw[from..end]) {
                Err(error) => {
                    assert!(error.at() <= raw.len() as u64);
                    return (0, Some(error));
                }
                Ok((used, element)) => {
                    let waits = element.is_none();
                    if let Some(element) = element {
                        see(&element);
                    }
                    from += used;
                    assert!(from <= end);
                    if waits {
                        break;
                    }
                }
            }
        }
    }
    (if decoder.is_finished() { decoder.offset() } else { 0 }, None)
}
