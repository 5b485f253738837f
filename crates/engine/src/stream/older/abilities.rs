//! Which forms of commands came with which version.

use keyferry_keyspace::{Flavor, ServerVersion};

/// A set of abilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::stream) struct Abilities(u64);

impl Abilities {
    pub(super) const NONE: Self = Self(0);
    /// `UNLINK`, `SWAPDB`, `FLUSHALL ASYNC`.
    pub(super) const UNLINK: Self = Self(1);
    /// `HSET` and `LPUSHX` with more than one element.
    pub(super) const MANY: Self = Self(1 << 1);
    /// `BITFIELD`.
    pub(super) const BITFIELD: Self = Self(1 << 2);
    /// `GEORADIUS` and the like.
    pub(super) const GEO: Self = Self(1 << 3);
    /// `ZADD` with `NX`, `XX`, `CH` or `INCR`.
    pub(super) const ZADD_FLAGS: Self = Self(1 << 4);
    /// Streams.
    pub(super) const STREAMS: Self = Self(1 << 5);
    /// `ZPOPMIN` and `ZPOPMAX`.
    pub(super) const ZPOP: Self = Self(1 << 6);
    /// `SET ... KEEPTTL`.
    pub(super) const KEEPTTL: Self = Self(1 << 7);
    /// What came with 6.2: `LPOP` with a count, `LMOVE`, `COPY`, `ZADD GT`, `ZRANGESTORE`, `ZDIFFSTORE`, `GEOSEARCHSTORE`,
    /// `XADD NOMKSTREAM` and `MINID`, `XGROUP CREATECONSUMER`, `FLUSHALL SYNC`.
    pub(super) const OF_6_2: Self = Self(1 << 8);
    /// What came with 7.0: `SPUBLISH`, functions, `ENTRIESREAD` and what else a stream remembers; `XCLAIM` lets go of
    /// entries that are gone.
    pub(super) const OF_7_0: Self = Self(1 << 9);
    /// `SET ... IFEQ`.
    pub(super) const SET_IFEQ: Self = Self(1 << 10);
    /// `SET ... IFNE`, `IFDEQ` and `IFDNE`; `DELEX`.
    pub(super) const SET_IFNE: Self = Self(1 << 11);
    /// `DELIFEQ`.
    pub(super) const DELIFEQ: Self = Self(1 << 12);
    /// `MSETEX`.
    pub(super) const MSETEX: Self = Self(1 << 13);
    /// `HPEXPIREAT` and its like.
    pub(super) const FIELD_TTL: Self = Self(1 << 14);
    /// `HSETEX` and `HGETEX`.
    pub(super) const HSETEX: Self = Self(1 << 15);
    /// `HGETDEL`.
    pub(super) const HGETDEL: Self = Self(1 << 16);
    /// `BITOP` with `DIFF`, `DIFF1`, `ANDOR` or `ONE`.
    pub(super) const BITOP_DIFF: Self = Self(1 << 17);
    /// `XDELEX`, `XACKDEL`, and `KEEPREF`, `DELREF`, `ACKED` of `XADD` and `XTRIM`.
    pub(super) const STREAM_REFS: Self = Self(1 << 18);
    /// `XCFGSET`.
    pub(super) const XCFGSET: Self = Self(1 << 19);
    /// `XIDMPRECORD`.
    pub(super) const XIDMPRECORD: Self = Self(1 << 20);
    /// `RESTORE` of any payload of the source. Not a matter of one version; see [`Abilities::lacking`].
    pub(super) const PAYLOADS: Self = Self(1 << 21);
    /// `RENAME` always finds its key. Not where data has been left out.
    pub(super) const ALL_KEYS: Self = Self(1 << 22);
    /// `GEOSEARCHSTORE ... BYPOLYGON`.
    pub(super) const POLYGON: Self = Self(1 << 23);
    /// Vector sets, which are a module that comes with the server.
    pub(super) const VECTORS: Self = Self(1 << 24);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn any_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// What a server can do.
    fn of(server: &ServerVersion) -> Self {
        SINCE.iter().fold(Self::NONE, |all, row| {
            let has = match (server.flavor, row.valkey) {
                (Flavor::Valkey, Some(since)) => server.own >= since,
                _ => server.redis >= row.redis,
            };
            if has { all.and(row.what) } else { all }
        })
    }

    /// What `source` may send and `target` does not know.
    pub(super) fn lacking(source: &ServerVersion, target: &ServerVersion) -> Self {
        let mut lacks = Self::of(source).without(Self::of(target));
        // 4.0 sends it, and counts as not having it itself: see below.
        if source.redis >= (4, 0, 0) && target.redis < (5, 0, 0) {
            lacks = lacks.and(Self::MANY);
        }
        // Redict says 12 of all its payloads.
        let footer = if source.flavor == Flavor::Redict { 12 } else { source.dump_version() };
        let payloads = target.reads_dump(footer) && target.dump_version() >= source.dump_version();
        if payloads { lacks } else { lacks.and(Self::PAYLOADS) }
    }
}

/// The first versions with an ability.
struct Since {
    what: Abilities,
    redis: (u32, u32, u32),
    /// Where it is not that of the Redis whose commands a Valkey has.
    valkey: Option<(u32, u32, u32)>,
}

const NEVER: Option<(u32, u32, u32)> = Some((u32::MAX, 0, 0));

const fn since(what: Abilities, redis: (u32, u32, u32), valkey: Option<(u32, u32, u32)>) -> Since {
    Since { what, redis, valkey }
}

/// From the lists of commands and arguments that servers of all these versions answer to COMMAND, and from trying them.
const SINCE: [Since; 23] = [
    since(Abilities::ZADD_FLAGS, (3, 0, 2), None),
    since(Abilities::BITFIELD, (3, 2, 0), None),
    since(Abilities::GEO, (3, 2, 0), None),
    since(Abilities::UNLINK, (4, 0, 0), None),
    // Pre-releases of 4.0 count as 4.0 and have not got it yet.
    since(Abilities::MANY, (5, 0, 0), None),
    since(Abilities::STREAMS, (5, 0, 0), None),
    since(Abilities::ZPOP, (5, 0, 0), None),
    since(Abilities::KEEPTTL, (6, 0, 0), None),
    since(Abilities::OF_6_2, (6, 2, 0), None),
    since(Abilities::OF_7_0, (7, 0, 0), None),
    since(Abilities::FIELD_TTL, (7, 4, 0), Some((9, 0, 0))),
    since(Abilities::HSETEX, (8, 0, 0), Some((9, 0, 0))),
    since(Abilities::HGETDEL, (8, 0, 0), Some((9, 1, 0))),
    since(Abilities::BITOP_DIFF, (8, 2, 0), NEVER),
    since(Abilities::STREAM_REFS, (8, 2, 0), NEVER),
    since(Abilities::SET_IFEQ, (8, 4, 0), Some((8, 1, 0))),
    since(Abilities::SET_IFNE, (8, 4, 0), NEVER),
    since(Abilities::DELIFEQ, (u32::MAX, 0, 0), Some((9, 0, 0))),
    since(Abilities::MSETEX, (8, 4, 0), Some((9, 1, 0))),
    since(Abilities::POLYGON, (u32::MAX, 0, 0), Some((9, 0, 0))),
    since(Abilities::VECTORS, (8, 0, 0), NEVER),
    since(Abilities::XCFGSET, (8, 6, 0), NEVER),
    since(Abilities::XIDMPRECORD, (8, 6, 2), NEVER),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> ServerVersion {
        let (name, version) = text.split_once(' ').unwrap();
        let info = match name {
            "redis" => format!("redis_version:{version}\r\n"),
            _ => format!("redis_version:7.2.4\r\n{name}_version:{version}\r\n"),
        };
        ServerVersion::from_info(info.as_bytes()).unwrap()
    }

    fn lacking(source: &str, target: &str) -> Abilities {
        Abilities::lacking(&server(source), &server(target))
    }

    #[test]
    fn a_target_that_is_as_new_lacks_nothing() {
        let lines = [
            &["redis 3.0.5", "redis 3.2.9", "redis 5.0.10", "redis 6.0.16", "redis 6.2.14", "redis 7.0.15"][..],
            &["redis 7.2.4", "redis 7.4.1", "redis 8.0.2", "redis 8.2.3", "redis 8.6.3"],
            &["redis 7.2.4", "valkey 8.0.1", "valkey 8.1.8", "valkey 9.0.0", "valkey 9.1.2"],
        ];
        for line in lines {
            for (i, source) in line.iter().enumerate() {
                for target in &line[i..] {
                    assert!(lacking(source, target).is_none(), "{source} -> {target}");
                }
                for target in &line[..i] {
                    assert!(!lacking(source, target).is_none() || source.starts_with("valkey 8"), "{source} {target}");
                }
            }
        }
    }

    #[test]
    fn between_early_versions() {
        // 4.0 sends LPUSHX with many elements, which its pre-releases do not know: they say the same version.
        assert_eq!(lacking("redis 4.0.9", "redis 4.0.2"), Abilities::MANY);
        assert!(lacking("redis 4.0.9", "redis 3.2.9").any_of(Abilities::MANY));
        assert!(lacking("redis 4.0.9", "redis 5.0.10").is_none());
    }

    #[test]
    fn families_lack_what_only_the_other_has() {
        assert_eq!(lacking("valkey 8.1.8", "redis 8.6.3"), Abilities::NONE);
        let only_valkey = Abilities::DELIFEQ.and(Abilities::POLYGON).and(Abilities::PAYLOADS);
        assert_eq!(lacking("valkey 9.1.2", "redis 8.6.3"), only_valkey);
        let only_redis = Abilities::BITOP_DIFF
            .and(Abilities::STREAM_REFS)
            .and(Abilities::SET_IFNE)
            .and(Abilities::VECTORS)
            .and(Abilities::XCFGSET)
            .and(Abilities::XIDMPRECORD)
            .and(Abilities::PAYLOADS);
        assert_eq!(lacking("redis 8.6.3", "valkey 9.1.2"), only_redis);
        assert_eq!(lacking("redict 7.3.6", "redis 7.2.4"), Abilities::PAYLOADS);
    }
}
