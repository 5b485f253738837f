//! Packed collections: listpack, ziplist, zipmap and intset, the single blocks of memory in which servers keep small lists,
//! sets, hashes and sorted sets, and the nodes of large lists and streams.
//!
//! All four are read the same way: [`Packed::open`] looks at the header, then the elements come one by one, borrowed from the
//! block. Every length is checked against the block before it is used, nothing is allocated, and each step moves forward.
//! The lengths that servers store twice (of the previous element, of the whole, the number of elements) must agree. Offsets
//! in errors count from the start of the block.
//!
//! What the elements mean (pairs of a hash, members and scores) is not known here.

mod intset;
mod listpack;
mod ziplist;
mod zipmap;

use crate::{error::Error, string::append_decimal, wire::offset};

/// How a block is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    /// Since Redis 5.0 (streams) and 7.0 (all else).
    Listpack,
    /// Redis 2.0 to 6.2.
    Ziplist,
    /// Hashes of Redis 2.0 to 2.4: fields and values in turn.
    Zipmap,
    /// Sets of integers.
    Intset,
}

/// A string that may be kept as a number. Its debug form shows no contents.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scalar<'a> {
    /// The bytes of the string.
    Bytes(&'a [u8]),
    /// The string is this number in decimal digits.
    Int(i64),
}

impl Scalar<'_> {
    /// Appends the string itself to `out`.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Int(value) => append_decimal(out, value),
        }
    }
}

impl std::fmt::Debug for Scalar<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Int(_) => f.write_str("Int"),
        }
    }
}

/// An element by its place in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    Bytes { start: usize, end: usize },
    Int(i64),
}

impl Span {
    /// The element itself; `block` is the one it was found in.
    pub(crate) fn of(self, block: &[u8]) -> Scalar<'_> {
        match self {
            Self::Bytes { start, end } => Scalar::Bytes(block.get(start..end).unwrap_or_default()),
            Self::Int(value) => Scalar::Int(value),
        }
    }
}

/// A place between two elements of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// First byte not yet read.
    pos: usize,
    /// Where the element before it starts; the same as `pos` in front of the first.
    previous: usize,
    /// Elements read.
    seen: u64,
}

impl Cursor {
    /// The first byte, before any header was looked at.
    pub(crate) const START: Self = Self { pos: 0, previous: 0, seen: 0 };

    fn at(pos: usize) -> Self {
        Self { pos, previous: pos, seen: 0 }
    }

    /// Offset in bytes of the next element.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Goes to `end`, past one element.
    fn advance(&mut self, end: usize) {
        self.previous = self.pos;
        self.pos = end;
        self.seen = self.seen.saturating_add(1);
    }
}

/// Checks the header of a block; gives the place of its first element.
pub(crate) fn open(packing: Packing, block: &[u8]) -> Result<Cursor, Error> {
    match packing {
        Packing::Listpack => listpack::open(block),
        Packing::Ziplist => ziplist::open(block),
        Packing::Zipmap => zipmap::open(block),
        Packing::Intset => intset::open(block),
    }
}

/// The element at the cursor, which goes past it; `None` at the end of the block. After an error the cursor is where it was.
#[inline]
pub(crate) fn next(packing: Packing, block: &[u8], cursor: &mut Cursor) -> Result<Option<Span>, Error> {
    match packing {
        Packing::Listpack => listpack::next(block, cursor),
        Packing::Ziplist => ziplist::next(block, cursor),
        Packing::Zipmap => zipmap::next(block, cursor),
        Packing::Intset => intset::next(block, cursor),
    }
}

/// The elements of one block, in the order in which they stand in it. Ends behind the first error.
#[derive(Debug, Clone)]
pub struct Packed<'a> {
    packing: Packing,
    block: &'a [u8],
    cursor: Cursor,
    ended: bool,
}

impl<'a> Packed<'a> {
    /// Looks at the header of `block`, which must be whole and nothing but the block.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the header is not that of such a block.
    pub fn open(packing: Packing, block: &'a [u8]) -> Result<Self, Error> {
        open(packing, block).map(|cursor| Self { packing, block, cursor, ended: false })
    }

    /// Offset in bytes of the next element.
    #[must_use]
    pub fn offset(&self) -> u64 {
        offset(self.cursor.pos())
    }
}

impl<'a> Iterator for Packed<'a> {
    type Item = Result<Scalar<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let found = next(self.packing, self.block, &mut self.cursor);
        self.ended = !matches!(found, Ok(Some(_)));
        found.map(|span| span.map(|span| span.of(self.block))).transpose()
    }
}

/// What is wrong, and where.
#[cold]
fn corrupt(expected: &'static str, pos: usize) -> Error {
    Error::Corrupt { expected, at: offset(pos) }
}

/// A number of 1 to 8 bytes, little endian.
fn signed(bytes: &[u8]) -> i64 {
    let fill = if bytes.last().is_some_and(|&high| high >= 0x80) { 0xff } else { 0 };
    let mut all = [fill; 8];
    for (slot, &byte) in all.iter_mut().zip(bytes) {
        *slot = byte;
    }
    i64::from_le_bytes(all)
}

/// The number of `len` bytes at `pos`; gives it with the position behind it.
fn signed_at(block: &[u8], pos: usize, len: usize) -> Option<(Span, usize)> {
    let end = pos.checked_add(len)?;
    block.get(pos..end).map(|bytes| (Span::Int(signed(bytes)), end))
}

/// The string of `len` bytes at `pos`; gives it with the position behind it.
fn bytes_at(block: &[u8], pos: usize, len: usize) -> Option<(Span, usize)> {
    let end = pos.checked_add(len).filter(|&end| end <= block.len())?;
    Some((Span::Bytes { start: pos, end }, end))
}

/// A length of 32 bits as the servers hold it.
fn size(len: u32) -> Option<usize> {
    usize::try_from(len).ok()
}

#[cfg(test)]
pub(crate) mod tests;
