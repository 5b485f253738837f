//! Intsets.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | bytes of each number: 2, 4 or 8, little endian |
//! | 4 | number of numbers, little endian |
//! | n | the numbers in rising order, little endian |

use super::{Cursor, Span, corrupt, signed_at, size};
use crate::{error::Error, wire};

const HEADER_LEN: usize = 8;

pub(super) fn open(block: &[u8]) -> Result<Cursor, Error> {
    // intset.c intsetValidateIntegrity, Redis 7.2
    let Some(width) = width(block) else { return Err(corrupt("a width of 2, 4 or 8", 0)) };
    let count = wire::array(block, 4).and_then(|b| size(u32::from_le_bytes(b)));
    let len = count.and_then(|count| count.checked_mul(width)?.checked_add(HEADER_LEN));
    if len != Some(block.len()) {
        return Err(corrupt("the length of the intset", 4));
    }
    Ok(Cursor::at(HEADER_LEN))
}

pub(super) fn next(block: &[u8], cursor: &mut Cursor) -> Result<Option<Span>, Error> {
    if cursor.pos == block.len() {
        return Ok(None);
    }
    let Some((span, end)) = width(block).and_then(|width| signed_at(block, cursor.pos, width)) else {
        return Err(corrupt("a number of an intset", cursor.pos));
    };
    cursor.advance(end);
    Ok(Some(span))
}

fn width(block: &[u8]) -> Option<usize> {
    wire::array(block, 0).and_then(|b| size(u32::from_le_bytes(b))).filter(|width| matches!(width, 2 | 4 | 8))
}
