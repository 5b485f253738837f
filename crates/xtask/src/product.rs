//! The product's binary.

use std::path::PathBuf;

use anyhow::Result;

use crate::shell;

/// Builds the product for release and returns the path of its binary.
pub(crate) fn build() -> Result<PathBuf> {
    shell::run(&mut shell::cargo(&["build", "--release", "--locked", "-p", "keyferry-cli"]))?;
    Ok(shell::target_dir().join("release/keyferry"))
}

/// Builds the product as the tests do, with all assertions, and returns the path of its binary.
pub(crate) fn build_for_tests() -> Result<PathBuf> {
    shell::run(&mut shell::cargo(&["build", "--locked", "-p", "keyferry-cli"]))?;
    Ok(shell::target_dir().join("debug/keyferry"))
}
