//! The first nine bytes: magic and version.
//!
//! | bytes | content |
//! |---|---|
//! | 5 or 6 | `REDIS` or `VALKEY` |
//! | 4 or 3 | version in decimal digits |

use super::{Phase, Reader};
use crate::{
    error::Error,
    item::{Item, Magic},
    wire::offset,
};

const LEN: usize = 9;
const REDIS: &[u8] = b"REDIS";
const VALKEY: &[u8] = b"VALKEY";

impl Reader {
    #[cold]
    pub(super) fn header<'a>(&mut self, input: &[u8]) -> Result<Option<(usize, Item<'a>)>, Error> {
        let Some(found) = parse(input)? else { return Ok(None) };
        let Found { magic, version, at } = found;
        let supported = match magic {
            Magic::Redis => 1..=13,
            Magic::Valkey => 80..=80,
        };
        if !supported.contains(&version) {
            return Err(Error::UnsupportedVersion { magic, version, at });
        }
        self.magic = magic;
        self.version = version;
        self.phase = Phase::Body;
        self.consume(input, LEN);
        Ok(Some((LEN, Item::Header { version, magic })))
    }
}

struct Found {
    magic: Magic,
    version: u32,
    /// Offset of the digits.
    at: u64,
}

fn parse(input: &[u8]) -> Result<Option<Found>, Error> {
    // rdb.c rdbLoadRioWithLoadingCtx, Redis 7.2 and Valkey 9.0
    const BAD: Error = Error::BadMagic { at: 0 };
    let (magic, name) = if input.first() == Some(&b'V') { (Magic::Valkey, VALKEY) } else { (Magic::Redis, REDIS) };
    if !input.iter().zip(name).all(|(a, b)| a == b) {
        return Err(BAD);
    }
    let Some(digits) = input.get(name.len()..LEN) else { return Ok(None) };
    let mut version: u32 = 0;
    for digit in digits {
        let value = digit.checked_sub(b'0').filter(|&value| value < 10).ok_or(BAD)?;
        version = version.saturating_mul(10).saturating_add(u32::from(value));
    }
    Ok(Some(Found { magic, version, at: offset(name.len()) }))
}
