//! Ziplists.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | bytes of the whole block, little endian |
//! | 4 | offset of the last element, little endian |
//! | 2 | number of elements, little endian; 65535 where there are as many or more |
//! | n | elements: length of the previous one (1 byte, or 254 and 4 bytes), encoding, data |
//! | 1 | 0xff |

use super::{Cursor, Span, bytes_at, corrupt, signed_at, size};
use crate::{error::Error, wire};

const HEADER_LEN: usize = 10;
const END: u8 = 0xff;
/// In front of a previous length of four bytes.
const LONG: u8 = 254;
/// In the header: so many elements or more.
const MANY: u16 = u16::MAX;

pub(super) fn open(block: &[u8]) -> Result<Cursor, Error> {
    // ziplist.c ziplistValidateIntegrity, Redis 7.2
    let total = wire::array(block, 0).and_then(|b| size(u32::from_le_bytes(b)));
    if total != Some(block.len()) || block.len() <= HEADER_LEN {
        return Err(corrupt("the length of the ziplist", 0));
    }
    Ok(Cursor::at(HEADER_LEN))
}

#[inline]
pub(super) fn next(block: &[u8], cursor: &mut Cursor) -> Result<Option<Span>, Error> {
    let pos = cursor.pos;
    let Some(&first) = block.get(pos) else { return Err(corrupt("an element of a ziplist", pos)) };
    if first == END {
        return end(block, cursor).map(|()| None);
    }
    let Some((previous, encoding)) = previous_len(block, pos, first) else {
        return Err(corrupt("the length of the previous element of a ziplist", pos));
    };
    if previous != pos.saturating_sub(cursor.previous) {
        return Err(corrupt("the length of the previous element of a ziplist", pos));
    }
    let Some((span, end)) = element(block, encoding) else {
        return Err(corrupt("an element of a ziplist", encoding));
    };
    cursor.advance(end);
    Ok(Some(span))
}

/// The length at `pos`, with the position behind it.
#[inline]
fn previous_len(block: &[u8], pos: usize, first: u8) -> Option<(usize, usize)> {
    let body = pos.checked_add(1)?;
    if first == LONG {
        return Some((size(u32::from_le_bytes(wire::array(block, body)?))?, body.checked_add(4)?));
    }
    Some((usize::from(first), body))
}

/// The element whose encoding is at `pos`; gives it with the position behind it.
#[inline]
fn element(block: &[u8], pos: usize) -> Option<(Span, usize)> {
    // ziplist.c zipEntry and zipLoadInteger, Redis 6.2
    let first = *block.get(pos)?;
    let body = pos.checked_add(1)?;
    match first {
        0..0x40 => bytes_at(block, body, usize::from(first)),
        0x40..0x80 => {
            let len = u16::from_be_bytes([first & 0x3f, *block.get(body)?]);
            bytes_at(block, body.checked_add(1)?, usize::from(len))
        }
        0x80..0xc0 => {
            let len = size(u32::from_be_bytes(wire::array(block, body)?))?;
            bytes_at(block, body.checked_add(4)?, len)
        }
        0xc0 => signed_at(block, body, 2),
        0xd0 => signed_at(block, body, 4),
        0xe0 => signed_at(block, body, 8),
        0xf0 => signed_at(block, body, 3),
        0xfe => signed_at(block, body, 1),
        0xf1..=0xfd => Some((Span::Int(i64::from(first & 0x0f).saturating_sub(1)), body)),
        _ => None,
    }
}

fn end(block: &[u8], cursor: &Cursor) -> Result<(), Error> {
    if cursor.pos.saturating_add(1) != block.len() {
        return Err(corrupt("the end of the ziplist behind its end mark", cursor.pos));
    }
    if wire::array(block, 4).and_then(|b| size(u32::from_le_bytes(b))) != Some(cursor.previous) {
        return Err(corrupt("the offset of the last element of the ziplist", 4));
    }
    match wire::array(block, 8).map(u16::from_le_bytes) {
        Some(count) if count == MANY || u64::from(count) == cursor.seen => Ok(()),
        _ => Err(corrupt("the number of elements of the ziplist", 8)),
    }
}
