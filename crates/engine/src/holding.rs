//! Holding: while the target is far behind, the deadlines of the stream are held too, and those that are there already.
//!
//! The grace covers a delay that is shorter than it. A longer one would let keys run out on the target before their
//! renewal is applied. So when the delay has used up a part of the grace, the stream writes deadlines in their held form
//! (`target/hold.rs`), and `target/settle.rs` holds what the target has; it settles all of them when the target has caught
//! up. Two look at the delay: the stream at the age of the bytes that it decodes, once for a chunk or a batch, and the
//! settler at the source's reports, which say it also when no bytes come. Neither knows it at the start: then it is for how
//! long there was no process, which stands beside the checkpoint.
//!
//! Invariants:
//! - Before the first deadline is held, the counters say that some are, so the checkpoint of its batch does. It also says
//!   whether that still goes on: nothing is settled before a checkpoint says that it does not.
//! - What was decoded while nothing was held is on the target when the batch [`Stats::held_seq`] is.
//! - Whoever finds that nothing is held any more has seen no hold begin meanwhile ([`Stats::round`]).

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use crate::{
    Stats,
    source::now_ms,
    stats::{CAUGHT_UP, lock},
    target::Checkpoint,
};

/// Reports come four times a second: a shorter delay is mostly not one.
const LEAST: Duration = Duration::from_millis(500);

/// With which delay holding begins, and with less than which it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

impl Bounds {
    /// It begins with a quarter of the grace: the rest is there for what is on its way to the target, and for going through
    /// its keys. It ends well below that, so that it does not come and go.
    pub(crate) fn of(grace: Duration) -> Self {
        let from = (grace / 4).max(LEAST);
        Self { from, until: CAUGHT_UP.min(from / 2) }
    }
}

impl Stats {
    /// Whether the stream writes deadlines held.
    pub(crate) fn is_holding(&self) -> bool {
        self.holding.load(Relaxed)
    }

    /// How often holding has begun, and on which connection: what was found in an earlier round may no longer be so.
    pub(crate) fn round(&self) -> (u64, u64) {
        (self.holds.get(), self.generation.get())
    }

    /// `delay`: as far as it is known.
    pub(crate) fn begin_holding(&self, delay: Option<Duration>) {
        if self.ending.load(Relaxed) || self.holding.swap(true, Relaxed) {
            return;
        }
        self.holds.add(1);
        self.held_keys.store(true, Relaxed);
        self.held_fields.fetch_or(self.field_deadlines.load(Relaxed), Relaxed);
        self.settled.store(false, Relaxed);
        self.settling.store(false, Relaxed);
        self.held_seq.set(0);
        tracing::info!(
            delay_seconds = delay.map(|delay| delay.as_secs_f64()),
            "the target is behind: deadlines are held until it has caught up"
        );
        self.hold_now.notify_one();
    }

    /// What is decoded from now on is not held. What was is settled.
    pub(crate) fn end_holding(&self) {
        if self.holding.swap(false, Relaxed) {
            self.hold_now.notify_one();
            tracing::info!("the target has caught up: deadlines are set right");
        }
    }

    /// Up to when, in Unix milliseconds, all that the source had written is on the target, as far as this process knows it.
    pub(crate) fn all_until_ms(&self) -> Option<u64> {
        let asked = lock(&self.standing).applied.filter(|_| self.is_copied())?;
        Some(now_ms().saturating_sub(asked.elapsed().as_millis() as u64))
    }

    /// Begins to follow behind `checkpoint`, of which it is known up to when all was there. Nobody says how far the target
    /// is behind before the source has said where it is, and while there was no process nothing was held.
    pub(crate) fn begin_behind(
        &self,
        checkpoint: &Checkpoint,
        all_until_ms: Option<u64>,
        bounds: Bounds,
        linked: bool,
    ) {
        let away = all_until_ms.map(|ms| Duration::from_millis(now_ms().saturating_sub(ms)));
        let behind = checkpoint.flags.holding || !linked || away.is_none_or(|away| away >= bounds.from);
        // The deadlines of a snapshot are held anyway.
        if behind && checkpoint.snapshot.is_none() {
            self.begin_holding(away);
        }
    }

    /// Begins or ends holding as the reports say. The stream begins it too, and never ends it.
    pub(crate) fn watch_delay(&self, bounds: Bounds) {
        let (standing, now) = (*lock(&self.standing), Instant::now());
        let delay = standing.delay(now);
        match self.is_holding() {
            true if self.is_following() && standing.applied.is_some() && delay < bounds.until => self.end_holding(),
            false if self.is_copied() && delay >= bounds.from => self.begin_holding(Some(delay)),
            _ => {}
        }
    }

    /// The stream writes the deadline of a field.
    pub(crate) fn note_field_deadline(&self) {
        self.field_deadlines.store(true, Relaxed);
        if self.is_holding() {
            self.held_fields.store(true, Relaxed);
        }
    }

    /// Whether a checkpoint is to be written that says that deadlines are being held, or that they no longer are; or that they
    /// lack the grace.
    pub(crate) fn has_to_say_held(&self) -> bool {
        let held = match self.is_holding() {
            true => self.held_seq.get() == 0,
            false => self.said_holding.load(Relaxed),
        };
        held || self.lacks_grace() && !self.said_exact.load(Relaxed)
    }

    /// Deadlines on the target lack the grace: from before the task, or since a cut-over has lowered them. A process that
    /// finds a checkpoint that says so lifts them: see `target/lift.rs`.
    pub(crate) fn lacks_grace(&self) -> bool {
        self.exact.load(Relaxed) || self.control.lowered.load(Relaxed)
    }

    /// The batch `seq` is sealed: from the next one on everything is held.
    pub(crate) fn say_held(&self, seq: u64) {
        let holding = self.is_holding();
        self.said_holding.store(holding, Relaxed);
        self.said_exact.store(self.lacks_grace(), Relaxed);
        if holding && self.held_seq.get() == 0 {
            self.held_seq.set(seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Standing;

    #[test]
    fn it_begins_within_the_grace_and_ends_below() {
        for seconds in [1, 2, 3, 4, 30, 3600] {
            let grace = Duration::from_secs(seconds);
            let Bounds { from, until } = Bounds::of(grace);
            assert!(from <= grace / 2 && until < from && until <= CAUGHT_UP, "{seconds} s: {from:?}, {until:?}");
        }
        assert_eq!(Bounds::of(Duration::from_secs(30)).from, Duration::from_millis(7500));
    }

    fn at(stats: &Stats, delay: Duration) {
        let now = Instant::now();
        let since = now.checked_sub(delay).unwrap();
        let behind_since = (!delay.is_zero()).then_some(since);
        *lock(&stats.standing) = Standing { behind_since, reported: Some(now), applied: Some(since), since: None };
    }

    #[test]
    fn held_deadlines_are_known_from_the_begin_to_the_settler() {
        let stats = Stats::default();
        stats.resume(&Checkpoint { snapshot: None, ..Checkpoint::BEGINNING });
        stats.held_fields.store(true, Relaxed);
        stats.settled.store(true, Relaxed);
        let bounds = Bounds::of(Duration::from_secs(8));
        at(&stats, Duration::from_millis(1900));
        stats.watch_delay(bounds);
        assert!(!stats.is_holding() && stats.is_settled());
        at(&stats, Duration::from_secs(2));
        let before = stats.round();
        stats.watch_delay(bounds);
        assert!(stats.is_holding() && !stats.is_settled() && stats.has_to_say_held());
        assert_ne!(stats.round(), before);
        stats.say_held(7);
        stats.say_held(8);
        assert_eq!(stats.held_seq.get(), 7);
        // Another connection: the target may be another one.
        stats.resume(&Checkpoint { snapshot: None, ..Checkpoint::BEGINNING });
        assert!(stats.is_holding() && !stats.is_settled() && stats.has_to_say_held());
        assert!(stats.held_fields.load(Relaxed), "those from before are held, too");
        at(&stats, Duration::from_millis(1500));
        stats.watch_delay(bounds);
        assert!(stats.is_holding(), "it does not come and go");
        at(&stats, Duration::ZERO);
        stats.watch_delay(bounds);
        assert!(!stats.is_holding() && !stats.is_settled() && !stats.has_to_say_held(), "nobody has said so");
        stats.begin_holding(None);
        stats.say_held(1);
        stats.end_holding();
        assert!(stats.has_to_say_held(), "nothing is settled before the target knows it");
        stats.say_held(2);
        assert!(!stats.has_to_say_held());
    }

    #[test]
    fn the_time_without_a_process_is_a_delay() {
        let bounds = Bounds::of(Duration::from_secs(8));
        let (stream, copy) = (Checkpoint { snapshot: None, ..Checkpoint::BEGINNING }, Checkpoint::BEGINNING);
        let mut holding = stream;
        holding.flags.holding = true;
        let ago = |ms| Some(now_ms() - ms);
        for (checkpoint, all_until_ms, linked, holds) in [
            (stream, ago(0), true, false),
            (stream, ago(1500), true, false),
            (stream, ago(2000), true, true),
            (stream, Some(now_ms() + 5000), true, false),
            (stream, None, true, true),
            (stream, ago(0), false, true),
            (holding, ago(0), true, true),
            (copy, None, false, false),
        ] {
            let stats = Stats::default();
            stats.resume(&checkpoint);
            stats.begin_behind(&checkpoint, all_until_ms, bounds, linked);
            assert_eq!(stats.is_holding(), holds, "{all_until_ms:?} {linked} {checkpoint:?}");
        }
    }
}
