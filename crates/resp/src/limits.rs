//! How much one request or one decoded reply may ask for.

/// Bounds on lengths read from the wire, checked before anything is kept or waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most elements of one array.
    ///
    /// A primary may send up to `i32::MAX` arguments (networking.c processMultibulkBuffer, Redis 7.2), but a client is held
    /// to 1 Mi before 7.0, and no command rewritten for replication grows far beyond what the client sent: 8 Mi.
    pub max_args: u64,
    /// Longest bulk string, in bytes: `proto-max-bulk-len`, 512 MiB unless the server says otherwise.
    pub max_bulk: u64,
    /// Longest request or decoded reply as a whole, in bytes on the wire: 1 GiB, what a server holds for one client
    /// (`client-query-buffer-limit`).
    pub max_request: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_args: 8 << 20, max_bulk: 512 << 20, max_request: 1 << 30 }
    }
}
