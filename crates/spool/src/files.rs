//! Writing segments: the part of the writing thread that knows the files.
//!
//! Invariants:
//! - A file is only ever added to, behind what is whole. After an error it goes on at the byte that was not written.
//! - A segment is created when the one in front of it has its seal.

use std::{
    fs::File,
    io::{self, IoSlice, Seek as _, SeekFrom, Write},
    sync::mpsc::SyncSender,
};

use keyferry_keyspace::ReplId;
use keyferry_model::failpoint;

use crate::{
    format::{RECORD_HEADER, Record, SEGMENT_HEADER, SegmentHeader},
    head::Note,
    segment,
    shared::Shared,
};

/// Why writing has ended.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The disk is full, and nobody waits for it any more.
    Full(io::Error),
    /// An error for good.
    Failed(io::Error),
}

/// What to do about a full disk: `true` to try again.
pub(crate) type OnFull<'a> = &'a dyn Fn(&io::Error) -> bool;

/// A finished segment that has to reach the disk.
pub(crate) struct Sealed {
    pub(crate) file: File,
    pub(crate) base: u64,
    pub(crate) end: u64,
}

/// The segment that is written.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) file: File,
    pub(crate) base: u64,
    pub(crate) len: u64,
}

/// Where writing stands.
#[derive(Debug)]
pub(crate) struct Files {
    /// `None` when the last segment has its seal already.
    pub(crate) current: Option<Current>,
    /// Number and position of the next record.
    pub(crate) seq: u64,
    pub(crate) position: u64,
    /// What the notes up to here say.
    pub(crate) replid: ReplId,
    pub(crate) stream_from: Option<u64>,
}

impl Files {
    /// Writes records and tells `shared` of each run of them.
    pub(crate) fn write(
        &mut self,
        shared: &Shared,
        sealed: &SyncSender<Sealed>,
        on_full: OnFull<'_>,
        mut records: &[Record],
    ) -> Result<(), Stop> {
        let most = shared.lock().limits.segment;
        while let Some(first) = records.first() {
            let holds = |len: u64, more: usize| len + (more + RECORD_HEADER) as u64 <= most;
            // A segment without bytes cannot end: the next one would have its name.
            let current = match self.current.take() {
                Some(current) if self.position == current.base || holds(current.len, first.cost()) => current,
                Some(current) => {
                    self.seal(shared, sealed, on_full, current)?;
                    self.begin(shared, on_full)?
                }
                None => self.begin(shared, on_full)?,
            };
            let current = self.current.insert(current);
            let (mut len, mut n) = (current.len, 0);
            let fits = |len, record: &&Record| record.position == current.base || holds(len, record.cost());
            while let Some(record) = records.get(n).filter(|record| fits(len, record)) {
                len += record.cost() as u64;
                n += 1;
            }
            let (run, rest) = records.split_at(n);
            let headers: Vec<_> = run.iter().map(|record| record.header(shared.log)).collect();
            let pairs = headers.iter().zip(run);
            let mut slices: Vec<_> =
                pairs.flat_map(|(header, record)| [IoSlice::new(header), IoSlice::new(&record.payload)]).collect();
            put(&mut current.file, &mut slices, on_full)?;
            failpoint("records-written");
            current.len = len;
            for record in run {
                self.seq = record.seq + 1;
                self.position = record.end();
                match record.as_note() {
                    Some(Note::Replid(id)) => self.replid = id,
                    Some(Note::StreamFrom(from)) => self.stream_from = Some(from),
                    None => {}
                }
            }
            let mut state = shared.lock();
            state.wrote(n);
            state.disk_full = None;
            shared.changed(state);
            records = rest;
        }
        Ok(())
    }

    /// Ends a segment. Making it durable takes long, so another thread does it.
    fn seal(
        &self,
        shared: &Shared,
        sealed: &SyncSender<Sealed>,
        on_full: OnFull<'_>,
        mut current: Current,
    ) -> Result<(), Stop> {
        let seal = Record::seal(self.seq, self.position).header(shared.log);
        put(&mut current.file, &mut [IoSlice::new(&seal)], on_full)?;
        failpoint("segment-sealed");
        let mut state = shared.lock();
        state.used += seal.len() as u64;
        if let Some(last) = state.segments.back_mut() {
            last.len += seal.len() as u64;
        }
        drop(state);
        // That thread only ends before this one when it has failed, and has said so.
        let _ = sealed.send(Sealed { file: current.file, base: current.base, end: self.position });
        Ok(())
    }

    /// Begins the next segment.
    fn begin(&mut self, shared: &Shared, on_full: OnFull<'_>) -> Result<Current, Stop> {
        let header = SegmentHeader {
            log: shared.log,
            base: self.position,
            seq: self.seq,
            durable: shared.lock().durable,
            head: shared.head,
            replid: self.replid,
            stream_from: self.stream_from,
        };
        let path = segment::path(&shared.dir, self.position);
        let mut file = loop {
            match segment::create(&path) {
                Ok(file) => break file,
                Err(e) => again(e, on_full)?,
            }
        };
        failpoint("segment-created");
        put(&mut file, &mut [IoSlice::new(&header.encode())], on_full)?;
        failpoint("segment-begun");
        shared.lock().add_segment(self.position, self.seq);
        Ok(Current { file, base: self.position, len: SEGMENT_HEADER as u64 })
    }
}

/// Writes all of it behind what is there, however often that takes.
fn put(file: &mut File, mut slices: &mut [IoSlice<'_>], on_full: OnFull<'_>) -> Result<(), Stop> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(Stop::Failed(io::ErrorKind::WriteZero.into())),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(e) => again(e, on_full)?,
        }
    }
    Ok(())
}

/// Whether it is worth trying again after an error.
fn again(e: io::Error, on_full: OnFull<'_>) -> Result<(), Stop> {
    use io::ErrorKind::{Interrupted, QuotaExceeded, StorageFull};
    match e.kind() {
        Interrupted => Ok(()),
        StorageFull | QuotaExceeded if on_full(&e) => Ok(()),
        StorageFull | QuotaExceeded => Err(Stop::Full(e)),
        _ => Err(Stop::Failed(e)),
    }
}

/// The file of a segment whose first `len` bytes are whole, without what follows them.
pub(crate) fn cut(path: &std::path::Path, len: u64) -> io::Result<File> {
    let mut file = File::options().read(true).write(true).open(path)?;
    file.set_len(len)?;
    file.seek(SeekFrom::Start(len))?;
    Ok(file)
}
