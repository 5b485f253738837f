//! One line of `--progress json`, as a script would read it.

use serde::Deserialize;

/// The progress of a task. Written from the documented field names, not taken from the product.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Progress {
    /// `connecting`, `full_sync`, `incremental`, `retrying` or `stopped`.
    pub phase: String,
    /// Keys of the snapshot that are on the target.
    pub keys: u64,
    /// Bytes received from the source.
    pub bytes: u64,
    /// Of the snapshot, 0 to 100.
    pub percent: Option<f64>,
    /// The newest offset that the source has reported.
    pub source_offset: Option<u64>,
    /// The offset up to which everything is on the target.
    pub applied_offset: Option<u64>,
    /// How far the target is behind, in bytes. None before the snapshot has been applied.
    pub delay_bytes: Option<u64>,
    /// How far the target is behind, in seconds. None likewise.
    pub delay_seconds: Option<f64>,
    /// Whether both sides are in step.
    pub in_step: bool,
    /// Keys a second in the last interval.
    pub keys_per_second: f64,
    /// Commands a second in the last interval.
    pub commands_per_second: f64,
    /// The last error that did not end the task.
    pub last_error: Option<String>,
}
