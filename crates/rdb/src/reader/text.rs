//! Strings that the reader hands out decoded: keys, AUX fields, function libraries.

use crate::{
    error::{Error, LimitKind},
    lzf, string,
    wire::{self, Head, offset},
};

/// Where a decoded string is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// In the input.
    Input { start: usize, end: usize },
    /// In the scratch space it was decoded into.
    Scratch,
}

impl Text {
    /// The bytes of the string.
    #[inline]
    pub(super) fn of<'a>(self, input: &'a [u8], scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Input { start, end } => input.get(start..end).unwrap_or_default(),
            Self::Scratch => scratch,
        }
    }
}

/// Reads the string at `pos`, into `scratch` where it must be decoded; gives it and the position behind it.
///
/// # Errors
/// [`Error::OverLimit`] where it is longer than `limit` bytes as written or as decoded, [`Error::Corrupt`],
/// [`Error::Lzf`].
#[inline]
pub(super) fn read(
    input: &[u8],
    pos: usize,
    limit: u64,
    scratch: &mut Vec<u8>,
) -> Result<Option<(Text, usize)>, Error> {
    let Some((head, start)) = wire::head(input, pos)? else { return Ok(None) };
    let len = match head {
        Head::Raw { len } => len,
        Head::Int(value) => {
            scratch.clear();
            string::append_decimal(scratch, value);
            return Ok(Some((Text::Scratch, start)));
        }
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
        scratch.clear();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        lzf::decompress(bytes, len, scratch).map_err(|error| error.shifted(offset(start)))?;
        return Ok(Some((Text::Scratch, end)));
    }
    Ok(Some((Text::Input { start, end }, end)))
}
