//! Where bytes go in.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use keyferry_model::Result;
use tokio::{sync::futures::Notified, time::timeout};

use crate::{
    disk::ENOUGH,
    format::{Kind, MAX_PAYLOAD, RECORD_HEADER, Record},
    head::Note,
    shared::Shared,
};

/// For how long the limit is kept when everything has been read.
const PATIENCE: Duration = Duration::from_secs(2);

enum Check<'a> {
    /// Whether there is a reader.
    Ready(bool),
    Wait(Notified<'a>),
}

/// The only one that adds to a log. When it is dropped, what it has taken is still written, and the reader comes to
/// its end.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits until `len` more bytes have room, in memory and on disk. Then [`Writer::push`] takes them at once. `false`
    /// when there is no reader any more. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `SpoolDisk` when an earlier write has failed for good. That the disk is full, or the limit reached, is no error:
    /// it waits, and [`Handle::state`](crate::Handle::state) says so.
    pub async fn ready(&mut self, len: usize) -> Result<bool> {
        let cost = len + RECORD_HEADER * (len / MAX_PAYLOAD + 1);
        loop {
            let change = match self.check(cost)? {
                Check::Ready(ready) => return Ok(ready),
                Check::Wait(change) => change,
            };
            let _ = timeout(PATIENCE / 2, change).await;
        }
    }

    fn check(&self, cost: usize) -> Result<Check<'_>> {
        let mut state = self.shared.lock();
        if let Some(failure) = &state.failed {
            return Err(failure.error());
        }
        if state.reader_seq == u64::MAX {
            return Ok(Check::Ready(false));
        }
        // When everything has been read and nothing is released, waiting does not help: what was read belongs together, a
        // value or a transaction, and is larger than the limit.
        let long = |since: (SystemTime, Instant)| since.1.elapsed() > PATIENCE;
        let must = state.reader_seq >= state.next_seq && state.limit_reached.is_some_and(long);
        state.limit_reached = match state.has_disk(cost) {
            true => None,
            false => state.limit_reached.or_else(|| Some((SystemTime::now(), Instant::now()))),
        };
        Ok(match (state.limit_reached.is_none() || must) && state.has_memory() {
            true => Check::Ready(true),
            false => Check::Wait(self.shared.change(state)),
        })
    }

    /// Takes bytes without waiting. What [`Writer::ready`] has not granted passes the bounds by its own size.
    pub fn push(&mut self, mut bytes: Bytes, received_ms: u64) {
        let mut state = self.shared.lock();
        while !bytes.is_empty() {
            let payload = bytes.split_to(bytes.len().min(MAX_PAYLOAD));
            let (seq, position) = (state.next_seq, state.end);
            state.push(Record { kind: Kind::Bytes, seq, position, received_ms, payload });
        }
        let enough = state.unwritten >= ENOUGH || !state.lingers;
        drop(state);
        if enough {
            self.shared.work.notify_one();
        }
        self.shared.more.notify_one();
    }

    /// [`Writer::ready`] and [`Writer::push`]. When the future is dropped before its end, the bytes were not taken.
    ///
    /// # Errors
    /// As [`Writer::ready`].
    pub async fn append(&mut self, bytes: Bytes, received_ms: u64) -> Result<bool> {
        let ready = self.ready(bytes.len()).await?;
        if ready {
            self.push(bytes, received_ms);
        }
        Ok(ready)
    }

    /// Adds a note behind the last byte. It never waits: notes are few and small.
    pub fn note(&mut self, note: Note) {
        let mut state = self.shared.lock();
        let record = Record::note(state.next_seq, state.end, note);
        state.push(record);
        drop(state);
        self.wake();
    }

    /// Waits until everything that was taken is in the files, where a kill of this process cannot reach it.
    ///
    /// # Errors
    /// `SpoolDisk` when a write has failed for good.
    pub async fn flush(&mut self) -> Result<()> {
        loop {
            let change = {
                let state = self.shared.lock();
                if let Some(failure) = &state.failed {
                    return Err(failure.error());
                }
                if state.written_seq == state.next_seq {
                    return Ok(());
                }
                self.shared.change(state)
            };
            change.await;
        }
    }

    /// Ends the log for now: writes what was taken, and waits for the writing thread to end. After that the log can be
    /// opened again. When the disk is full it does not wait for room.
    ///
    /// # Errors
    /// `SpoolDisk` when not everything could be written.
    pub async fn close(self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        drop(self);
        loop {
            let change = {
                let state = shared.lock();
                if state.ended {
                    return state.failed.as_ref().map_or(Ok(()), |failure| Err(failure.error()));
                }
                shared.change(state)
            };
            change.await;
        }
    }

    fn wake(&self) {
        self.shared.work.notify_one();
        self.shared.more.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.wake();
    }
}
