//! The product's binary, built for release.

use std::path::PathBuf;

use anyhow::Result;

use crate::shell;

/// Builds the product and returns the path of its binary.
pub(crate) fn build() -> Result<PathBuf> {
    shell::run(&mut shell::cargo(&["build", "--release", "--locked", "-p", "keyferry-cli"]))?;
    Ok(shell::target_dir().join("release/keyferry"))
}
