//! What is written next, by chance.

use std::collections::BTreeMap;

use anyhow::Result;

use super::LoadSpec;
use crate::{
    Rng,
    features::Features,
    wire::{Wire, send},
};

/// All families are in these databases; the rest of the 16 have their own part, see [`super::exotic`].
pub(super) const DATABASES: u64 = 16;
/// Commands in one database before the next SELECT.
const STAY: u64 = 20;

/// One thread's view of the load.
pub(super) struct Mix {
    pub(super) wire: Wire,
    pub(super) rng: Rng,
    pub(super) features: Features,
    pub(super) db: u64,
    keys: u64,
    left_in_db: u64,
    sent: u64,
    errors: BTreeMap<String, u64>,
}

impl Mix {
    pub(super) fn connect(url: &str, spec: &LoadSpec, thread: u32) -> Result<Self> {
        let mut mix = Self {
            wire: Wire::connect(url)?,
            rng: Rng::new(spec.seed ^ (u64::from(thread) << 32)),
            features: Features::of(url)?,
            db: 0,
            keys: spec.keys.max(1),
            left_in_db: 0,
            sent: 0,
            errors: BTreeMap::new(),
        };
        mix.prepare_streams()?;
        mix.wire.turn()?;
        // The groups may be there already.
        mix.wire.take_errors();
        Ok(mix)
    }

    /// Sends about so many commands and waits for their replies.
    pub(super) fn batch(&mut self, commands: u64) -> Result<()> {
        let end = self.wire.commands() + commands;
        let start = self.wire.commands();
        let result = self.steps(end).and_then(|()| self.wire.turn());
        self.sent += self.wire.commands() - start - self.wire.pending();
        for (error, count) in self.wire.take_errors() {
            *self.errors.entry(error).or_default() += count;
        }
        result
    }

    fn steps(&mut self, end: u64) -> Result<()> {
        while self.wire.commands() < end {
            if self.left_in_db == 0 {
                self.next_db()?;
            }
            self.left_in_db -= 1;
            self.step()?;
        }
        Ok(())
    }

    fn next_db(&mut self) -> Result<()> {
        // Half of the load is in database 0, as in most real systems.
        self.db = if self.rng.one_in(2) { 0 } else { self.rng.below(DATABASES) };
        self.left_in_db = self.rng.range(1, 2 * STAY);
        send!(self.wire, "SELECT", self.db.to_string())
    }

    fn step(&mut self) -> Result<()> {
        match self.rng.below(100) {
            0..22 => self.string(),
            22..34 => self.number(),
            34..44 => self.list(),
            44..53 => self.set(),
            53..62 => self.hash(),
            62..71 => self.zset(),
            71..79 => self.stream(),
            79..86 => self.expiring(),
            86..91 => self.transaction(),
            91..95 => self.script(),
            _ => self.exotic(),
        }
    }

    /// A key of a family, of those that exist or may come to exist.
    pub(super) fn key(&mut self, family: &str) -> String {
        format!("load:{family}:{}", self.rng.below(self.keys))
    }

    /// A short text.
    pub(super) fn value(&mut self) -> String {
        let number = self.rng.bits();
        match self.rng.below(4) {
            0 => (number % 100_000).to_string(),
            1 => format!("{number:x}-{number:x}-{}", "y".repeat((number % 100) as usize)),
            _ => format!("value {number:x}"),
        }
    }

    /// One of a few members, so that adding and removing meet.
    pub(super) fn member(&mut self) -> String {
        format!("m{}", self.rng.below(60))
    }

    /// Commands answered since the last call.
    pub(super) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }

    pub(super) fn errors(self) -> BTreeMap<String, u64> {
        self.errors
    }
}
