//! What a dump is made of, as the reader hands it out.
//!
//! Everything borrows: from the input where the bytes stand there as they are, from the reader's own scratch space where
//! they had to be decoded (integers, LZF).

use crate::value_type::ValueType;

/// Which family wrote the dump: type numbers from 22 and opcode 243 mean different things in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Magic {
    /// `REDIS` and four digits: Redis, Redict, and Valkey up to 8.1 (or 9.1 towards an old replica).
    Redis,
    /// `VALKEY` and three digits: Valkey 9.0 and later.
    Valkey,
}

/// One item of a dump, in file order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// The first nine bytes.
    Header {
        /// RDB version: 1 to 13, or 80.
        version: u32,
        /// The family.
        magic: Magic,
    },
    /// A named fact about the server that wrote the dump, such as `redis-ver` or `repl-id`.
    Aux {
        /// Name of the field, decoded.
        key: &'a [u8],
        /// Value of the field, decoded; integers as decimal digits.
        value: &'a [u8],
    },
    /// A function library, as `FUNCTION LOAD` takes it.
    Function {
        /// Source code with its `#!` line, decoded.
        code: &'a [u8],
    },
    /// Entries from here on belong to this database.
    SelectDb(u32),
    /// Sizes of the database that follows, as a hint.
    ResizeDb {
        /// Number of keys.
        keys: u64,
        /// Number of keys with an expiry.
        expires: u64,
    },
    /// Sizes of one slot that follows, as a hint (cluster only).
    SlotInfo {
        /// Slot number.
        slot: u64,
        /// Number of keys in the slot.
        keys: u64,
        /// Number of keys with an expiry in the slot.
        expires: u64,
    },
    /// The source is in the middle of importing slots (Valkey 9): their keys are in the dump but not yet the source's own.
    SlotImport {
        /// Number of slot ranges under import.
        ranges: u64,
    },
    /// Data that a module keeps beside the keys; skipped.
    ModuleAux {
        /// Name of the module's data type.
        module: [u8; 9],
    },
    /// A key and its value.
    Entry(Entry<'a>),
    /// The end of the dump; bytes that follow in the input do not belong to it.
    End {
        /// What the trailing checksum said.
        checksum: Checksum,
    },
}

/// A key and its value. Its debug form shows lengths instead of contents, so that none gets into a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key, decoded.
    pub key: &'a [u8],
    /// How the value is encoded.
    pub kind: ValueType,
    /// Bytes of the value as they stand after the key, without the type byte.
    pub raw: &'a [u8],
    /// Metadata that modules attached to the key (Redis 8.6), from its opcode to its last byte; mostly empty. A server
    /// that has the same modules takes it in front of the type byte of a DUMP payload.
    pub meta: &'a [u8],
    /// Absolute expiry in Unix milliseconds. Always at least 1: `RESTORE` reads 0 as "no expiry", so a time at or before
    /// the epoch is given as 1.
    pub expire_ms: Option<u64>,
    /// Seconds since the last access, where the source keeps an LRU clock (`maxmemory-policy` with `lru`).
    pub idle_s: Option<u64>,
    /// Logarithmic access counter, where the source keeps one (`maxmemory-policy` with `lfu`).
    pub freq: Option<u8>,
    /// Database of the key.
    pub db: u32,
}

/// What the trailing checksum of a dump said; a wrong one is an error instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The CRC64 is right.
    Ok,
    /// The source writes none (`rdbchecksum no`): eight zero bytes.
    Disabled,
    /// The format has none (RDB 1 to 4).
    Absent,
    /// The reader has gone on in the middle of the dump.
    Unchecked,
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("kind", &self.kind)
            .field("key_len", &self.key.len())
            .field("raw_len", &self.raw.len())
            .field("meta_len", &self.meta.len())
            .field("expire_ms", &self.expire_ms)
            .field("idle_s", &self.idle_s)
            .field("freq", &self.freq)
            .field("db", &self.db)
            .finish()
    }
}
