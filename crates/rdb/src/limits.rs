//! Bounds on what a reader accepts, checked before anything is waited for or allocated.
//!
//! Memory held by whoever feeds the reader follows from these: an item is handed out whole, so its bytes must be in the
//! input at once.

/// Largest pieces a [`Reader`](crate::Reader) accepts; anything longer is an error, whatever follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Raw bytes of one value (after the key, without the type byte), and of one module's auxiliary data or key metadata.
    pub max_value: u64,
    /// Bytes of one key, AUX field or function library, as written and as decoded.
    pub max_string: u64,
}

impl Default for Limits {
    /// 1 GiB for a value, 512 MiB for a string: the server's own default bound for one string (`proto-max-bulk-len`).
    fn default() -> Self {
        Self { max_value: 1 << 30, max_string: 512 << 20 }
    }
}
