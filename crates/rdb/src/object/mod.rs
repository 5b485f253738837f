//! Values, element by element, in memory that does not grow with the value.
//!
//! A [`ValueDecoder`] takes the raw bytes of one value ([`Entry::raw`](crate::Entry::raw), or what follows a key in a dump, or
//! what stands between type byte and footer of a DUMP payload) in pieces of any size and gives [`Element`]s. Like the reader
//! it keeps no input: it is shown all bytes from the first unconsumed one on. At once must be in memory: one element, or
//! one block (a packed collection, or the node of a list or stream), or the pending entries of one group of a stream.
//! [`DecodeLimits`] bounds these.
//!
//! The decoder does not know what becomes of the elements.

mod block;
mod element;
mod groups;
mod items;
mod layout;
mod module;
mod plain;
mod stream;
mod text;

use crate::{
    error::{Error, LimitKind},
    lzf::Inflater,
    value_type::ValueType,
    wire::{self, offset},
};
use block::Block;
pub use element::{Element, Fields, Hidden, StreamHistory, StreamId, StreamInfo};
use groups::Groups;
use layout::Layout;
use text::Held;

/// The most a [`ValueDecoder`] holds, and asks its caller to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of one element or block, as written and as decompressed.
    pub max_string: u64,
    /// Pending entries of one group of a stream; each takes 32 bytes while the group is read.
    pub max_pending: u64,
    /// Bytes of a piece of a plain string, at least 1.
    pub chunk: usize,
}

impl Default for DecodeLimits {
    /// 512 MiB for a string, the servers' own bound (`proto-max-bulk-len`); 4 Mi pending entries, which take 128 MiB; and
    /// pieces of 64 KiB, which fit the second-level cache on their way through.
    fn default() -> Self {
        Self { max_string: 512 << 20, max_pending: 4 << 20, chunk: 64 << 10 }
    }
}

/// Decodes one value.
///
/// Give [`next`](ValueDecoder::next) the bytes of the value until it gives [`Element::End`].
pub struct ValueDecoder {
    limits: DecodeLimits,
    layout: Layout,
    stage: Stage,
    /// Items, nodes or groups that are still to come.
    left: u64,
    /// Offset in the value of the first byte of the input.
    offset: u64,
    /// First byte of the input not yet understood; the bytes before it are consumed at the end of the call.
    pos: usize,
    /// Times of fields count from here.
    base_ms: u64,
    /// Strings that had to be decompressed: the first of an element and the second.
    scratch: [Vec<u8>; 2],
    inflater: Option<Box<Inflater>>,
    block: Block,
    groups: Groups,
    /// The error that ended it.
    failed: Option<Error>,
}

/// What stands at the decoder's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The value's first byte. Set by `new`.
    Start,
    /// Bytes of a plain string, so many.
    Raw(u64),
    /// Compressed bytes of a plain string, of which the inflater knows how many.
    Compressed,
    /// Items, `left` of them.
    Items,
    /// A block, which is whole.
    Block,
    /// Nodes of a stream, `left` of them.
    Nodes,
    /// What is known of a stream, behind its nodes.
    StreamInfo,
    /// Groups of a stream, `left` of them; the state inside one is in `groups`.
    Groups,
    /// What a module wrote, piece by piece.
    Module,
    /// Bytes that a module wrote, so many.
    ModuleBytes(u64),
    /// Nothing; `End` is still to be given.
    End,
    /// Nothing. Set when `End` was given.
    Finished,
}

/// What one step came to.
enum Step {
    /// An element, by position.
    Found(Found),
    /// Nothing to give; the next step may have more.
    Go,
    /// More input is needed.
    Wait,
}

/// An element by position.
enum Found {
    Chunk {
        bytes: Piece,
        last: bool,
    },
    ListElement(Held),
    SetMember(Held),
    Scored {
        member: Held,
        score: f64,
    },
    Field {
        field: Held,
        value: Held,
        expire_ms: Option<u64>,
    },
    Entry(stream::EntryAt),
    /// Nothing of it is in the input: it is made of what the state for groups holds.
    Groups(groups::Made),
    Info(StreamInfo),
    Produced {
        iid: Held,
        id: StreamId,
    },
    Module {
        name: [u8; crate::module::NAME_LEN],
    },
    End,
}

/// Where a piece of a plain string is.
enum Piece {
    Input {
        start: usize,
        end: usize,
    },
    Inflated(std::ops::Range<usize>),
    /// Digits in the first scratch space.
    Digits,
}

impl ValueDecoder {
    /// A decoder at the start of a value of this type.
    #[must_use]
    pub fn new(kind: ValueType, limits: DecodeLimits) -> Self {
        Self {
            limits: DecodeLimits { chunk: limits.chunk.max(1), ..limits },
            layout: Layout::of(kind),
            stage: Stage::Start,
            left: 0,
            offset: 0,
            pos: 0,
            base_ms: 0,
            scratch: [Vec::new(), Vec::new()],
            inflater: None,
            block: Block::new(),
            groups: Groups::new(),
            failed: None,
        }
    }

    /// The next element, and how many bytes of `input` are done with (whether or not there is an element).
    ///
    /// `input` starts at the first byte of the value that is not done with, at [`offset`](Self::offset); it may go on behind
    /// the end of the value. No element means that more bytes are needed, or that the value is at its end: call again with
    /// what is left and more bytes. An element may need none, and its last bytes may be done with only in the next call.
    ///
    /// # Errors
    /// Anything that no server writes, or that is longer than the limits allow, counted in bytes from the start of the
    /// value; for what is wrong inside a compressed string or block, from there to its start. The error comes again with
    /// every further call.
    pub fn next<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Option<Element<'a>>), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.pos = 0;
        let found = match self.find(input) {
            Ok(found) => found,
            Err(error) => {
                self.failed = Some(error.clone());
                return Err(error);
            }
        };
        self.offset = self.offset.saturating_add(offset(self.pos));
        Ok((self.pos, found.map(|found| self.element(found, input))))
    }

    /// Offset in bytes, from the start of the value, of the first byte that is not done with.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether [`Element::End`] has been given.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    fn find(&mut self, input: &[u8]) -> Result<Option<Found>, Error> {
        loop {
            let step = match self.stage {
                Stage::Start => self.start(input)?,
                Stage::Raw(left) => self.raw(input, left),
                Stage::Compressed => self.compressed(input)?,
                Stage::Items => self.item(input)?,
                Stage::Block => self.block_element(input)?,
                Stage::Nodes => self.node(input)?,
                Stage::StreamInfo => self.stream_info(input)?,
                Stage::Groups => self.group_part(input)?,
                Stage::Module => self.module_part(input)?,
                Stage::ModuleBytes(left) => self.module_bytes(input, left),
                Stage::End => {
                    self.stage = Stage::Finished;
                    Step::Found(Found::End)
                }
                Stage::Finished => Step::Wait,
            };
            match step {
                Step::Found(found) => return Ok(Some(found)),
                Step::Go => {}
                Step::Wait => return Ok(None),
            }
        }
    }

    /// Reads what stands in front of the elements.
    fn start(&mut self, input: &[u8]) -> Result<Step, Error> {
        match self.layout {
            Layout::String => return self.string(input),
            Layout::Counted(_) => return self.count(input, Stage::Items),
            Layout::CountedFrom(_) => {
                let Some(base) = wire::array(input, self.pos) else { return Ok(Step::Wait) };
                let Some((count, end)) = self.number_at(input, self.pos.saturating_add(8))? else {
                    return Ok(Step::Wait);
                };
                self.base_ms = u64::from_le_bytes(base);
                self.left = count;
                self.pos = end;
                self.stage = Stage::Items;
            }
            Layout::Block(packing, _) => {
                self.left = 0;
                return self.open_block(input, self.pos, packing);
            }
            Layout::TimedBlock(packing, _) => {
                self.left = 0;
                return self.open_block(input, self.pos.saturating_add(8), packing);
            }
            Layout::Stream(_) => return self.count(input, Stage::Nodes),
            Layout::Module => return self.module(input),
        }
        Ok(Step::Go)
    }

    /// Reads a number of things and goes on to them.
    fn count(&mut self, input: &[u8], stage: Stage) -> Result<Step, Error> {
        let Some((count, end)) = self.number_at(input, self.pos)? else { return Ok(Step::Wait) };
        self.left = count;
        self.pos = end;
        self.stage = stage;
        Ok(Step::Go)
    }

    /// The plain number at `pos`, with the position behind it.
    fn number_at(&self, input: &[u8], pos: usize) -> Result<Option<(u64, usize)>, Error> {
        wire::number(input, pos).map_err(|error| error.shifted(self.offset))
    }

    /// The string at `pos`, with the position behind it; decompressed into one of the scratch spaces.
    #[inline]
    fn text_at(&mut self, input: &[u8], pos: usize, slot: usize) -> Result<Option<(Held, usize)>, Error> {
        let [first, second] = &mut self.scratch;
        let scratch = if slot == 0 { first } else { second };
        text::read(input, pos, self.limits.max_string, scratch).map_err(|error| error.shifted(self.offset))
    }

    /// What is wrong at this position of the input.
    #[cold]
    fn corrupt(&self, expected: &'static str, pos: usize) -> Error {
        Error::Corrupt { expected, at: self.offset.saturating_add(offset(pos)) }
    }

    /// What is too long at this position of the input.
    #[cold]
    fn over_limit(&self, what: LimitKind, len: u64, limit: u64, pos: usize) -> Error {
        Error::OverLimit { what, len, limit, at: self.offset.saturating_add(offset(pos)) }
    }

    #[inline]
    fn element<'a>(&'a self, found: Found, input: &'a [u8]) -> Element<'a> {
        let [first, second] = &self.scratch;
        let block = self.block.bytes(input, self.pos);
        match found {
            Found::Chunk { bytes, last } => Element::StringChunk { bytes: Hidden(self.piece(bytes, input)), last },
            Found::ListElement(held) => Element::ListElement(held.of(input, first, block)),
            Found::SetMember(held) => Element::SetMember(held.of(input, first, block)),
            Found::Scored { member, score } => Element::ZsetMember { member: member.of(input, first, block), score },
            Found::Field { field, value, expire_ms } => Element::HashField {
                field: field.of(input, first, block),
                value: value.of(input, second, block),
                expire_ms,
            },
            Found::Entry(entry) => entry.element(block),
            Found::Groups(made) => self.groups.element(made),
            Found::Info(info) => Element::StreamInfo(info),
            Found::Produced { iid, id } => {
                Element::Produced { producer: Hidden(&self.groups.name), iid: iid.of(input, first, block), id }
            }
            Found::Module { name } => Element::Module { name },
            Found::End => Element::End,
        }
    }
}

impl std::fmt::Debug for ValueDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueDecoder")
            .field("layout", &self.layout)
            .field("stage", &self.stage)
            .field("left", &self.left)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
