//! The decoder and the table of types must agree on where a value ends.

use super::*;

#[test]
fn a_value_is_as_long_as_the_reader_says() {
    for golden in golden::all("") {
        each_value(&golden, |_, _, kind, raw| {
            let mut more = raw.to_vec();
            more.extend(b"\xff\xff\xff behind");
            let mut decoder = ValueDecoder::new(kind, DecodeLimits::default());
            let mut start = 0;
            while !decoder.is_finished() {
                let (used, element) = decoder.next(&more[start..]).unwrap();
                let there = element.is_some();
                start += used;
                assert!(there, "{kind}");
            }
            assert_eq!(start, raw.len(), "{} {kind}", golden.name);
        });
    }
}

#[test]
fn debug_output_shows_no_strings() {
    let mut decoder = ValueDecoder::new(kind(4), DecodeLimits::default());
    let (_, element) = decoder.next(b"\x01\x06secret\x03abc").unwrap();
    let text = format!("{element:?}");
    assert_eq!(text, "Some(HashField { field: Bytes(6 bytes), value: Bytes(3 bytes), expire_ms: None })");
    assert!(!format!("{decoder:?}").contains("secret"));
}
