//! RDB string objects: how plain values, keys and AUX fields are written.
//!
//! A string is written as its bytes, as a small integer, or LZF-compressed; all three mean the same string. Offsets in
//! errors count from the start of the slice.

use crate::{
    error::Error,
    lzf,
    wire::{self, Head},
};

/// A string object as written. Its debug form shows lengths instead of contents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Str<'a> {
    /// The bytes of the string.
    Bytes(&'a [u8]),
    /// The string is this number in decimal digits.
    Int(i64),
    /// The string is compressed; see [`lzf::decompress`].
    Lzf {
        /// The compressed bytes.
        compressed: &'a [u8],
        /// Bytes of the string. Unchecked: [`lzf::decompress`] refuses what `compressed` cannot hold.
        len: u64,
    },
}

impl Str<'_> {
    /// Appends the string itself to `out`.
    ///
    /// # Errors
    /// [`Error::Lzf`] where the compressed bytes are bad; `out` is then as before.
    pub fn append_to(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        match *self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Int(value) => append_decimal(out, value),
            Self::Lzf { compressed, len } => {
                let len = usize::try_from(len).map_err(|_| Error::Lzf { expected: "a length that fits", at: 0 })?;
                lzf::decompress(compressed, len, out)?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Str<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Int(_) => f.write_str("Int"),
            Self::Lzf { compressed, len } => write!(f, "Lzf({} bytes for {len})", compressed.len()),
        }
    }
}

/// Decodes the string object at the start of `raw`; gives it and the bytes it takes.
///
/// # Errors
/// [`Error::Corrupt`] where `raw` starts with no string object or ends inside it.
pub fn parse(raw: &[u8]) -> Result<(Str<'_>, usize), Error> {
    const SHORT: Error = Error::Corrupt { expected: "a whole string", at: 0 };
    let (head, start) = wire::head(raw, 0)?.ok_or(SHORT)?;
    let body = usize::try_from(head.body_len()).map_err(|_| SHORT)?;
    let end = start.checked_add(body).ok_or(SHORT)?;
    let bytes = raw.get(start..end).ok_or(SHORT)?;
    let string = match head {
        Head::Raw { .. } => Str::Bytes(bytes),
        Head::Int(value) => Str::Int(value),
        Head::Lzf { len, .. } => Str::Lzf { compressed: bytes, len },
    };
    Ok((string, end))
}

/// Appends `value` in decimal digits.
pub(crate) fn append_decimal(out: &mut Vec<u8>, value: i64) {
    // 20 digits hold u64::MAX.
    let mut digits = [0_u8; 20];
    let mut rest = value.unsigned_abs();
    let mut used: usize = 0;
    for slot in digits.iter_mut().rev() {
        *slot = u8::try_from(rest % 10).unwrap_or(0) | b'0';
        rest /= 10;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(digits.len().saturating_sub(used)..).unwrap_or_default());
}

#[cfg(test)]
mod tests;
