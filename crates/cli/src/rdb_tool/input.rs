//! The bytes of the dump: a file or standard input, a window at a time.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    os::fd::AsFd as _,
    path::Path,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use keyferry_model::{Error, ErrorKind, ResultExt as _};

use super::failure::Result;

/// Bytes of one read: large enough that the call costs nothing, small enough to stay in the second-level cache until the
/// bytes were looked at.
const STEP: usize = 256 << 10;
/// A window that has grown for one large element is given back above this size.
const KEEP: usize = 16 << 20;
/// From this length on, reading takes long enough to be watched.
const BAR_FROM: u64 = 64 << 20;

/// What was read of the file and is not yet done with.
pub(super) struct Input {
    /// As the user calls it.
    name: String,
    file: File,
    /// Bytes of the whole file, where that is known.
    len: Option<u64>,
    /// Bytes read from the file.
    read: u64,
    window: Vec<u8>,
    start: usize,
    end: usize,
    bar: Option<ProgressBar>,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let stdin = path.as_os_str() == "-";
        let name = if stdin { "standard input".into() } else { path.display().to_string() };
        let opened = if stdin { io::stdin().as_fd().try_clone_to_owned().map(File::from) } else { File::open(path) };
        let file = opened.or_err(ErrorKind::DumpFile, || format!("open {name}"))?;
        let len = file.metadata().ok().filter(|data| data.is_file()).map(|data| data.len());
        let bar = len.filter(|&len| len > BAR_FROM && io::stderr().is_terminal()).map(bar);
        Ok(Self { name, file, len, read: 0, window: Vec::new(), start: 0, end: 0, bar })
    }

    /// The file as the user calls it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that were read and are not yet done with.
    pub(super) fn rest(&self) -> &[u8] {
        self.window.get(self.start..self.end).unwrap_or_default()
    }

    /// The first `used` bytes are done with.
    pub(super) fn skip(&mut self, used: usize) {
        self.start += used;
    }

    /// Reads more bytes behind those that are there; `false` at the end of the file.
    pub(super) fn more(&mut self) -> Result<bool> {
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.window.len() > KEEP && self.end < STEP {
            self.window.truncate(self.end + STEP);
            self.window.shrink_to_fit();
        }
        if self.window.len() < self.end + STEP {
            self.window.resize((self.end + STEP).max(self.end * 2), 0);
        }
        let space = &mut self.window[self.end..self.end + STEP];
        let got = loop {
            match self.file.read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let got = got.map_err(|e| {
            Error::new(ErrorKind::DumpFile, format!("read {} at byte {}", self.name, self.read)).caused_by(e)
        })?;
        self.end += got;
        self.read += got as u64;
        if let Some(bar) = &self.bar {
            bar.set_position(self.read);
        }
        Ok(got > 0)
    }

    /// Bytes of the file behind a dump of `dump` bytes, all of which are done with.
    pub(super) fn trailing(&mut self, dump: u64) -> Result<u64> {
        if let Some(len) = self.len {
            return Ok(len.saturating_sub(dump));
        }
        let mut count = 0;
        loop {
            count += self.rest().len() as u64;
            self.skip(self.rest().len());
            if !self.more()? {
                return Ok(count);
            }
        }
    }

    /// Takes the progress bar off the terminal.
    pub(super) fn clear_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(len: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    let template = "[{bar:32}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
