//! The reader: from bytes in pieces to items.
//!
//! The reader keeps no input. It is given all bytes from the first unconsumed one on, and says how many of them an item
//! took; where an item is not yet whole it remembers how far it has looked, so a long value costs the same however it is
//! cut. What an item is made of stands in `opcode` (everything but values) and in `entry` (keys and values).

mod entry;
mod header;
mod opcode;
mod streamed;
mod text;

use crate::{
    crc::Crc,
    error::Error,
    item::{Checksum, Item, Magic},
    limits::Limits,
    wire::offset,
};
use entry::Scan;
use text::Text;

/// Reads one dump.
///
/// Give [`next`](Reader::next) the bytes of the file until [`is_finished`](Reader::is_finished).
pub struct Reader {
    limits: Limits,
    phase: Phase,
    magic: Magic,
    version: u32,
    /// Database selected last.
    db: u32,
    /// File offset of the first unconsumed byte.
    offset: u64,
    crc: Crc,
    /// It began at the start of the dump.
    whole: bool,
    /// How far the item at the start of the input has been looked into.
    scan: Scan,
    /// The key (or the name of an AUX field), where it had to be decoded.
    key: Vec<u8>,
    /// Another string of the item, where it had to be decoded.
    text: Vec<u8>,
}

/// Which part of the file comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Magic and version. Set by `new`.
    Header,
    /// Items. Set when the header was read.
    Body,
    /// A value that someone else reads. Set by `stream_value`, until `end_value`.
    Value,
    /// Nothing. Set when the end and its checksum were read.
    Finished,
}

/// An item that is whole in the input, by position.
enum Found {
    Aux {
        key: Text,
        value: Text,
    },
    Function {
        code: Text,
    },
    SelectDb(u32),
    ResizeDb {
        keys: u64,
        expires: u64,
    },
    SlotInfo {
        slot: u64,
        keys: u64,
        expires: u64,
    },
    SlotImport {
        ranges: u64,
    },
    ModuleAux {
        module: [u8; crate::module::NAME_LEN],
    },
    /// What is known of it stands in the scan.
    Entry,
    End {
        checksum: Checksum,
    },
}

/// Where a reader stands between two items: what is needed to go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which family wrote the dump.
    pub magic: Magic,
    /// RDB version.
    pub version: u32,
    /// Database selected last.
    pub db: u32,
    /// File offset in bytes of the next item.
    pub offset: u64,
}

impl Reader {
    /// A reader that goes on where another one stood, when that had read the header. The checksum of the dump is not
    /// verified: what came before is not read again.
    #[must_use]
    pub fn resume(limits: Limits, from: Position) -> Self {
        let Position { magic, version, db, offset } = from;
        Self { magic, version, db, offset, phase: Phase::Body, whole: false, ..Self::new(limits) }
    }

    /// Where the next item is. Not within a value that someone else reads.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { magic: self.magic, version: self.version, db: self.db, offset: self.offset }
    }

    /// A reader at the start of a dump. Allocates a few KiB and later no more than `limits` allow.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Header,
            magic: Magic::Redis,
            version: 0,
            db: 0,
            offset: 0,
            crc: Crc::new(),
            whole: true,
            scan: Scan::new(),
            key: Vec::new(),
            text: Vec::new(),
        }
    }

    /// The next item and how many bytes of `input` it took.
    ///
    /// `input` starts at the first unconsumed byte of the file, at [`offset`](Reader::offset); it may go on behind the end
    /// of the dump. `Ok(None)` means that more bytes are needed (or that the dump is finished): call again with the same
    /// start and more bytes. Bytes once shown must not change.
    ///
    /// # Errors
    /// Anything that no server writes, or that is longer than the limits allow; see [`Error`]. The reader stays where it is.
    #[inline]
    pub fn next<'a>(&'a mut self, input: &'a [u8]) -> Result<Option<(usize, Item<'a>)>, Error> {
        let found = match self.phase {
            Phase::Body => match self.find(input) {
                Ok(found) => found,
                Err(error) => return Err(error.shifted(self.offset)),
            },
            Phase::Header => return self.header(input),
            Phase::Value | Phase::Finished => None,
        };
        let Some(found) = found else { return Ok(None) };
        let used = self.scan.pos;
        self.consume(input, used);
        Ok(Some((used, self.item(found, input))))
    }

    /// File offset in bytes of the first unconsumed byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether [`Item::End`] has been given.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Counts the first `used` bytes of `input` as read.
    #[inline]
    fn consume(&mut self, input: &[u8], used: usize) {
        self.crc.add(input.get(..used).unwrap_or_default());
        self.offset = self.offset.saturating_add(offset(used));
    }

    #[inline]
    fn item<'a>(&'a mut self, found: Found, input: &'a [u8]) -> Item<'a> {
        let item = match found {
            Found::Entry => Item::Entry(self.scan.entry(input, &self.key, self.db)),
            Found::Aux { key, value } => {
                Item::Aux { key: key.of(input, &self.key), value: value.of(input, &self.text) }
            }
            Found::Function { code } => Item::Function { code: code.of(input, &self.text) },
            Found::SelectDb(db) => {
                self.db = db;
                Item::SelectDb(db)
            }
            Found::ResizeDb { keys, expires } => Item::ResizeDb { keys, expires },
            Found::SlotInfo { slot, keys, expires } => Item::SlotInfo { slot, keys, expires },
            Found::SlotImport { ranges } => Item::SlotImport { ranges },
            Found::ModuleAux { module } => Item::ModuleAux { module },
            Found::End { checksum } => {
                self.phase = Phase::Finished;
                Item::End { checksum }
            }
        };
        self.scan.restart();
        item
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("magic", &self.magic)
            .field("version", &self.version)
            .field("db", &self.db)
            .field("offset", &self.offset)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
