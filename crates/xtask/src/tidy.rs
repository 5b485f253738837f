//! Checks what the compiler does not. Each check returns what it has found wrong, one line each.

mod crates;
mod errors;
mod files;
mod links;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::shell;

/// Runs all checks and prints everything they find.
pub(crate) fn run() -> Result<()> {
    let root = shell::root();
    let files = tree(root)?;
    let mut faults = crates::check(root)?;
    faults.extend(files::check(root, &files)?);
    faults.extend(errors::check(root)?);
    faults.extend(links::check(root, &files)?);
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    if faults.is_empty() { Ok(()) } else { bail!("{} faults", faults.len()) }
}

/// All files of the repository that are ours: nothing hidden, nothing built, nothing fetched.
fn tree(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let built = ["target", "node_modules", "artifacts"].contains(&&*name);
            if name.starts_with('.') || built || entry.file_type()?.is_symlink() {
                continue;
            }
            if entry.file_type()?.is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.sort();
    Ok(files)
}

/// A path as it is written from the root.
fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
