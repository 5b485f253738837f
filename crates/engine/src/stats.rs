//! The counters that the parts of a stream share, and the picture of them that the user sees.
//!
//! Counters are bumped once a batch or once a chunk, never once a key or command. All are relaxed: each stands for
//! itself, and nothing is decided by comparing two of them but the delay, which only ever lags.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use keyferry_keyspace::ReplId;
use keyferry_model::{Error, Phase, Progress, Side};
use tokio::sync::Notify;

use crate::{Control, Event, event::Listener, target::Checkpoint};

/// What a stream has done so far.
#[derive(Default)]
pub struct Stats {
    phase: AtomicU8,
    /// Keys of the snapshot that the target has answered.
    pub(crate) keys: Counter,
    /// Keys that the target has kept of its own (`--on-conflict ignore`).
    pub(crate) kept: Counter,
    /// Commands of the stream that the target has answered.
    pub(crate) commands: Counter,
    /// Scripts of the stream that the target runs itself, as they were called on the source.
    pub(crate) scripts: Counter,
    /// Bytes received from the source.
    pub(crate) received: Counter,
    /// Bytes of the snapshot that have been decoded.
    pub(crate) snapshot_bytes: Counter,
    /// Length of the snapshot in bytes; 0 when the source has not said it.
    pub(crate) snapshot_len: Counter,
    /// Keys that the source held when the snapshot began.
    pub(crate) keys_expected: Counter,
    /// Newest offset that the source has reported.
    pub(crate) source_offset: Counter,
    /// The snapshot is on the target, and `applied` means something.
    pub(crate) copied: AtomicBool,
    /// Offset up to which the target has answered everything.
    pub(crate) applied: Counter,
    /// Deadlines of keys and of fields that were written held: see `target/hold.rs`.
    pub(crate) held_keys: AtomicBool,
    pub(crate) held_fields: AtomicBool,
    /// They are being set right: what the stream moves has to be set right by the stream.
    pub(crate) settling: AtomicBool,
    /// None of them is left.
    pub(crate) settled: AtomicBool,
    /// The target is far behind, so deadlines of the stream are held: see `holding.rs`.
    pub(crate) holding: AtomicBool,
    /// How often that has begun.
    pub(crate) holds: Counter,
    /// The task ends now, and with it its checkpoint: nobody would settle what is held from here on.
    pub(crate) ending: AtomicBool,
    /// What the last checkpoint says of it.
    pub(crate) said_holding: AtomicBool,
    /// The same for deadlines that lack the grace.
    pub(crate) said_exact: AtomicBool,
    /// The last one that the target has answered says so.
    pub(crate) knows_exact: AtomicBool,
    /// The first batch of this connection whose checkpoint says so; 0 before it is sealed.
    pub(crate) held_seq: Counter,
    /// Woken when a checkpoint is wanted that says it, or the opposite.
    pub(crate) hold_now: Notify,
    /// Fields of hashes on the target may have deadlines, held or not.
    pub(crate) field_deadlines: AtomicBool,
    /// Counts the connections to the target: what was found on an earlier one may no longer be so.
    pub(crate) generation: Counter,
    /// Somebody goes through the target's keys, and waits for each answer.
    pub(crate) asks: AtomicBool,
    /// Position in the log up to which everything is on the target, with a checkpoint.
    pub(crate) position: Counter,
    /// A command of a batch was refused, and the rest of it applied.
    pub(crate) broken: AtomicBool,
    /// Deadlines that were on the target before the task lack the grace: see `target/lift.rs`.
    pub(crate) exact: AtomicBool,
    /// Bytes of the log on disk.
    pub(crate) spooled: Counter,
    /// The connection to a side is lost, and tried again.
    lost: [AtomicBool; 2],
    /// Commands decoded that may have moved keys so that nobody follows.
    pub(crate) moves: Counter,
    /// What the reports of the source say about the delay.
    pub(crate) standing: Mutex<Standing>,
    /// The history that is followed; changes when the source has been failed over.
    pub(crate) replid: Mutex<Option<ReplId>>,
    /// Woken when the source should be told the applied offset before the next tick.
    pub(crate) ack_now: Notify,
    last_error: Mutex<Option<String>>,
    /// What is asked of the parts while they run.
    pub control: Control,
    /// Who is told what happens.
    listener: Listener,
    /// What the target cannot hold: how it was treated, and how often.
    unsupported: Mutex<BTreeMap<String, u64>>,
}

/// How far the target is, judged by the newest reports of the source.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// When the oldest report was asked for that has not been applied.
    pub(crate) behind_since: Option<Instant>,
    /// When the newest report was asked for.
    pub(crate) reported: Option<Instant>,
    /// When the newest one was asked for that has been applied, on the present connection to the target.
    pub(crate) applied: Option<Instant>,
    /// Since when there could have been one.
    pub(crate) since: Option<Instant>,
}

/// A report older than this says nothing about now.
const FRESH: Duration = Duration::from_secs(2);
/// With less delay than this the target has caught up, also where it is never in step under a steady load. It is less than
/// any sensible grace.
pub(crate) const CAUGHT_UP: Duration = Duration::from_secs(1);

impl Standing {
    /// Age of the oldest report that has not been applied; without a fresh one, of the newest that there is, or the time for
    /// which there was none.
    pub(crate) fn delay(&self, now: Instant) -> Duration {
        let stale = self.reported.or(self.since).filter(|&at| now.duration_since(at) > FRESH);
        self.behind_since.or(stale).map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    /// Everything up to a fresh report has been applied.
    pub(crate) fn in_step(&self, now: Instant) -> bool {
        let any = self.behind_since.is_none() && self.applied.is_some();
        any && self.reported.is_some_and(|at| now.duration_since(at) <= FRESH)
    }
}

/// A counter that is read by others.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
}

/// An earlier reading, for rates.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    at: Instant,
    keys: u64,
    commands: u64,
}

impl Stats {
    /// Where the stream stands.
    pub fn phase(&self) -> Phase {
        match Phase::from_u8(self.phase.load(Relaxed)) {
            Phase::FullSync | Phase::Incremental if self.lost.iter().any(|lost| lost.load(Relaxed)) => Phase::Retrying,
            Phase::Connecting | Phase::FullSync | Phase::Incremental if self.control.is_paused() => Phase::Paused,
            phase => phase,
        }
    }

    /// Says who is told what happens. It is called in the middle of the work: it must not wait.
    pub fn listen(&self, listen: impl Fn(Event<'_>) + Send + Sync + 'static) {
        self.listener.set(Box::new(listen));
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        self.listener.tell(event);
    }

    /// The snapshot is on the target: also when that is not what is shown at the moment.
    pub(crate) fn is_now_copied(&self) {
        if self.phase.load(Relaxed) == Phase::FullSync as u8 {
            self.set_phase(Phase::Incremental);
        }
    }

    /// Shows whether the connection to a side is lost and tried again.
    pub(crate) fn set_lost(&self, side: Side, lost: bool) {
        let before = self.phase();
        if !self.lost[usize::from(side == Side::Target)].swap(lost, Relaxed) && lost {
            self.tell(Event::Lost(side));
        }
        let phase = self.phase();
        if phase != before {
            tracing::info!(phase = phase.name(), "phase");
        }
    }

    /// What holds on the target of an earlier process or connection.
    pub(crate) fn resume(&self, checkpoint: &Checkpoint) {
        self.applied.set(checkpoint.offset);
        self.keys.set(checkpoint.keys);
        self.copied.store(checkpoint.snapshot.is_none(), Relaxed);
        let (holding, flags) = (self.is_holding(), checkpoint.flags);
        self.field_deadlines.fetch_or(self.held_fields.load(Relaxed) || flags.held_fields, Relaxed);
        self.held_keys.store(holding || flags.held_keys, Relaxed);
        self.held_fields.store(if holding { self.field_deadlines.load(Relaxed) } else { flags.held_fields }, Relaxed);
        self.exact.store(flags.exact, Relaxed);
        self.held_seq.set(0);
        self.said_holding.store(flags.holding, Relaxed);
        self.said_exact.store(flags.exact, Relaxed);
        self.knows_exact.store(flags.exact, Relaxed);
        self.settled.store(false, Relaxed);
        self.settling.store(false, Relaxed);
        self.generation.add(1);
        // What was there of it may not be any more: the next report says.
        lock(&self.standing).applied = None;
        self.set_phase(if checkpoint.snapshot.is_none() { Phase::Incremental } else { Phase::FullSync });
    }

    /// Whether there is no connection to the target.
    pub(crate) fn has_lost_target(&self) -> bool {
        self.lost[1].load(Relaxed)
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        let before = self.phase();
        self.phase.store(phase as u8, Relaxed);
        if self.phase() != before {
            tracing::info!(phase = self.phase().name(), "phase");
        }
    }

    /// Keeps an error for those who look.
    pub(crate) fn note_error(&self, error: &Error) {
        let text = format!("{}: {error}", error.kind().policy().code);
        *lock(&self.last_error) = Some(text);
    }

    /// Counts something that the target cannot hold.
    pub(crate) fn note_unsupported(&self, what: String) {
        *lock(&self.unsupported).entry(what).or_default() += 1;
    }

    /// What the target cannot hold: how it was treated, and how often.
    pub fn unsupported(&self) -> BTreeMap<String, u64> {
        lock(&self.unsupported).clone()
    }

    /// Counts as it was before: something was looked at twice.
    pub(crate) fn set_unsupported(&self, counts: BTreeMap<String, u64>) {
        *lock(&self.unsupported) = counts;
    }

    /// Whether the snapshot is on the target.
    pub(crate) fn is_copied(&self) -> bool {
        self.copied.load(Relaxed)
    }

    /// Whether no deadline on the target is still held.
    pub fn is_settled(&self) -> bool {
        let held = self.held_keys.load(Relaxed) || self.held_fields.load(Relaxed);
        !held || self.settled.load(Relaxed)
    }

    pub(crate) fn is_following(&self) -> bool {
        self.phase() == Phase::Incremental && self.copied.load(Relaxed)
    }

    /// Whether the target is so close behind the source that nothing of the time of the copy is still on its way.
    pub(crate) fn has_caught_up(&self) -> bool {
        let (standing, now) = (*lock(&self.standing), Instant::now());
        // Reports are kept from when the snapshot was on the target: one that is applied stands behind all of the copy.
        self.is_following() && standing.applied.is_some() && standing.delay(now) < CAUGHT_UP
    }

    /// Whether all that the source had written before `time` is on the target.
    pub(crate) fn has_applied_since(&self, time: Instant) -> bool {
        self.is_following() && lock(&self.standing).applied.is_some_and(|asked| asked > time)
    }

    /// Whether the stream itself has to set right what it moves.
    pub(crate) fn is_settling(&self) -> bool {
        self.settling.load(Relaxed) && !self.is_settled()
    }

    pub(crate) fn is_in_step(&self) -> bool {
        self.is_following() && self.is_settled() && lock(&self.standing).in_step(Instant::now())
    }

    /// Keys that the target has kept of its own under `--on-conflict ignore`.
    pub fn kept(&self) -> u64 {
        self.kept.get()
    }

    /// Scripts of the stream that the target runs itself, as they were called on the source.
    pub fn scripts(&self) -> u64 {
        self.scripts.get()
    }

    /// Keys that the source held when the snapshot began; 0 when not known.
    pub fn keys_expected(&self) -> u64 {
        self.keys_expected.get()
    }

    /// Whether somebody waits for each of many answers.
    pub fn asks(&self) -> bool {
        self.asks.load(Relaxed)
    }

    /// Bytes that have come in or have been applied; it may jump.
    pub fn moved(&self) -> u64 {
        self.received.get().wrapping_add(self.position.get())
    }

    /// A reading to compute rates from later.
    pub fn mark(&self) -> Mark {
        Mark { at: Instant::now(), keys: self.keys.get(), commands: self.commands.get() }
    }

    /// The picture of now; rates are those since `since`.
    pub fn progress(&self, since: &Mark) -> Progress {
        let phase = self.phase();
        let seconds = since.at.elapsed().as_secs_f64().max(1e-3);
        let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds).round();
        let (keys, applied, source_offset) = (self.keys.get(), self.applied.get(), self.source_offset.get());
        let followed = self.copied.load(Relaxed);
        // Nobody knows it before the source has said where it is.
        let known = followed && lock(&self.standing).reported.is_some();
        Progress {
            phase,
            keys,
            bytes: self.received.get(),
            percent: self.percent(followed),
            source_offset,
            applied_offset: applied,
            delay_bytes: known.then(|| source_offset.saturating_sub(applied)),
            delay_seconds: known.then(|| lock(&self.standing).delay(Instant::now()).as_secs_f64()),
            in_step: self.is_in_step(),
            spool_bytes: self.spooled.get(),
            keys_per_second: rate(keys, since.keys),
            commands_per_second: rate(self.commands.get(), since.commands),
            last_error: lock(&self.last_error).clone(),
        }
    }

    fn percent(&self, followed: bool) -> f64 {
        if followed {
            return 100.0;
        }
        let (done, all) = match self.snapshot_len.get() {
            0 => (self.keys.get(), self.keys_expected.get()),
            len => (self.snapshot_bytes.get(), len),
        };
        // Keys come and go while the snapshot is taken: never claim the end before it is there.
        if all == 0 { 0.0 } else { (done as f64 * 1000.0 / all as f64).round().min(999.0) / 10.0 }
    }
}

/// A panic elsewhere leaves what is behind these locks whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
