//! What a comparison is doing, and how it ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::difference::Kind;

/// What is done at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The keys of the source are walked.
    Source = 0,
    /// The keys of the target are walked.
    Target = 1,
    /// What differs is looked at again.
    Rounds = 2,
    /// What differs is copied again.
    Repair = 3,
}

/// Counters that whoever shows progress reads.
#[derive(Debug, Default)]
pub struct Stats {
    stage: AtomicU64,
    round: AtomicU64,
    source_keys: AtomicU64,
    target_keys: AtomicU64,
    expected: AtomicU64,
    differing: AtomicU64,
}

impl Stats {
    /// What is done at the moment.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            0 => Stage::Source,
            1 => Stage::Target,
            2 => Stage::Rounds,
            _ => Stage::Repair,
        }
    }

    /// The current round, from 1 on.
    pub fn round(&self) -> u64 {
        self.round.load(Relaxed)
    }

    /// Keys of both sides that were looked at in the walk.
    pub fn walked(&self) -> u64 {
        self.source_keys.load(Relaxed) + self.target_keys.load(Relaxed)
    }

    /// Keys of both sides in all, as the servers told before the walk.
    pub fn expected(&self) -> u64 {
        self.expected.load(Relaxed)
    }

    /// Keys that differ as far as is known.
    pub fn differing(&self) -> u64 {
        self.differing.load(Relaxed)
    }

    pub(crate) fn set_stage(&self, stage: Stage, round: u32) {
        self.stage.store(stage as u64, Relaxed);
        self.round.store(round.into(), Relaxed);
    }

    pub(crate) fn set_expected(&self, keys: u64) {
        self.expected.store(keys, Relaxed);
    }

    pub(crate) fn set_walked(&self, stage: Stage, keys: u64) {
        let counter = if stage == Stage::Source { &self.source_keys } else { &self.target_keys };
        counter.store(keys, Relaxed);
    }

    pub(crate) fn set_differing(&self, keys: u64) {
        self.differing.store(keys, Relaxed);
    }

    /// So many more differ: to count all anew behind each batch takes longer the more there are.
    pub(crate) fn add_differing(&self, keys: u64) {
        self.differing.fetch_add(keys, Relaxed);
    }

    /// Of so many that differed so many still do.
    pub(crate) fn looked_again(&self, keys: u64, differing: u64) {
        let less = keys.saturating_sub(differing);
        let _ = self.differing.fetch_update(Relaxed, Relaxed, |before| Some(before.saturating_sub(less)));
    }
}

/// How many differences of each kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; Kind::ALL.len()]);

impl Counts {
    /// Of one kind.
    pub fn of(&self, kind: Kind) -> u64 {
        Kind::ALL.iter().zip(self.0).find(|(other, _)| **other == kind).map_or(0, |(_, n)| n)
    }

    /// Of all kinds.
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, kind: Kind, count: u64) {
        for (other, n) in Kind::ALL.iter().zip(&mut self.0) {
            if *other == kind {
                *n += count;
            }
        }
    }
}

/// How a comparison ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Keys of the source that were compared.
    pub keys: u64,
    /// Differences that are left.
    pub counts: Counts,
    /// Rounds, the walk included.
    pub rounds: u32,
    /// Keys that were copied again or removed.
    pub repaired: u64,
}

impl Outcome {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.counts.all() == 0
    }
}
