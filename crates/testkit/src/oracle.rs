//! An independent judge: are two servers equal?
//!
//! It walks both sides with the `redis` crate and compares key by key what a client can see: type, value, expiry,
//! stream groups with their pending entries, functions. It shares no code with the product, so that a mistake in the
//! product's codecs cannot hide itself. It expects that nobody writes while it looks; what runs out of time meanwhile
//! is told apart from what is missing.
//!
//! Not compared, since replication does not carry it: encodings, idle times and access counters, a consumer's
//! `seen-time`. `-0` and `0` are one score, as they are for the servers, some of which print both alike.

mod collection;
mod hyperloglog;
mod judge;
mod keys;
mod report;
mod side;
mod stream;
mod value;
mod vectors;
mod walk;

use std::time::Duration;

use anyhow::{Context, Result};
pub use report::{Difference, Kind, Report};
use side::Side;

/// What the comparison tolerates.
#[derive(Debug, Clone)]
pub struct Options {
    /// How far two expiries or two delivery times may be apart, in milliseconds.
    pub ttl_tolerance_ms: u64,
    /// By how much the target's expiries may be later, in milliseconds: the grace that the product writes.
    pub ttl_grace_ms: u64,
    /// Whether what a snapshot carries of a group and the stream does not is compared: to be turned off where groups
    /// have read while the stream was followed. XREADGROUP is replicated as XCLAIM: a replica that follows it has
    /// another `entries-read`, or none, and does not get a consumer who asked and was given nothing (t_stream.c
    /// xreadCommand, Redis 7.4: only with NOACK its creation is passed on).
    pub exact_groups: bool,
    /// How many differences are listed; all are counted.
    pub max_listed: usize,
    /// The target's keys that start with one of these are left out; by default only the position that the product keeps
    /// there while it runs.
    pub ignore_target_prefixes: Vec<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ttl_tolerance_ms: 50,
            ttl_grace_ms: 0,
            exact_groups: true,
            max_listed: 100,
            ignore_target_prefixes: vec![b"__keyferry_checkpoint:".to_vec()],
        }
    }
}

/// Compares everything that two servers hold, in both directions.
pub fn compare(source_url: &str, target_url: &str, options: &Options) -> Result<Report> {
    let mut pair = Pair::connect(source_url, target_url, options)?;
    walk::run(&mut pair)
}

/// Compares up to `count` keys of database 0 that the source chooses by chance. For data sets that are too large to be
/// compared whole each time.
pub fn compare_sample(source_url: &str, target_url: &str, count: usize, options: &Options) -> Result<Report> {
    let mut pair = Pair::connect(source_url, target_url, options)?;
    walk::sample(&mut pair, count)
}

/// Waits until a comparison finds no difference, and returns the last one. For links without a state to wait on.
pub fn compare_until_equal(source: &str, target: &str, options: &Options, timeout: Duration) -> Result<Report> {
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let report = compare(source, target, options)?;
        if report.is_equal() || std::time::Instant::now() >= deadline {
            return Ok(report);
        }
    }
}

/// The two servers under comparison.
struct Pair {
    source: Side,
    target: Side,
    options: Options,
}

impl Pair {
    fn connect(source_url: &str, target_url: &str, options: &Options) -> Result<Self> {
        Ok(Self {
            source: Side::connect(source_url).context("connect to the source")?,
            target: Side::connect(target_url).context("connect to the target")?,
            options: options.clone(),
        })
    }

    /// Runs the same work on both sides at the same time.
    fn both<T: Send>(&mut self, work: impl Fn(&mut Side) -> Result<T> + Sync) -> Result<(T, T)> {
        let Self { source, target, .. } = self;
        std::thread::scope(|scope| {
            let theirs = scope.spawn(|| work(target).context("on the target"));
            let ours = work(source).context("on the source");
            let theirs = theirs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((ours?, theirs?))
        })
    }
}
