//! The type of a value in a dump: which data it is and how it is encoded.
//!
//! Redis and Valkey gave the numbers from 22 on different meanings, so a type is more than the byte it is written as. What
//! is known of each type is in the table beside this file.

use crate::{
    item::Magic,
    program::Op,
    table::{self, Row},
};

/// From this number on, Redis and Valkey mean different things.
const FIRST_DIVERGED: u8 = 22;
/// Set in the inner number of a type that only Valkey has; all type bytes are below it.
pub(crate) const VALKEY: u8 = 0x80;
/// First RDB version of Valkey's own numbering.
const FIRST_VALKEY_VERSION: u32 = 80;
/// Last RDB version that both families read: 12 to 79 are Redis's alone.
const LAST_SHARED_VERSION: u32 = 11;

/// Which data a value is, whatever its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// A plain string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    Zset,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
    /// A value of a module's own type.
    Module,
}

impl Group {
    /// The word that `TYPE` answers, and `module` for all values of modules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Zset => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Module => "module",
        }
    }
}

/// A type of values that the reader knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueType(u8);

impl ValueType {
    /// A plain string.
    pub const STRING: Self = Self(0);

    /// The type written as `byte` in a dump of this family; `None` where the reader does not know it.
    #[must_use]
    #[inline]
    pub fn from_byte(byte: u8, magic: Magic) -> Option<Self> {
        if byte & VALKEY != 0 {
            return None;
        }
        let code = if byte >= FIRST_DIVERGED && magic == Magic::Valkey { byte | VALKEY } else { byte };
        table::row(code).map(|_| Self(code))
    }

    /// The byte it is written as.
    #[must_use]
    #[inline]
    pub const fn byte(self) -> u8 {
        self.0 & !VALKEY
    }

    /// Which data it is.
    #[must_use]
    pub fn group(self) -> Group {
        self.row().group
    }

    /// Name of the encoding in the words of the servers' sources, such as `hash-listpack`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Lowest RDB version with which a payload of this type can be restored: 6 (Redis 2.6, the first with `RESTORE`) to 13,
    /// or 80. A higher version of the same family reads it too; see [`ValueType::readable_by`].
    #[must_use]
    pub fn dump_version(self) -> u32 {
        self.row().since
    }

    /// Whether a server whose own RDB version is `version` reads values of this type. Redict also calls its version 12, but
    /// reads only what version 11 has.
    ///
    /// Of module values it says only that their form is read. Whoever sends one must know that the module is there: without
    /// it most servers answer an error, but Redis 5.0 and 6.0 end their process.
    #[must_use]
    pub fn readable_by(self, version: u32) -> bool {
        let since = self.dump_version();
        let families_apart =
            version >= FIRST_VALKEY_VERSION && since > LAST_SHARED_VERSION && since < FIRST_VALKEY_VERSION;
        version >= since && !families_apart
    }

    /// The inner number: the type byte, with [`VALKEY`] set where only Valkey has it.
    pub(crate) const fn code(self) -> u8 {
        self.0
    }

    /// Whether it is a hash of which some fields expire: servers write these types only then, and all of them came after
    /// the last version that both families read.
    #[must_use]
    pub fn has_field_ttl(self) -> bool {
        self.group() == Group::Hash && self.dump_version() > LAST_SHARED_VERSION
    }

    pub(crate) fn program(self) -> &'static [Op] {
        self.row().program
    }

    fn row(self) -> Row {
        table::row(self.0).unwrap_or(table::STRING)
    }
}

impl std::fmt::Debug for ValueType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name(), self.byte())
    }
}

impl std::fmt::Display for ValueType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_part_at_22() {
        let name = |byte, magic| ValueType::from_byte(byte, magic).map(ValueType::name);
        assert_eq!(name(21, Magic::Redis), name(21, Magic::Valkey));
        assert_eq!(name(22, Magic::Redis), Some("hash-metadata-pre-ga"));
        assert_eq!(name(22, Magic::Valkey), Some("hash-2"));
        for (byte, magic) in
            [(6, Magic::Redis), (8, Magic::Redis), (27, Magic::Redis), (23, Magic::Valkey), (150, Magic::Redis)]
        {
            assert_eq!(name(byte, magic), None, "{byte} {magic:?}");
        }
        for magic in [Magic::Redis, Magic::Valkey] {
            for byte in 0..=255 {
                assert_eq!(ValueType::from_byte(byte, magic).map_or(byte, ValueType::byte), byte);
            }
        }
    }

    #[test]
    fn versions_say_who_reads_what() {
        let readers = |byte, magic| {
            let kind = ValueType::from_byte(byte, magic).unwrap();
            [6, 7, 8, 9, 10, 11, 12, 13, 80]
                .into_iter()
                .filter(|&version| kind.readable_by(version))
                .collect::<Vec<_>>()
        };
        assert_eq!(readers(0, Magic::Redis), [6, 7, 8, 9, 10, 11, 12, 13, 80]);
        assert_eq!(readers(20, Magic::Redis), [11, 12, 13, 80]);
        assert_eq!(readers(24, Magic::Redis), [12, 13]);
        assert_eq!(readers(26, Magic::Redis), [13]);
        assert_eq!(readers(21, Magic::Valkey), [11, 12, 13, 80]);
        assert_eq!(readers(22, Magic::Valkey), [80]);
    }

    #[test]
    fn the_common_string_is_the_one_in_the_table() {
        assert_eq!(ValueType::from_byte(0, Magic::Valkey), Some(ValueType::STRING));
        assert_eq!(format!("{:?} {}", ValueType::STRING, ValueType::STRING), "string(0) string");
    }
}
