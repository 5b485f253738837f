use super::*;

#[test]
fn all_forms_decode() {
    for (raw, expected, used) in [
        (&b"\x00rest"[..], Str::Bytes(b""), 1),
        (b"\x03abcrest", Str::Bytes(b"abc"), 4),
        (b"\x40\x03abc", Str::Bytes(b"abc"), 5),
        (b"\x80\x00\x00\x00\x03abc", Str::Bytes(b"abc"), 8),
        (b"\x81\x00\x00\x00\x00\x00\x00\x00\x03abc", Str::Bytes(b"abc"), 12),
        (b"\xc0\x80", Str::Int(-128), 2),
        (b"\xc1\x00\x80", Str::Int(-32768), 3),
        (b"\xc2\x00\x00\x00\x80", Str::Int(-2_147_483_648), 5),
        (b"\xc2\xff\xff\xff\x7f", Str::Int(2_147_483_647), 5),
        (b"\xc3\x02\x09ab", Str::Lzf { compressed: b"ab", len: 9 }, 5),
    ] {
        assert_eq!(parse(raw), Ok((expected, used)));
    }
}

#[test]
fn what_is_cut_or_unknown_is_refused() {
    for raw in [&b""[..], b"\x03ab", b"\x40", b"\x80\x00", b"\xc2\x00\x00\x00", b"\xc3\x02\x09a", b"\xc4", b"\x82"] {
        assert!(matches!(parse(raw), Err(Error::Corrupt { at: 0, .. })), "{raw:?}");
    }
    assert!(parse(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
}

#[test]
fn numbers_become_digits() {
    for value in [0, 7, -7, 10, 99, 100, -100, i64::MAX, i64::MIN] {
        let mut out = b"=".to_vec();
        Str::Int(value).append_to(&mut out).unwrap();
        assert_eq!(out, format!("={value}").as_bytes());
    }
}
