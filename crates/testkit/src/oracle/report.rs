//! What a comparison found.

use std::{collections::BTreeMap, fmt};

/// How a key differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The source has the key, the target does not.
    MissingOnTarget,
    /// The target has the key, the source does not.
    MissingOnSource,
    /// The key has another type.
    Type,
    /// The value is another one.
    Value,
    /// One side expires and the other does not, or both at another time.
    Expiry,
    /// The same for a field of a hash.
    FieldExpiry,
    /// A stream's ids and counters, apart from its entries.
    StreamMeta,
    /// A stream's groups, consumers or pending entries.
    StreamGroup,
    /// The functions of the server; there is no key.
    Functions,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The database.
    pub db: u32,
    /// The key; empty for functions.
    pub key: Vec<u8>,
    /// How it differs.
    pub kind: Kind,
    /// Both sides in a few words.
    pub detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "db {} key {:?}: {:?}: {}", self.db, self.key.escape_ascii().to_string(), self.kind, self.detail)
    }
}

/// The result of a comparison.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Keys of the source that were compared.
    pub keys: u64,
    /// The same by type, as TYPE names it.
    pub types: BTreeMap<String, u64>,
    /// Bytes of the source's keys and values.
    pub bytes: u64,
    /// Keys that are gone on one side only because their time ran out during the comparison.
    pub expired: u64,
    /// The first differences, as many as the options list.
    pub differences: Vec<Difference>,
    /// How many differences there are.
    pub total: u64,
}

impl Report {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.total == 0
    }

    /// Fails with the listed differences when there are any.
    #[track_caller]
    pub fn assert_equal(&self) {
        assert!(self.is_equal(), "{self}");
    }

    pub(super) fn add(&mut self, difference: Difference, max_listed: usize) {
        self.total += 1;
        if self.differences.len() < max_listed {
            self.differences.push(difference);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} keys, {} bytes, {} expired meanwhile, {} differences",
            self.keys, self.bytes, self.expired, self.total
        )?;
        self.differences.iter().try_for_each(|difference| write!(f, "\n  {difference}"))
    }
}
