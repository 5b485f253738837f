//! What a task shows of itself.

use serde::Serialize;

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Phase {
    /// Set at the start and while the handshake is under way.
    #[default]
    Connecting = 0,
    /// Set when the source has announced a snapshot.
    FullSync = 1,
    /// Set when the snapshot has been applied.
    Incremental = 2,
    /// Set when the source link was lost, until it is back.
    Retrying = 3,
    /// Set once, at the end of a task that did not fail.
    Stopped = 4,
    /// Set once, at the end of a task that failed; `last_error` says why.
    Failed = 5,
    /// Shown while a user wants nothing to be written to the target. Never stored: what it hides goes on behind it.
    Paused = 6,
}

impl Phase {
    /// The phase whose discriminant is `n`.
    pub fn from_u8(n: u8) -> Self {
        match n {
            1 => Self::FullSync,
            2 => Self::Incremental,
            3 => Self::Retrying,
            4 => Self::Stopped,
            5 => Self::Failed,
            6 => Self::Paused,
            _ => Self::Connecting,
        }
    }

    /// The name as it stands in the JSON progress.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::FullSync => "full_sync",
            Self::Incremental => "incremental",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Paused => "paused",
        }
    }
}

/// One line of `--progress json`. The field names are stable.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Progress {
    /// Where the stream stands.
    pub phase: Phase,
    /// Keys of the snapshot that the target has answered.
    pub keys: u64,
    /// Bytes received from the source, snapshot and stream.
    pub bytes: u64,
    /// Of the snapshot, 0 to 100; by bytes where the source has said its length, else by keys.
    pub percent: f64,
    /// The newest offset that the source has reported. 0 before the first report.
    pub source_offset: u64,
    /// The offset up to which the target has answered everything. 0 during the full sync.
    pub applied_offset: u64,
    /// `source_offset - applied_offset`. `null` before the snapshot has been applied.
    pub delay_bytes: Option<u64>,
    /// Age of the oldest report of the source whose offset has not been applied; 0 when all are. `null` likewise.
    pub delay_seconds: Option<f64>,
    /// The newest report of the source is fresh, and everything up to it has been applied.
    pub in_step: bool,
    /// Bytes on disk that were received and may still be needed.
    pub spool_bytes: u64,
    /// Keys a second in the last interval.
    pub keys_per_second: f64,
    /// Commands of the stream a second in the last interval.
    pub commands_per_second: f64,
    /// The last error, also when it did not end the task, as `CODE: reason`.
    pub last_error: Option<String>,
}
