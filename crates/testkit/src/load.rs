//! A write load: many kinds of commands, at a rate or as fast as the server takes them.
//!
//! Keys belong to families, one type each, so that hardly any command is refused. What a command does may depend on
//! the state it meets (SPOP, LPOP, EXPIRE on a key that is just gone): the load does not know the data, it only makes
//! it change. Several threads write to the same keys.

mod collections;
mod exotic;
mod mix;
mod scripts;
mod streams;
mod strings;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use mix::Mix;

/// Commands between two looks at the replies, at full speed.
const BATCH: u64 = 500;
/// At a rate, a batch is sent this often.
const TICK: Duration = Duration::from_millis(10);

/// What is to be written.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    /// Commands a second of all threads together; None writes as fast as it goes.
    pub rate: Option<u64>,
    /// The same seed gives each thread the same commands.
    pub seed: u64,
    /// Connections, each with its thread.
    pub threads: u32,
    /// Keys of each family in each database. Fewer keys meet more changes each.
    pub keys: u64,
}

impl Default for LoadSpec {
    fn default() -> Self {
        Self { rate: None, seed: 1, threads: 1, keys: 500 }
    }
}

/// What was written.
#[derive(Debug, Clone, Default)]
pub struct LoadStats {
    /// Commands that were answered, those inside of transactions counted too.
    pub commands: u64,
    /// Error replies by their first words.
    pub errors: BTreeMap<String, u64>,
    /// From the start until the last thread ended.
    pub elapsed: Duration,
    /// Why a thread ended before it was told to, such as a lost connection.
    pub failures: Vec<String>,
}

impl LoadStats {
    /// Commands a second.
    pub fn rate(&self) -> f64 {
        self.commands as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Error replies of all kinds.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    commands: AtomicU64,
}

type Outcome = (BTreeMap<String, u64>, Option<String>);

/// A running load. It is stopped on drop.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Outcome>>,
    started: Instant,
}

impl Load {
    /// Connects and prepares all threads, then lets them write.
    pub fn start(url: &str, spec: LoadSpec) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let count = spec.threads.max(1);
        let mixes: Vec<Mix> = (0..count).map(|thread| Mix::connect(url, &spec, thread)).collect::<Result<_>>()?;
        let per_tick = spec.rate.map(|rate| rate as f64 * TICK.as_secs_f64() / f64::from(count));
        let threads = mixes.into_iter().map(|mix| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || write(mix, per_tick, &shared))
        });
        Ok(Self { threads: threads.collect(), shared, started: Instant::now() })
    }

    /// Commands answered so far.
    pub fn commands(&self) -> u64 {
        self.shared.commands.load(Ordering::Relaxed)
    }

    /// Stops all threads after what they have sent is answered.
    pub fn stop(mut self) -> LoadStats {
        self.end()
    }

    fn end(&mut self) -> LoadStats {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut stats = LoadStats::default();
        for thread in self.threads.drain(..) {
            let (errors, failure) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (error, count) in errors {
                *stats.errors.entry(error).or_default() += count;
            }
            stats.failures.extend(failure);
        }
        stats.elapsed = self.started.elapsed();
        stats.commands = self.commands();
        stats
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The loop of one thread.
fn write(mut mix: Mix, per_tick: Option<f64>, shared: &Shared) -> Outcome {
    let mut due = 0.0;
    let mut next = Instant::now();
    let mut failure = None;
    while !shared.stop.load(Ordering::Relaxed) && failure.is_none() {
        let steps = match per_tick {
            Some(per_tick) => {
                next += TICK;
                thread::sleep(next.saturating_duration_since(Instant::now()));
                due += per_tick;
                let whole = due.floor();
                due -= whole;
                whole as u64
            }
            None => BATCH,
        };
        let result = mix.batch(steps);
        shared.commands.fetch_add(mix.take_sent(), Ordering::Relaxed);
        failure = result.err().map(|error| format!("{error:#}"));
    }
    (mix.errors(), failure)
}
