//! Lengths and string headers, the two things every part of a dump is made of.
//!
//! All functions take the input and a position in it and give `None` where more bytes are needed. Nothing here looks at
//! limits: a length is only a number until its caller has compared it.

use crate::error::Error;

/// A length as written: a number, or a mark that a specially encoded string follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// A plain number.
    Plain(u64),
    /// The low six bits of a byte whose top two bits are set.
    Special(u8),
}

/// The header of a string object: what follows it and how many bytes that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// `len` bytes follow.
    Raw { len: u64 },
    /// An integer; it is part of the header, nothing follows.
    Int(i64),
    /// `packed` bytes follow that decompress to `len` bytes.
    Lzf { packed: u64, len: u64 },
}

impl Head {
    /// Bytes that follow the header.
    #[inline]
    pub(crate) fn body_len(self) -> u64 {
        match self {
            Self::Raw { len } => len,
            Self::Int(_) => 0,
            Self::Lzf { packed, .. } => packed,
        }
    }
}

/// `N` bytes at `pos`.
#[inline]
pub(crate) fn array<const N: usize>(input: &[u8], pos: usize) -> Option<[u8; N]> {
    input.get(pos..)?.first_chunk::<N>().copied()
}

/// Reads a length at `pos`; gives it with the position behind it.
///
/// # Errors
/// [`Error::Corrupt`] for a first byte that announces no known width.
#[inline]
pub(crate) fn length(input: &[u8], pos: usize) -> Result<Option<(Length, usize)>, Error> {
    // rdb.c rdbLoadLenByRef, Redis 7.2
    let Some(&first) = input.get(pos) else { return Ok(None) };
    let next = pos.saturating_add(1);
    let low = first & 0x3f;
    Ok(match (first >> 6, first) {
        (0, _) => Some((Length::Plain(u64::from(low)), next)),
        (1, _) => input
            .get(next)
            .map(|&second| (Length::Plain(u64::from(u16::from_be_bytes([low, second]))), next.saturating_add(1))),
        (3, _) => Some((Length::Special(low), next)),
        (_, 0x80) => {
            array(input, next).map(|b| (Length::Plain(u64::from(u32::from_be_bytes(b))), next.saturating_add(4)))
        }
        (_, 0x81) => array(input, next).map(|b| (Length::Plain(u64::from_be_bytes(b)), next.saturating_add(8))),
        _ => return Err(Error::Corrupt { expected: "a length", at: offset(pos) }),
    })
}

/// Reads a length that must be a plain number.
///
/// # Errors
/// [`Error::Corrupt`] for a special encoding or an unknown width.
#[inline]
pub(crate) fn number(input: &[u8], pos: usize) -> Result<Option<(u64, usize)>, Error> {
    match length(input, pos)? {
        None => Ok(None),
        Some((Length::Plain(n), next)) => Ok(Some((n, next))),
        Some((Length::Special(_), _)) => Err(Error::Corrupt { expected: "a plain number", at: offset(pos) }),
    }
}

/// Reads the header of a string object at `pos`; gives it with the position of the bytes that follow.
///
/// # Errors
/// [`Error::Corrupt`] for an unknown width or encoding.
#[inline]
pub(crate) fn head(input: &[u8], pos: usize) -> Result<Option<(Head, usize)>, Error> {
    match length(input, pos)? {
        None => Ok(None),
        Some((Length::Plain(len), next)) => Ok(Some((Head::Raw { len }, next))),
        Some((Length::Special(encoding), next)) => special(input, pos, encoding, next),
    }
}

fn special(input: &[u8], pos: usize, encoding: u8, next: usize) -> Result<Option<(Head, usize)>, Error> {
    // rdb.c rdbLoadIntegerObject and rdbLoadLzfStringObject, Redis 7.2
    Ok(match encoding {
        0 => array(input, next).map(|b| (Head::Int(i64::from(i8::from_le_bytes(b))), next.saturating_add(1))),
        1 => array(input, next).map(|b| (Head::Int(i64::from(i16::from_le_bytes(b))), next.saturating_add(2))),
        2 => array(input, next).map(|b| (Head::Int(i64::from(i32::from_le_bytes(b))), next.saturating_add(4))),
        3 => {
            let Some((packed, next)) = number(input, next)? else { return Ok(None) };
            let Some((len, next)) = number(input, next)? else { return Ok(None) };
            Some((Head::Lzf { packed, len }, next))
        }
        _ => return Err(Error::Corrupt { expected: "a string encoding", at: offset(pos) }),
    })
}

/// A position as an error's offset.
#[inline]
pub(crate) fn offset(pos: usize) -> u64 {
    u64::try_from(pos).unwrap_or(u64::MAX)
}
