//! Measures the product against the servers' own replication, in the same run, turn by turn.
//!
//! Both copy from the same source to the same target, which is emptied in between. The target's own work is in both;
//! the ratio says what the product adds.

mod full;
mod incremental;
mod native;
mod usage;

use std::{fs, path::Path, thread};

use anyhow::{Context, Result};
use keyferry_testkit::{Server, data};
use serde::Serialize;

use crate::{product, servers, shell, stop};

const VERSION: &str = "redis-7.0";
const SEED: u64 = 7;
/// Bytes of a string.
const STRING: usize = 100;

/// All figures, as they are written.
#[derive(Debug, Serialize)]
struct Figures {
    server: String,
    cpus: usize,
    runs: u32,
    strings: full::Figures,
    mixed: full::Figures,
    incremental: incremental::Figures,
}

/// Runs everything and writes the figures.
pub(crate) fn run(runs: u32, json: &Path, keys: u64) -> Result<()> {
    let binary = product::build()?;
    servers::require(&["setpriv"])?;
    servers::fetch(&[VERSION.into()])?;
    stop::listen()?;
    let runs = runs.max(1);
    let strings = full::measure("strings", &binary, runs, |url| data::fill_strings(url, keys, STRING, SEED))?;
    let mixed = full::measure("mixed", &binary, runs, |url| data::fill_bench_mixed(url, keys / 20, SEED))?;
    let incremental = incremental::measure(&binary, runs, keys / 2)?;
    let cpus = thread::available_parallelism()?.get();
    let figures = Figures { server: server_version()?, cpus, runs, strings, mixed, incremental };
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

impl Figures {
    fn print(&self) {
        println!("\nserver {}, {} CPUs, median of {} runs\n", self.server, self.cpus, self.runs);
        println!(
            "full copy  {:>9} {:>10} {:>10} {:>7} {:>9} {:>11} {:>9}",
            "keys", "native s", "ours s", "ratio", "CPU s", "CPU s/1M", "RSS MiB"
        );
        for (name, full) in [("strings", &self.strings), ("mixed", &self.mixed)] {
            println!(
                "{name:<10} {:>9} {:>10.2} {:>10.2} {:>7.2} {:>9.2} {:>11.2} {:>9.1}",
                full.keys,
                full.native_seconds,
                full.seconds,
                full.ratio,
                full.cpu_seconds,
                full.cpu_seconds_per_million_keys,
                full.peak_rss_mib
            );
        }
        let incremental = &self.incremental;
        println!("\nincremental, {} SETs       native      ours", incremental.commands);
        println!(
            "in step after their start  {:>6.2} s  {:>6.2} s",
            incremental.native.from_start, incremental.ours.from_start
        );
        println!(
            "in step after their end    {:>6.3} s  {:>6.3} s\n",
            incremental.native.from_end, incremental.ours.from_end
        );
    }
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

#[cfg(test)]
mod tests {
    #[test]
    fn median() {
        assert_eq!(super::median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
