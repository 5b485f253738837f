//! The two threads of a log: one that writes and deletes, and one that makes finished segments durable.
//!
//! Both end by themselves when the writer has gone; the first when everything that was taken is written.

use std::{
    fs::{self, File},
    io,
    sync::{
        Arc, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, SystemTime},
};

use keyferry_model::{ErrorKind, Result, ResultExt as _, failpoint};

use crate::{
    files::{Files, Sealed, Stop},
    format::Record,
    segment,
    shared::Shared,
    state::Segment,
};

/// Written at once: some chunks of the receiver, so that a system call costs little beside its bytes.
const BATCH: usize = 1 << 20;
/// The kernel takes so many pieces at once (IOV_MAX is 1024, two for each record).
const BATCH_RECORDS: usize = 512;
/// So much is worth a system call. Less of it waits for more, but not for long: after a kill the source
/// has to send it again.
pub(crate) const ENOUGH: usize = BATCH / 4;
const LINGER: Duration = Duration::from_millis(20);
/// How long a full disk is left alone. It is looked at by trying.
const RETRY: Duration = Duration::from_secs(1);
/// Finished segments that wait to be made durable. With more than these the disk is so far behind that writing waits.
const UNSYNCED: usize = 64;

/// Starts both threads.
pub(crate) fn start(shared: &Arc<Shared>, files: Files) -> Result<()> {
    let context = || "start the threads of the spool".to_owned();
    let (sealed, to_sync) = sync_channel(UNSYNCED);
    let ours = Arc::clone(shared);
    let thread = thread::Builder::new().name("spool-sync".into()).spawn(move || sync(&ours, &to_sync));
    thread.or_err(ErrorKind::Internal, context)?;
    let ours = Arc::clone(shared);
    let thread = thread::Builder::new().name("spool-write".into()).spawn(move || run(&ours, files, &sealed));
    thread.or_err(ErrorKind::Internal, context)?;
    Ok(())
}

enum Work {
    Delete(Vec<Segment>),
    Write(Vec<Record>),
    Stop,
}

/// Waits for something to do.
fn work(shared: &Shared) -> Work {
    let mut state = shared.lock();
    let mut lingered = false;
    loop {
        if !state.doomed.is_empty() {
            return Work::Delete(std::mem::take(&mut state.doomed));
        }
        if state.written_seq < state.next_seq {
            if !lingered && state.unwritten < ENOUGH && !state.closed {
                lingered = true;
                state.lingers = true;
                state = shared.work.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner).0;
                state.lingers = false;
                continue;
            }
            let first = (state.written_seq - state.front_seq()) as usize;
            let mut bytes = 0;
            let batch = state.records.range(first..).take(BATCH_RECORDS).take_while(|record| {
                let fits = bytes < BATCH;
                bytes += record.cost();
                fits
            });
            return Work::Write(batch.cloned().collect());
        }
        if state.closed {
            return Work::Stop;
        }
        state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn run(shared: &Shared, mut files: Files, sealed: &SyncSender<Sealed>) {
    loop {
        let done = match work(shared) {
            Work::Stop => break,
            Work::Delete(segments) => delete(shared, segments).map_err(Stop::Failed),
            Work::Write(batch) => files.write(shared, sealed, &|e| wait_for_room(shared, e), &batch),
        };
        let stop = match done {
            Ok(()) => continue,
            Err(stop) => stop,
        };
        let (Stop::Full(e) | Stop::Failed(e)) = stop;
        shared.fail(format!("write the spool {}", shared.dir.display()), &e);
        break;
    }
    let mut state = shared.lock();
    state.ended = true;
    shared.changed(state);
}

fn delete(shared: &Shared, segments: Vec<Segment>) -> io::Result<()> {
    for segment in segments {
        failpoint("before-segment-deleted");
        match fs::remove_file(segment::path(&shared.dir, segment.base)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        failpoint("segment-deleted");
        let mut state = shared.lock();
        state.used = state.used.saturating_sub(segment.len);
        shared.changed(state);
    }
    Ok(())
}

/// Waits a moment on a full disk, or until something was deleted. `false` when the writer has gone.
fn wait_for_room(shared: &Shared, e: &io::Error) -> bool {
    let mut state = shared.lock();
    state.disk_full.get_or_insert_with(|| (SystemTime::now(), e.to_string()));
    let until = std::time::Instant::now() + RETRY;
    loop {
        if !state.doomed.is_empty() {
            let segments = std::mem::take(&mut state.doomed);
            drop(state);
            // An error here shows when the same is tried outside of a full disk; until then room is what counts.
            let _ = delete(shared, segments);
            return true;
        }
        if state.closed {
            return false;
        }
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return true;
        }
        state = shared.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Makes finished segments durable, in their order.
fn sync(shared: &Shared, sealed: &Receiver<Sealed>) {
    for Sealed { file, base, end } in sealed {
        // What has been released meanwhile need not reach the disk.
        let kept = shared.lock().segments.front().is_some_and(|first| first.base <= base);
        let synced = match kept {
            true => file.sync_all().and_then(|()| File::open(&shared.dir)?.sync_all()),
            false => Ok(()),
        };
        failpoint("segment-synced");
        match synced {
            Ok(()) => shared.lock().durable = end,
            // What the kernel could not write it forgets: nothing that follows can be relied on.
            Err(e) => {
                shared.fail(format!("make {} durable", segment::path(&shared.dir, base).display()), &e);
                return;
            }
        }
    }
}
