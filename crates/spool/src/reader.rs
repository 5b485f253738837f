//! Where bytes come out.

use std::sync::Arc;

use bytes::Bytes;
use keyferry_keyspace::ReplId;
use keyferry_model::{Error, ErrorKind, Result};

use crate::{
    format::{Fault, Kind, Record},
    head::Note,
    segment::{self, SegmentReader},
    shared::Shared,
    state::{Place, Step},
};

/// Bytes that were received together.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// Of the first byte.
    pub position: u64,
    /// When they were received: Unix milliseconds of the machine that received them.
    pub received_ms: u64,
    /// The bytes, at most 1 MiB.
    pub bytes: Bytes,
}

// Without the bytes, which are somebody's data.
impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { position, received_ms, bytes } = self;
        f.debug_struct("Block")
            .field("position", position)
            .field("received_ms", received_ms)
            .field("len", &bytes.len())
            .finish()
    }
}

/// One step of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Bytes.
    Block(Block),
    /// A note, which holds from this position on.
    Note {
        /// The position behind the bytes in front of it.
        position: u64,
        /// What was noted.
        note: Note,
    },
}

/// What there is without waiting.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The next step.
    Item(Item),
    /// Nothing yet.
    Empty,
    /// Nothing any more: the writer has gone, and everything that it took has been handed out.
    Ended,
}

/// The only one that reads a log. It begins at the first position that is kept, and nothing is deleted that it has not
/// passed.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    /// Number of the next record, unless it is held in `found`.
    seq: u64,
    /// Bytes in front of this position are not handed out.
    from: u64,
    file: Option<SegmentReader>,
    /// The record at which a seek has ended.
    found: Option<Record>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let seq = shared.lock().reader_seq;
        Self { shared, seq, from: 0, file: None, found: None }
    }

    /// Waits for the next step; `None` at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Reader::try_next`].
    pub async fn next(&mut self) -> Result<Option<Item>> {
        loop {
            match self.try_next()? {
                Next::Item(item) => return Ok(Some(item)),
                Next::Ended => return Ok(None),
                Next::Empty => self.shared.more.notified().await,
            }
        }
    }

    /// The next step, when there is one. From memory it costs a lock; from a file a read of at most 1 MiB on this
    /// thread, which the kernel's reading ahead makes short.
    ///
    /// # Errors
    /// `SpoolCorrupt` when a file does not hold what was written, with path and byte. `SpoolDisk` when it cannot be
    /// read.
    pub fn try_next(&mut self) -> Result<Next> {
        loop {
            let record = match self.found.take() {
                Some(record) => {
                    let mut state = self.shared.lock();
                    state.reader_seq = self.seq;
                    state.evict();
                    record
                }
                None => match self.step(true)? {
                    Stepped::Record(record) => record,
                    Stepped::Empty => return Ok(Next::Empty),
                    Stepped::Ended => return Ok(Next::Ended),
                },
            };
            if let Some(item) = self.item(record) {
                return Ok(Next::Item(item));
            }
        }
    }

    /// What of a record lies behind the place that was sought.
    fn item(&self, record: Record) -> Option<Item> {
        if let Some(note) = record.as_note() {
            return Some(Item::Note { position: record.position, note });
        }
        let skip = self.from.saturating_sub(record.position);
        if record.kind != Kind::Bytes || skip >= record.payload.len() as u64 {
            return None;
        }
        let bytes = record.payload.slice(skip as usize..);
        Some(Item::Block(Block { position: record.position + skip, received_ms: record.received_ms, bytes }))
    }

    /// The next record, and goes past it. With `handed_out` others may drop what it passes.
    fn step(&mut self, handed_out: bool) -> Result<Stepped> {
        let passed = u64::from(handed_out);
        let step = {
            let mut state = self.shared.lock();
            let step = state.step(self.seq);
            if let Step::Memory(record) = &step {
                state.counts.memory_records += 1;
                state.reader_seq = record.seq + passed;
                state.evict();
            }
            // While the writer waits for room, nobody else may look again at what this reader has passed.
            if state.limit_reached.is_some() && state.release() {
                self.shared.work.notify_one();
            }
            step
        };
        let record = match step {
            Step::Memory(record) => {
                self.file = None;
                record
            }
            Step::Disk { base, from } => {
                let record = self.read(base, from)?;
                let mut state = self.shared.lock();
                state.counts.disk_records += 1;
                state.counts.disk_bytes += record.payload.len() as u64;
                state.reader_seq = record.seq + passed;
                record
            }
            Step::Empty => return Ok(Stepped::Empty),
            Step::Ended => return Ok(Stepped::Ended),
        };
        self.seq = record.seq + 1;
        Ok(Stepped::Record(record))
    }

    /// Reads the next record from the segment that begins at `base`, in which it can be looked for from `place` on.
    fn read(&mut self, base: u64, place: Option<Place>) -> Result<Record> {
        let path = segment::path(&self.shared.dir, base);
        let fault = |fault| segment::error(&path, fault);
        let (mut file, fresh) = match self.file.take() {
            Some(file) if file.base() == base && file.seq() <= self.seq => (file, false),
            _ => (SegmentReader::open(&self.shared.dir, base, Some(self.shared.log)).map_err(fault)?.1, true),
        };
        if let Some(Place { seq, position, offset }) = place.filter(|place| fresh || place.seq > file.seq()) {
            file.go_to(seq, position, offset);
        }
        loop {
            let at = file.offset();
            let record = file.next().map_err(fault)?.filter(|record| record.kind != Kind::Seal);
            let what = "the segment ends before its last record";
            let record = record.ok_or_else(|| fault(Fault::Broken { at, what }))?;
            if record.seq == self.seq {
                self.file = Some(file);
                return Ok(record);
            }
        }
    }

    /// Goes to a position, forward or back. What comes next is the first byte at or behind it, with the notes that
    /// stand there. Behind the end it goes to the end, and hands out no byte in front of `position` later. Returns the
    /// id of the lineage in front of what comes next. Notes that stand at the first position that is kept may be gone
    /// with what was in front of it; that id counts them.
    ///
    /// It reads up to one segment on this thread, tens of milliseconds: seek before the work begins.
    ///
    /// # Errors
    /// `SpoolDropped` when the log no longer holds the position. `SpoolCorrupt` and `SpoolDisk` as
    /// [`Reader::try_next`]; then the reader stands anywhere.
    pub fn seek(&mut self, position: u64) -> Result<ReplId> {
        self.file = None;
        self.found = None;
        self.from = position;
        let (mut replid, base) = {
            let mut state = self.shared.lock();
            let start = state.segments.front().map_or(0, |segment| segment.base);
            if position < start {
                let what = format!("go to byte {position} of the spool: it begins at byte {start}");
                return Err(Error::new(ErrorKind::SpoolDropped, what));
            }
            // All that the front of memory follows lies in front of it too.
            if state.records.front().is_some_and(|front| front.is_before(position)) {
                self.seq = state.front_seq();
                state.reader_seq = self.seq;
                (state.front_replid, None)
            } else {
                // A note at the very position may be the last of the segment in front of it.
                let i = state.segments.partition_point(|segment| segment.base < position).saturating_sub(1);
                let Some(segment) = state.segments.get(i) else { return Ok(state.replid) };
                let (seq, base) = (segment.seq, segment.base);
                self.seq = seq;
                state.reader_seq = seq;
                (state.front_replid, Some(base))
            }
        };
        if let Some(base) = base {
            let path = segment::path(&self.shared.dir, base);
            let opened = SegmentReader::open(&self.shared.dir, base, Some(self.shared.log));
            let (header, file) = opened.map_err(|fault| segment::error(&path, fault))?;
            replid = header.replid;
            self.file = Some(file);
        }
        let before = self.shared.lock().counts;
        while let Stepped::Record(record) = self.step(false)? {
            if !record.is_before(position) {
                self.found = Some(record);
                break;
            }
            if let Some(Note::Replid(id)) = record.as_note() {
                replid = id;
            }
        }
        self.shared.lock().counts = before;
        Ok(replid)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.reader_seq = u64::MAX;
        state.evict();
        self.shared.changed(state);
    }
}

enum Stepped {
    Record(Record),
    Empty,
    Ended,
}
