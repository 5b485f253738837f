//! Bounds of a log in memory and on disk.

use std::{fs, path::Path};

use keyferry_model::{ErrorKind, Result, ResultExt as _};

use crate::format::{RECORD_HEADER, SEGMENT_HEADER};

/// Bounds of a log. Values that do not fit together are made smaller, see [`Limits::fitting`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files. At the limit the writer waits for [`Handle::release`](crate::Handle::release).
    pub max_bytes: u64,
    /// Bytes behind the released position that are kept for a target that falls back.
    pub margin: u64,
    /// Size of a file. One that holds a single block may be larger.
    pub segment: u64,
    /// Bytes in memory. Half of it may wait to be written.
    pub tail: usize,
}

impl Limits {
    /// The largest log by default.
    pub const MAX_BYTES: u64 = 10 << 30;
    /// A second of a fast source, or minutes of a usual one: what an asynchronous replica may lack when it takes over.
    pub const MARGIN: u64 = 64 << 20;
    /// Small enough that little is held up by one position, large enough that a full log is some 160 files.
    pub const SEGMENT: u64 = 64 << 20;
    /// Some ten milliseconds of a fast source: pauses of a target shorter than that cost no read. With four times as much a
    /// full copy is no faster.
    pub const TAIL: usize = 4 << 20;

    /// The default bounds with another limit on disk.
    pub fn with_max_bytes(max_bytes: u64) -> Self {
        Self { max_bytes, margin: Self::MARGIN, segment: Self::SEGMENT, tail: Self::TAIL }
    }

    /// The bounds as they are used: with a segment of at most an eighth and a margin of at most a quarter of the limit,
    /// so that releasing the end always makes room, and a segment that holds at least something.
    #[must_use]
    pub fn fitting(self) -> Self {
        let least = (SEGMENT_HEADER + 4 * RECORD_HEADER) as u64;
        Self {
            segment: self.segment.min(self.max_bytes / 8).max(least),
            margin: self.margin.min(self.max_bytes / 4),
            tail: self.tail.max(2),
            ..self
        }
    }
}

/// The default limit for a log in `dir`: 10 GiB, or 20 % of what is free there when that is less. What the log in `dir`
/// takes already counts as free.
///
/// # Errors
/// `SpoolDisk` when the file system of `dir`, or of the nearest directory above that exists, cannot be asked.
pub fn default_limit(dir: &Path) -> Result<u64> {
    let there = dir.ancestors().find(|a| a.is_dir()).unwrap_or(Path::new("."));
    let context = || format!("ask for the free space of {}", there.display());
    let stat = rustix::fs::statvfs(there).or_err(ErrorKind::SpoolDisk, context)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let taken = fs::read_dir(dir).map_or(0, |entries| {
        entries.flatten().filter_map(|entry| entry.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
    });
    Ok((free.saturating_add(taken) / 5).min(Limits::MAX_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_fit_together() {
        let usual = Limits::with_max_bytes(Limits::MAX_BYTES);
        assert_eq!(usual.fitting(), usual);
        let small = Limits::with_max_bytes(80 << 20).fitting();
        assert_eq!((small.segment, small.margin), (10 << 20, 20 << 20));
        assert!(Limits::with_max_bytes(0).fitting().segment > 0);
    }

    #[test]
    fn a_fifth_of_the_free_space() {
        let dir = tempfile::tempdir().unwrap();
        let limit = default_limit(&dir.path().join("not/yet")).unwrap();
        assert!(limit > 0 && limit <= Limits::MAX_BYTES);
    }
}
