//! Takes the source's bytes in, keeps the link alive and acknowledges what the target has.
//!
//! Invariants:
//! - Every byte is handed on exactly once and in order. After a lost link the receiver asks for the byte behind the
//!   last one it has handed on; the decoder never notices.
//! - It goes on at another offset, or with another snapshot, never: then the task ends with `BacklogLost`.
//! - What is acknowledged is decided in [`acknowledged`], nowhere else.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use keyferry_keyspace::{ReplId, ReplOffset};
use keyferry_model::{Error, ErrorKind, Phase, Result, ResultExt as _, Side};
use keyferry_net::{Endpoint, ReadHalf, WriteHalf};
use keyferry_resp::encode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{mpsc, watch},
    time::{Instant as Timer, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::handshake::{Link, SILENCE, Start, psync};
use crate::{Stats, backoff::Backoff, stats::lock};

/// Large enough that a copy over loopback spends its time in the servers, small enough that a full channel of them
/// (see `run.rs`) stays a few MiB.
pub(crate) const CHUNK: usize = 256 * 1024;
/// As often as a replica of the source's own kind does it.
const ACK_EVERY: Duration = Duration::from_secs(1);
/// A source that does not take 40 bytes in this time is gone.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// How far the decoder has come with what the receiver has handed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Bytes taken from the channel and decoded as far as possible.
    pub(crate) bytes: u64,
    /// Where the stream begins behind the snapshot, in the same count; `None` while the snapshot lasts.
    pub(crate) stream_from: Option<u64>,
}

/// Bytes of the source, and when they came.
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    /// Unix milliseconds of this machine: what relative deadlines count from.
    pub(crate) received_ms: u64,
}

impl Chunk {
    pub(crate) fn now(bytes: Bytes) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self { bytes, received_ms: since_epoch.map_or(0, |d| d.as_millis() as u64) }
    }
}

/// The reading end of a stream.
pub(crate) struct Receiver<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) stats: &'a Stats,
    pub(crate) decoded: watch::Receiver<Decoded>,
    pub(crate) chunks: mpsc::Sender<Chunk>,
    /// The id of the stream that is followed; changes when the source has been failed over.
    pub(crate) replid: ReplId,
    /// The offset at which the stream begins.
    pub(crate) start: ReplOffset,
    pub(crate) retry_window: Option<Duration>,
    pub(crate) stop: &'a CancellationToken,
}

/// The offset that the source is told: what the target has answered, so that `WAIT` on the source means "on the
/// target". 0 while the snapshot is being applied.
fn acknowledged(stats: &Stats) -> u64 {
    stats.applied.get()
}

impl Receiver<'_> {
    /// Receives until `stop`, over as many links as it takes. The chunks end when this returns.
    pub(crate) async fn run(mut self, mut link: Link) -> Result<()> {
        *lock(&self.stats.replid) = Some(self.replid);
        loop {
            let lost = match self.receive(link).await {
                Ok(()) => return Ok(()),
                Err(e) => e,
            };
            match self.reconnect(lost).await? {
                Some(next) => link = next,
                None => return Ok(()),
            }
        }
    }

    /// Hands on what one link brings. `Ok` when it was asked to stop, or when nobody takes chunks any more.
    async fn receive(&mut self, link: Link) -> Result<()> {
        let (mut read, mut write) = link.stream.into_split();
        let mut buf = BytesMut::with_capacity(CHUNK);
        if !link.first.is_empty() {
            let Ok(permit) = self.chunks.reserve().await else { return Ok(()) };
            self.stats.received.add(link.first.len() as u64);
            permit.send(Chunk::now(link.first.into()));
        }
        let mut ack_at = Timer::now();
        let mut silent_at = Timer::now() + SILENCE;
        loop {
            tokio::select! {
                biased;
                // 1: a stop request waits for nothing.
                () = self.stop.cancelled() => return Ok(()),
                // 2: a diskless source sends the stream only after the first acknowledgement behind the snapshot, and
                // GETACK wants an answer.
                () = self.stats.ack_now.notified() => ack_at = Timer::now(),
                // 3: the source must hear from us also while the channel is full.
                () = sleep_until(ack_at) => {
                    self.keep_alive(&mut write).await?;
                    ack_at = Timer::now() + ACK_EVERY;
                }
                // 4: the work. Dropping this future loses nothing: a byte is read only with a place for it in hand.
                more = next(&self.chunks, &mut read, &mut buf, self.stats) => {
                    if !more? {
                        return Ok(());
                    }
                    silent_at = Timer::now() + SILENCE;
                }
                // 5: no byte for too long, though there was room for it.
                () = sleep_until(silent_at) => {
                    if self.chunks.capacity() > 0 {
                        let what = format!("read from the source: it has been silent for {} s", SILENCE.as_secs());
                        return Err(Error::new(ErrorKind::Timeout(Side::Source), what));
                    }
                    silent_at = Timer::now() + SILENCE;
                }
            }
        }
    }

    async fn keep_alive(&self, write: &mut WriteHalf) -> Result<()> {
        let mut out = Vec::with_capacity(64);
        match self.decoded.borrow().stream_from.is_some() {
            true => {
                let offset = acknowledged(self.stats).to_string();
                encode::command(&mut out, &[b"REPLCONF", b"ACK", offset.as_bytes()]);
            }
            // replication.c replicationSendNewlineToMaster, Redis 7.2: what a replica sends while it loads. With a CR: up to
            // 4.0 a source takes two bytes for the end of any line, and would take the first one of the next command.
            false => out.extend_from_slice(b"\r\n"),
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

    /// Opens the link again where it broke. `None` when it was asked to stop meanwhile.
    async fn reconnect(&mut self, lost: Error) -> Result<Option<Link>> {
        let received = match self.position().await {
            Position::Stream(received) => received,
            // The snapshot lives in a child process of the source that ends with the link.
            Position::Snapshot => return Err(lost),
            Position::Unwanted => return Ok(None),
        };
        tracing::warn!(error = %lost, offset = received.0, "the source link is lost, trying again");
        self.stats.set_phase(Phase::Retrying);
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
                    Start::Continue { replid } => {
                        self.replid = replid.unwrap_or(self.replid);
                        *lock(&self.stats.replid) = Some(self.replid);
                        tracing::info!(replid = %self.replid, offset = received.0, "the source link is back");
                        let copied = self.stats.copied.load(Relaxed);
                        self.stats.set_phase(if copied { Phase::Incremental } else { Phase::FullSync });
                        return Ok(Some(link));
                    }
                    Start::Full { offset, .. } => {
                        let what = format!(
                            "go on behind offset {received}: the source offers only a new snapshot at {offset}"
                        );
                        return Err(Error::new(ErrorKind::BacklogLost, what));
                    }
                },
                Err(e) => e,
            };
            self.stats.note_error(&error);
            if !backoff.again(error, self.stop).await? {
                return Ok(None);
            }
        }
    }

    /// What comes next. Waits until the decoder has seen everything, since only it knows where the snapshot ends.
    async fn position(&mut self) -> Position {
        let handed_on = self.stats.received.get();
        match self.decoded.wait_for(|d| d.bytes == handed_on).await.map(|d| d.stream_from) {
            Ok(Some(from)) => Position::Stream(ReplOffset(self.start.0 + (handed_on - from))),
            Ok(None) => Position::Snapshot,
            Err(_) => Position::Unwanted,
        }
    }
}

/// Where the receiver stands in what the source sends.
enum Position {
    /// In the stream: everything up to this offset was handed on.
    Stream(ReplOffset),
    /// Within the snapshot.
    Snapshot,
    /// The decoder has ended: it has all that it wants, or its own error is the one that counts.
    Unwanted,
}

/// Reads one chunk and hands it on. `false` when nobody takes chunks any more.
async fn next(chunks: &mpsc::Sender<Chunk>, read: &mut ReadHalf, buf: &mut BytesMut, stats: &Stats) -> Result<bool> {
    let Ok(permit) = chunks.reserve().await else { return Ok(false) };
    buf.reserve(CHUNK / 4);
    let n = read.read_buf(buf).await.or_err(ErrorKind::Lost(Side::Source), || "read from the source".into())?;
    if n == 0 {
        return Err(Error::new(ErrorKind::Lost(Side::Source), "read from the source: it closed the link"));
    }
    stats.received.add(n as u64);
    permit.send(Chunk::now(buf.split().freeze()));
    Ok(true)
}

#[cfg(test)]
mod tests;
