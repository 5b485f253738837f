//! Dumps and DUMP payloads: no panic, bounded memory, and one verdict however the bytes are cut.
//!
//! The first four bytes of the input say into which pieces the rest is cut. The rest is read as a dump, whole and in
//! pieces, and as a DUMP payload.

#![no_main]

use keyferry_rdb::{Entry, Error, Group, Item, Limits, Reader, dump, string};
use libfuzzer_sys::fuzz_target;

/// Limits that short inputs reach.
const TIGHT: Limits = Limits { max_value: 512, max_string: 64 };

fuzz_target!(|data: &[u8]| {
    let Some((steps, input)) = data.split_first_chunk::<4>() else { return };
    let ends = ends(steps, input.len());
    for limits in [Limits::default(), TIGHT] {
        assert_eq!(items(input, &ends, limits), items(input, &[input.len()], limits));
    }
    if let Ok((kind, raw, version)) = dump::verify(input) {
        let mut again = Vec::new();
        dump::write(&mut again, kind, raw, version);
        assert_eq!(again, input);
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

/// The length and text of each item, and the error that ends them.
fn items(input: &[u8], ends: &[usize], limits: Limits) -> (Vec<(usize, String)>, Option<Error>) {
    let mut reader = Reader::new(limits);
    let mut found = Vec::new();
    let mut from = 0;
    for &end in ends {
        while !reader.is_finished() {
            assert_eq!(reader.offset(), from as u64);
            match reader.next(&input[from..end]) {
                Err(error) => return (found, Some(error)),
                Ok(None) => break,
                Ok(Some((used, item))) => {
                    assert!(used > 0 && used <= end - from);
                    if let Item::Entry(entry) = &item {
                        check_entry(entry);
                    }
                    found.push((used, format!("{item:?}")));
                    from += used;
                }
            }
        }
    }
    (found, None)
}

/// The payload of an entry comes back from its DUMP form, and a string can be read or says why not.
fn check_entry(entry: &Entry<'_>) {
    let mut payload = Vec::new();
    dump::write(&mut payload, entry.kind, entry.raw, 11);
    assert_eq!(payload.len(), dump::len(entry.raw.len()));
    if let Ok((_, raw, version)) = dump::verify(&payload) {
        assert_eq!((raw, version), (entry.raw, 11));
    }
    if entry.kind.group() == Group::String {
        let (text, used) = string::parse(entry.raw).expect("the reader has found the string whole");
        assert_eq!(used, entry.raw.len());
        let mut out = Vec::new();
        let _ = text.append_to(&mut out);
    }
}
