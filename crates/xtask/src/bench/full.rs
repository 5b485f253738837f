//! The full copy.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use keyferry_testkit::{
    Keyferry,
    oracle::{self, Options},
};
use serde::Serialize;

use super::{largest, median, native, pair, usage};
use crate::stop;

/// Keys that are compared after each run; their number is compared for all.
const SAMPLE: usize = 2_000;

/// The figures of one data set: medians, and all runs.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) keys: u64,
    pub(super) native_seconds: f64,
    pub(super) seconds: f64,
    pub(super) ratio: f64,
    pub(super) cpu_seconds: f64,
    pub(super) cpu_seconds_per_million_keys: f64,
    pub(super) peak_rss_mib: f64,
    /// Of all runs.
    pub(super) largest_rss_mib: f64,
    all_native_seconds: Vec<f64>,
    all_seconds: Vec<f64>,
    all_cpu_seconds: Vec<f64>,
    all_peak_rss_mib: Vec<f64>,
}

/// Fills a source and copies it, natively and with the product, so many times.
pub(super) fn measure(name: &str, binary: &Path, runs: u32, fill: impl Fn(&str) -> Result<()>) -> Result<Figures> {
    let (source, target) = pair()?;
    println!("{name}: writing the data set ...");
    fill(&source.url())?;
    let keys = source.keys()?;
    let (mut natives, mut ours, mut cpu, mut rss) = (vec![], vec![], vec![], vec![]);
    for run in 1..=runs {
        stop::check()?;
        natives.push(native::copy(&source, &target)?);
        native::reset(&target)?;
        let state = tempfile::tempdir()?;
        let start = Instant::now();
        let keyferry = Keyferry::sync(binary, &source.url(), &target.url())
            .progress("none")
            .args(["--full-only", "--log-level", "warn", "--state-dir"])
            .arg(state.path())
            .spawn()?;
        let usage = usage::until_exit(&keyferry, native::PATIENCE)?;
        ours.push(start.elapsed().as_secs_f64());
        cpu.push(usage.cpu_seconds);
        rss.push(usage.peak_rss_mib);
        let exit = keyferry.wait_exit(native::PATIENCE)?;
        ensure!(exit.code() == 0, "keyferry failed: {}", exit.stderr);
        let copied = target.keys()?;
        ensure!(copied == keys, "the target holds {copied} keys instead of {keys}");
        let sample = oracle::compare_sample(&source.url(), &target.url(), SAMPLE, &Options::default())?;
        ensure!(sample.is_equal(), "the copy differs: {sample}");
        native::reset(&target)?;
        println!(
            "{name} {run}/{runs}: native {:.2} s, ours {:.2} s, CPU {:.2} s, {:.1} MiB",
            natives[natives.len() - 1],
            ours[ours.len() - 1],
            usage.cpu_seconds,
            usage.peak_rss_mib
        );
    }
    Ok(Figures {
        keys,
        native_seconds: median(&natives),
        seconds: median(&ours),
        ratio: median(&ours) / median(&natives),
        cpu_seconds: median(&cpu),
        cpu_seconds_per_million_keys: median(&cpu) / keys as f64 * 1e6,
        peak_rss_mib: median(&rss),
        largest_rss_mib: largest(&rss),
        all_native_seconds: natives,
        all_seconds: ours,
        all_cpu_seconds: cpu,
        all_peak_rss_mib: rss,
    })
}
