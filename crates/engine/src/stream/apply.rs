//! The loop: takes chunks, decodes what is complete, hands batches to the lane.
//!
//! Invariants:
//! - A batch never ends within a transaction of the source, and its checkpoint never stands within a value.
//! - When no chunk waits, what has been decoded is handed on at once: the delay at a low rate is one pass of the loop.

use keyferry_model::{Error, ErrorKind, Result, failpoint};
use keyferry_rdb as rdb;
use keyferry_resp::{Limits, request};
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    time::Instant,
};

use super::{expiry::Expiry, input::Input, older::Older, transaction::Open};
use crate::{
    Stats,
    repair::Values,
    source::{Chunk, Framing},
    target::{Batch, Checkpoint, Fed, Guard, Rebuild, Restore, decode_error},
};

/// A value of which so many bytes have come and not all is rebuilt piece by piece. Up to it a value is held in memory a
/// few times over, as input, as payload, and on its way; and a target takes a payload in one piece, deaf meanwhile.
const BIG_VALUE: usize = 8 << 20;
/// Longer than what any server can hold: what is larger is streamed, not refused.
const MAX_VALUE: u64 = 1 << 48;

/// What a stream is to become.
pub(crate) struct Plan<'a> {
    pub(crate) objects: &'a keyferry_keyspace::objects::Objects,
    pub(crate) expiry: Expiry,
    pub(crate) older: Older,
    /// How the end of the snapshot is known.
    pub(crate) framing: Framing,
    /// Where in the log the stream begins, when that is known.
    pub(crate) stream_from: Option<u64>,
    /// Nothing is wanted behind the snapshot.
    pub(crate) full_only: bool,
    /// How many databases the target has.
    pub(crate) target_databases: u32,
}

/// What the next bytes are.
enum Phase {
    Snapshot(Box<rdb::Reader>),
    /// A large value within the snapshot.
    Value(Box<rdb::Reader>, Box<Rebuild>),
    /// A value that has been read and is rebuilt from these bytes, of which so many are done with.
    Held {
        reader: Box<rdb::Reader>,
        rebuild: Box<Rebuild>,
        raw: Vec<u8>,
        done: usize,
    },
    /// The mark behind a snapshot of unknown length, of which `read` bytes came.
    Mark {
        mark: [u8; 40],
        read: u64,
    },
    Stream(request::Scanner),
    /// Nothing more is wanted: only the snapshot was.
    Ended,
}

/// Why decoding has paused.
enum Pause {
    NeedsInput,
    BatchFull,
}

/// Why reading the snapshot has paused.
enum Read {
    NeedsInput,
    BatchFull,
    Value(Box<Rebuild>),
    Held(Box<Rebuild>, Vec<u8>),
    End,
}

/// The decoder of one stream and what it remembers.
pub(crate) struct Apply<'a> {
    pub(super) stats: &'a Stats,
    pub(super) restore: Restore<'a>,
    pub(super) objects: &'a keyferry_keyspace::objects::Objects,
    pub(super) expiry: Expiry,
    pub(super) older: Older,
    /// Database that the source has selected.
    pub(super) source_db: u32,
    /// Database that the lane has selected.
    pub(super) lane_db: Option<u32>,
    /// How many the target has, and one beyond them that is needed: what was meant for it would go to the one before.
    pub(super) target_databases: u32,
    pub(super) missing_database: Option<u32>,
    /// Offset behind the last decoded command; before the first one, where the stream begins.
    pub(super) offset: u64,
    /// Between MULTI and EXEC.
    pub(super) in_transaction: bool,
    pub(super) open: Open,
    /// This machine's time when the last chunk was received, in Unix milliseconds.
    pub(super) now_ms: u64,
    pub(super) batch: Batch,
    /// What stands around each batch; `None` where nothing is resumed.
    pub(super) guard: Option<Guard>,
    /// What the next batch will be covered by, as far as it is known: everything in front of its position is in batches.
    pub(super) checkpoint: Checkpoint,
    /// Offset, and position in the snapshot, of the last checkpoint.
    pub(super) checked: (u64, Option<u64>),
    /// When the next one is due, also when there is nothing to write.
    pub(super) due: Instant,
    phase: Phase,
    framing: Framing,
    pub(super) stream_from: Option<u64>,
    full_only: bool,
    pub(super) input: Input,
    /// What a repair writes, at its offset: see `repair.rs`.
    pub(super) repair: Option<Values>,
}

impl<'a> Apply<'a> {
    /// Goes on at `checkpoint`: the first chunk is to begin there. With a guard, the lane's connection is in its database.
    pub(crate) fn new(
        stats: &'a Stats,
        restore: Restore<'a>,
        plan: Plan<'a>,
        guard: Option<Guard>,
        checkpoint: Checkpoint,
    ) -> Self {
        let limits = rdb::Limits { max_value: MAX_VALUE, ..rdb::Limits::default() };
        let phase = match checkpoint.snapshot {
            Some(at) if at.offset == 0 => Phase::Snapshot(Box::new(rdb::Reader::new(limits))),
            Some(at) => Phase::Snapshot(Box::new(rdb::Reader::resume(limits, at))),
            None if plan.full_only => Phase::Ended,
            None => Phase::Stream(request::Scanner::new(Limits::default())),
        };
        let mut batch = Batch::default();
        if let Some(guard) = &guard {
            guard.open(&mut batch);
        }
        let mut apply = Self {
            stats,
            expiry: plan.expiry,
            restore,
            older: plan.older,
            objects: plan.objects,
            source_db: checkpoint.source_db,
            // Without a guard a connection is in database 0; said anyway, so that nothing depends on it.
            lane_db: guard.as_ref().map(|guard| guard.db),
            target_databases: plan.target_databases,
            missing_database: None,
            offset: checkpoint.offset,
            in_transaction: false,
            open: Open::default(),
            now_ms: 0,
            batch,
            guard,
            checkpoint,
            checked: (checkpoint.offset, checkpoint.snapshot.map(|at| at.offset)),
            due: Instant::now(),
            phase,
            framing: plan.framing,
            stream_from: plan.stream_from,
            full_only: plan.full_only,
            input: Input::default(),
            repair: None,
        };
        // What was being rebuilt when the last process ended.
        if let Some(at) = checkpoint.snapshot.filter(|at| at.offset > 0) {
            apply.remove_unfinished(at.db);
        }
        apply
    }

    /// Applies chunks until they end, or until the end of the snapshot when nothing else is wanted.
    pub(crate) async fn run(
        &mut self,
        mut chunks: mpsc::Receiver<Chunk>,
        batches: mpsc::Sender<Batch>,
        mut spare: mpsc::Receiver<Batch>,
    ) -> Result<()> {
        while !matches!(self.phase, Phase::Ended) {
            if self.stats.control.repairs.wants_halt() {
                self.stand_still(&batches, &mut spare).await?;
            }
            let chunk = match chunks.try_recv() {
                Ok(chunk) => chunk,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    self.hand_on(&batches, &mut spare).await?;
                    match self.next_chunk(&mut chunks).await {
                        Some(Some(chunk)) => chunk,
                        Some(None) => break,
                        None => continue,
                    }
                }
            };
            self.now_ms = chunk.received_ms;
            self.input.push(chunk.bytes);
            loop {
                match self.decode()? {
                    Pause::BatchFull => self.hand_on(&batches, &mut spare).await?,
                    Pause::NeedsInput if self.input.more() => {}
                    Pause::NeedsInput => break,
                }
            }
        }
        // A checkpoint for all that there was.
        self.say_last_words();
        self.hand_on(&batches, &mut spare).await
    }

    fn decode(&mut self) -> Result<Pause> {
        self.look_at_delay();
        loop {
            if self.batch.is_full() && !self.in_transaction {
                return Ok(Pause::BatchFull);
            }
            // Each phase gives back what the next bytes are, and whether it may go on at once.
            let (phase, more) = match std::mem::replace(&mut self.phase, Phase::Ended) {
                Phase::Snapshot(reader) => self.decode_snapshot(reader)?,
                Phase::Value(reader, rebuild) => self.decode_value(reader, rebuild)?,
                Phase::Held { reader, rebuild, raw, done } => self.decode_held(reader, rebuild, raw, done)?,
                Phase::Mark { mark, read } => self.decode_mark(mark, read)?,
                Phase::Stream(mut scanner) => {
                    let more = self.decode_requests(&mut scanner)?;
                    (Phase::Stream(scanner), more)
                }
                Phase::Ended => (Phase::Ended, false),
            };
            self.phase = phase;
            if !more {
                return Ok(Pause::NeedsInput);
            }
        }
    }

    /// Decodes items until the batch is full, the snapshot ends, or bytes are missing.
    fn decode_snapshot(&mut self, mut reader: Box<rdb::Reader>) -> Result<(Phase, bool)> {
        let input = std::mem::take(&mut self.input);
        let mut used = 0;
        let result = self.read_items(&mut reader, input.bytes(), &mut used);
        self.stats.snapshot_bytes.set(reader.offset());
        self.input = input;
        self.input.consume(used);
        match result? {
            Read::NeedsInput => Ok((Phase::Snapshot(reader), false)),
            Read::BatchFull => Ok((Phase::Snapshot(reader), true)),
            Read::Value(rebuild) => Ok((Phase::Value(reader, rebuild), true)),
            Read::Held(rebuild, raw) => Ok((Phase::Held { reader, rebuild, raw, done: 0 }, true)),
            Read::End => Ok((self.end_of_snapshot(reader.offset())?, true)),
        }
    }

    fn read_items(&mut self, reader: &mut rdb::Reader, input: &[u8], used: &mut usize) -> Result<Read> {
        while !self.batch.is_full() {
            let mut bytes = &input[*used..];
            let mut all = false;
            // With a known length, what lies behind it is not the snapshot's.
            if let Framing::Length(len) = self.framing {
                let left = usize::try_from(len.saturating_sub(reader.offset())).unwrap_or(usize::MAX);
                all = left <= bytes.len();
                bytes = &bytes[..bytes.len().min(left)];
            }
            match reader.next(bytes) {
                Ok(Some((n, item))) => {
                    *used += n;
                    let end = matches!(item, rdb::Item::End { .. });
                    if let rdb::Item::Entry(entry) = item {
                        if let Some(rebuild) = self.on_entry(&entry)? {
                            return Ok(Read::Held(Box::new(rebuild), entry.raw.to_vec()));
                        }
                    } else {
                        self.on_item(item)?;
                    }
                    if end {
                        return Ok(Read::End);
                    }
                    self.checkpoint.snapshot = Some(reader.position());
                }
                Ok(None) if all => {
                    let what = format!("read the snapshot: its {} bytes end before its end mark", reader.offset());
                    return Err(Error::new(ErrorKind::RdbCorrupt, what));
                }
                Ok(None) if bytes.len() >= BIG_VALUE => {
                    let Some((n, entry)) = reader.stream_value(bytes) else { return Ok(Read::NeedsInput) };
                    *used += n;
                    return Ok(Read::Value(Box::new(self.begin_value(&entry)?)));
                }
                Ok(None) => return Ok(Read::NeedsInput),
                Err(e) => return Err(decode_error(e)),
            }
        }
        Ok(Read::BatchFull)
    }

    /// Rebuilds a large value as its bytes come.
    fn decode_value(&mut self, mut reader: Box<rdb::Reader>, mut rebuild: Box<Rebuild>) -> Result<(Phase, bool)> {
        self.select_for(&rebuild);
        let (used, fed) = rebuild.feed(&self.restore, self.input.bytes(), &mut self.batch, self.now_ms)?;
        reader.pass(&self.input.bytes()[..used]);
        self.input.consume(used);
        self.stats.snapshot_bytes.set(reader.offset());
        match fed {
            Fed::Finished => {
                reader.end_value();
                self.is_rebuilt(&rebuild, reader.position());
                Ok((Phase::Snapshot(reader), true))
            }
            Fed::NeedsInput if self.framing == Framing::Length(reader.offset()) => {
                let what = format!("read the snapshot: its {} bytes end within a value", reader.offset());
                Err(Error::new(ErrorKind::RdbCorrupt, what))
            }
            fed => Ok((Phase::Value(reader, rebuild), fed == Fed::BatchFull)),
        }
    }

    /// Rebuilds a value that is whole in memory, a batch at a time: it may be far larger than its bytes here.
    fn decode_held(
        &mut self,
        reader: Box<rdb::Reader>,
        mut rebuild: Box<Rebuild>,
        raw: Vec<u8>,
        done: usize,
    ) -> Result<(Phase, bool)> {
        self.select_for(&rebuild);
        let (used, fed) = rebuild.feed(&self.restore, &raw[done..], &mut self.batch, self.now_ms)?;
        match fed {
            Fed::Finished => {
                self.is_rebuilt(&rebuild, reader.position());
                Ok((Phase::Snapshot(reader), true))
            }
            Fed::BatchFull => Ok((Phase::Held { reader, rebuild, raw, done: done + used }, true)),
            Fed::NeedsInput => {
                let what = format!("read the snapshot: a value in front of byte {} ends too early", reader.offset());
                Err(Error::new(ErrorKind::RdbCorrupt, what))
            }
        }
    }

    /// What follows the snapshot's `read` bytes.
    fn end_of_snapshot(&mut self, read: u64) -> Result<Phase> {
        match self.framing {
            Framing::Length(len) if len != read => {
                let what = format!("read the snapshot: it ends after {read} of {len} bytes");
                Err(Error::new(ErrorKind::RdbCorrupt, what))
            }
            Framing::Length(_) => Ok(self.begin_stream(read)),
            Framing::Mark(mark) => Ok(Phase::Mark { mark, read }),
        }
    }

    fn decode_mark(&mut self, mark: [u8; 40], read: u64) -> Result<(Phase, bool)> {
        let Some(found) = self.input.bytes().get(..mark.len()) else { return Ok((Phase::Mark { mark, read }, false)) };
        if found != mark {
            let what = "read the snapshot: the mark of the source does not follow its end";
            return Err(Error::new(ErrorKind::RdbCorrupt, what));
        }
        self.input.consume(mark.len());
        Ok((self.begin_stream(read + mark.len() as u64), true))
    }

    /// `from`: how many bytes came before the stream.
    fn begin_stream(&mut self, from: u64) -> Phase {
        failpoint("snapshot-read");
        self.checkpoint.snapshot = None;
        self.look_at_delay();
        self.stream_from = Some(from);
        self.batch.applied = Some(self.offset);
        tracing::info!(bytes = from, offset = self.offset, "the snapshot has been read");
        match self.full_only {
            true => Phase::Ended,
            false => Phase::Stream(request::Scanner::new(Limits::default())),
        }
    }
}

#[cfg(test)]
mod tests;
