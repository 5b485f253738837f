//! What a server is, and what that lets it do.
//!
//! Read from the text of INFO. Forks keep a `redis_version` for old clients: the Redis whose commands they have. What
//! commands a server knows follows from that number, what dumps it reads follows from its own.

use std::fmt;

use crate::info;

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// Redis, or one that says nothing else of itself.
    Redis,
    /// Valkey.
    Valkey,
    /// Redict.
    Redict,
    /// One that has a version of its own beside the Redis it is compatible with, and is none of the above.
    Other,
}

/// The version of a server.
///
/// Pre-releases count as the release they lead to: Redis 4.0-rc2, which says 3.9.102, is 4.0.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerVersion {
    /// Whose server it is.
    pub flavor: Flavor,
    /// Its own version: major, minor, patch.
    pub own: (u32, u32, u32),
    /// The Redis whose commands it has; the same as `own` for Redis.
    pub redis: (u32, u32, u32),
}

impl ServerVersion {
    /// The oldest Redis that can be a source: the first that sends offsets (PSYNC).
    pub const OLDEST_SOURCE: (u32, u32, u32) = (2, 8, 0);
    /// The oldest Redis that can be a target: the first whose RESTORE takes REPLACE.
    pub const OLDEST_TARGET: (u32, u32, u32) = (3, 0, 0);

    /// Reads the text of INFO, of the whole or of its server section. `None` when it names no version.
    pub fn from_info(text: &[u8]) -> Option<Self> {
        let version = |name| info::field(text, name).and_then(parse);
        let redis = version("redis_version");
        let fork = |flavor, name| version(name).map(|own| (flavor, own));
        let (flavor, own) = fork(Flavor::Valkey, "valkey_version")
            .or_else(|| fork(Flavor::Redict, "redict_version"))
            .or_else(|| fork(Flavor::Other, "dragonfly_version"))
            .or_else(|| fork(Flavor::Other, "garnet_version"))
            .or_else(|| redis.map(|own| (Flavor::Redis, own)))?;
        // A fork that hides the number it is compatible with has started from 7.2.
        Some(Self { flavor, own, redis: redis.unwrap_or((7, 2, 0)) })
    }

    /// The highest RDB version of which RESTORE reads every type of value (except those that only the other family has:
    /// Valkey 9, which is 80 here, knows none that came with 12 or 13).
    ///
    /// A payload of an older type may say this version in its footer, or the one that its type came with. Redict says 12 in
    /// its own dumps, but has no type that 11 has not: it answers "Bad data format" to a Redis hash with field times.
    pub fn dump_version(&self) -> u16 {
        match self.flavor {
            Flavor::Valkey if self.own >= (9, 0, 0) => 80,
            Flavor::Valkey | Flavor::Redict => 11,
            Flavor::Redis | Flavor::Other => match self.redis {
                (8, minor, _) if minor >= 4 => 13,
                (9.., _, _) => 13,
                (8, ..) | (7, 4.., _) => 12,
                (7, 2.., _) => 11,
                (7, ..) => 10,
                (5.., ..) => 9,
                (4, ..) => 8,
                (3, 2.., _) => 7,
                _ => 6,
            },
        }
    }

    /// Whether RESTORE accepts a payload whose footer says `version`, if it knows the type of its value.
    ///
    /// The oldest servers accept their own version only (cluster.c verifyDumpPayload, Redis 3.0), and Valkey 9 nothing
    /// between the last version it has in common with Redis and its own.
    pub fn reads_dump(&self, version: u16) -> bool {
        match (self.flavor, self.dump_version()) {
            (Flavor::Redict, _) => version <= 12,
            (_, 6) => version == 6,
            (_, 80) => version == 80 || version <= 11,
            (_, highest) => version <= highest,
        }
    }

    /// Whether RESTORE takes REPLACE.
    pub fn restore_replace(&self) -> bool {
        self.redis >= (3, 0, 0)
    }

    /// Whether RESTORE takes ABSTTL.
    pub fn restore_absttl(&self) -> bool {
        self.redis >= (5, 0, 0)
    }

    /// Whether RESTORE takes IDLETIME and FREQ.
    pub fn restore_idle_freq(&self) -> bool {
        self.redis >= (5, 0, 0)
    }

    /// Whether SET takes PXAT.
    pub fn set_pxat(&self) -> bool {
        self.redis >= (6, 2, 0)
    }

    /// Whether PEXPIRETIME is known.
    pub fn tells_expiry(&self) -> bool {
        self.redis >= (7, 0, 0)
    }

    /// Whether fields of hashes can have deadlines.
    pub fn field_deadlines(&self) -> bool {
        match self.flavor {
            Flavor::Valkey => self.own >= (9, 0, 0),
            _ => self.redis >= (7, 4, 0),
        }
    }

    /// Whether FLUSHALL takes ASYNC.
    pub fn async_flush(&self) -> bool {
        self.redis >= (4, 0, 0)
    }

    /// Whether UNLINK is known and does no harm: Redis 5.0 to 6.2.3 ends its process over a stream that has lost its last
    /// group (lazyfree.c, `lazyfreeGetFreeEffort`).
    pub fn unlink(&self) -> bool {
        self.redis >= (4, 0, 0) && !((5, 0, 0)..(6, 2, 4)).contains(&self.redis)
    }

    /// Whether FUNCTION is known.
    pub fn functions(&self) -> bool {
        self.redis >= (7, 0, 0)
    }

    /// Kinds of data that this version has and `target` has not.
    pub fn more_than(&self, target: &Self) -> Vec<&'static str> {
        let has = |v: &Self| {
            [
                ("streams", v.redis >= (5, 0, 0)),
                ("function libraries", v.functions()),
                ("deadlines of hash fields", v.field_deadlines()),
            ]
        };
        let pairs = has(self).into_iter().zip(has(target));
        pairs.filter(|((_, ours), (_, theirs))| *ours && !theirs).map(|((name, _), _)| name).collect()
    }
}

/// The name and its own version, as in `Valkey 8.0.1`.
impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.flavor {
            Flavor::Redis => "Redis",
            Flavor::Valkey => "Valkey",
            Flavor::Redict => "Redict",
            Flavor::Other => "other server",
        };
        let (major, minor, patch) = self.own;
        write!(f, "{name} {major}.{minor}.{patch}")
    }
}

/// Reads `major.minor.patch`, where a third part is optional and anything may follow it.
fn parse(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    let version = (parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0));
    Some(match version {
        // A build of the development branch has everything that there is.
        (255, 255, 255) => version,
        // Pre-releases count up from 100 behind the release before: 3.9.102, 6.1.240, 7.9.224.
        (major, 9, 100..) => (major.saturating_add(1), 0, 0),
        (major, minor, 100..) => (major, minor.saturating_add(1), 0),
        released => released,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(info: &str) -> ServerVersion {
        ServerVersion::from_info(info.as_bytes()).unwrap()
    }

    fn redis(version: &str) -> ServerVersion {
        server(&format!("# Server\r\nredis_version:{version}\r\nredis_git_sha1:00000000\r\n"))
    }

    /// Which footers RESTORE of each real server accepted, around a plain string.
    #[test]
    fn footers_that_real_servers_accept() {
        let valkey = |v: &str| server(&format!("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:{v}\r\n"));
        let cases: [(ServerVersion, &[u16]); 18] = [
            (redis("2.8.17"), &[6]),
            (redis("3.0.5"), &[6]),
            (redis("3.2.9"), &[1, 2, 3, 4, 5, 6, 7]),
            (redis("3.9.102"), &[1, 2, 3, 4, 5, 6, 7, 8]),
            (redis("5.0.10"), &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (redis("6.0.16"), &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (redis("6.2.14"), &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (redis("7.0.15"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
            (redis("7.2.4"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
            (redis("7.4.1"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            (redis("8.0.2"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            (redis("8.2.3"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            (redis("8.6.3"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
            (server("redict_version:7.3.6\r\nredis_version:7.2.4\r\n"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            (valkey("8.0.1"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
            (valkey("8.1.8"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
            (valkey("9.0.0"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 80]),
            (valkey("9.1.2"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 80]),
        ];
        for (server, footers) in cases {
            let accepted: Vec<u16> = (1..=90).filter(|&v| server.reads_dump(v)).collect();
            assert_eq!(accepted, footers, "{server}");
            let highest = if server.flavor == Flavor::Redict { 11 } else { footers[footers.len() - 1] };
            assert_eq!(server.dump_version(), highest, "{server}");
        }
    }

    #[test]
    fn what_real_servers_can_do() {
        let can = |v: ServerVersion| {
            let all = [v.restore_replace(), v.async_flush(), v.restore_absttl(), v.set_pxat(), v.functions()];
            assert_eq!(v.restore_idle_freq(), v.restore_absttl());
            all.iter().filter(|&&b| b).count()
        };
        assert_eq!(can(redis("2.8.17")), 0);
        assert_eq!(can(redis("3.0.5")), 1);
        assert_eq!(can(redis("3.2.9")), 1);
        assert_eq!(can(redis("3.9.102")), 2);
        assert_eq!(can(redis("5.0.10")), 3);
        assert_eq!(can(redis("6.2.14")), 4);
        assert_eq!(can(redis("7.0.15")), 5);
        assert_eq!(can(server("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.0.0\r\n")), 5);
        assert_eq!(can(server("redict_version:7.3.6\r\nredis_version:7.2.4\r\n")), 5);
    }

    #[test]
    fn unlink_where_it_does_no_harm() {
        let without = ["3.2.9", "5.0.10", "6.0.16", "6.2.3"].map(redis);
        let with = ["4.0.9", "6.2.4", "7.0.15"].map(redis);
        assert!(!without.iter().any(ServerVersion::unlink) && with.iter().all(ServerVersion::unlink));
    }

    #[test]
    fn what_a_target_lacks() {
        let valkey = |version: &str| server(&format!("redis_version:7.2.4\r\nvalkey_version:{version}\r\n"));
        assert!(redis("6.2.1").more_than(&redis("8.0.0")).is_empty());
        assert_eq!(redis("6.2.1").more_than(&redis("4.0.9")), ["streams"]);
        assert_eq!(redis("7.4.1").more_than(&valkey("8.1.0")), ["deadlines of hash fields"]);
        assert!(redis("7.4.1").more_than(&valkey("9.0.0")).is_empty());
        assert_eq!(valkey("9.0.0").more_than(&redis("6.0.0")), ["function libraries", "deadlines of hash fields"]);
    }

    #[test]
    fn flavors_and_pre_releases() {
        assert_eq!(redis("3.9.102").own, (4, 0, 0));
        assert_eq!(redis("6.1.240").own, (6, 2, 0));
        assert_eq!(redis("7.9.224").own, (8, 0, 0));
        assert_eq!(redis("7.2.5-v1").own, (7, 2, 5));
        assert_eq!(redis("255.255.255").dump_version(), 13);
        assert_eq!(redis("8.4.0").dump_version(), 13);
        let valkey = server("redis_version:7.2.4\r\nvalkey_version:7.9.240\r\n");
        assert_eq!((valkey.flavor, valkey.own, valkey.redis), (Flavor::Valkey, (8, 0, 0), (7, 2, 4)));
        assert_eq!(valkey.to_string(), "Valkey 8.0.0");
        let other = server("redis_version:7.4.0\r\ndragonfly_version:df-v1.30.1\r\n");
        assert_eq!((other.flavor, other.own, other.redis), (Flavor::Other, (1, 30, 1), (7, 4, 0)));
        for none in ["", "redis_version:\r\n", "redis_version:x\r\n", "redis_version:7\r\n", "redis_version:7.x\r\n"] {
            assert_eq!(ServerVersion::from_info(none.as_bytes()), None, "{none:?}");
        }
    }
}
