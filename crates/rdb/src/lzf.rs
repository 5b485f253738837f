//! LZF decompression (the format of liblzf that servers use for long strings).
//!
//! A stream of literal runs and of references back into what was already written. Offsets in errors are positions in the
//! compressed bytes.

mod inflate;

use crate::{error::Error, wire::offset};
pub(crate) use inflate::Inflater;

/// The most bytes that three compressed bytes can stand for is 264 (a long reference), so no input can grow by more than
/// this factor; a longer promise is refused before anything is allocated for it.
const MAX_GROWTH: usize = 88;

/// Appends the `len` bytes that `src` stands for to `out`.
///
/// # Errors
/// [`Error::Lzf`] where `src` stands for another number of bytes, refers back to before its start, or ends inside a run;
/// `out` is then as before, and never grows by more than `len`.
pub fn decompress(src: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    if len > src.len().saturating_mul(MAX_GROWTH) {
        return Err(Error::Lzf { expected: "a length that the compressed bytes can hold", at: 0 });
    }
    let base = out.len();
    let end = base.saturating_add(len);
    out.reserve(len);
    let mut rest = src;
    while !rest.is_empty() {
        match step(rest, base, end, out) {
            Ok(after) => rest = after,
            Err(expected) => {
                out.truncate(base);
                return Err(Error::Lzf { expected, at: offset(src.len().saturating_sub(rest.len())) });
            }
        }
    }
    if out.len() == end {
        Ok(())
    } else {
        out.truncate(base);
        Err(Error::Lzf { expected: "as many bytes as announced", at: offset(src.len()) })
    }
}

/// Decodes one run or reference at the start of `src`; gives what follows it, or what was expected instead.
#[inline]
fn step<'a>(src: &'a [u8], base: usize, end: usize, out: &mut Vec<u8>) -> Result<&'a [u8], &'static str> {
    // lzf_d.c lzf_decompress, Redis 7.2
    const SHORT: &str = "more compressed bytes";
    const LONG: &str = "no more bytes than announced";
    let (&control, rest) = src.split_first().ok_or(SHORT)?;
    let room = end.saturating_sub(out.len());
    if control < 32 {
        let run = usize::from(control).saturating_add(1);
        let (literal, rest) = rest.split_at_checked(run).ok_or(SHORT)?;
        if run > room {
            return Err(LONG);
        }
        out.extend_from_slice(literal);
        return Ok(rest);
    }
    let (mut run, mut rest) = (usize::from(control >> 5), rest);
    if run == 7 {
        let (&more, after) = rest.split_first().ok_or(SHORT)?;
        run = run.saturating_add(usize::from(more));
        rest = after;
    }
    let (&low, rest) = rest.split_first().ok_or(SHORT)?;
    let distance = usize::from(u16::from_be_bytes([control & 0x1f, low])).saturating_add(1);
    let run = run.saturating_add(2);
    if run > room {
        return Err(LONG);
    }
    let start =
        out.len().checked_sub(distance).filter(|&start| start >= base).ok_or("a reference inside the output")?;
    // A reference may overlap what it writes: each round then doubles what is there to copy.
    let mut left = run;
    while left > 0 {
        let count = left.min(out.len().saturating_sub(start));
        out.extend_from_within(start..start.saturating_add(count));
        left = left.saturating_sub(count);
    }
    Ok(rest)
}

#[cfg(test)]
mod tests;
