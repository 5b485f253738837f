//! Commands on their way into the output, in the form in which servers read them.

use crate::{object::StreamId, packed::Scalar, string::append_decimal, wire::offset};

/// Appends the header of a command of so many arguments, its name included.
pub(super) fn header(out: &mut Vec<u8>, arguments: u64) {
    out.push(b'*');
    number(out, arguments);
    out.extend_from_slice(b"\r\n");
}

/// Appends one argument.
pub(super) fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'$');
    number(out, offset(bytes.len()));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole command.
pub(super) fn command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    header(out, offset(arguments.len()));
    for bytes in arguments {
        argument(out, bytes);
    }
}

/// Appends one argument.
pub(super) fn scalar(out: &mut Vec<u8>, scalar: Scalar<'_>) {
    match scalar {
        Scalar::Bytes(bytes) => argument(out, bytes),
        Scalar::Int(_) => {
            let mut digits = Vec::with_capacity(20);
            scalar.append_to(&mut digits);
            argument(out, &digits);
        }
    }
}

/// A number as an argument.
pub(super) fn digits(value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(20);
    number(&mut out, value);
    out
}

/// A stream ID as an argument.
pub(super) fn id(id: StreamId) -> Vec<u8> {
    let mut out = Vec::with_capacity(41);
    number(&mut out, id.ms);
    out.push(b'-');
    number(&mut out, id.seq);
    out
}

/// A score as an argument: it comes back to the bit, with the sign of zero.
pub(super) fn score(score: f64) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    // 2^53: whole numbers up to here are printed as such.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if score.fract() == 0.0 && score.abs() <= EXACT && !(score == 0.0 && score.is_sign_negative()) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
        append_decimal(&mut out, score as i64);
    } else if score.is_infinite() {
        out.extend_from_slice(if score > 0.0 { b"inf" } else { b"-inf" });
    } else {
        // The shortest digits that come back, with an exponent where that is shorter.
        out.extend_from_slice(format!("{score:?}").as_bytes());
    }
    out
}

/// Bytes that an argument takes, at most, as far as it matters for a batch.
pub(super) fn len(scalar: Scalar<'_>) -> usize {
    // `$`, up to 10 digits of a length, and twice a line end.
    const FRAME: usize = 15;
    match scalar {
        Scalar::Bytes(bytes) => bytes.len().saturating_add(FRAME),
        Scalar::Int(_) => FRAME.saturating_add(20),
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    match i64::try_from(value) {
        Ok(value) => append_decimal(out, value),
        Err(_) => out.extend_from_slice(value.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scores_are_short_where_they_can_be() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0.0"),
            (1.5, "1.5"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (1e300, "1e300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (9_007_199_254_740_994.0, "9007199254740994.0"),
        ] {
            assert_eq!(String::from_utf8(score(value)).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn scores_come_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            let text = String::from_utf8(score(value)).unwrap();
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
        }
    }

    #[test]
    fn commands_have_the_form_of_the_wire() {
        let mut out = Vec::new();
        command(&mut out, &[b"SET", b"k", b""]);
        scalar(&mut out, Scalar::Int(-12));
        argument(&mut out, &digits(u64::MAX));
        argument(&mut out, &id(StreamId { ms: 1, seq: u64::MAX }));
        let expected = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n$3\r\n-12\r\n$20\r\n18446744073709551615\r\n\
            $22\r\n1-18446744073709551615\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
