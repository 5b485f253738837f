//! Blocks: packed collections, and the packed nodes of large lists.
//!
//! A block that is not compressed stays in the input until its last element was given; a compressed one is decompressed into
//! memory of the decoder and is done with at once.

use super::{Found, Held, Layout, Stage, Step, ValueDecoder, items::parse_score, layout::Shape, stream::Node, text};
use crate::{
    error::{Error, LimitKind},
    lzf,
    packed::{self, Cursor, Packing, Scalar, Span},
    wire::{self, Head, offset},
};

/// The block at hand.
pub(super) struct Block {
    place: Place,
    pub(super) packing: Packing,
    pub(super) cursor: Cursor,
    /// What was decompressed.
    memory: Vec<u8>,
    /// Offset in the value of its first byte, or of its string where it was decompressed.
    at: u64,
    /// Where it is the node of a stream.
    pub(super) node: Node,
}

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the decoder's position in the input, so many bytes.
    Input(usize),
    Memory,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Memory,
            packing: Packing::Listpack,
            cursor: Cursor::START,
            memory: Vec::new(),
            at: 0,
            node: Node::default(),
        }
    }

    /// The bytes of the block; `pos` is the decoder's position in the input.
    #[inline]
    pub(super) fn bytes<'a>(&'a self, input: &'a [u8], pos: usize) -> &'a [u8] {
        match self.place {
            Place::Input(len) => input.get(pos..pos.saturating_add(len)).unwrap_or_default(),
            Place::Memory => &self.memory,
        }
    }

    /// Bytes of memory held.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// An error inside the block as one of the value.
    #[cold]
    pub(super) fn error(&self, error: Error) -> Error {
        match (self.place, error) {
            (Place::Input(_), error) => error.shifted(self.at),
            (Place::Memory, Error::Corrupt { expected, .. }) => Error::Corrupt { expected, at: self.at },
            (Place::Memory, error) => error,
        }
    }

    /// What is wrong at the cursor.
    #[cold]
    pub(super) fn corrupt(&self, expected: &'static str) -> Error {
        self.error(Error::Corrupt { expected, at: offset(self.cursor.pos()) })
    }
}

impl ValueDecoder {
    /// Starts the block whose string is at `pos`, once it is whole.
    pub(super) fn open_block(&mut self, input: &[u8], pos: usize, packing: Packing) -> Result<Step, Error> {
        let head = wire::head(input, pos).map_err(|error| error.shifted(self.offset))?;
        let Some((head, start)) = head else { return Ok(Step::Wait) };
        let (limit, what) = (self.limits.max_string, LimitKind::String);
        let len = match head {
            Head::Raw { len } => len,
            Head::Lzf { packed, len } => packed.max(len),
            Head::Int(_) => return Err(self.corrupt("a packed collection", pos)),
        };
        if len > limit {
            return Err(self.over_limit(what, len, limit, pos));
        }
        let body = usize::try_from(head.body_len()).unwrap_or(usize::MAX);
        let Some(bytes) = input.get(start..start.saturating_add(body)) else { return Ok(Step::Wait) };
        let block = &mut self.block;
        if let Head::Lzf { len, .. } = head {
            text::clear(&mut block.memory);
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let base = self.offset.saturating_add(offset(start));
            lzf::decompress(bytes, len, &mut block.memory).map_err(|error| error.shifted(base))?;
            block.place = Place::Memory;
            block.at = self.offset.saturating_add(offset(pos));
            self.pos = start.saturating_add(body);
        } else {
            block.place = Place::Input(body);
            block.at = self.offset.saturating_add(offset(start));
            self.pos = start;
        }
        let block = &self.block;
        let cursor = packed::open(packing, block.bytes(input, self.pos)).map_err(|error| block.error(error))?;
        self.block.packing = packing;
        self.block.cursor = cursor;
        self.stage = Stage::Block;
        Ok(Step::Go)
    }

    /// Goes past the block, behind its last element.
    pub(super) fn close_block(&mut self) {
        if let Place::Input(len) = self.block.place {
            self.pos = self.pos.saturating_add(len);
            self.block.place = Place::Memory;
        }
        text::clear(&mut self.block.memory);
        self.stage = if matches!(self.layout, Layout::Stream(_)) { Stage::Nodes } else { Stage::Items };
    }

    /// Reads the next element of the block, or notes that there is none.
    pub(super) fn block_element(&mut self, input: &[u8]) -> Result<Step, Error> {
        let shape = match self.layout {
            Layout::Stream(_) => return self.node_entry(input),
            Layout::Block(_, shape) | Layout::TimedBlock(_, shape) => shape,
            _ => Shape::List,
        };
        let bytes = match self.block.place {
            Place::Input(len) => input.get(self.pos..self.pos.saturating_add(len)),
            Place::Memory => Some(&self.block.memory[..]),
        };
        let Some(bytes) = bytes else { return Ok(Step::Wait) };
        let mut cursor = self.block.cursor;
        match element(shape, self.block.packing, bytes, &mut cursor) {
            Ok(Some(found)) => {
                self.block.cursor = cursor;
                Ok(Step::Found(found))
            }
            Ok(None) => {
                self.close_block();
                Ok(Step::Go)
            }
            Err(error) => Err(self.block.error(error)),
        }
    }
}

/// The next element of a block, whatever it is made of.
fn element(shape: Shape, packing: Packing, block: &[u8], cursor: &mut Cursor) -> Result<Option<Found>, Error> {
    let Some(first) = packed::next(packing, block, cursor)? else { return Ok(None) };
    let held = Held::Block(first);
    let mut second = |expected| {
        let at = offset(cursor.pos());
        let next = packed::next(packing, block, cursor)?;
        next.map(|span| (span, at)).ok_or(Error::Corrupt { expected, at })
    };
    Ok(Some(match shape {
        Shape::List => Found::ListElement(held),
        Shape::Set => Found::SetMember(held),
        Shape::Zset => {
            let (span, at) = second("a score behind a member")?;
            let score = match span.of(block) {
                Scalar::Bytes(digits) => parse_score(digits),
                Scalar::Int(value) => int_score(value),
            };
            let score = score.filter(|score| !score.is_nan()).ok_or(Error::Corrupt { expected: "a score", at })?;
            Found::Scored { member: held, score }
        }
        Shape::Hash => {
            let (value, _) = second("a value behind a field")?;
            Found::Field { field: held, value: Held::Block(value), expire_ms: None }
        }
        Shape::HashExpiry => {
            let (value, _) = second("a value behind a field")?;
            let (expiry, at) = second("an expiry behind a value")?;
            let expire_ms = match expiry {
                Span::Int(0) => None,
                Span::Int(ms @ 1..) => u64::try_from(ms).ok(),
                _ => return Err(Error::Corrupt { expected: "an expiry of a field", at }),
            };
            Found::Field { field: held, value: Held::Block(value), expire_ms }
        }
    }))
}

/// A score that was kept as a number.
fn int_score(value: i64) -> Option<f64> {
    // Servers do so only where the number is exact; beyond 2^53 this rounds as their cast does.
    value.to_string().parse().ok()
}
