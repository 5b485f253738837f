//! A short time of everything going wrong at once; `cargo xtask chaos` does it for longer.

use std::{path::PathBuf, time::Duration};

use keyferry_testkit::chaos::{self, Spec};

fn run(seed: u64) {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_keyferry"));
    let spec = Spec { binary, seed, length: Duration::from_secs(24), check: || Ok(()) };
    let outcome = chaos::run(&spec, |line| eprintln!("{line}")).unwrap_or_else(|e| panic!("{e:#}"));
    eprintln!("{outcome}");
}

/// Both servers keep what they have answered.
#[test]
fn chaos_with_durable_servers() {
    run(20);
}

/// Both fall back to their last snapshot when they are killed.
#[test]
fn chaos_with_servers_that_forget() {
    run(23);
}
