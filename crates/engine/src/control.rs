//! What a user asks of a task while it runs: a pause, limits, the cut-over, and keys that are to be copied again.
//!
//! The parts look at it once a batch or once a chunk. While nothing is asked for, that is one load.
//!
//! Invariants:
//! - Writing stops between two batches, never within one: what was handed to the lane is written and answered.
//! - Only the stream loop and the settler wait here, and the receiver while the snapshot lasts. Acknowledgements, PINGs and
//!   replies go on, and behind the snapshot the source is read on whatever is asked for.
//! - A limit is kept over time, not at each moment: a batch goes out as a whole, and its size is waited for behind it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep_until},
};

use keyferry_model::{Error, ErrorKind, Result};

use crate::{
    cutover::{self, CutoverEvent, CutoverSpec},
    desk::Desk,
    repair::{self, Reasons},
    stats::lock,
    target::{Batch, What},
};

/// How much may be made up for when nothing has come for a while: as long as a user does not notice.
const BURST: Duration = Duration::from_millis(100);

/// Bounds on what a task does; `None`: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a second that are read from the source while it sends its snapshot.
    pub read_bytes: Option<u64>,
    /// Bytes a second that are written to the target.
    pub write_bytes: Option<u64>,
    /// Keys of the snapshot and commands of the stream that are written to the target in a second.
    pub write_commands: Option<u64>,
}

/// What is asked of a running task. Shared by the parts and by whoever asks.
#[derive(Default)]
pub struct Control {
    paused: AtomicBool,
    /// There is a limit on writing, or on reading.
    limits_writes: AtomicBool,
    limits_reads: AtomicBool,
    buckets: Mutex<Buckets>,
    /// Wakes who waits for what has been asked to change.
    changed: Notify,
    /// Where a cut-over is asked for.
    pub(crate) desk: Desk<cutover::Asked>,
    /// Where a repair is asked for.
    pub(crate) repairs: repair::Desk,
    /// The stream is to write deadlines with less than the grace.
    pub(crate) lower: AtomicBool,
    /// Deadlines on the target have less than the whole grace, since a cut-over has lowered them.
    pub(crate) lowered: AtomicBool,
}

#[derive(Default)]
struct Buckets {
    limits: Limits,
    read: Bucket,
    bytes: Bucket,
    commands: Bucket,
}

/// A token bucket with debt: what is taken is paid for behind it.
#[derive(Default)]
struct Bucket {
    /// When all that was taken is paid for.
    paid: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, n: u64, rate: Option<u64>, now: Instant) {
        let Some(rate) = rate else { return };
        let floor = now.checked_sub(BURST).unwrap_or(now);
        let from = self.paid.map_or(now, |paid| paid.max(floor));
        self.paid = Some(from + Duration::from_secs_f64(n as f64 / rate.max(1) as f64));
    }
}

impl Control {
    /// Whether nothing is to be written to the target for now.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Relaxed)
    }

    /// Stops writing to the target, or goes on with it. Answers whether that has changed anything.
    pub fn set_paused(&self, paused: bool) -> bool {
        let before = self.paused.swap(paused, Relaxed);
        self.changed.notify_waiters();
        if before != paused {
            tracing::info!(paused, "asked to pause or to go on");
        }
        before != paused
    }

    /// The limits of now.
    pub fn limits(&self) -> Limits {
        lock(&self.buckets).limits
    }

    /// Sets all limits. They begin at once, and forget what was taken before.
    pub fn set_limits(&self, limits: Limits) {
        let mut buckets = lock(&self.buckets);
        if buckets.limits == limits {
            return;
        }
        *buckets = Buckets { limits, ..Buckets::default() };
        self.limits_reads.store(limits.read_bytes.is_some(), Relaxed);
        self.limits_writes.store(limits.write_bytes.is_some() || limits.write_commands.is_some(), Relaxed);
        drop(buckets);
        self.changed.notify_waiters();
        tracing::info!(
            read_bytes = limits.read_bytes,
            write_bytes = limits.write_bytes,
            write_commands = limits.write_commands,
            "limits"
        );
    }

    /// Asks for the switch to the target; what is said of it comes until it ends, with a last word. When whoever has asked no
    /// longer listens, it is undone.
    ///
    /// Errors: `CutoverRefused`.
    pub fn cut_over(&self, spec: CutoverSpec) -> Result<mpsc::Receiver<CutoverEvent>> {
        if self.repairs.is_busy() {
            return Err(Error::new(ErrorKind::CutoverRefused, "cut over: a repair is under way"));
        }
        self.desk.ask_to_cut_over(spec)
    }

    /// Asks for keys of database `db` of the source to be copied again through the stream, or removed from the target where the
    /// source does not have them; at most [`MAX_REPAIR_KEYS`](crate::MAX_REPAIR_KEYS). Gives what became of each; nobody knows
    /// when the task ends before.
    ///
    /// Errors: `RepairRefused`.
    pub fn repair(&self, db: u32, keys: Vec<Vec<u8>>) -> Result<oneshot::Receiver<Reasons>> {
        if self.is_paused() {
            return Err(repair::refused("the task is paused"));
        }
        if self.desk.is_busy() {
            return Err(repair::refused("a cut-over is under way, or being undone"));
        }
        self.repairs.ask(db, keys)
    }

    /// Waits while the task is paused.
    pub(crate) async fn unpaused(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.is_paused() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until `batch` may be written. Dropping the future leaves everything as it was.
    pub(crate) async fn admit(&self, batch: &Batch) {
        loop {
            self.unpaused().await;
            if !self.limits_writes.load(Relaxed) {
                return;
            }
            let changed = self.changed.notified();
            let now = Instant::now();
            let paid = {
                let mut buckets = lock(&self.buckets);
                let paid = buckets.bytes.paid.max(buckets.commands.paid);
                if paid.is_none_or(|paid| paid <= now) {
                    let Limits { write_bytes, write_commands, .. } = buckets.limits;
                    buckets.bytes.take(batch.bytes.len() as u64, write_bytes, now);
                    buckets.commands.take(
                        if write_commands.is_some() { written(batch) } else { 0 },
                        write_commands,
                        now,
                    );
                    return;
                }
                paid.unwrap_or(now)
            };
            tokio::select! {
                () = sleep_until(paid) => {}
                () = changed => {}
            }
        }
    }

    /// Waits until bytes of the snapshot may be read.
    pub(crate) async fn may_read(&self) {
        while self.limits_reads.load(Relaxed) {
            let changed = self.changed.notified();
            let paid = lock(&self.buckets).read.paid;
            let Some(paid) = paid.filter(|&paid| paid > Instant::now()) else { return };
            tokio::select! {
                () = sleep_until(paid) => {}
                () = changed => {}
            }
        }
    }

    /// Counts bytes of the snapshot that were read.
    pub(crate) fn has_read(&self, bytes: usize) {
        if self.limits_reads.load(Relaxed) {
            let mut buckets = lock(&self.buckets);
            let rate = buckets.limits.read_bytes;
            buckets.read.take(bytes as u64, rate, Instant::now());
        }
    }
}

/// Keys and commands of the source in a batch; what stands around them is not counted.
fn written(batch: &Batch) -> u64 {
    let counts = batch.expects.iter().map(|expect| match expect.what {
        What::Key | What::New | What::Move | What::Command | What::Deadline | What::Repair(_) => {
            u64::from(expect.count)
        }
        What::Select | What::Setup | What::Checkpoint | What::Count(_) | What::KeepAlive => 0,
    });
    counts.sum()
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    fn batch(bytes: usize, commands: u32) -> Batch {
        let mut batch = Batch::default();
        (0..commands).for_each(|n| batch.expect(What::Command, u64::from(n)));
        batch.bytes.resize(bytes, b' ');
        batch
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_kept_over_time() {
        let control = Control::default();
        let begun = Instant::now();
        control.admit(&batch(1 << 20, 1)).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "no limit");
        control.set_limits(Limits { write_bytes: Some(1_000_000), ..Limits::default() });
        for _ in 0..101 {
            control.admit(&batch(100_000, 5)).await;
        }
        assert_eq!(begun.elapsed().as_millis() / 100, 100, "10 s for 100 batches behind the first");
        // A rest does not make up for more than the burst.
        sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        for _ in 0..12 {
            control.admit(&batch(100_000, 5)).await;
        }
        assert_eq!(begun.elapsed().as_millis() / 100, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn commands_and_reads_have_limits_of_their_own() {
        let control = Control::default();
        control.set_limits(Limits { write_commands: Some(1000), read_bytes: Some(1000), ..Limits::default() });
        let begun = Instant::now();
        for _ in 0..11 {
            control.admit(&batch(1 << 20, 200)).await;
        }
        assert_eq!(begun.elapsed().as_millis() / 10, 200);
        let begun = Instant::now();
        for _ in 0..3 {
            control.may_read().await;
            control.has_read(1000);
        }
        assert_eq!(begun.elapsed().as_millis() / 10, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_sees_changes_at_once() {
        let control = Control::default();
        control.set_limits(Limits { write_bytes: Some(1), read_bytes: Some(1), ..Limits::default() });
        control.admit(&batch(1 << 30, 1)).await;
        control.has_read(1 << 30);
        let begun = Instant::now();
        tokio::join!(
            async {
                control.admit(&batch(1, 1)).await;
                control.may_read().await;
            },
            async {
                sleep(Duration::from_secs(1)).await;
                control.set_limits(Limits::default());
            }
        );
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert!(control.set_paused(true) && !control.set_paused(true));
        let batch = batch(1, 1);
        let waits = timeout(Duration::from_secs(3600), control.admit(&batch)).await;
        assert!(waits.is_err(), "paused");
        tokio::join!(control.admit(&batch), async { assert!(control.set_paused(false)) });
    }
}
