//! The loop: takes chunks, decodes what is complete, hands batches to the lane.
//!
//! Invariants:
//! - A batch never says that an offset within a transaction is applied, nor one within the snapshot.
//! - When no chunk waits, what has been decoded is handed on at once: the delay at a low rate is one pass of the loop.
//! - `Decoded` is published only when everything of a chunk that can be decoded has been.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use keyferry_keyspace::ReplOffset;
use keyferry_model::{Error, ErrorKind, Result, ResultExt as _, Side};
use keyferry_rdb as rdb;
use keyferry_resp::{Limits, request};
use tokio::sync::{
    mpsc::{self, error::TryRecvError},
    watch,
};

use super::{databases::Databases, input::Input};
use crate::{
    Stats,
    source::{Decoded, Framing},
    target::{Batch, Restore},
};

/// What the next bytes are.
enum Phase {
    Snapshot(rdb::Reader),
    /// The mark behind a snapshot of unknown length.
    Mark([u8; 40]),
    Stream(request::Scanner),
    /// Nothing more is wanted: only the snapshot was.
    Ended,
}

/// Why decoding has paused.
enum Pause {
    NeedsInput,
    BatchFull,
}

/// The decoder of one stream and what it remembers.
pub(crate) struct Apply<'a> {
    pub(super) stats: &'a Stats,
    pub(super) restore: Restore,
    pub(super) databases: Databases,
    /// Database that the source has selected.
    pub(super) source_db: u32,
    /// Database that the lane has selected.
    pub(super) lane_db: Option<u32>,
    /// Offset behind the last decoded command; before the first one, where the stream begins.
    pub(super) offset: u64,
    /// Between MULTI and EXEC.
    pub(super) in_transaction: bool,
    /// This machine's time at the last chunk, in Unix milliseconds.
    pub(super) now_ms: u64,
    pub(super) batch: Batch,
    phase: Phase,
    framing: Framing,
    full_only: bool,
    input: Input,
    decoded: Decoded,
}

impl<'a> Apply<'a> {
    /// `offset` is where the stream begins behind the snapshot that comes first.
    pub(crate) fn new(
        stats: &'a Stats,
        restore: Restore,
        databases: Databases,
        framing: Framing,
        offset: ReplOffset,
        full_only: bool,
    ) -> Self {
        Self {
            stats,
            restore,
            databases,
            source_db: 0,
            // Fresh connections are in database 0; said anyway, so that nothing depends on it.
            lane_db: None,
            offset: offset.0,
            in_transaction: false,
            now_ms: 0,
            batch: Batch::default(),
            phase: Phase::Snapshot(rdb::Reader::new(rdb::Limits::default())),
            framing,
            full_only,
            input: Input::default(),
            decoded: Decoded::default(),
        }
    }

    /// Applies chunks until they end, or until the end of the snapshot when nothing else is wanted.
    pub(crate) async fn run(
        &mut self,
        mut chunks: mpsc::Receiver<Bytes>,
        batches: mpsc::Sender<Batch>,
        mut spare: mpsc::Receiver<Batch>,
        decoded: watch::Sender<Decoded>,
    ) -> Result<()> {
        loop {
            let chunk = match chunks.try_recv() {
                Ok(chunk) => chunk,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    self.hand_on(&batches, &mut spare).await?;
                    match chunks.recv().await {
                        Some(chunk) => chunk,
                        None => break,
                    }
                }
            };
            self.now_ms = now_ms();
            self.input.push(&chunk);
            while let Pause::BatchFull = self.decode()? {
                self.hand_on(&batches, &mut spare).await?;
            }
            self.decoded.bytes += chunk.len() as u64;
            decoded.send_replace(self.decoded);
            if matches!(self.phase, Phase::Ended) {
                break;
            }
        }
        self.hand_on(&batches, &mut spare).await
    }

    async fn hand_on(&mut self, batches: &mpsc::Sender<Batch>, spare: &mut mpsc::Receiver<Batch>) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, spare.try_recv().unwrap_or_default());
        batches.send(batch).await.or_err(ErrorKind::Internal, || "hand a batch to the lane: it has ended".into())
    }

    fn decode(&mut self) -> Result<Pause> {
        loop {
            if self.batch.is_full() {
                return Ok(Pause::BatchFull);
            }
            let more = match &mut self.phase {
                Phase::Snapshot(_) => self.decode_snapshot()?,
                Phase::Mark(_) => self.decode_mark()?,
                Phase::Stream(_) => self.decode_stream()?,
                Phase::Ended => false,
            };
            if !more {
                return Ok(if self.batch.is_full() { Pause::BatchFull } else { Pause::NeedsInput });
            }
        }
    }

    /// Decodes items until the batch is full (`true`), the phase ends (`true`) or bytes are missing (`false`).
    fn decode_snapshot(&mut self) -> Result<bool> {
        let Phase::Snapshot(reader) = &mut self.phase else { return Ok(true) };
        // Taken out for the loop, so that items may borrow from both while the rest of `self` is written.
        let mut reader = std::mem::replace(reader, rdb::Reader::new(rdb::Limits::default()));
        let input = std::mem::take(&mut self.input);
        let mut used = 0;
        let result = loop {
            if self.batch.is_full() {
                break Ok(true);
            }
            let bytes = &input.bytes()[used..];
            // With a known length, what lies behind it is not the snapshot's.
            let bytes = match self.framing {
                Framing::Length(len) => {
                    let left = usize::try_from(len.saturating_sub(reader.offset())).unwrap_or(usize::MAX);
                    &bytes[..bytes.len().min(left)]
                }
                Framing::Mark(_) => bytes,
            };
            let exhausted = matches!(self.framing, Framing::Length(len) if reader.offset() + bytes.len() as u64 == len);
            match reader.next(bytes) {
                Ok(Some((n, item))) => {
                    used += n;
                    let end = matches!(item, rdb::Item::End { .. });
                    if let Err(e) = self.on_item(item) {
                        break Err(e);
                    }
                    if end {
                        break self.end_of_snapshot(reader.offset()).map(|()| true);
                    }
                }
                Ok(None) if exhausted => {
                    let what = format!("read the snapshot: its {} bytes end before its end mark", reader.offset());
                    break Err(Error::new(ErrorKind::RdbCorrupt, what));
                }
                Ok(None) => break Ok(false),
                Err(e) => break Err(snapshot_error(e)),
            }
        };
        self.stats.snapshot_bytes.set(reader.offset());
        self.input = input;
        self.input.consume(used);
        if let Phase::Snapshot(place) = &mut self.phase {
            *place = reader;
        }
        result
    }

    fn end_of_snapshot(&mut self, read: u64) -> Result<()> {
        match self.framing {
            Framing::Length(len) if len != read => {
                let what = format!("read the snapshot: it ends after {read} of {len} bytes");
                Err(Error::new(ErrorKind::RdbCorrupt, what))
            }
            Framing::Length(len) => {
                self.begin_stream(len);
                Ok(())
            }
            Framing::Mark(mark) => {
                self.phase = Phase::Mark(mark);
                Ok(())
            }
        }
    }

    fn decode_mark(&mut self) -> Result<bool> {
        let Phase::Mark(mark) = &self.phase else { return Ok(true) };
        let Some(found) = self.input.bytes().get(..mark.len()) else { return Ok(false) };
        if found != mark {
            let what = "read the snapshot: the mark of the source does not follow its end";
            return Err(Error::new(ErrorKind::RdbCorrupt, what));
        }
        self.input.consume(mark.len());
        self.begin_stream(self.stats.snapshot_bytes.get() + mark.len() as u64);
        Ok(true)
    }

    /// `from`: how many bytes came before the stream.
    fn begin_stream(&mut self, from: u64) {
        self.decoded.stream_from = Some(from);
        self.stats.ack_now.notify_one();
        self.batch.applied = Some(self.offset);
        self.phase = match self.full_only {
            true => Phase::Ended,
            false => Phase::Stream(request::Scanner::new(Limits::default())),
        };
        tracing::info!(bytes = self.stats.snapshot_bytes.get(), offset = self.offset, "the snapshot has been read");
    }

    /// Decodes commands until the batch is full (`true`) or bytes are missing (`false`).
    fn decode_stream(&mut self) -> Result<bool> {
        let Phase::Stream(scanner) = &mut self.phase else { return Ok(true) };
        let mut scanner = std::mem::replace(scanner, request::Scanner::new(Limits::default()));
        let input = std::mem::take(&mut self.input);
        let mut used = 0;
        let result = loop {
            if self.batch.is_full() {
                break Ok(true);
            }
            match scanner.next(&input.bytes()[used..]) {
                Ok(Some(request)) => {
                    used += request.bytes().len();
                    if let Err(e) = self.on_request(&request) {
                        break Err(e);
                    }
                }
                Ok(None) => break Ok(false),
                Err(e) => {
                    let what = format!("read the stream behind offset {}", self.offset);
                    break Err(Error::new(ErrorKind::Protocol(Side::Source), what).caused_by(e));
                }
            }
        };
        self.input = input;
        self.input.consume(used);
        self.phase = Phase::Stream(scanner);
        result
    }
}

fn snapshot_error(e: rdb::Error) -> Error {
    let kind = match &e {
        rdb::Error::UnknownType { .. } | rdb::Error::OpaqueModule { .. } | rdb::Error::FunctionPreGa { .. } => {
            ErrorKind::RdbUnknownType
        }
        rdb::Error::UnsupportedVersion { .. } => ErrorKind::RdbVersion,
        rdb::Error::OverLimit { .. } => ErrorKind::RdbTooLarge,
        _ => ErrorKind::RdbCorrupt,
    };
    Error::new(kind, "read the snapshot").caused_by(e)
}

/// The one place where the engine reads a clock that users can set: for targets that take no absolute expiry.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
