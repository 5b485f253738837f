//! Strings of servers, which are bytes, as text: escaped for people, and as JSON for programs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Appends bytes as `redis-cli` shows them between its quotes: one line of ASCII, whatever the bytes are. Put between double
/// quotes, `redis-cli` reads the same bytes back.
pub(super) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    // sds.c sdscatrepr, Redis 7.2
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                let digit = |n: u8| b"0123456789abcdef"[usize::from(n & 15)];
                out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte)]);
            }
        }
    }
}

/// The same as a string.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    escape(bytes, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends bytes as JSON: a string where they are UTF-8, else `{"base64":"..."}`.
pub(super) fn json_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => json_text(text, out),
        Err(_) => {
            out.extend_from_slice(b"{\"base64\":");
            json_base64(bytes, out);
            out.push(b'}');
        }
    }
}

/// Bytes of a long string that are written at a time; whole groups of three for base64.
const PIECE: usize = 48 << 10;

/// The same for a string of any length: `spill` may take away what has been written so far, piece by piece.
pub(super) fn json_long<E>(
    bytes: &[u8],
    out: &mut Vec<u8>,
    mut spill: impl FnMut(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    if bytes.len() <= PIECE {
        json_bytes(bytes, out);
        return Ok(());
    }
    let Ok(mut text) = std::str::from_utf8(bytes) else {
        out.extend_from_slice(b"{\"base64\":\"");
        for piece in bytes.chunks(PIECE) {
            out.extend_from_slice(STANDARD.encode(piece).as_bytes());
            spill(out)?;
        }
        out.extend_from_slice(b"\"}");
        return Ok(());
    };
    let mut quoted = Vec::new();
    out.push(b'"');
    while !text.is_empty() {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
        quoted.clear();
        json_text(piece, &mut quoted);
        out.extend_from_slice(&quoted[1..quoted.len() - 1]);
        spill(out)?;
        text = rest;
    }
    out.push(b'"');
    Ok(())
}

/// Appends a JSON string.
pub(super) fn json_text(text: &str, out: &mut Vec<u8>) {
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends bytes as a JSON string in base64.
pub(super) fn json_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

/// Bytes as a JSON value, in the same form.
pub(super) fn json_value(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| json!({ "base64": STANDARD.encode(bytes) }), Value::from)
}

/// Appends a score as JSON: a number that reads back to the same bits, or `"inf"` and `"-inf"`.
pub(super) fn json_score(score: f64, out: &mut Vec<u8>) {
    // 2^53: whole numbers up to here are written as such.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let text = if score.is_infinite() {
        if score > 0.0 { "\"inf\"".into() } else { "\"-inf\"".into() }
    } else if score.fract() == 0.0 && score.abs() <= EXACT && !(score == 0.0 && score.is_sign_negative()) {
        (score as i64).to_string()
    } else {
        format!("{score:?}")
    };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(make: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        make(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_those_of_redis_cli() {
        assert_eq!(
            escaped(b"user:1 a\"b\\c\n\r\t\x07\x08\x00\x7f\xc3\xa4"),
            "user:1 a\\\"b\\\\c\\n\\r\\t\\a\\b\\x00\\x7f\\xc3\\xa4"
        );
    }

    #[test]
    fn bytes_are_text_or_base64() {
        assert_eq!(made(|out| json_bytes("h\u{e4}\"\n\0".as_bytes(), out)), "\"h\u{e4}\\\"\\n\\u0000\"");
        assert_eq!(made(|out| json_bytes(b"\xff\xfe", out)), r#"{"base64":"//4="}"#);
        assert_eq!(json_value(b"\xff\xfe"), json!({ "base64": "//4=" }));
        assert_eq!(json_value(b""), json!(""));
    }

    #[test]
    fn long_strings_are_the_same_in_pieces() {
        let spill = |_: &mut Vec<u8>| Ok::<(), ()>(());
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5] {
            for sample in
                ["\u{e4}\"\n".repeat(len).into_bytes(), vec![0xff; len], "\u{1f600}x".repeat(len).into_bytes()]
            {
                let long = made(|out| json_long(&sample, out, spill).unwrap());
                assert!(long == made(|out| json_bytes(&sample, out)), "{len}");
            }
        }
    }

    #[test]
    fn scores_come_back() {
        for (score, text) in [(0.0, "0"), (-0.0, "-0.0"), (3.0, "3"), (-1.5, "-1.5"), (1e300, "1e300"), (0.1, "0.1")] {
            assert_eq!(made(|out| json_score(score, out)), text);
        }
        assert_eq!(made(|out| json_score(f64::NEG_INFINITY, out)), "\"-inf\"");
        for score in [f64::MIN_POSITIVE, 5e-324, f64::MAX, 1.0 / 3.0, 9_007_199_254_740_993.0, -2e53] {
            let back: f64 = made(|out| json_score(score, out)).parse().unwrap();
            assert_eq!(back.to_bits(), score.to_bits());
        }
    }
}
