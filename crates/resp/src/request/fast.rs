//! The common request, recognised in one pass without any state.
//!
//! Complete, an array, with short lengths. Whatever is not exactly that (cut, wrong, large, inline) gives `None`, and the
//! resumable scan decides about it from the start, so this file has no errors and no limits of its own.

use super::Request;
use crate::Limits;

/// Most arguments of a request recognised here: three digits.
const MAX_ARGS: u64 = 999;
/// Longest argument of a request recognised here: four digits.
const MAX_BULK: u64 = 9999;
/// A bound on such a request as a whole: 999 * (`$9999\r\n` + 9999 + CRLF) + `*999\r\n` is 10 004 991.
const MAX_REQUEST: u64 = 10 << 20;

/// Whether every request that is recognised here is within the limits.
pub(super) fn is_within(limits: &Limits) -> bool {
    limits.max_args >= MAX_ARGS && limits.max_bulk >= MAX_BULK && limits.max_request >= MAX_REQUEST
}

/// Recognises a complete array request with short lengths at the front of `input`.
#[inline]
pub(super) fn request(input: &[u8]) -> Option<Request<'_>> {
    let [b'*', rest @ ..] = input else { return None };
    let (argc, rest) = short(rest)?;
    if argc as u64 > MAX_ARGS {
        return None;
    }
    let mut left = argc.checked_sub(1)?;
    let (name, mut rest) = bulk(rest)?;
    while left > 0 {
        rest = bulk(rest)?.1;
        left = left.wrapping_sub(1);
    }
    let used = input.len().wrapping_sub(rest.len());
    Some(Request::new(input.get(..used)?, name, argc))
}

/// Splits `$<length>CRLF<bytes>CRLF` off the front.
#[inline(always)]
fn bulk(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let [b'$', rest @ ..] = input else { return None };
    let (len, rest) = short(rest)?;
    let (arg, rest) = rest.split_at_checked(len)?;
    let [b'\r', b'\n', rest @ ..] = rest else { return None };
    Some((arg, rest))
}

/// A number of one to four digits without leading zeros, and its CRLF.
#[inline(always)]
fn short(input: &[u8]) -> Option<(usize, &[u8])> {
    let digit = |b: &u8| b.is_ascii_digit();
    let value = |b: &u8| usize::from(b.wrapping_sub(b'0'));
    let join = |high: usize, b: &u8| high.wrapping_mul(10).wrapping_add(value(b));
    match input {
        [a, b'\r', b'\n', rest @ ..] if digit(a) => Some((value(a), rest)),
        [b'0', ..] => None,
        [a, b, b'\r', b'\n', rest @ ..] if digit(a) && digit(b) => Some((join(value(a), b), rest)),
        [a, b, c, b'\r', b'\n', rest @ ..] if digit(a) && digit(b) && digit(c) => {
            Some((join(join(value(a), b), c), rest))
        }
        [a, b, c, d, b'\r', b'\n', rest @ ..] if digit(a) && digit(b) && digit(c) && digit(d) => {
            Some((join(join(join(value(a), b), c), d), rest))
        }
        _ => None,
    }
}
