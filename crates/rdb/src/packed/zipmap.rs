//! Zipmaps: fields and values in turn, each a string.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | number of pairs; 254 where there are as many or more |
//! | n | pairs: length of the field, field, length of the value, number of unused bytes (1 byte), value, unused bytes |
//! | 1 | 0xff |
//!
//! A length is a byte, or 254 and 4 bytes.

use super::{Cursor, Span, bytes_at, corrupt, size};
use crate::{error::Error, wire};

const END: u8 = 0xff;
/// In front of a length of four bytes; as a count: so many pairs or more.
const LONG: u8 = 254;

pub(super) fn open(block: &[u8]) -> Result<Cursor, Error> {
    // zipmap.c zipmapValidateIntegrity, Redis 7.2
    if block.len() < 2 {
        return Err(corrupt("a zipmap", 0));
    }
    Ok(Cursor::at(1))
}

pub(super) fn next(block: &[u8], cursor: &mut Cursor) -> Result<Option<Span>, Error> {
    let pos = cursor.pos;
    let is_value = cursor.seen & 1 == 1;
    if !is_value && block.get(pos) == Some(&END) {
        return end(block, cursor).map(|()| None);
    }
    let Some((span, end)) = element(block, pos, is_value) else {
        return Err(corrupt("a field or a value of a zipmap", pos));
    };
    cursor.advance(end);
    Ok(Some(span))
}

fn element(block: &[u8], pos: usize, is_value: bool) -> Option<(Span, usize)> {
    let body = pos.checked_add(1)?;
    let (len, body) = match *block.get(pos)? {
        END => return None,
        LONG => (size(u32::from_le_bytes(wire::array(block, body)?))?, body.checked_add(4)?),
        short => (usize::from(short), body),
    };
    if !is_value {
        return bytes_at(block, body, len);
    }
    let unused = usize::from(*block.get(body)?);
    let (span, end) = bytes_at(block, body.checked_add(1)?, len)?;
    Some((span, end.checked_add(unused).filter(|&end| end <= block.len())?))
}

fn end(block: &[u8], cursor: &Cursor) -> Result<(), Error> {
    if cursor.pos.saturating_add(1) != block.len() {
        return Err(corrupt("the end of the zipmap behind its end mark", cursor.pos));
    }
    match block.first() {
        Some(&count) if count >= LONG || u64::from(count) == cursor.seen >> 1 => Ok(()),
        _ => Err(corrupt("the number of pairs of the zipmap", 0)),
    }
}
