//! Opcodes, attributes and errors, on dumps written by hand.

use super::*;

/// The items of `header` and `body`, and what ended them.
fn of(header: &str, body: &[u8]) -> (Vec<String>, Option<Error>) {
    let bytes = [header.as_bytes(), body].concat();
    let (mut items, error) = golden::items(&bytes, || 1);
    items.remove(0);
    (items, error)
}

fn error(header: &str, body: &[u8]) -> Error {
    of(header, body).1.unwrap()
}

/// The expiry of the only entry of `body`.
fn expiry(attribute: &[u8]) -> Option<u64> {
    let mut expiry = None;
    let bytes = [b"REDIS0006", attribute, b"\x00\x01k\x01v"].concat();
    golden::read(
        &bytes,
        Limits::default(),
        || 1,
        |item| {
            if let Item::Entry(entry) = item {
                expiry = Some(entry.expire_ms);
            }
        },
    );
    expiry.unwrap()
}

#[test]
fn headers_are_checked() {
    let header = |bytes: &[u8]| golden::items(bytes, || 1).1;
    for good in [&b"REDIS0001"[..], b"REDIS0013", b"VALKEY080", b"", b"R", b"REDIS", b"VALKEY08"] {
        assert_eq!(header(good), None);
    }
    for bad in [&b"X"[..], b"RED1S", b"redis0001", b"REDIS00a1", b"REDIS 011", b"VALKEZ", b"VALKEY0x0"] {
        assert_eq!(header(bad), Some(Error::BadMagic { at: 0 }));
    }
    for (new, magic, version, at) in [
        (&b"REDIS0000"[..], Magic::Redis, 0, 5),
        (b"REDIS0014", Magic::Redis, 14, 5),
        (b"REDIS0080", Magic::Redis, 80, 5),
        (b"VALKEY011", Magic::Valkey, 11, 6),
        (b"VALKEY081", Magic::Valkey, 81, 6),
    ] {
        assert_eq!(header(new), Some(Error::UnsupportedVersion { magic, version, at }));
    }
}

#[test]
fn old_dumps_have_no_checksum() {
    assert_eq!(of("REDIS0004", b"\xfe\x02\xff").0, ["SelectDb(2)", "End { checksum: Absent }"]);
    assert_eq!(of("REDIS0005", b"\xff").0.len(), 0, "its checksum is still to come");
    assert_eq!(of("REDIS0005", b"\xff\0\0\0\0\0\0\0\0").0, ["End { checksum: Disabled }"]);
}

#[test]
fn expiries_are_absolute_and_never_zero() {
    assert_eq!(expiry(b""), None);
    assert_eq!(expiry(b"\xfd\x10\x00\x00\x00"), Some(16_000));
    assert_eq!(expiry(b"\xfd\xff\xff\xff\x7f"), Some(2_147_483_647_000));
    assert_eq!(expiry(b"\xfc\x10\x00\x00\x00\x00\x00\x00\x01"), Some((1 << 56) + 16));
    assert_eq!(expiry(b"\xfc\x00\x00\x00\x00\x00\x00\x00\x00"), Some(1), "0 would mean none to RESTORE");
    assert_eq!(expiry(b"\xfd\xfe\xff\xff\xff"), Some(1), "before the epoch");
    assert_eq!(expiry(b"\xfd\xff\xff\xff\xff"), None, "-1 stands for none");
    assert_eq!(expiry(b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff"), None, "-1 stands for none");
}

#[test]
fn attributes_go_to_the_next_entry_only() {
    let body = b"\xfc\x07\x00\x00\x00\x00\x00\x00\x00\xf8\x41\x00\xf9\x05\x00\x01a\x01v\x00\x01b\x01v";
    let (items, error) = of("REDIS0009", body);
    assert_eq!(error, None);
    assert!(items[0].contains("expire_ms: Some(7), idle_s: Some(256), freq: Some(5)"), "{}", items[0]);
    assert!(items[1].contains("expire_ms: None, idle_s: None, freq: None"), "{}", items[1]);
}

#[test]
fn attributes_must_be_followed_by_a_value() {
    for (opcode, rest) in
        [(0xfe, &b"\x00"[..]), (0xfa, b"\x01a\x01b"), (0xff, b""), (0xfb, b"\x01\x01"), (0xf5, b"\x00")]
    {
        let body = [b"\xf9\x05", &[opcode][..], rest].concat();
        let error = error("REDIS0011", &body);
        assert!(matches!(error, Error::OpcodeOrder { opcode: found, at: 11, .. } if found == opcode), "{error}");
    }
    for twice in [&b"\xf9\x01\xf9\x01"[..], b"\xf8\x01\xf8\x01", b"\xfd\0\0\0\0\xfc\0\0\0\0\0\0\0\0"] {
        assert!(matches!(error("REDIS0011", twice), Error::OpcodeOrder { .. }));
    }
}

#[test]
fn unknown_bytes_are_named_with_their_place() {
    let type_8 = error("REDIS0011", b"\xfe\x03\x00\x01k\x01v\x08\x01k\x01v");
    assert_eq!(type_8, Error::UnknownType { ty: 8, db: 3, at: 16 });
    assert_eq!(type_8.to_string(), "unknown value type 8 in database 3 at byte 16");
    assert_eq!(error("REDIS0013", b"\x1b"), Error::UnknownType { ty: 27, db: 0, at: 9 });
    assert_eq!(error("VALKEY080", b"\x19"), Error::UnknownType { ty: 25, db: 0, at: 9 }, "only Redis has it");
    assert_eq!(error("VALKEY080", b"\x96"), Error::UnknownType { ty: 0x96, db: 0, at: 9 });
    assert_eq!(error("REDIS0013", b"\xf2"), Error::UnknownOpcode { opcode: 242, db: 0, at: 9 });
    assert_eq!(error("REDIS0012", b"\xf3"), Error::UnknownOpcode { opcode: 243, db: 0, at: 9 }, "came with 13");
    assert_eq!(error("REDIS0010", b"\xf6"), Error::FunctionPreGa { at: 9 });
    assert_eq!(error("REDIS0008", b"\xf9\x00\x06"), Error::OpaqueModule { db: 0, at: 11 });
    assert!(matches!(error("REDIS0008", b"\xfe\x81\xff\0\0\0\0\0\0\0"), Error::Corrupt { at: 10, .. }));
    assert!(matches!(error("REDIS0008", b"\xfe\xc0\x01"), Error::Corrupt { at: 10, .. }), "a number is not a string");
    assert!(matches!(error("REDIS0008", b"\x00\x01k\x82"), Error::Corrupt { at: 12, .. }));
    assert!(matches!(error("REDIS0008", b"\x00\xc4"), Error::Corrupt { at: 10, .. }));
}

#[test]
fn bad_compressed_keys_are_placed() {
    // The reference at the second compressed byte points before the start.
    let error = error("REDIS0008", b"\x00\xc3\x04\x0a\x00a\x20\x05");
    assert!(matches!(error, Error::Lzf { at: 15, .. }), "{error:?}");
}

#[test]
fn fields_and_functions_are_decoded() {
    let body = b"\xfa\x03abc\xc1\x00\x01\xfa\xc0\xfe\xc3\x05\x0a\x00a\xe0\x00\x00\xf5\xc3\x05\x0a\x00b\xe0\x00\x00";
    let text = |bytes: &[u8]| format!("{bytes:?}");
    assert_eq!(
        of("REDIS0011", body).0,
        [
            format!("Aux {{ key: {}, value: {} }}", text(b"abc"), text(b"256")),
            format!("Aux {{ key: {}, value: {} }}", text(b"-2"), text(b"aaaaaaaaaa")),
            format!("Function {{ code: {} }}", text(b"bbbbbbbbbb")),
        ]
    );
}

#[test]
fn slot_imports_and_key_metadata_share_an_opcode() {
    let import = b"\xf3\x03job\x02\x00\x05\x41\x00\x41\x02\x00\x01k\x01v";
    let (items, error) = of("VALKEY080", import);
    assert_eq!((&*items[0], error), ("SlotImport { ranges: 2 }", None));
    // One class: its number, an unsigned 7, a string, the end.
    let meta = b"\xf3\x01\x11\x22\x33\x44\x02\x07\x05\x02hi\x00";
    let bytes = [b"REDIS0013\xf9\x05", &meta[..], b"\x00\x01k\x01v\x00\x01l\x01w"].concat();
    let mut metas = Vec::new();
    let (_, error) = golden::read(
        &bytes,
        Limits::default(),
        || 1,
        |item| {
            if let Item::Entry(entry) = item {
                metas.push((entry.meta.to_vec(), entry.freq));
            }
        },
    );
    assert_eq!(error, None);
    assert_eq!(metas, [(meta.to_vec(), Some(5)), (Vec::new(), None)]);
}

#[test]
fn limits_hold_before_the_bytes_are_there() {
    let limits = Limits { max_value: 10, max_string: 5 };
    let fails = |body: &[u8]| {
        let bytes = [b"REDIS0011", body].concat();
        golden::read(&bytes, limits, || usize::MAX, |_| {}).1
    };
    let value = |len, at| Some(Error::OverLimit { what: LimitKind::Value, len, limit: 10, at });
    let string = |len, at| Some(Error::OverLimit { what: LimitKind::String, len, limit: 5, at });
    assert_eq!(fails(b"\x00\x05kkkkk\x09"), None, "ten bytes with the length");
    assert_eq!(fails(b"\x00\x05kkkkk\x0a"), value(11, 16));
    assert_eq!(fails(b"\x00\x06k"), string(6, 10));
    assert_eq!(fails(b"\x00\xc3\x02\x06"), string(6, 10), "as decoded");
    assert_eq!(fails(b"\xfa\x06"), string(6, 10));
    assert_eq!(fails(b"\xf5\x06"), string(6, 10));
    assert_eq!(fails(b"\x01\x01k\x0a"), value(11, 12), "ten elements take ten bytes at least");
    assert_eq!(fails(b"\x01\x01k\x02\x04aaaa\x04bbbb"), value(11, 18));
    assert_eq!(fails(b"\xf7\x01\x05\x0f"), value(18, 11));
}

#[test]
fn errors_do_not_move_the_reader() {
    let mut reader = Reader::new(Limits::default());
    reader.next(b"REDIS0011").unwrap();
    for _ in 0..3 {
        assert_eq!(reader.next(b"\xf9\x01\x08"), Err(Error::UnknownType { ty: 8, db: 0, at: 11 }));
        assert_eq!(reader.offset(), 9);
    }
}

#[test]
fn debug_forms_hold_no_contents() {
    let bytes = b"\x00\x06sesame\x06secret";
    let mut reader = Reader::new(Limits::default());
    reader.next(b"REDIS0011").unwrap();
    let (_, item) = reader.next(bytes).unwrap().unwrap();
    let Item::Entry(entry) = item else { panic!() };
    let numbers = format!("{:?}", b"secret");
    for text in [format!("{item:?}"), format!("{:?}", string::parse(entry.raw).unwrap()), format!("{reader:?}")] {
        assert!(!text.contains("secret") && !text.contains("sesame") && !text.contains(&numbers[1..18]), "{text}");
    }
}
