//! One file of a log, read from any record on.
//!
//! Records are numbered and their positions follow each other, so a record that is whole but stands in the wrong place
//! is a fault as well.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use bytes::BytesMut;
use keyferry_model::{Error, ErrorKind};
use rustix::fs::Advice;

use crate::format::{Fault, Kind, RECORD_HEADER, Record, RecordHeader, SEGMENT_HEADER, SegmentHeader};

/// Read at once: as much as a chunk of the receiver.
const READ: usize = 256 * 1024;

/// The file of the segment that begins at `base`.
pub(crate) fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.seg"))
}

/// The first positions of all segments in `dir`, from the lowest on. Other files are left alone.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".seg")).filter(|digits| digits.len() == 20);
        bases.extend(digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse::<u64>().ok()));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// An empty file that only this user can read.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(path)
}

/// What an error at `path` is for the user.
pub(crate) fn error(path: &Path, fault: Fault) -> Error {
    let kind = match fault {
        Fault::Io(_) => ErrorKind::SpoolDisk,
        Fault::Broken { .. } | Fault::Torn => ErrorKind::SpoolCorrupt,
        Fault::Version(_) => ErrorKind::SpoolVersion,
    };
    Error::new(kind, format!("read {}", path.display())).caused_by(fault)
}

/// Reads the records of one file.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: File,
    log: u64,
    base: u64,
    buf: BytesMut,
    /// Where `buf` begins in the file: at a record, or at the end.
    at: u64,
    /// Number and position of the next record.
    seq: u64,
    position: u64,
}

impl SegmentReader {
    /// Opens the segment that begins at `base`. `log`: the log that it has to belong to, when that is known already.
    pub(crate) fn open(dir: &Path, base: u64, log: Option<u64>) -> Result<(SegmentHeader, Self), Fault> {
        let file = File::open(path(dir, base))?;
        // Only makes the kernel read further ahead.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        let mut bytes = [0; SEGMENT_HEADER];
        let n = read_at(&file, &mut bytes, 0)?;
        let header = SegmentHeader::decode(&bytes[..n])?;
        if header.base != base {
            return Err(Fault::Broken { at: 24, what: "the header names another position than the file" });
        }
        if log.is_some_and(|log| log != header.log) {
            return Err(Fault::Broken { at: 16, what: "the segment belongs to another log" });
        }
        let (log, seq, position) = (header.log, header.seq, header.base);
        Ok((header, Self { file, log, base, buf: BytesMut::new(), at: SEGMENT_HEADER as u64, seq, position }))
    }

    /// Position of the first record.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Number of the next record.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Position of the next record.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Where the next record begins in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.at
    }

    /// Goes on at a record that is known to begin at `offset`.
    pub(crate) fn go_to(&mut self, seq: u64, position: u64, offset: u64) {
        self.buf.clear();
        (self.seq, self.position, self.at) = (seq, position, offset);
    }

    /// The next record; `None` when the file ends behind the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Fault> {
        let at = self.at;
        let broken = |what| Fault::Broken { at, what };
        if !self.fill(RECORD_HEADER)? {
            return match self.buf.is_empty() {
                true => Ok(None),
                false => Err(broken("the file ends within the header of a record")),
            };
        }
        let mut head = [0; RECORD_HEADER];
        head.copy_from_slice(&self.buf[..RECORD_HEADER]);
        let header = RecordHeader::decode(&head, at)?;
        if (header.seq, header.position) != (self.seq, self.position) {
            return Err(broken("a record that does not follow the one in front of it"));
        }
        let len = header.len;
        if !self.fill(RECORD_HEADER + len)? {
            return Err(broken("the file ends within a record"));
        }
        let payload = self.buf.split_to(RECORD_HEADER + len).freeze().slice(RECORD_HEADER..);
        self.at += (RECORD_HEADER + len) as u64;
        let record = header.with(self.log, &head, payload, at)?;
        if record.kind != Kind::Seal {
            self.seq += 1;
        }
        self.position = record.end();
        Ok(Some(record))
    }

    /// The seal at the end of the file: position and number of what follows.
    pub(crate) fn seal(&self) -> Result<(u64, u64), Fault> {
        let len = self.file.metadata()?.len();
        let at = len.saturating_sub(RECORD_HEADER as u64).max(SEGMENT_HEADER as u64);
        let broken = |what| Fault::Broken { at, what };
        let mut bytes = [0; RECORD_HEADER];
        if read_at(&self.file, &mut bytes, at)? < RECORD_HEADER {
            return Err(broken("the segment is not the last one and has no end"));
        }
        let header = RecordHeader::decode(&bytes, at)?;
        if header.len != 0 {
            return Err(broken("the segment is not the last one and has no end"));
        }
        let seal = header.with(self.log, &bytes, bytes::Bytes::new(), at)?;
        Ok((seal.position, seal.seq))
    }

    /// Makes `n` bytes ready. `false` when the file has fewer.
    fn fill(&mut self, n: usize) -> io::Result<bool> {
        while self.buf.len() < n {
            let had = self.buf.len();
            self.buf.resize(had + READ.max(n - had), 0);
            let got = read_at(&self.file, &mut self.buf[had..], self.at + had as u64);
            self.buf.truncate(had + *got.as_ref().unwrap_or(&0));
            if got? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Reads until `buf` is full or the file ends.
fn read_at(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut had = 0;
    while had < buf.len() {
        match file.read_at(&mut buf[had..], at + had as u64) {
            Ok(0) => break,
            Ok(n) => had += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(had)
}
