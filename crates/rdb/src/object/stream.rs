//! Entries of a stream, and what is known of it beside them.
//!
//! A node is a 16-byte ID, big endian, and a listpack, whose numbers are:
//!
//! | elements | content |
//! |---|---|
//! | 2 | number of entries, number of deleted entries |
//! | 1 + n + 1 | number of fields of the first entry, their names, 0 |
//! | each entry | flags, ID as two differences to that of the node, then |
//! | | with the same fields as the first: values |
//! | | else: number of fields, names and values in turn |
//! | | and the number of elements of this entry before this one |

use super::{
    Element, Fields, Found, Layout, Stage, Step, StreamHistory, StreamId, StreamInfo, ValueDecoder,
    layout::StreamVersion,
};
use crate::{
    error::Error,
    packed::{self, Cursor, Packing, Scalar, Span},
    wire::offset,
};

// stream.h and t_stream.c streamIteratorGetID, Redis 7.2
const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// The node at hand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Node {
    /// IDs of its entries count from here.
    id: StreamId,
    /// Names of the fields of the first entry; not there before the head of the node was read.
    names: Option<Cursor>,
    name_count: u64,
    /// Entries still to come.
    live: u64,
    deleted: u64,
}

/// An entry by position in its block.
pub(super) struct EntryAt {
    id: StreamId,
    names: Option<Cursor>,
    at: Cursor,
    count: u64,
}

impl EntryAt {
    pub(super) fn element<'a>(&self, block: &'a [u8]) -> Element<'a> {
        let fields = Fields { block, names: self.names, at: self.at, left: self.count };
        Element::StreamEntry { id: self.id, fields }
    }
}

impl ValueDecoder {
    /// Reads the ID of a node and starts its block.
    pub(super) fn node(&mut self, input: &[u8]) -> Result<Step, Error> {
        let Some(left) = self.left.checked_sub(1) else {
            self.stage = Stage::StreamInfo;
            return Ok(Step::Go);
        };
        let at = self.pos;
        let Some((held, end)) = self.text_at(input, at, 0)? else { return Ok(Step::Wait) };
        let [first, _] = &self.scratch;
        let id = match held.of(input, first, &[]) {
            Scalar::Bytes(bytes) => id_of(bytes),
            Scalar::Int(_) => None,
        };
        let Some(id) = id else { return Err(self.corrupt("the ID of a stream node", at)) };
        let step = self.open_block(input, end, Packing::Listpack)?;
        if !matches!(step, Step::Wait) {
            self.block.node = Node { id, ..Node::default() };
            self.left = left;
        }
        Ok(step)
    }

    /// Reads the next entry of a node that is not deleted, or notes that there is none.
    pub(super) fn node_entry(&mut self, input: &[u8]) -> Result<Step, Error> {
        let mut cursor = self.block.cursor;
        let mut node = self.block.node;
        let bytes = self.block.bytes(input, self.pos);
        if bytes.is_empty() {
            // It was there before; nothing is in an empty block.
            return Ok(Step::Wait);
        }
        let found = next_entry(bytes, &mut cursor, &mut node).map_err(|error| self.block.error(error))?;
        self.block.cursor = cursor;
        self.block.node = node;
        if let Some(entry) = found {
            return Ok(Step::Found(Found::Entry(entry)));
        }
        if (node.live, node.deleted) != (0, 0) {
            return Err(self.block.corrupt("as many entries as the stream node says"));
        }
        self.close_block();
        Ok(Step::Go)
    }

    /// Reads what stands between nodes and groups.
    pub(super) fn stream_info(&mut self, input: &[u8]) -> Result<Step, Error> {
        let mut numbers = [0; 9];
        let history = self.stream_version() >= StreamVersion::History;
        let count = if history { 9 } else { 4 };
        let mut pos = self.pos;
        for slot in numbers.iter_mut().take(count) {
            let Some((number, end)) = self.number_at(input, pos)? else { return Ok(Step::Wait) };
            *slot = number;
            pos = end;
        }
        let info = if history {
            let [length, ms, seq, first_ms, first_seq, deleted_ms, deleted_seq, entries_added, groups] = numbers;
            self.left = groups;
            let first_id = StreamId { ms: first_ms, seq: first_seq };
            let max_deleted_id = StreamId { ms: deleted_ms, seq: deleted_seq };
            let history = Some(StreamHistory { first_id, max_deleted_id, entries_added });
            StreamInfo { length, last_id: StreamId { ms, seq }, history }
        } else {
            let [length, ms, seq, groups, ..] = numbers;
            self.left = groups;
            StreamInfo { length, last_id: StreamId { ms, seq }, history: None }
        };
        self.pos = pos;
        self.stage = Stage::Groups;
        Ok(Step::Found(Found::Info(info)))
    }

    pub(super) fn stream_version(&self) -> StreamVersion {
        if let Layout::Stream(version) = self.layout { version } else { StreamVersion::First }
    }
}

/// An ID as it stands in 16 bytes.
pub(super) fn id_of(bytes: &[u8]) -> Option<StreamId> {
    let (ms, rest) = bytes.split_first_chunk::<8>()?;
    let seq = <[u8; 8]>::try_from(rest).ok()?;
    Some(StreamId { ms: u64::from_be_bytes(*ms), seq: u64::from_be_bytes(seq) })
}

/// The next entry of the node that is not deleted.
fn next_entry(block: &[u8], cursor: &mut Cursor, node: &mut Node) -> Result<Option<EntryAt>, Error> {
    let names = match node.names {
        Some(names) => names,
        None => head(block, cursor, node)?,
    };
    loop {
        let start = cursor.pos();
        let Some(flags) = packed::next(Packing::Listpack, block, cursor)? else { return Ok(None) };
        let Span::Int(flags) = flags else { return Err(bad("flags of a stream entry", start)) };
        let ms = node.id.ms.wrapping_add_signed(int(block, cursor, "a difference of IDs")?);
        let seq = node.id.seq.wrapping_add_signed(int(block, cursor, "a difference of IDs")?);
        let same = flags & SAME_FIELDS != 0;
        let count = if same { node.name_count } else { number(block, cursor, "a number of fields")? };
        let at = *cursor;
        let per_field = if same { 1 } else { 2 };
        for _ in 0..count.saturating_mul(per_field) {
            skip(block, cursor)?;
        }
        // t_stream.c streamValidateListpackIntegrity, Redis 7.2
        let elements = count.saturating_mul(per_field).saturating_add(if same { 3 } else { 4 });
        let end = cursor.pos();
        if number(block, cursor, "the number of elements of a stream entry")? != elements {
            return Err(bad("the number of elements of a stream entry", end));
        }
        let too_many = "no more entries than the stream node says";
        if flags & DELETED != 0 {
            node.deleted = node.deleted.checked_sub(1).ok_or(bad(too_many, start))?;
            continue;
        }
        node.live = node.live.checked_sub(1).ok_or(bad(too_many, start))?;
        let id = StreamId { ms, seq };
        return Ok(Some(EntryAt { id, names: same.then_some(names), at, count }));
    }
}

/// Reads what stands in front of the entries; gives the place of the field names.
fn head(block: &[u8], cursor: &mut Cursor, node: &mut Node) -> Result<Cursor, Error> {
    node.live = number(block, cursor, "a number of entries")?;
    node.deleted = number(block, cursor, "a number of deleted entries")?;
    node.name_count = number(block, cursor, "a number of fields")?;
    let names = *cursor;
    for _ in 0..node.name_count {
        skip(block, cursor)?;
    }
    let end = cursor.pos();
    if number(block, cursor, "the end of the names of fields")? != 0 {
        return Err(bad("the end of the names of fields", end));
    }
    node.names = Some(names);
    Ok(names)
}

fn skip(block: &[u8], cursor: &mut Cursor) -> Result<(), Error> {
    let at = cursor.pos();
    packed::next(Packing::Listpack, block, cursor)?.map(|_| ()).ok_or(bad("a field or value of a stream entry", at))
}

fn int(block: &[u8], cursor: &mut Cursor, expected: &'static str) -> Result<i64, Error> {
    let at = cursor.pos();
    match packed::next(Packing::Listpack, block, cursor)? {
        Some(Span::Int(value)) => Ok(value),
        _ => Err(bad(expected, at)),
    }
}

fn number(block: &[u8], cursor: &mut Cursor, expected: &'static str) -> Result<u64, Error> {
    let at = cursor.pos();
    u64::try_from(int(block, cursor, expected)?).map_err(|_| bad(expected, at))
}

fn bad(expected: &'static str, pos: usize) -> Error {
    Error::Corrupt { expected, at: offset(pos) }
}
