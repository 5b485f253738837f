//! What can be wrong with a dump or a payload, and where.
//!
//! No variant holds bytes of a key or a value: what was expected is named in fixed words.

use crate::item::Magic;

/// Why bytes were refused. `at` is a file offset in bytes where a [`Reader`](crate::Reader) gives the error, and an offset
/// into the slice where a function on a slice does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no dump.
    #[error("no RDB header at byte {at}: expected REDIS and 4 digits or VALKEY and 3 digits")]
    BadMagic {
        /// Where the header should be.
        at: u64,
    },
    /// The dump is of a version that this reader has not been taught.
    #[error("unsupported RDB version {version} of {magic:?} at byte {at}: supported are Redis 1 to 13 and Valkey 80")]
    UnsupportedVersion {
        /// The family.
        magic: Magic,
        /// The version found.
        version: u32,
        /// Where the version digits are.
        at: u64,
    },
    /// A value of a type that this reader has not been taught; its length cannot be known.
    #[error("unknown value type {ty} in database {db} at byte {at}")]
    UnknownType {
        /// The type byte.
        ty: u8,
        /// Database of the key.
        db: u32,
        /// Where the type byte is.
        at: u64,
    },
    /// An opcode that this reader has not been taught.
    #[error("unknown opcode {opcode} in database {db} at byte {at}")]
    UnknownOpcode {
        /// The opcode.
        opcode: u8,
        /// Database selected last.
        db: u32,
        /// Where the opcode is.
        at: u64,
    },
    /// An opcode at a place where none may be.
    #[error("opcode {opcode} at byte {at}, expected {expected}")]
    OpcodeOrder {
        /// The opcode.
        opcode: u8,
        /// What may stand there.
        expected: &'static str,
        /// Where the opcode is.
        at: u64,
    },
    /// A function in the form of the release candidates of Redis 7.0 (opcode 246).
    #[error("function of a Redis 7.0 release candidate (opcode 246) at byte {at}: no release reads or writes it")]
    FunctionPreGa {
        /// Where the opcode is.
        at: u64,
    },
    /// A module value in the form of the release candidates of Redis 4.0 (type 6), which only the module itself can read.
    #[error("module value of type 6 in database {db} at byte {at}: only the module that wrote it knows its length")]
    OpaqueModule {
        /// Database of the key.
        db: u32,
        /// Where the type byte is.
        at: u64,
    },
    /// Something is longer than [`Limits`](crate::Limits) allows.
    #[error("{len} or more {what} at byte {at}, over the limit of {limit}")]
    OverLimit {
        /// Which limit.
        what: LimitKind,
        /// Length found, as far as it is known.
        len: u64,
        /// Length allowed.
        limit: u64,
        /// Where the length is.
        at: u64,
    },
    /// Bytes that no server writes.
    #[error("corrupt data at byte {at}, expected {expected}")]
    Corrupt {
        /// What should be there.
        expected: &'static str,
        /// Where.
        at: u64,
    },
    /// The checksum at the end is not that of the bytes.
    #[error("checksum mismatch at byte {at}: stored {expected:016x}, computed {got:016x}")]
    Checksum {
        /// The stored checksum.
        expected: u64,
        /// The checksum of the bytes.
        got: u64,
        /// Where the stored checksum is.
        at: u64,
    },
    /// Compressed bytes that do not decompress.
    #[error("bad LZF data at byte {at}, expected {expected}")]
    Lzf {
        /// What should be there.
        expected: &'static str,
        /// Where; inside the compressed bytes.
        at: u64,
    },
}

/// Which of the [`Limits`](crate::Limits) was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// `max_value`.
    Value,
    /// `max_string`.
    String,
    /// `max_pending` of [`DecodeLimits`](crate::object::DecodeLimits); in entries, not bytes.
    Pending,
}

impl std::fmt::Display for LimitKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Value => "bytes of a value",
            Self::String => "bytes of a string",
            Self::Pending => "pending entries of a group",
        })
    }
}

impl Error {
    /// Where the fault is, in bytes: see [`Error`] for what it counts from.
    #[must_use]
    pub fn at(&self) -> u64 {
        let mut copy = self.clone();
        *copy.at_mut()
    }

    /// The same error in a frame that starts `base` bytes earlier.
    #[must_use]
    pub fn shifted(mut self, base: u64) -> Self {
        let at = self.at_mut();
        *at = at.saturating_add(base);
        self
    }

    fn at_mut(&mut self) -> &mut u64 {
        match self {
            Self::BadMagic { at }
            | Self::UnsupportedVersion { at, .. }
            | Self::UnknownType { at, .. }
            | Self::UnknownOpcode { at, .. }
            | Self::OpcodeOrder { at, .. }
            | Self::FunctionPreGa { at }
            | Self::OpaqueModule { at, .. }
            | Self::OverLimit { at, .. }
            | Self::Corrupt { at, .. }
            | Self::Checksum { at, .. }
            | Self::Lzf { at, .. } => at,
        }
    }
}
