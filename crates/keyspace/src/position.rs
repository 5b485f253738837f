//! Where in which history a replication stream is.
//!
//! A position is an offset within the lineage of a replication id; the database that was selected last belongs to it,
//! since the stream says it only once.

use std::fmt;
use std::str::FromStr;

/// Text that is not the position it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePositionError {
    /// Not 40 hexadecimal digits.
    #[error("expected a replication id of 40 hexadecimal digits")]
    ReplId,
    /// Not a decimal number from 0 to `i64::MAX`.
    #[error("expected a replication offset")]
    ReplOffset,
}

/// An offset in the replication stream of a primary: a count of bytes since the lineage began.
///
/// Servers keep it as a signed 64-bit number (server.h master_repl_offset, Redis 7.2), so what they send fits in `i64`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplOffset(pub u64);

impl ReplOffset {
    /// The start of a lineage.
    pub const ZERO: Self = Self(0);

    /// The number of bytes.
    #[inline]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The offset `bytes` later, or `None` past the range of the type.
    #[inline]
    pub fn advance(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// Bytes from `earlier` to here, or `None` when `earlier` is later.
    #[inline]
    pub fn since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

impl fmt::Display for ReplOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ReplOffset {
    type Err = ParsePositionError;

    /// Reads a decimal number from 0 to `i64::MAX`, digits only.
    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        let is_number = text.bytes().all(|b| b.is_ascii_digit());
        let offset = text.parse::<i64>().ok().and_then(|n| u64::try_from(n).ok());
        offset.filter(|_| is_number).map(Self).ok_or(ParsePositionError::ReplOffset)
    }
}

/// A replication id: 40 hexadecimal digits that name a lineage of history.
///
/// Kept in lower case, since servers compare it without regard to case (replication.c masterTryPartialResynchronization,
/// Redis 7.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplId([u8; 40]);

impl ReplId {
    /// Forty zeros, which no history has.
    pub const NONE: Self = Self([b'0'; 40]);

    /// Reads 40 hexadecimal digits.
    ///
    /// # Errors
    /// When `text` is anything else.
    pub fn parse(text: &[u8]) -> Result<Self, ParsePositionError> {
        let id = <[u8; 40]>::try_from(text).map_err(|_| ParsePositionError::ReplId)?;
        if !id.iter().all(u8::is_ascii_hexdigit) {
            return Err(ParsePositionError::ReplId);
        }
        Ok(Self(id.map(|b| b.to_ascii_lowercase())))
    }

    /// The 40 digits.
    pub fn as_bytes(&self) -> &[u8; 40] {
        &self.0
    }

    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        // ASCII by construction, so the default is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for ReplId {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplId({})", self.as_str())
    }
}

/// The number of a database, from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Db(pub u32);

impl Db {
    /// Reads the argument of SELECT, SWAPDB or MOVE: digits only.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_advance_within_their_range() {
        let at = ReplOffset(10);
        assert_eq!(at.advance(5), Some(ReplOffset(15)));
        assert_eq!(ReplOffset(u64::MAX).advance(1), None);
        assert_eq!(ReplOffset(15).since(at), Some(5));
        assert_eq!(at.since(ReplOffset(15)), None);
        assert_eq!(at.to_string(), "10");
    }

    #[test]
    fn offsets_from_text() {
        assert_eq!("0".parse(), Ok(ReplOffset::ZERO));
        assert_eq!("9223372036854775807".parse(), Ok(ReplOffset(i64::MAX as u64)));
        for wrong in ["", "-1", "+1", " 1", "1x", "9223372036854775808"] {
            assert_eq!(wrong.parse::<ReplOffset>(), Err(ParsePositionError::ReplOffset), "{wrong:?}");
        }
    }

    #[test]
    fn replication_ids() {
        let text = "8371b4fb1155b71f4a04d3e1bc3e18c4a990AEEB";
        let id: ReplId = text.parse().unwrap();
        assert_eq!(id.to_string(), text.to_lowercase());
        assert_eq!(ReplId::parse(id.as_bytes()), Ok(id));
        assert_eq!(format!("{id:?}"), format!("ReplId({})", text.to_lowercase()));
        assert_eq!(ReplId::parse(&text.as_bytes()[1..]), Err(ParsePositionError::ReplId));
        assert_eq!(ReplId::parse(&[b'g'; 40]), Err(ParsePositionError::ReplId));
        assert_eq!(ReplId::parse(&[0xff; 40]), Err(ParsePositionError::ReplId));
    }

    #[test]
    fn databases() {
        assert_eq!(Db::parse(b"15"), Some(Db(15)));
        for wrong in [&b""[..], b"-1", b"+1", b"x", b"4294967296", b"\xff"] {
            assert_eq!(Db::parse(wrong), None);
        }
    }
}
