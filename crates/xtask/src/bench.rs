//! Measures the product against the servers' own replication, in the same run, turn by turn.
//!
//! Both copy from the same source to the same target, which is emptied in between. The target's own work is in both;
//! the ratio says what the product adds.

mod delay;
mod drain;
mod full;
mod goals;
mod incremental;
mod mark;
mod native;
mod plain;
mod print;
mod usage;

use std::{fs, path::Path, thread};

use anyhow::{Context, Result};
use clap::ValueEnum;
use keyferry_testkit::{Server, data};
use serde::Serialize;

use crate::{product, servers, shell, stop};

const VERSION: &str = "redis-7.0";
const SEED: u64 = 7;
/// Bytes of a string.
const STRING: usize = 100;

/// What can be measured on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Full copy of strings
    Strings,
    /// Full copy of several types
    Mixed,
    /// A burst of writes to a source that is followed
    Incremental,
    /// A full spool, against a plain client
    Drain,
    /// Delay at 20 000 writes a second
    Delay,
}

/// All figures, as they are written; None for what was left out.
#[derive(Debug, Serialize)]
struct Figures {
    server: String,
    cpus: usize,
    runs: u32,
    strings: Option<full::Figures>,
    mixed: Option<full::Figures>,
    incremental: Option<incremental::Figures>,
    drain: Option<drain::Figures>,
    delay: Option<delay::Figures>,
    goals: Vec<goals::Goal>,
}

/// Runs everything, or only some parts, and writes the figures.
pub(crate) fn run(runs: u32, json: &Path, keys: u64, only: &[Part]) -> Result<()> {
    let binary = product::build()?;
    servers::require(&["setpriv"])?;
    servers::fetch(&[VERSION.into()])?;
    stop::listen()?;
    let runs = runs.max(1);
    let cpus = thread::available_parallelism()?.get();
    let wanted = |part| only.is_empty() || only.contains(&part);
    let mut figures = Figures {
        server: server_version()?,
        cpus,
        runs,
        strings: None,
        mixed: None,
        incremental: None,
        drain: None,
        delay: None,
        goals: vec![],
    };
    if wanted(Part::Strings) {
        let fill = |url: &str| data::fill_strings(url, keys, STRING, SEED);
        figures.strings = Some(full::measure("strings", &binary, runs, fill)?);
    }
    if wanted(Part::Mixed) {
        let fill = |url: &str| data::fill_bench_mixed(url, keys / 20, SEED);
        figures.mixed = Some(full::measure("mixed", &binary, runs, fill)?);
    }
    if wanted(Part::Incremental) {
        figures.incremental = Some(incremental::measure(&binary, runs, keys / 2)?);
    }
    if wanted(Part::Drain) {
        figures.drain = Some(drain::measure(&binary, runs, keys * 3 / 2)?);
    }
    if wanted(Part::Delay) {
        // 20 s with 2 million keys. Fewer than 2 s have too few groups for a p99.
        figures.delay = Some(delay::measure(&binary, runs, (keys / 100_000).clamp(2, 20))?);
    }
    figures.goals = goals::judge(&figures);
    figures.print();
    let path = shell::root().join(json);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&path, serde_json::to_string_pretty(&figures)? + "\n")
        .with_context(|| format!("write {}", path.display()))?;
    println!("written to {}", json.display());
    Ok(())
}

/// A pair of servers as all measurements use them.
fn pair() -> Result<(Server, Server)> {
    // Enough for everything a measurement writes while a snapshot is under way, so that no link is cut.
    let start = || {
        Server::builder(VERSION)
            .arg("repl-diskless-sync yes")
            .arg("repl-diskless-sync-delay 0")
            .arg("client-output-buffer-limit replica 0 0 0")
            .start()
    };
    Ok((start()?, start()?))
}

fn server_version() -> Result<String> {
    let info = Server::start(VERSION)?.info("server")?;
    info.get("redis_version").cloned().context("INFO has no version")
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    #[test]
    fn median() {
        assert_eq!(super::median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
