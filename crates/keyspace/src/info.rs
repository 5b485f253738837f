//! Reading the text of an INFO reply.
//!
//! Lines `name:value` between section headers `# Section`. Only looking up; what the fields mean is for others.

use crate::Db;

/// The value of the first line `name:value`, without blanks around it. `None` when there is none or it is not UTF-8.
pub fn field<'a>(text: &'a [u8], name: &str) -> Option<&'a str> {
    let value = lines(text).find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    std::str::from_utf8(value).ok().map(str::trim)
}

/// What the keyspace section says of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DbKeys {
    /// The database.
    pub db: Db,
    /// Keys in it, expired ones that are not removed yet included.
    pub keys: u64,
    /// Keys among them that have a time to live.
    pub expires: u64,
    /// Hashes among them with a field that has one (Redis 7.4, Valkey 9.0); 0 where a server does not say.
    pub field_expires: u64,
}

/// The databases that have keys, from the lines `db0:keys=1,expires=0,...`. Lines that read otherwise are left out.
pub fn keyspace(text: &[u8]) -> impl Iterator<Item = DbKeys> {
    lines(text).filter_map(db_line)
}

fn db_line(line: &[u8]) -> Option<DbKeys> {
    let line = std::str::from_utf8(line).ok()?;
    let (db, counts) = line.strip_prefix("db")?.split_once(':')?;
    let db = Db::parse(db.as_bytes())?;
    let count = |name: &str| {
        let mut pairs = counts.split(',').filter_map(|pair| pair.split_once('='));
        pairs.find(|(n, _)| *n == name)?.1.trim().parse().ok()
    };
    let field_expires = count("subexpiry").or_else(|| count("keys_with_volatile_items")).unwrap_or(0);
    Some(DbKeys { db, keys: count("keys")?, expires: count("expires").unwrap_or(0), field_expires })
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] =
        b"# Server\r\nredis_version:7.2.4\r\nos:Linux 6.1\r\nbad:\xff\r\n\r\n# Replication\r\nrole:master\r\n\
        # Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\ndb7:keys=1,expires=0,avg_ttl=0,subexpiry=2\r\ndbx:keys=1\r\n";

    #[test]
    fn fields() {
        assert_eq!(field(TEXT, "redis_version"), Some("7.2.4"));
        assert_eq!(field(TEXT, "os"), Some("Linux 6.1"));
        assert_eq!(field(TEXT, "role"), Some("master"));
        assert_eq!(field(TEXT, "redis"), None);
        assert_eq!(field(TEXT, "version"), None);
        assert_eq!(field(TEXT, "bad"), None);
        assert_eq!(field(b"", "role"), None);
    }

    #[test]
    fn databases_with_keys() {
        let dbs: Vec<_> = keyspace(TEXT).collect();
        let first = DbKeys { db: Db(0), keys: 3, expires: 1, field_expires: 0 };
        assert_eq!(dbs, [first, DbKeys { db: Db(7), keys: 1, expires: 0, field_expires: 2 }]);
        // 2.8 and 3.0 leave out what they have no word for.
        assert_eq!(keyspace(b"db0:keys=2\n").next(), Some(DbKeys { db: Db(0), keys: 2, expires: 0, field_expires: 0 }));
    }
}
