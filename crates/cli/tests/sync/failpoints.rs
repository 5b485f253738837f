//! kill -9 at every named place between two durable steps (`keyferry_model::FAILPOINTS`), and then again from there.
//!
//! Each case is a place and a seed. The seed decides the situation, the number of the visit at which the process dies, the
//! data, and what is written around it. A case whose process does not die is a failure, so no place is in the list in vain.

mod case;
mod scenes;
mod writer;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use keyferry_model::FAILPOINTS;

/// Each has servers of its own. Most of a case is waiting, for the first report of the source above all.
const WORKERS: usize = 8;
/// Of each place when nothing else is said.
const SEEDS: usize = 3;
/// With so many each place is met in each of its situations several times.
const ALL: usize = 20;

#[test]
fn a_process_killed_between_two_durable_steps_goes_on() {
    let seeds = std::env::var("KEYFERRY_TEST_FAILPOINT_SEEDS").map_or(SEEDS, |n| n.parse().unwrap());
    // To look at one place alone.
    let only = std::env::var("KEYFERRY_TEST_FAILPOINT").unwrap_or_default();
    // With few seeds, not the same ones for all places.
    let places = FAILPOINTS.iter().enumerate().filter(|(_, name)| name.contains(&only));
    let cases = places.flat_map(|(i, name)| (0..seeds).map(move |k| (*name, (i + k) % ALL.max(seeds))));
    let cases: Vec<_> = cases.collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut servers = case::Servers::start();
                while let Some(&(name, seed)) = cases.get(next.fetch_add(1, SeqCst)) {
                    let run = || case::run(&servers, name, seed as u64);
                    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
                        failed.lock().unwrap().push(format!("{name}, seed {seed}"));
                        // Whatever the case has left there.
                        servers = case::Servers::start();
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "of {} cases {} failed: {failed:#?}", cases.len(), failed.len());
}
