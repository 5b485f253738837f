//! Listpacks.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | bytes of the whole block, little endian |
//! | 2 | number of elements, little endian; 65535 where there are as many or more |
//! | n | elements: encoding, data, and the length of both (1 to 5 bytes, to be read backwards) |
//! | 1 | 0xff |

use super::{Cursor, Span, bytes_at, corrupt, signed, signed_at, size};
use crate::{error::Error, wire};

const HEADER_LEN: usize = 6;
const END: u8 = 0xff;
/// In the header: so many elements or more.
const MANY: u16 = u16::MAX;

pub(super) fn open(block: &[u8]) -> Result<Cursor, Error> {
    // listpack.c lpValidateIntegrity, Redis 7.2
    let total = wire::array(block, 0).and_then(|b| size(u32::from_le_bytes(b)));
    if total != Some(block.len()) || block.len() <= HEADER_LEN {
        return Err(corrupt("the length of the listpack", 0));
    }
    Ok(Cursor::at(HEADER_LEN))
}

#[inline]
pub(super) fn next(block: &[u8], cursor: &mut Cursor) -> Result<Option<Span>, Error> {
    let pos = cursor.pos;
    let Some(&first) = block.get(pos) else { return Err(corrupt("an element of a listpack", pos)) };
    if first == END {
        return end(block, cursor).map(|()| None);
    }
    let Some((span, end)) = element(block, pos, first) else {
        return Err(corrupt("an element of a listpack", pos));
    };
    let Some(next) = past_backlen(block, end, end.saturating_sub(pos)) else {
        return Err(corrupt("the length of an element of a listpack", end));
    };
    cursor.advance(next);
    Ok(Some(span))
}

/// The element whose encoding is at `pos`; gives it with the position behind its data.
#[inline]
fn element(block: &[u8], pos: usize, first: u8) -> Option<(Span, usize)> {
    // listpack.c lpGetWithSize, Redis 7.2
    let body = pos.checked_add(1)?;
    match first {
        0..0x80 => Some((Span::Int(i64::from(first)), body)),
        0x80..0xc0 => bytes_at(block, body, usize::from(first & 0x3f)),
        0xc0..0xe0 => {
            let low = *block.get(body)?;
            // 13 bits, moved up so that the sign is at the top.
            let shifted = i16::from_be_bytes([first << 3 | low >> 5, low << 3]);
            Some((Span::Int(i64::from(shifted >> 3)), body.checked_add(1)?))
        }
        0xe0..0xf0 => {
            let len = u16::from_be_bytes([first & 0x0f, *block.get(body)?]);
            bytes_at(block, body.checked_add(1)?, usize::from(len))
        }
        0xf0 => {
            let len = size(u32::from_le_bytes(wire::array(block, body)?))?;
            bytes_at(block, body.checked_add(4)?, len)
        }
        0xf1 => signed_at(block, body, 2),
        0xf2 => signed_at(block, body, 3),
        0xf3 => signed_at(block, body, 4),
        0xf4 => Some((Span::Int(signed(&wire::array::<8>(block, body)?)), body.checked_add(8)?)),
        _ => None,
    }
}

/// The position behind the length at `pos`, which must be that of an element of `len` bytes.
#[inline]
fn past_backlen(block: &[u8], pos: usize, len: usize) -> Option<usize> {
    // listpack.c lpEncodeBacklen, Redis 7.2; the borders lie one below what the bits would hold.
    let count: usize = match len {
        0..128 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    let end = pos.checked_add(count)?;
    let mut rest = len;
    for (i, &byte) in block.get(pos..end)?.iter().rev().enumerate() {
        let last = i.saturating_add(1) == count;
        if usize::from(byte & 0x7f) != rest & 0x7f || (byte & 0x80 != 0) == last {
            return None;
        }
        rest >>= 7;
    }
    Some(end)
}

fn end(block: &[u8], cursor: &Cursor) -> Result<(), Error> {
    if cursor.pos.saturating_add(1) != block.len() {
        return Err(corrupt("the end of the listpack behind its end mark", cursor.pos));
    }
    match wire::array(block, 4).map(u16::from_le_bytes) {
        Some(count) if count == MANY || u64::from(count) == cursor.seen => Ok(()),
        _ => Err(corrupt("the number of elements of the listpack", 4)),
    }
}
