//! Everything that must pass before a change goes in.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::{fuzz, shell, test, tidy};

/// Seconds for each fuzz target: a smoke run, the long ones are by hand.
const FUZZ_SECONDS: u64 = 30;

/// Runs all steps; the first that fails ends it.
pub(crate) fn run() -> Result<()> {
    type Step = (&'static str, fn() -> Result<()>);
    let steps: [Step; 6] = [
        ("format", || shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))),
        ("tidy", tidy::run),
        ("clippy", || {
            shell::run(&mut shell::cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-D",
                "warnings",
            ]))
        }),
        ("documentation", || {
            let mut command = shell::cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
            shell::run(command.env("RUSTDOCFLAGS", "-D warnings"))
        }),
        ("tests", || test::run(&[])),
        ("fuzz", || fuzz::run(FUZZ_SECONDS)),
    ];
    let mut times = Vec::new();
    for (name, step) in steps {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        step().with_context(|| format!("{name} failed"))?;
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("=== {name}: {seconds:.1} s");
        times.push(format!("{name} {seconds:.0} s"));
    }
    eprintln!("\nall passed: {}", times.join(", "));
    Ok(())
}
