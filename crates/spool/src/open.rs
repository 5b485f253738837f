//! Finding the log that an earlier process has left.
//!
//! What is not known to have reached the disk is read as a whole: the last segment, and the few in front of it that
//! had not been made durable when it was created. The log ends in front of the first fault there. All others are
//! trusted to hold what they were sealed with, and are verified when they are read.

use std::{fs, path::Path};

use keyferry_keyspace::ReplId;
use keyferry_model::{ErrorKind, Result, ResultExt as _, failpoint};

use crate::{
    Spool, create,
    files::{self, Current, Files},
    format::{Fault, Kind, SEGMENT_HEADER, SegmentHeader},
    head::{Head, Note},
    limits::Limits,
    segment::{self, SegmentReader},
    state::Segment,
};

/// A log of an earlier process, ready to go on.
#[derive(Debug)]
pub struct Opened {
    /// What it began with.
    pub head: Head,
    /// The id of the lineage at its end.
    pub replid: ReplId,
    /// Where the stream begins, when that was noted.
    pub stream_from: Option<u64>,
    /// The first position that is kept.
    pub start: u64,
    /// The position behind its last byte.
    pub end: u64,
    /// Bytes of files behind the end that were cut off, since they were not whole. After a kill they are part of one
    /// batch at most; after a power failure it may be more.
    pub cut: u64,
    /// Its ends. The reader stands at `start`.
    pub spool: Spool,
}

/// Opens the log in `dir`. `None` when there is none, or none that had begun. It blocks while the end of the log is
/// read: usually one segment.
///
/// # Errors
/// `SpoolCorrupt` when segments are missing or damaged where they had reached the disk, `SpoolVersion` for another
/// format, and `SpoolDisk` when files cannot be read or cut; all with path and byte.
pub fn open(dir: &Path, limits: Limits) -> Result<Option<Opened>> {
    let context = || format!("open the spool {}", dir.display());
    let mut bases = match segment::list(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bases => bases.or_err(ErrorKind::SpoolDisk, context)?,
    };
    let mut cut = 0;
    // A segment whose header never came was being created.
    let (last, log) = loop {
        let Some(last) = bases.last().copied() else { return Ok(None) };
        match SegmentReader::open(dir, last, None) {
            Ok((header, _)) => break (header.clone(), header.log),
            Err(Fault::Torn) => {
                cut += drop_file(dir, last)?;
                bases.pop();
            }
            Err(fault) => return Err(segment::error(&segment::path(dir, last), fault)),
        }
    };
    let mut found = Found::default();
    for (i, base) in bases.iter().copied().enumerate() {
        let error = |fault| segment::error(&segment::path(dir, base), fault);
        let trusted = base < last.durable && base != last.base;
        let taken = match trusted {
            true => found.trust(dir, base, log).map_err(error)?,
            false => found.verify(dir, base, log, last.durable).map_err(error)?,
        };
        if !taken {
            // From the highest on, so that whatever ends this leaves the same to be found.
            for base in bases[i..].iter().rev() {
                cut += drop_file(dir, *base)?;
            }
            break;
        }
    }
    let Some(end) = found.end else { return Ok(None) };
    let mut files =
        Files { current: None, seq: end.seq, position: end.position, replid: end.replid, stream_from: end.stream_from };
    if let Some(segment) = found.segments.last().filter(|_| !end.sealed) {
        let path = segment::path(dir, segment.base);
        let len = fs::metadata(&path).map_or(segment.len, |m| m.len());
        cut += len.saturating_sub(segment.len);
        let file = files::cut(&path, segment.len).or_err(ErrorKind::SpoolDisk, || format!("cut {}", path.display()))?;
        failpoint("spool-cut");
        files.current = Some(Current { file, base: segment.base, len: segment.len });
    }
    let start = found.segments.first().map_or(0, |first| first.base);
    let durable = last.durable.min(end.position);
    let spool = create::start(dir, log, last.head, limits, found.segments, durable, files)?;
    let (replid, stream_from) = (end.replid, end.stream_from);
    Ok(Some(Opened { head: last.head, replid, stream_from, start, end: end.position, cut, spool }))
}

/// What has been found so far, from the first segment on.
#[derive(Default)]
struct Found {
    segments: Vec<Segment>,
    end: Option<End>,
}

/// Where the segments up to here end.
#[derive(Clone)]
struct End {
    position: u64,
    seq: u64,
    replid: ReplId,
    stream_from: Option<u64>,
    sealed: bool,
}

impl Found {
    /// Opens the next segment and holds it against the end of the one in front of it.
    fn next(&self, dir: &Path, base: u64, log: u64) -> Result<(SegmentHeader, SegmentReader), Fault> {
        let (header, reader) = SegmentReader::open(dir, base, Some(log))?;
        match &self.end {
            Some(end) if end.position != base => {
                Err(Fault::Broken { at: 24, what: "a segment is missing in front of this one" })
            }
            Some(end) if end.seq != header.seq => {
                Err(Fault::Broken { at: 32, what: "records are missing in front of this segment" })
            }
            _ => Ok((header, reader)),
        }
    }

    /// Takes a segment that had reached the disk as what it says.
    fn trust(&mut self, dir: &Path, base: u64, log: u64) -> Result<bool, Fault> {
        let (header, reader) = self.next(dir, base, log)?;
        let (position, seq) = reader.seal()?;
        let len = fs::metadata(segment::path(dir, base))?.len();
        self.segments.push(Segment { base, seq: header.seq, len, index: Vec::new() });
        let SegmentHeader { replid, stream_from, .. } = header;
        self.end = Some(End { position, seq, replid, stream_from, sealed: true });
        Ok(true)
    }

    /// Reads a segment up to its first fault. `false` when the log has ended in front of it, behind what is `durable`.
    fn verify(&mut self, dir: &Path, base: u64, log: u64, durable: u64) -> Result<bool, Fault> {
        // A segment without an end is the last one.
        if self.end.as_ref().is_some_and(|end| !end.sealed) {
            return Ok(false);
        }
        let (header, mut reader) = match self.next(dir, base, log) {
            Ok(next) => next,
            // The one in front of it may have been lost on its way to the disk, and with it the place of this one.
            Err(Fault::Torn | Fault::Broken { at: 24 | 32, .. })
                if self.end.as_ref().is_some_and(|end| end.position >= durable) =>
            {
                return Ok(false);
            }
            Err(fault) => return Err(fault),
        };
        let SegmentHeader { mut replid, mut stream_from, .. } = header;
        let mut len = SEGMENT_HEADER as u64;
        let mut sealed = false;
        loop {
            match reader.next() {
                Ok(Some(record)) => {
                    len = reader.offset();
                    match record.as_note() {
                        Some(Note::Replid(id)) => replid = id,
                        Some(Note::StreamFrom(from)) => stream_from = Some(from),
                        None => {}
                    }
                    if record.kind == Kind::Seal {
                        sealed = true;
                        break;
                    }
                }
                Ok(None) | Err(Fault::Broken { .. }) => break,
                Err(fault) => return Err(fault),
            }
        }
        let (position, seq) = (reader.position(), reader.seq());
        self.segments.push(Segment { base, seq: header.seq, len, index: Vec::new() });
        self.end = Some(End { position, seq, replid, stream_from, sealed });
        Ok(true)
    }
}

/// Removes a segment and says how long it was.
fn drop_file(dir: &Path, base: u64) -> Result<u64> {
    let path = segment::path(dir, base);
    let remove = || {
        let len = fs::metadata(&path)?.len();
        fs::remove_file(&path).map(|()| len)
    };
    let len = remove().or_err(ErrorKind::SpoolDisk, || format!("remove {}", path.display()))?;
    failpoint("segment-dropped");
    Ok(len)
}
