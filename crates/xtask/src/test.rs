//! Runs the tests of the workspace.

use anyhow::Result;

use crate::{servers, shell};

/// Runs the tests whose names match any filter, all without one, and then the examples of the documentation.
pub(crate) fn run(filters: &[String]) -> Result<()> {
    nextest()?;
    servers::require(&["setpriv"])?;
    servers::fetch_for_tests()?;
    shell::run(shell::cargo(&["nextest", "run", "--workspace"]).args(filters))?;
    if filters.is_empty() {
        shell::run(&mut shell::cargo(&["test", "--quiet", "--doc", "--workspace"]))?;
    }
    Ok(())
}

fn nextest() -> Result<()> {
    if shell::succeeds(&mut shell::cargo(&["nextest", "--version"])) {
        return Ok(());
    }
    eprintln!("cargo-nextest is missing; installing it");
    shell::run(&mut shell::cargo(&["install", "cargo-nextest", "--locked"]))
}
