//! Following a burst of writes.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use keyferry_testkit::{Server, data};
use serde::Serialize;

use super::{STRING, largest, mark, median, pair, usage};

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
    pub(super) cpu_seconds_per_million: f64,
    pub(super) peak_rss_mib: f64,
    /// Of all runs.
    pub(super) largest_rss_mib: f64,
    all_native: Vec<Seconds>,
    all: Vec<Seconds>,
    all_cpu_seconds: Vec<f64>,
    all_peak_rss_mib: Vec<f64>,
}

/// Follows bursts of so many SETs, natively and with the product, so many times.
pub(super) fn measure(binary: &Path, runs: u32, commands: u64) -> Result<Figures> {
    let (mut natives, mut ours, mut cpu, mut rss) = (vec![], vec![], vec![], vec![]);
    for run in 1..=runs {
        let (source, target) = pair()?;
        data::fill_strings(&source.url(), 1_000, STRING, 1)?;
        target.replicate(&source)?;
        natives.push(burst(&source, &target, commands, u64::from(run))?);

        let (source, target) = pair()?;
        data::fill_strings(&source.url(), 1_000, STRING, 1)?;
        let (done, used) =
            usage::while_following(binary, &source, &target, || burst(&source, &target, commands, u64::from(run)))?;
        ours.push(done);
        cpu.push(used.cpu_seconds);
        rss.push(used.peak_rss_mib);
        // A task that was interrupted keeps its position there.
        ensure!(source.keys()? + 1 == target.keys()?, "the target holds another number of keys");
        let (native, ours) = (&natives[natives.len() - 1], &ours[ours.len() - 1]);
        println!(
            "incremental {run}/{runs}: native {:.2} s ({:.3} s after the end), ours {:.2} s ({:.3} s)",
            native.from_start, native.from_end, ours.from_start, ours.from_end
        );
    }
    Ok(Figures {
        commands,
        native: medians(&natives),
        ours: medians(&ours),
        cpu_seconds_per_million: median(&cpu) / commands as f64 * 1e6,
        peak_rss_mib: median(&rss),
        largest_rss_mib: largest(&rss),
        all_native: natives,
        all: ours,
        all_cpu_seconds: cpu,
        all_peak_rss_mib: rss,
    })
}

fn burst(source: &Server, target: &Server, commands: u64, seed: u64) -> Result<Seconds> {
    // A source sends nothing to a replica before it has heard of it again behind the snapshot, up to a second later.
    mark::set(source, 0)?;
    mark::wait(target, 0)?;
    let start = Instant::now();
    data::fill_strings(&source.url(), commands, STRING, seed + 100)?;
    mark::set(source, seed)?;
    let end = Instant::now();
    mark::wait(target, seed)?;
    Ok(Seconds { from_start: start.elapsed().as_secs_f64(), from_end: end.elapsed().as_secs_f64() })
}

fn medians(runs: &[Seconds]) -> Seconds {
    let of = |pick: fn(&Seconds) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
    Seconds { from_start: of(|run| run.from_start), from_end: of(|run| run.from_end) }
}
