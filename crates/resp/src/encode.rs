//! Writing commands to an output buffer.
//!
//! The buffer grows as needed; who calls bounds it. Lengths are right by construction, contents are copied as they are.

/// Appends the header of an array of `n` elements: `*<n>\r\n`.
#[inline]
pub fn array(out: &mut Vec<u8>, n: usize) {
    header(out, b'*', n);
}

/// Appends a bulk string: `$<length>\r\n<b>\r\n`.
#[inline]
pub fn bulk(out: &mut Vec<u8>, b: &[u8]) {
    bulk_header(out, b.len());
    out.extend_from_slice(b);
    out.extend_from_slice(b"\r\n");
}

/// Appends the header of a bulk string of `len` bytes; the caller appends the bytes and CRLF.
#[inline]
pub fn bulk_header(out: &mut Vec<u8>, len: usize) {
    header(out, b'$', len);
}

/// Appends `n` in decimal as a bulk string.
#[inline]
pub fn bulk_int(out: &mut Vec<u8>, n: i64) {
    bulk(out, itoa::Buffer::new().format(n).as_bytes());
}

/// Appends a whole command: an array of the arguments as bulk strings, the name first.
#[inline]
pub fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    array(out, args.len());
    for arg in args {
        bulk(out, arg);
    }
}

/// Nearly all numbers here have up to three digits: they are written in one piece.
#[inline]
fn header(out: &mut Vec<u8>, marker: u8, n: usize) {
    let digit = |n: usize| b'0'.wrapping_add((n % 10) as u8);
    match n {
        0..10 => out.extend_from_slice(&[marker, digit(n), b'\r', b'\n']),
        10..100 => out.extend_from_slice(&[marker, digit(n / 10), digit(n), b'\r', b'\n']),
        100..1000 => out.extend_from_slice(&[marker, digit(n / 100), digit(n / 10), digit(n), b'\r', b'\n']),
        _ => {
            out.push(marker);
            out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_wire_form() {
        let mut out = Vec::new();
        command(&mut out, &[b"SET", b"k", b""]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
        out.clear();
        bulk_int(&mut out, -12);
        array(&mut out, 0);
        bulk_header(&mut out, 7);
        assert_eq!(out, b"$3\r\n-12\r\n*0\r\n$7\r\n");
        for n in 0..2000 {
            out.clear();
            array(&mut out, n);
            assert_eq!(out, format!("*{n}\r\n").as_bytes());
        }
    }
}
