//! What a value is made of, as the decoder hands it out. Everything borrows, from the input or from the decoder.

use crate::{
    module,
    packed::{self, Cursor, Packing, Scalar},
};

/// Number of an entry of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// The first part, mostly Unix milliseconds.
    pub ms: u64,
    /// The second part.
    pub seq: u64,
}

/// A part of a value, in the order in which it stands there. Its debug form shows no strings.
#[derive(Debug, Clone, PartialEq)]
pub enum Element<'a> {
    /// A piece of a plain string. There is one at least; all but the last are of [`DecodeLimits::chunk`] bytes.
    ///
    /// [`DecodeLimits::chunk`]: super::DecodeLimits::chunk
    StringChunk {
        /// The bytes of this piece.
        bytes: Hidden<'a>,
        /// Whether it is the last piece.
        last: bool,
    },
    /// An element of a list, from the head on.
    ListElement(Scalar<'a>),
    /// A member of a set.
    SetMember(Scalar<'a>),
    /// A member of a sorted set, in no order to rely on.
    ZsetMember {
        /// The member.
        member: Scalar<'a>,
        /// Its score, to the bit; never NaN.
        score: f64,
    },
    /// A field of a hash.
    HashField {
        /// Name of the field.
        field: Scalar<'a>,
        /// Its value.
        value: Scalar<'a>,
        /// Absolute expiry of the field in Unix milliseconds.
        expire_ms: Option<u64>,
    },
    /// An entry of a stream, in rising order; deleted ones are left out.
    StreamEntry {
        /// Number of the entry.
        id: StreamId,
        /// Its fields and values.
        fields: Fields<'a>,
    },
    /// What is known of a stream beside its entries; follows the last entry.
    StreamInfo(StreamInfo),
    /// A consumer group; its consumers follow.
    Group {
        /// Name of the group.
        group: Hidden<'a>,
        /// The entry delivered last.
        last_id: StreamId,
        /// Number of entries read so far; `None` where it is not known, and in dumps of Redis 5.0 to 6.2.
        entries_read: Option<u64>,
    },
    /// A consumer of the group before it; its pending entries follow.
    Consumer {
        /// Name of the group.
        group: Hidden<'a>,
        /// Name of the consumer.
        consumer: Hidden<'a>,
        /// When it last tried to do anything, in Unix milliseconds.
        seen_ms: u64,
        /// When it last got anything; `None` where it never did, and in dumps of Redis 5.0 to 7.0.
        active_ms: Option<u64>,
    },
    /// An entry that a consumer has been given and has not acknowledged. The entry itself may be deleted.
    Pending {
        /// Name of the group.
        group: Hidden<'a>,
        /// Name of the consumer.
        consumer: Hidden<'a>,
        /// Number of the entry.
        id: StreamId,
        /// When it was delivered last, in Unix milliseconds.
        delivered_ms: u64,
        /// How often it was delivered.
        deliveries: u64,
    },
    /// How long a stream remembers what its producers wrote (Redis 8.6); follows the groups.
    Idempotency {
        /// Seconds that an ID is remembered.
        duration_s: u64,
        /// IDs that are remembered of each producer.
        max_entries: u64,
    },
    /// An entry that an idempotent producer wrote (Redis 8.6).
    Produced {
        /// Name of the producer.
        producer: Hidden<'a>,
        /// The ID that the producer gave it.
        iid: Scalar<'a>,
        /// Number of the entry.
        id: StreamId,
    },
    /// A value of a module; what the module wrote is stepped over.
    Module {
        /// Name of the module's data type.
        name: [u8; module::NAME_LEN],
    },
    /// The end of the value; bytes that follow in the input do not belong to it.
    End,
}

/// What is known of a stream beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamInfo {
    /// Number of entries, as the source says.
    pub length: u64,
    /// The last number that was given out.
    pub last_id: StreamId,
    /// What streams have since Redis 7.0.
    pub history: Option<StreamHistory>,
}

/// What streams know of their past since Redis 7.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamHistory {
    /// The first entry.
    pub first_id: StreamId,
    /// The greatest entry that was ever deleted.
    pub max_deleted_id: StreamId,
    /// Number of entries ever added.
    pub entries_added: u64,
}

/// Bytes whose debug form shows their number only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hidden<'a>(
    /// The bytes.
    pub &'a [u8],
);

impl std::ops::Deref for Hidden<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl std::fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Fields and values of an entry of a stream.
#[derive(Clone)]
pub struct Fields<'a> {
    pub(super) block: &'a [u8],
    /// The next field name, where the names stand apart (in the first entry of the block).
    pub(super) names: Option<Cursor>,
    /// The next name or value.
    pub(super) at: Cursor,
    pub(super) left: u64,
}

impl Fields<'_> {
    /// Number of fields that are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Scalar<'a>, Scalar<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = |cursor: &mut Cursor| {
            // The decoder has been here before: there is no error left to find.
            let span = packed::next(Packing::Listpack, self.block, cursor).ok().flatten()?;
            Some(span.of(self.block))
        };
        let name = match &mut self.names {
            Some(names) => read(names)?,
            None => read(&mut self.at)?,
        };
        Some((name, read(&mut self.at)?))
    }
}

impl PartialEq for Fields<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.clone().eq(other.clone())
    }
}

impl std::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} fields", self.left)
    }
}
