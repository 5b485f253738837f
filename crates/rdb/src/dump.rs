//! DUMP payloads: what `DUMP` answers and `RESTORE` takes.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | type byte |
//! | n | raw value, as in a dump file |
//! | 2 | RDB version, little endian |
//! | 8 | CRC64 of all before it, little endian |

use crate::{
    crc,
    error::Error,
    item::Magic,
    value_type::ValueType,
    wire::{self, offset},
};

/// Bytes after the value: version and checksum.
pub const FOOTER_LEN: usize = 10;

const CRC_LEN: usize = 8;
const FIRST_VALKEY_VERSION: u16 = 80;

/// Bytes of the payload for a raw value of `raw_len` bytes.
#[must_use]
pub fn len(raw_len: usize) -> usize {
    raw_len.saturating_add(FOOTER_LEN).saturating_add(1)
}

/// Appends the payload of one value to `out`.
///
/// `version` is the RDB version to name in the footer. A target takes versions up to its own, and one of Valkey takes none
/// from 12 to 79: best is the lowest that the value allows, [`ValueType::dump_version`], whatever the source's own is.
pub fn write(out: &mut Vec<u8>, kind: ValueType, raw: &[u8], version: u16) {
    write_with_meta(out, &[], kind, raw, version);
}

/// Appends the payload of one value with the metadata that modules attached to its key
/// ([`Entry::meta`](crate::Entry::meta)). Where there is metadata, `version` must be 13 at least.
pub fn write_with_meta(out: &mut Vec<u8>, meta: &[u8], kind: ValueType, raw: &[u8], version: u16) {
    // cluster.c createDumpPayload, Redis 7.2 and 8.6
    let start = out.len();
    out.reserve(len(raw.len()).saturating_add(meta.len()));
    out.extend_from_slice(meta);
    out.push(kind.byte());
    out.extend_from_slice(raw);
    out.extend_from_slice(&version.to_le_bytes());
    let crc = crc::checksum(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Appends a payload again with another RDB version in its footer; for those of `FUNCTION DUMP`, too. Nothing is looked
/// into but the length: `false` when that is too short for a payload, and nothing is written.
#[must_use]
pub fn write_again(out: &mut Vec<u8>, payload: &[u8], version: u16) -> bool {
    let Some(body) = payload.len().checked_sub(FOOTER_LEN).and_then(|len| payload.get(..len)) else { return false };
    let start = out.len();
    out.extend_from_slice(body);
    out.extend_from_slice(&version.to_le_bytes());
    let crc = crc::checksum(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
    true
}

/// The CRC64 that ends payloads and dumps.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    crc::checksum(bytes)
}

/// Checks the footer of a payload; gives the type, the raw value and the RDB version. The value itself is not looked into.
///
/// # Errors
/// With offsets into `payload`: [`Error::Corrupt`] where it is too short, [`Error::Checksum`], [`Error::UnknownType`].
pub fn verify(payload: &[u8]) -> Result<(ValueType, &[u8], u16), Error> {
    // cluster.c verifyDumpPayload, Redis 7.2
    let short = Error::Corrupt { expected: "a type byte, a value and a footer", at: offset(payload.len()) };
    let Some((body, stored)) = payload.split_last_chunk::<CRC_LEN>() else { return Err(short) };
    let Some((typed, version)) = body.split_last_chunk::<2>() else { return Err(short) };
    let Some((&ty, raw)) = typed.split_first() else { return Err(short) };
    let (expected, got) = (u64::from_le_bytes(*stored), crc::checksum(body));
    if expected != got {
        return Err(Error::Checksum { expected, got, at: wire::offset(body.len()) });
    }
    let version = u16::from_le_bytes(*version);
    let magic = if version >= FIRST_VALKEY_VERSION { Magic::Valkey } else { Magic::Redis };
    let kind = ValueType::from_byte(ty, magic).ok_or(Error::UnknownType { ty, db: 0, at: 0 })?;
    Ok((kind, raw, version))
}

#[cfg(test)]
mod tests;
