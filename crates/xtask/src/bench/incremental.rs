//! Following a burst of writes.
//!
//! The last command of the burst writes a mark. Commands keep their order, so the mark on the target says that all
//! before it is there; it is looked for the same way for both.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use keyferry_testkit::{Keyferry, Server, data, process::Signal, wait};
use serde::Serialize;

use super::{STRING, median, native, pair};
use crate::stop;

const MARK: &str = "mark";

/// Seconds until the target has everything, medians.
#[derive(Debug, Serialize)]
pub(super) struct Seconds {
    /// From the first command of the burst.
    pub(super) from_start: f64,
    /// From the reply to its last command.
    pub(super) from_end: f64,
}

/// The figures of both.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) commands: u64,
    pub(super) native: Seconds,
    pub(super) ours: Seconds,
}

/// Follows bursts of so many SETs, natively and with the product, so many times.
pub(super) fn measure(binary: &Path, runs: u32, commands: u64) -> Result<Figures> {
    let (mut natives, mut ours) = (vec![], vec![]);
    for run in 1..=runs {
        let (source, target) = pair()?;
        data::fill_strings(&source.url(), 1_000, STRING, 1)?;
        target.replicate(&source)?;
        natives.push(burst(&source, &target, commands, u64::from(run))?);

        let (source, target) = pair()?;
        data::fill_strings(&source.url(), 1_000, STRING, 1)?;
        let state = tempfile::tempdir()?;
        let keyferry = Keyferry::sync(binary, &source.url(), &target.url())
            .args(["--log-level", "warn", "--state-dir"])
            .arg(state.path())
            .spawn()?;
        keyferry.wait_for(Duration::from_secs(60), |progress| progress.in_step)?;
        ours.push(burst(&source, &target, commands, u64::from(run))?);
        keyferry.signal(Signal::TERM)?;
        let exit = keyferry.wait_exit(Duration::from_secs(10))?;
        ensure!(exit.code() == 130, "keyferry ended with {}: {}", exit.status, exit.stderr);
        // A task that was interrupted keeps its position there.
        ensure!(source.keys()? + 1 == target.keys()?, "the target holds another number of keys");
        let (native, ours) = (&natives[natives.len() - 1], &ours[ours.len() - 1]);
        println!(
            "incremental {run}/{runs}: native {:.2} s ({:.3} s after the end), ours {:.2} s ({:.3} s)",
            native.from_start, native.from_end, ours.from_start, ours.from_end
        );
    }
    Ok(Figures { commands, native: medians(&natives), ours: medians(&ours) })
}

fn burst(source: &Server, target: &Server, commands: u64, seed: u64) -> Result<Seconds> {
    let (mut ours, mut theirs) = (source.conn()?, target.conn()?);
    let start = Instant::now();
    data::fill_strings(&source.url(), commands, STRING, seed + 100)?;
    redis::cmd("SET").arg(MARK).arg(seed).exec(&mut ours)?;
    let end = Instant::now();
    wait::poll("the mark on the target", native::PATIENCE, || {
        stop::check()?;
        let mark: Option<u64> = redis::cmd("GET").arg(MARK).query(&mut theirs)?;
        Ok((mark == Some(seed)).then_some(()))
    })?;
    Ok(Seconds { from_start: start.elapsed().as_secs_f64(), from_end: end.elapsed().as_secs_f64() })
}

fn medians(runs: &[Seconds]) -> Seconds {
    let of = |pick: fn(&Seconds) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
    Seconds { from_start: of(|run| run.from_start), from_end: of(|run| run.from_end) }
}
