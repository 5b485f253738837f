//! The number between a type byte and its CRLF: a length, a count, an integer reply.
//!
//! One parser for all readers, so that they agree on what a number is and where it is wrong. It looks at bytes in their
//! order and errs at the first wrong one, so the verdict does not depend on how the input was cut.

use crate::Error;

/// Bytes within which a number with its CRLF ends or is wrong: a sign, 19 digits, CR, LF.
pub(crate) const NUMBER_MAX: usize = 22;

const DIGIT: &str = "a digit or CR";

/// Reads a canonical decimal `i64` and CRLF: no `+`, no leading zeros, no `-0` (util.c string2ll, Redis 7.2).
///
/// Gives the number and the bytes used, or `None` when more are needed. Decides within [`NUMBER_MAX`] bytes. The error's
/// offset counts from the start of `input`.
pub(crate) fn number(input: &[u8]) -> Result<Option<(i64, usize)>, Error> {
    let (negative, digits) = match input {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let sign = usize::from(negative);
    let wrong = |i: usize, expected| Error::Unexpected { at: i.saturating_add(sign) as u64, expected };

    // Negative numbers are built downwards, since -i64::MIN is no i64.
    let mut value: i64 = 0;
    for (i, &b) in digits.iter().enumerate() {
        match b {
            b'0'..=b'9' => {
                if value == 0 && i > 0 {
                    return Err(wrong(i, "CR, since a number has no leading zero"));
                }
                let digit = i64::from(b.wrapping_sub(b'0'));
                let ten = value.checked_mul(10);
                let next = if negative {
                    ten.and_then(|v| v.checked_sub(digit))
                } else {
                    ten.and_then(|v| v.checked_add(digit))
                };
                value = next.ok_or_else(|| wrong(i, "a number of 64 bits"))?;
            }
            b'\r' if i > 0 => {
                if negative && value == 0 {
                    return Err(wrong(i, "a digit other than 0 after the minus sign"));
                }
                let end = i.saturating_add(1);
                return match digits.get(end) {
                    None => Ok(None),
                    Some(b'\n') => Ok(Some((value, end.saturating_add(sign).saturating_add(1)))),
                    Some(_) => Err(wrong(end, "LF")),
                };
            }
            _ => return Err(wrong(i, if i == 0 { "a number" } else { DIGIT })),
        }
    }
    Ok(None)
}

/// Reads a length: a [`number`] that is not below `least` (-1 where nil is allowed, else 0).
pub(crate) fn length(input: &[u8], least: i64) -> Result<Option<(i64, usize)>, Error> {
    match number(input)? {
        Some((n, _)) if n < least => {
            Err(Error::Unexpected { at: 0, expected: if least < 0 { "-1 or a length" } else { "a length" } })
        }
        done => Ok(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0\r\n"), Ok(Some((0, 3))));
        assert_eq!(number(b"17\r\nrest"), Ok(Some((17, 4))));
        assert_eq!(number(b"-1\r\n"), Ok(Some((-1, 4))));
        assert_eq!(number(b"9223372036854775807\r\n"), Ok(Some((i64::MAX, 21))));
        assert_eq!(number(b"-9223372036854775808\r\n"), Ok(Some((i64::MIN, NUMBER_MAX))));
    }

    #[test]
    fn every_prefix_waits() {
        for whole in [&b"0\r\n"[..], b"-9223372036854775808\r\n", b"512\r\n"] {
            for end in 0..whole.len() {
                assert_eq!(number(&whole[..end]), Ok(None));
            }
        }
    }

    #[test]
    fn wrong_numbers() {
        let at = |input: &[u8]| number(input).unwrap_err().at();
        assert_eq!(at(b"\r\n"), 0);
        assert_eq!(at(b"x"), 0);
        assert_eq!(at(b"+1\r\n"), 0);
        assert_eq!(at(b"01\r\n"), 1);
        assert_eq!(at(b"-0\r\n"), 2);
        assert_eq!(at(b"-\r\n"), 1);
        assert_eq!(at(b"12x"), 2);
        assert_eq!(at(b"12\rx"), 3);
        assert_eq!(at(b"9223372036854775808"), 18);
        assert_eq!(at(b"-9223372036854775809"), 19);
        assert_eq!(length(b"-2\r\n", -1).unwrap_err().at(), 0);
        assert_eq!(length(b"-1\r\n", 0).unwrap_err().at(), 0);
    }
}
