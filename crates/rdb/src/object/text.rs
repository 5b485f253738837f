//! Strings that the decoder hands out whole.

use crate::{
    error::{Error, LimitKind},
    lzf,
    packed::{Scalar, Span},
    wire::{self, Head, offset},
};

/// Where a string is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held {
    /// In the input.
    Input { start: usize, end: usize },
    /// Nowhere: it is a number.
    Int(i64),
    /// In the scratch space it was decompressed into.
    Scratch,
    /// In the block at hand.
    Block(Span),
}

impl Held {
    pub(super) fn of<'a>(self, input: &'a [u8], scratch: &'a [u8], block: &'a [u8]) -> Scalar<'a> {
        match self {
            Self::Input { start, end } => Scalar::Bytes(input.get(start..end).unwrap_or_default()),
            Self::Int(value) => Scalar::Int(value),
            Self::Scratch => Scalar::Bytes(scratch),
            Self::Block(span) => span.of(block),
        }
    }
}

/// The string at `pos`, decompressed into `scratch` where it must be, and the position behind it; `None` where it is not yet
/// whole.
///
/// # Errors
/// [`Error::OverLimit`] where it is longer than `limit` bytes as written or as decompressed, [`Error::Corrupt`],
/// [`Error::Lzf`] with the offset of the string.
#[inline]
pub(super) fn read(
    input: &[u8],
    pos: usize,
    limit: u64,
    scratch: &mut Vec<u8>,
) -> Result<Option<(Held, usize)>, Error> {
    let Some((head, start)) = wire::head(input, pos)? else { return Ok(None) };
    let len = match head {
        Head::Raw { len } => len,
        Head::Int(value) => return Ok(Some((Held::Int(value), start))),
        Head::Lzf { packed, len } => packed.max(len),
    };
    if len > limit {
        return Err(Error::OverLimit { what: LimitKind::String, len, limit, at: offset(pos) });
    }
    let Some(end) = usize::try_from(head.body_len()).ok().and_then(|len| start.checked_add(len)) else {
        return Ok(None);
    };
    let Some(bytes) = input.get(start..end) else { return Ok(None) };
    if let Head::Lzf { len, .. } = head {
        clear(scratch);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        lzf::decompress(bytes, len, scratch).map_err(|error| error.shifted(offset(start)))?;
        return Ok(Some((Held::Scratch, end)));
    }
    Ok(Some((Held::Input { start, end }, end)))
}

/// The position behind the string at `pos`, whole or not; `None` where its head is not yet there.
///
/// # Errors
/// As `read`.
#[inline]
pub(super) fn end(input: &[u8], pos: usize, limit: u64) -> Result<Option<usize>, Error> {
    let Some((head, start)) = wire::head(input, pos)? else { return Ok(None) };
    let len = head.body_len();
    if len > limit {
        return Err(Error::OverLimit { what: LimitKind::String, len, limit, at: offset(pos) });
    }
    Ok(Some(start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX))))
}

/// Scratch space is kept for the next string up to this size: most are far smaller, and one huge string should not hold
/// memory for as long as the value takes.
const KEEP: usize = 1 << 20;

pub(super) fn clear(scratch: &mut Vec<u8>) {
    if scratch.capacity() > KEEP {
        *scratch = Vec::new();
    }
    scratch.clear();
}
