//! Takes the source's bytes in, keeps the link alive and acknowledges what the target has.
//!
//! Invariants:
//! - Every byte goes into the spool exactly once and in order. After a lost link the receiver asks for the byte behind the
//!   last one that is there; the decoder never notices.
//! - It goes on at another offset, or with another snapshot, never: then it ends with `BacklogLost`.
//! - The source is read as long as the spool takes bytes, whatever the target does.
//! - What is acknowledged is decided in [`acknowledged`], nowhere else.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use keyferry_keyspace::{ReplId, ReplOffset};
use keyferry_model::{Error, ErrorKind, Result, ResultExt as _, Retry, Side, failpoint};
use keyferry_net::{Endpoint, ReadHalf, WriteHalf};
use keyferry_resp::encode;
use keyferry_spool::{Handle, Note, Writer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant as Timer, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    handshake::{Link, SILENCE, Start, psync},
    mark::SnapshotEnd,
};
use crate::{Stats, backoff::Backoff, stats::lock};

/// Large enough that a copy over loopback spends its time in the servers, small enough that a full channel of them
/// (see `run.rs`) stays a few MiB.
pub(crate) const CHUNK: usize = 256 * 1024;
/// As often as a replica of the source's own kind does it.
const ACK_EVERY: Duration = Duration::from_secs(1);
/// A source that does not take 40 bytes in this time is gone.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of the source, and when they came.
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    /// Unix milliseconds of this machine: what relative deadlines count from.
    pub(crate) received_ms: u64,
}

impl Chunk {
    pub(crate) fn now(bytes: Bytes) -> Self {
        Self { bytes, received_ms: now_ms() }
    }
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// The reading end of a stream.
pub(crate) struct Receiver<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) stats: &'a Stats,
    pub(crate) writer: Writer,
    pub(crate) spool: Handle,
    /// Looks for the end of the snapshot, until that has been received.
    pub(crate) end: Option<SnapshotEnd>,
    /// The id of the stream that is followed; changes when the source has been failed over.
    pub(crate) replid: ReplId,
    pub(crate) retry_window: Option<Duration>,
    pub(crate) stop: &'a CancellationToken,
}

/// The offset that the source is told: what the target has answered, so that `WAIT` on the source means "on the
/// target". 0 while the snapshot is being applied: what it holds is not there yet.
fn acknowledged(stats: &Stats) -> u64 {
    if stats.is_copied() { stats.applied.get() } else { 0 }
}

impl Receiver<'_> {
    /// Receives until `stop`, over as many links as it takes; `link` may say why there is none yet. `true` when the source is
    /// back behind such a beginning: then it ends all parts by `stop`, since the source is to be asked anew what it is.
    ///
    /// Errors: `BacklogLost`, and `Lost` and `Timeout` of the source when a link was lost within the snapshot.
    pub(crate) async fn run(mut self, link: Result<Link>) -> Result<bool> {
        let mut link = match link {
            Ok(link) => link,
            Err(lost) => {
                self.stats.set_lost(Side::Source, true);
                // It may be another version than it was.
                let back = self.reconnect(lost).await?.is_some();
                close(self.writer).await;
                self.stop.cancel();
                return Ok(back);
            }
        };
        loop {
            let lost = match self.receive(link).await {
                Ok(()) => break,
                Err(e) if e.kind().policy().retry != Retry::Backoff => return Err(e),
                Err(e) => e,
            };
            self.stats.set_lost(Side::Source, true);
            match self.reconnect(lost).await? {
                Some(next) => link = next,
                None => break,
            }
            self.stats.set_lost(Side::Source, false);
        }
        close(self.writer).await;
        Ok(false)
    }

    /// Takes in what one link brings. `Ok` when it was asked to stop, or when nobody reads the spool any more.
    async fn receive(&mut self, link: Link) -> Result<()> {
        let Self { stats, writer, spool, end, stop, .. } = self;
        let (mut read, mut write) = link.stream.into_split();
        let mut buf = BytesMut::with_capacity(CHUNK);
        if !link.first.is_empty() {
            let first = Bytes::from(link.first);
            if !writer.ready(first.len()).await? {
                return Ok(());
            }
            take_in(stats, writer, spool, end, first);
        }
        let mut ack_at = Timer::now();
        let mut silent_at = Timer::now() + SILENCE;
        // The spool has room, and bytes are waited for.
        let waiting = Cell::new(false);
        loop {
            let received = async {
                waiting.set(false);
                if end.is_some() {
                    stats.control.may_read().await;
                }
                if !writer.ready(CHUNK).await? {
                    return Ok(None);
                }
                waiting.set(true);
                next(&mut read, &mut buf).await.map(Some)
            };
            tokio::select! {
                biased;
                // 1: a stop request waits for nothing.
                () = stop.cancelled() => return Ok(()),
                // 2: a diskless source sends the stream only after the first acknowledgement behind the snapshot, and
                // GETACK wants an answer.
                () = stats.ack_now.notified() => ack_at = Timer::now(),
                // 3: the source must hear from us also while the spool is full.
                () = sleep_until(ack_at) => {
                    keep_alive(&mut write, end.is_none(), stats).await?;
                    ack_at = Timer::now() + ACK_EVERY;
                }
                // 4: the work. Dropping this future loses nothing: a byte is read only with a place for it in hand.
                bytes = received => {
                    let Some(bytes) = bytes? else { return Ok(()) };
                    if end.is_some() {
                        stats.control.has_read(bytes.len());
                    }
                    take_in(stats, writer, spool, end, bytes);
                    silent_at = Timer::now() + SILENCE;
                }
                // 5: no byte for too long, though there was room for it.
                () = sleep_until(silent_at) => {
                    if waiting.get() {
                        let what = format!("read from the source: it has been silent for {} s", SILENCE.as_secs());
                        return Err(Error::new(ErrorKind::Timeout(Side::Source), what));
                    }
                    silent_at = Timer::now() + SILENCE;
                }
            }
        }
    }

    /// Opens the link again where it broke. `None` when it was asked to stop meanwhile.
    async fn reconnect(&mut self, lost: Error) -> Result<Option<Link>> {
        let end = self.spool.end();
        let offset = self.spool.stream_from().and_then(|from| self.spool.head().offset_at(from, end));
        // Within the snapshot: it lives in a child process of the source that ends with the link.
        let Some(received) = offset else { return Err(lost) };
        tracing::warn!(error = %lost, offset = received.0, "the source link is lost, trying again");
        self.stats.note_error(&lost);
        let mut backoff = Backoff::new(self.retry_window);
        loop {
            let attempt = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(None),
                attempt = psync(self.endpoint, Some((self.replid, received))) => attempt,
            };
            let error = match attempt {
                Ok(link) => match &link.start {
                    // What is applied and not received is of the history that was followed, see `begin.rs`.
                    Start::Continue { replid: Some(replid) }
                        if *replid != self.replid
                            && self.stats.is_copied()
                            && self.stats.applied.get() > received.0 =>
                    {
                        return Err(backlog_lost(received, received));
                    }
                    Start::Continue { replid } => {
                        if let Some(replid) = replid.filter(|id| *id != self.replid) {
                            self.replid = replid;
                            self.writer.note(Note::Replid(replid));
                            failpoint("replid-noted");
                            *lock(&self.stats.replid) = Some(replid);
                        }
                        tracing::info!(replid = %self.replid, offset = received.0, "the source link is back");
                        return Ok(Some(link));
                    }
                    Start::Full { offset, .. } => return Err(backlog_lost(received, *offset)),
                },
                Err(e) => e,
            };
            self.stats.note_error(&error);
            if !backoff.again(error, self.stop).await? {
                return Ok(None);
            }
        }
    }
}

/// The end of a run. What a full disk does not take is received again by the next one.
async fn close(writer: Writer) {
    if let Err(e) = writer.close().await {
        tracing::warn!(error = %e, "the spool lacks what was received last");
    }
}

/// The source has forgotten what comes behind `received`.
pub(crate) fn backlog_lost(received: ReplOffset, offered: ReplOffset) -> Error {
    let what = format!("go on behind offset {received}: the source offers only a new snapshot at {offered}");
    Error::new(ErrorKind::BacklogLost, what)
}

/// Puts bytes for which there is room into the spool.
fn take_in(stats: &Stats, writer: &mut Writer, spool: &Handle, end: &mut Option<SnapshotEnd>, bytes: Bytes) {
    stats.received.add(bytes.len() as u64);
    let found = end.as_mut().and_then(|end| end.find(spool.end(), &bytes));
    writer.push(bytes, now_ms());
    if let Some(position) = found {
        failpoint("snapshot-end-received");
        writer.note(Note::StreamFrom(position));
        failpoint("stream-from-noted");
        *end = None;
        stats.ack_now.notify_one();
    }
}

async fn keep_alive(write: &mut WriteHalf, follows: bool, stats: &Stats) -> Result<()> {
    let mut out = Vec::with_capacity(64);
    if follows {
        let offset = acknowledged(stats).to_string();
        encode::command(&mut out, &[b"REPLCONF", b"ACK", offset.as_bytes()]);
    } else {
        // replication.c replicationSendNewlineToMaster, Redis 7.2: what a replica sends while it loads. With a CR: up to 4.0
        // a source takes two bytes for the end of any line, and would take the first one of the next command.
        out.extend_from_slice(b"\r\n");
    }
    let sent = async {
        write.write_all(&out).await?;
        write.flush().await
    };
    let context = || "acknowledge to the source".to_owned();
    timeout(ACK_TIMEOUT, sent)
        .await
        .or_err(ErrorKind::Timeout(Side::Source), context)?
        .or_err(ErrorKind::Lost(Side::Source), context)
}

/// Reads one chunk.
async fn next(read: &mut ReadHalf, buf: &mut BytesMut) -> Result<Bytes> {
    buf.reserve(CHUNK / 4);
    let n = read.read_buf(buf).await.or_err(ErrorKind::Lost(Side::Source), || "read from the source".into())?;
    match n {
        0 => Err(Error::new(ErrorKind::Lost(Side::Source), "read from the source: it closed the link")),
        _ => Ok(buf.split().freeze()),
    }
}

#[cfg(test)]
mod tests;
