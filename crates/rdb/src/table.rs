//! The types of values and how each is laid out: data only.
//!
//! A layout is a program for the interpreter in `program`. Rows from 0 to 25 are type bytes of Redis (rdb.h and rdb.c
//! rdbLoadObject, Redis 8.6), of which Valkey has those up to 21; Valkey's own are marked (rdb.h, Valkey 9.1). Type 6, the
//! module value of Redis 4.0's release candidates, is missing because only the module knows its layout.

use crate::{
    program::Op::{self, DoubleStr, Fixed, Len, ModuleUntilEof, Repeat, Str},
    value_type::{Group, VALKEY},
};

/// What is known of one type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Name of the encoding.
    pub(crate) name: &'static str,
    /// Which data it is.
    pub(crate) group: Group,
    /// Lowest RDB version that can carry it in a DUMP payload.
    pub(crate) since: u32,
    /// Layout of the raw value.
    pub(crate) program: &'static [Op],
}

const fn of(name: &'static str, group: Group, since: u32, program: &'static [Op]) -> Row {
    Row { name, group, since, program }
}

/// A plain string.
pub(crate) const STRING: Row = of("string", Group::String, 6, ONE);

const VALKEY_HASH_2: u8 = 22 | VALKEY;

/// The type with this inner number (see [`ValueType`](crate::ValueType)).
#[rustfmt::skip]
#[inline]
pub(crate) const fn row(code: u8) -> Option<Row> {
    Some(match code {
        0 => STRING,
        1 => of("list", Group::List, 6, STRINGS),
        2 => of("set", Group::Set, 6, STRINGS),
        3 => of("zset", Group::Zset, 6, &[Repeat(&[Str, DoubleStr])]),
        4 => of("hash", Group::Hash, 6, &[Repeat(&[Str, Str])]),
        5 => of("zset-2", Group::Zset, 8, &[Repeat(&[Str, Fixed(8)])]),
        7 => of("module-2", Group::Module, 8, MODULE),
        9 => of("hash-zipmap", Group::Hash, 6, ONE),
        10 => of("list-ziplist", Group::List, 6, ONE),
        11 => of("set-intset", Group::Set, 6, ONE),
        12 => of("zset-ziplist", Group::Zset, 6, ONE),
        13 => of("hash-ziplist", Group::Hash, 6, ONE),
        14 => of("list-quicklist", Group::List, 7, STRINGS),
        15 => of("stream-listpacks", Group::Stream, 9, STREAM_1),
        16 => of("hash-listpack", Group::Hash, 10, ONE),
        17 => of("zset-listpack", Group::Zset, 10, ONE),
        18 => of("list-quicklist-2", Group::List, 10, &[Repeat(&[Len, Str])]),
        19 => of("stream-listpacks-2", Group::Stream, 10, STREAM_2),
        20 => of("set-listpack", Group::Set, 11, ONE),
        21 => of("stream-listpacks-3", Group::Stream, 11, STREAM_3),
        22 => of("hash-metadata-pre-ga", Group::Hash, 12, &[Repeat(FIELD_WITH_TTL)]),
        23 => of("hash-listpack-ex-pre-ga", Group::Hash, 12, ONE),
        24 => of("hash-metadata", Group::Hash, 12, &[Fixed(8), Repeat(FIELD_WITH_TTL)]),
        25 => of("hash-listpack-ex", Group::Hash, 12, &[Fixed(8), Str]),
        26 => of("stream-listpacks-4", Group::Stream, 13, STREAM_4),
        VALKEY_HASH_2 => of("hash-2", Group::Hash, 80, &[Repeat(&[Str, Str, Fixed(8)])]),
        _ => return None,
    })
}

/// Layout of what a module keeps beside the keys, after its opcode: the module's number, then its data (which starts with
/// the moment it belongs to, written like any number of a module).
pub(crate) const MODULE_AUX: &[Op] = MODULE;

/// Layout of the metadata that modules attach to a key, after its opcode.
// keymeta.c rdbSaveKeyMetadata, Redis 8.6
pub(crate) const KEY_META: &[Op] = &[Repeat(&[Fixed(4), ModuleUntilEof])];

/// Layout of a slot import, after its opcode: name of the job, then ranges of slots.
// cluster_migrateslots.c clusterRDBSaveSlotImports, Valkey 9.0
pub(crate) const SLOT_IMPORT: &[Op] = &[Str, Repeat(&[Len, Len])];

const ONE: &[Op] = &[Str];
const STRINGS: &[Op] = &[Repeat(&[Str])];
const MODULE: &[Op] = &[Len, ModuleUntilEof];

/// Expiry as a number, field, value.
const FIELD_WITH_TTL: &[Op] = &[Len, Str, Str];

/// Nodes of a stream: first ID and listpack.
const NODES: Op = Repeat(&[Str, Str]);
/// Entries of a group that wait for an acknowledgement: ID, time of delivery, number of deliveries.
const GROUP_PENDING: Op = Repeat(&[Fixed(16), Fixed(8), Len]);
/// Entries of a consumer that wait for an acknowledgement: IDs only.
const CONSUMER_PENDING: Op = Repeat(&[Fixed(16)]);
/// A consumer: name, time seen, pending entries.
const CONSUMERS: Op = Repeat(&[Str, Fixed(8), CONSUMER_PENDING]);
/// A consumer: name, time seen, time active, pending entries.
const ACTIVE_CONSUMERS: Op = Repeat(&[Str, Fixed(8), Fixed(8), CONSUMER_PENDING]);
/// A group: name, last ID, pending entries, consumers.
const GROUPS_1: Op = Repeat(&[Str, Len, Len, GROUP_PENDING, CONSUMERS]);
/// A group with the number of entries read.
const GROUPS_2: Op = Repeat(&[Str, Len, Len, Len, GROUP_PENDING, CONSUMERS]);
/// A group whose consumers have a time active.
const GROUPS_3: Op = Repeat(&[Str, Len, Len, Len, GROUP_PENDING, ACTIVE_CONSUMERS]);
/// Idempotent producers: name, then names and entry IDs of what each has written.
const PRODUCERS: Op = Repeat(&[Str, Repeat(&[Str, Len, Len])]);

/// Nodes, number of entries, last ID, groups.
const STREAM_1: &[Op] = &[NODES, Len, Len, Len, GROUPS_1];
/// With first ID, greatest deleted ID and number of entries ever added.
const STREAM_2: &[Op] = &[NODES, Len, Len, Len, Len, Len, Len, Len, Len, GROUPS_2];
const STREAM_3: &[Op] = &[NODES, Len, Len, Len, Len, Len, Len, Len, Len, GROUPS_3];
/// With duration and number of entries to remember of each producer, producers, and two counters.
const STREAM_4: &[Op] = &[NODES, Len, Len, Len, Len, Len, Len, Len, Len, GROUPS_3, Len, Len, PRODUCERS, Len, Len];
