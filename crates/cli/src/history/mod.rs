//! What has happened to a task, kept in the state directory for `keyferry report`: see docs/report.md.
//!
//! - `entry.rs`: what a line says; `writer.rs`: who notes it; `disk.rs`: the thread that writes it; `reader.rs`: what a file
//!   says.
//!
//! Invariants:
//! - A line is one write to a file that is opened to append, with an end of line on either side: a process that is killed
//!   leaves a torn line at most, and the next line does not run into it. Whole lines are whole JSON objects; what is torn is
//!   none, and is passed over and counted.
//! - A history that cannot be written stops nothing, and one that is written slowly holds up nothing for longer than a moment. What is missing shows in the numbers of the lines.
//! - Two files of bounded size: when one is full, it takes the place of the older one.
//! - No key, no value and no password is in it, but for what the user has put into the rules.

mod disk;
mod entry;
mod reader;
mod writer;

pub(crate) use entry::{Entry, Line, Moved, Replicas, Settings};
pub(crate) use reader::{Lines, missing, read};
pub(crate) use writer::{History, OfComparison};

use std::path::{Path, PathBuf};

/// The two files of a task, the newer one first.
fn files(dir: &Path, task: &str) -> [PathBuf; 2] {
    [dir.join(format!("{task}.history")), dir.join(format!("{task}.history.old"))]
}
