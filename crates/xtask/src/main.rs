//! `cargo xtask`: builds, tests, measures and shows Keyferry.

mod bench;
mod chaos;
mod ci;
mod demo;
mod fuzz;
mod matrix;
mod product;
mod servers;
mod shell;
mod stop;
mod test;
mod tidy;

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, tests, measures and shows Keyferry.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Fetch real servers: all, or those named (redis-7.0, valkey-8.1, ...)
    Servers {
        /// Names as `scripts/get-servers.sh --list` shows them
        versions: Vec<String>,
    },
    /// Run all tests, or those whose names match
    Test {
        /// Filters of `cargo nextest run`
        filters: Vec<String>,
    },
    /// Everything that must pass before a change goes in
    Ci,
    /// Check what the compiler does not: crate layers, file sizes, error pages, links
    Tidy,
    /// Run each fuzz target on its corpus for a while
    Fuzz {
        /// Seconds for each target
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Migrate from every server to every other: all types, all write commands
    Matrix {
        /// Only from these (redis-7.0, valkey-8.1, ...)
        #[arg(long, value_name = "SERVER")]
        source: Vec<String>,
        /// Only to these
        #[arg(long, value_name = "SERVER")]
        target: Vec<String>,
        /// Leave out the calls that contain this, to see what comes behind a known fault; the run fails then
        #[arg(long, value_name = "TEXT")]
        without: Vec<String>,
        /// Sources at once
        #[arg(long, default_value = "1")]
        jobs: NonZeroUsize,
    },
    /// Let everything go wrong at once, by a plan made from a seed, and look whether anything is lost or doubled
    Chaos {
        /// The time in which faults happen
        #[arg(long, default_value_t = 120)]
        seconds: u64,
        /// Names the plan [default: from the clock]
        #[arg(long)]
        seed: Option<u64>,
        /// The build of the tests, with all assertions, instead of the one for release
        #[arg(long)]
        debug: bool,
    },
    /// Show a whole migration between two real servers under load
    Demo {
        /// Keys of the data set
        #[arg(long, default_value_t = 300_000)]
        keys: u64,
        /// Commands a second of the write load
        #[arg(long, default_value_t = 3_000)]
        rate: u64,
    },
    /// Measure full and incremental sync, draining and delay against the servers themselves, and judge the figures
    Bench {
        /// Runs of which the median is taken
        #[arg(long, default_value_t = 5)]
        runs: u32,
        /// Where the figures go
        #[arg(long, default_value = "target/bench/full.json")]
        json: PathBuf,
        /// Keys of the string data set; other sizes follow from it: SETs of the incremental load (half), SETs of the
        /// drain (one and a half), seconds of the delay (one for 100 000, 2 to 20)
        #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
        keys: u64,
        /// Only this part; can be given several times
        #[arg(long, value_name = "NAME")]
        only: Vec<bench::Part>,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Servers { versions } => servers::fetch(&versions),
        Task::Test { filters } => test::run(&filters),
        Task::Ci => ci::run(),
        Task::Tidy => tidy::run(),
        Task::Fuzz { seconds } => fuzz::run(seconds),
        Task::Matrix { source, target, without, jobs } => matrix::run(&source, &target, &without, jobs),
        Task::Chaos { seconds, seed, debug } => chaos::run(seconds, seed, debug),
        Task::Demo { keys, rate } => demo::run(keys, rate),
        Task::Bench { runs, json, keys, only } => bench::run(runs, &json, keys, &only),
    }
}
