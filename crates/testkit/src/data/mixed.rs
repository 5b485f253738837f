//! All types, encodings and databases in one data set.

use anyhow::Result;

use super::Filler;
use crate::wire::send;

/// Databases and how many of a hundred keys go there.
const DATABASES: [(u32, u64); 4] = [(0, 70), (1, 15), (5, 10), (15, 5)];
/// One key in so many is a large one: past every limit of the compact encodings.
const LARGE_ONE_IN: u64 = 2_000;
/// One key in so many expires.
const EXPIRES_ONE_IN: u64 = 5;

const LIBRARY: &str = "#!lua name=testkit
redis.register_function('testkit_set', function(keys, args) return redis.call('SET', keys[1], args[1]) end)
redis.register_function{function_name='testkit_get', callback=function(keys) return redis.call('GET', keys[1]) end, \
                       flags={'no-writes'}}
";

/// Writes about `keys` keys of all types that the server has, over several databases, and functions where it has
/// them. Binary-safe keys and values, expiries far and near, streams with groups and pending entries are among them.
pub fn fill_mixed(url: &str, keys: u64, seed: u64) -> Result<()> {
    let mut filler = Filler::connect(url, seed)?;
    for (db, percent) in DATABASES {
        send!(filler.wire, "SELECT", db.to_string())?;
        let count = (keys * percent / 100).max(40);
        for i in 0..count {
            // The first keys of each database go through all families, once small and once large.
            let family = if i < 40 { i % 20 } else { filler.rng.below(60).min(39) };
            let large = (20..40).contains(&i) || filler.rng.one_in(LARGE_ONE_IN);
            filler.key_of(family, i, large)?;
        }
    }
    if filler.features.has("FUNCTION") {
        send!(filler.wire, "FUNCTION", "LOAD", "REPLACE", LIBRARY)?;
    }
    filler.wire.finish()
}

impl Filler {
    /// Writes one key of a family: 0 to 19 are the families, all above are short strings.
    fn key_of(&mut self, family: u64, i: u64, large: bool) -> Result<()> {
        let key = self.name(family, i);
        match family {
            0 => self.list(&key, large)?,
            1 => self.list_of_numbers(&key, large)?,
            2 => self.set_of_numbers(&key, large)?,
            3 | 4 => self.set(&key, large)?,
            5..8 => self.hash(&key, large)?,
            8..11 => self.zset(&key, large)?,
            11 => self.stream(&key, large)?,
            12 => self.hyperloglog(&key, large)?,
            13 => self.bitmap(&key, large)?,
            14 => self.geo(&key, large)?,
            15 => self.long_text(&key, large)?,
            16 => self.random_binary(&key, large)?,
            17 => self.compressible(&key, large)?,
            _ => self.short_string(&key)?,
        }
        // The large ones stay, so that each run compares them.
        if !large && self.rng.one_in(EXPIRES_ONE_IN) { self.expire(&key) } else { Ok(()) }
    }

    /// The key's name; one in ten holds bytes that break whoever takes it for a line of text.
    fn name(&mut self, family: u64, i: u64) -> Vec<u8> {
        let mut name = format!("{family:02}:{i}").into_bytes();
        match self.rng.below(40) {
            0 => name.extend_from_slice(b"\r\n"),
            1 => name.extend_from_slice(b"\0zero\0"),
            2 => name.extend_from_slice(b"\xff\xfe\x80"),
            3 => name.extend_from_slice("{tag} \u{e9}\"'*?[".as_bytes()),
            _ => {}
        }
        name
    }
}
