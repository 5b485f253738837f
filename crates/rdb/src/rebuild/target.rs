//! What a target can do, as far as it matters for the commands that rebuild a value.

/// What a target can do. `Default` is a server that knows nothing newer than Redis 2.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Target {
    /// `HSET` takes several fields (Redis 4.0); before, `HMSET` does.
    pub hset_many: bool,
    /// `UNLINK` is there (Redis 4.0) and does no harm; else `DEL` is. Before 6.2.4, Redis with streams ends its process over
    /// one that has lost its last group, since lazyfree.c takes it for granted that there is one: no version of two parts
    /// below 7.0 is known to be without that.
    pub unlink: bool,
    /// Streams are there (Redis 5.0).
    pub streams: bool,
    /// `XGROUP CREATECONSUMER` is there (Redis 6.2).
    pub create_consumer: bool,
    /// `XSETID` takes `ENTRIESADDED` and `MAXDELETEDID`, and `XGROUP CREATE` takes `ENTRIESREAD` (Redis 7.0).
    pub stream_history: bool,
    /// `HPEXPIREAT` is there (Redis 7.4, Valkey 9.0).
    pub field_ttl: bool,
    /// `XCFGSET` is there (Redis 8.6).
    pub stream_config: bool,
    /// `XIDMPRECORD` is there (Redis 8.6.2): no version of two parts says so, the caller does.
    pub stream_producers: bool,
}

impl Target {
    /// A Redis of this version, or another server that has its commands, such as Redict 7.3 those of 7.2.
    #[must_use]
    pub fn redis(major: u16, minor: u16) -> Self {
        let version = (major, minor);
        Self {
            hset_many: version >= (4, 0),
            unlink: version == (4, 0) || version >= (7, 0),
            streams: version >= (5, 0),
            create_consumer: version >= (6, 2),
            stream_history: version >= (7, 0),
            field_ttl: version >= (7, 4),
            stream_config: version >= (8, 6),
            stream_producers: false,
        }
    }

    /// A Valkey of this version.
    #[must_use]
    pub fn valkey(major: u16, minor: u16) -> Self {
        Self { field_ttl: (major, minor) >= (9, 0), ..Self::redis(7, 2) }
    }
}
