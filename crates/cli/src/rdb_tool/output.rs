//! Standard output. A reader that has gone ends the tool quietly.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd as _,
};

use keyferry_model::{Error, ErrorKind, ResultExt as _};

use super::failure::{Result, Stop};

/// Bytes gathered before they are written.
const GATHER: usize = 256 << 10;

/// Standard output with a buffer. What is in the buffer is written by [`finish`](Output::finish) only: of a tool that fails, the
/// line that it was working on is not shown.
pub(super) struct Output {
    file: File,
    buffer: Vec<u8>,
}

impl Output {
    pub(super) fn open() -> Result<Self> {
        let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        let file = file.or_err(ErrorKind::DumpFile, || "open standard output".into())?;
        Ok(Self { file, buffer: Vec::with_capacity(GATHER) })
    }

    /// Where the next bytes go. Call [`flush_full`](Output::flush_full) when they are there.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffer, where it is full.
    pub(super) fn flush_full(&mut self) -> Result<()> {
        if self.buffer.len() >= GATHER { self.finish() } else { Ok(()) }
    }

    /// Writes all that is there.
    pub(super) fn finish(&mut self) -> Result<()> {
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        // It has grown for one large piece.
        self.buffer.shrink_to(8 * GATHER);
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::ReaderGone,
            _ => Error::new(ErrorKind::DumpFile, "write to standard output").caused_by(error).into(),
        })
    }
}
