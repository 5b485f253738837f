//! Draining a backlog: everything is in the spool, and the target takes it as fast as it can.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use keyferry_testkit::{Keyferry, data, process::Signal};
use serde::Serialize;

use super::{STRING, largest, mark, median, native, pair, plain, usage};

/// One run.
#[derive(Debug, Serialize)]
struct Run {
    seconds: f64,
    plain_seconds: f64,
    /// Of the drain alone.
    cpu_seconds: f64,
    /// From the first of the commands on: taking them in, and the drain.
    cpu_seconds_with_intake: f64,
    peak_rss_mib: f64,
    /// What the target itself needed for the one and for the other: unlike seconds, hardly changed by foreign load.
    target_cpu_seconds: f64,
    plain_target_cpu_seconds: f64,
}

/// Medians, and all runs.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) commands: u64,
    pub(super) commands_per_second: f64,
    pub(super) plain_commands_per_second: f64,
    /// Median of the ratios of the runs.
    pub(super) ratio: f64,
    pub(super) target_cpu_seconds_per_million: f64,
    pub(super) plain_target_cpu_seconds_per_million: f64,
    pub(super) cpu_seconds_per_million: f64,
    pub(super) cpu_seconds_per_million_with_intake: f64,
    pub(super) peak_rss_mib: f64,
    /// Of all runs.
    pub(super) largest_rss_mib: f64,
    all: Vec<Run>,
}

/// Drains so many SETs, and writes the same to the same target with a plain client, so many times.
pub(super) fn measure(binary: &Path, runs: u32, commands: u64) -> Result<Figures> {
    let mut all = vec![];
    for run in 1..=runs {
        let figures = run_once(binary, commands, u64::from(run) + 100)?;
        println!(
            "drain {run}/{runs}: ours {:.2} s, plain client {:.2} s, CPU {:.2} s ({:.2} s with intake), {:.1} MiB",
            figures.seconds,
            figures.plain_seconds,
            figures.cpu_seconds,
            figures.cpu_seconds_with_intake,
            figures.peak_rss_mib
        );
        all.push(figures);
    }
    let values = |pick: fn(&Run) -> f64| -> Vec<f64> { all.iter().map(pick).collect() };
    let of = |pick| median(&values(pick));
    let millions = commands as f64 / 1e6;
    Ok(Figures {
        commands,
        commands_per_second: commands as f64 / of(|run| run.seconds),
        plain_commands_per_second: commands as f64 / of(|run| run.plain_seconds),
        ratio: of(|run| run.plain_seconds / run.seconds),
        target_cpu_seconds_per_million: of(|run| run.target_cpu_seconds) / millions,
        plain_target_cpu_seconds_per_million: of(|run| run.plain_target_cpu_seconds) / millions,
        cpu_seconds_per_million: of(|run| run.cpu_seconds) / millions,
        cpu_seconds_per_million_with_intake: of(|run| run.cpu_seconds_with_intake) / millions,
        peak_rss_mib: of(|run| run.peak_rss_mib),
        largest_rss_mib: largest(&values(|run| run.peak_rss_mib)),
        all,
    })
}

fn run_once(binary: &Path, commands: u64, seed: u64) -> Result<Run> {
    let (source, target) = pair()?;
    let state = tempfile::tempdir()?;
    let keyferry = Keyferry::sync(binary, &source.url(), &target.url())
        .args(["--log-level", "warn", "--state-dir"])
        .arg(state.path())
        .spawn()?;
    let before = keyferry.wait_for(Duration::from_secs(60), |progress| progress.in_step)?;
    let offset = before.applied_offset.context("progress in step has no offset")?;

    // The target takes nothing, and nothing is lost: what is sent to it waits.
    target.stop_signal()?;
    let idle = usage::of(keyferry.pid())?;
    data::fill_strings(&source.url(), commands, STRING, seed)?;
    mark::set(&source, seed)?;
    let end: u64 = source.info("replication")?.get("master_repl_offset").context("INFO has no offset")?.parse()?;
    let full = keyferry.wait_for(native::PATIENCE, |now| now.bytes >= before.bytes + (end - offset))?;
    // Otherwise a pause between two tries would be in the time.
    ensure!(full.phase == "incremental", "the target was given up while it was stopped: {full:?}");

    let stopped = usage::of(keyferry.pid())?;
    let target_stopped = usage::of(target.pid())?;
    let start = Instant::now();
    target.cont_signal()?;
    mark::wait(&target, seed)?;
    let seconds = start.elapsed().as_secs_f64();
    let drained = usage::of(keyferry.pid())?;
    let target_drained = usage::of(target.pid())?;

    keyferry.signal(Signal::TERM)?;
    let exit = keyferry.wait_exit(Duration::from_secs(10))?;
    ensure!(exit.code() == 130, "keyferry ended with {}: {}", exit.status, exit.stderr);
    // A task that was interrupted keeps its position there.
    ensure!(source.keys()? + 1 == target.keys()?, "the target holds another number of keys");

    native::reset(&target)?;
    // The drain has found a target whose memory was new to it.
    redis::cmd("MEMORY").arg("PURGE").exec(&mut target.conn()?)?;
    let target_empty = usage::of(target.pid())?;
    let plain_seconds = plain::write(&target, commands, seed)?;
    let target_full = usage::of(target.pid())?;
    Ok(Run {
        seconds,
        plain_seconds,
        cpu_seconds: drained.cpu_seconds - stopped.cpu_seconds,
        cpu_seconds_with_intake: drained.cpu_seconds - idle.cpu_seconds,
        peak_rss_mib: drained.peak_rss_mib,
        target_cpu_seconds: target_drained.cpu_seconds - target_stopped.cpu_seconds,
        plain_target_cpu_seconds: target_full.cpu_seconds - target_empty.cpu_seconds,
    })
}
