//! The folder of one server.

use std::{
    path::{Path, PathBuf},
    process,
    sync::Once,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// First part of the folder's name; the owner's process id follows.
const PREFIX: &str = "keyferry-testkit-";

/// A temporary folder that holds configuration, log and data of one server.
#[derive(Debug)]
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Result<Self> {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        let dir = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", process::id()))
            .tempdir()
            .context("make a folder for a server")?;
        Ok(Self(dir))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The configuration file.
    pub(super) fn config(&self) -> PathBuf {
        self.path().join("server.conf")
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.path().join("server.log")
    }

    /// What the server prints before it opens its log.
    pub(super) fn console(&self) -> PathBuf {
        self.path().join("console.log")
    }
}

/// Removes folders whose owner was killed and could not do it.
fn sweep() {
    let Ok(entries) = std::env::temp_dir().read_dir() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if let Some(owner) = owner
            && owner.parse::<u32>().is_ok()
            && !Path::new("/proc").join(owner).exists()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
