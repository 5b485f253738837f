//! What would go wrong, said before anything is written: one item after the other, each with a verdict, a reason and a
//! remedy.
//!
//! An item is one file in `items/`. It asks the two servers, looks at what they say, and changes nothing on either. What
//! several items need is asked once and lies in `Facts`. No item fails because something cannot be known: a value that a
//! server hides is a warning.
//!
//! Knows nothing of how data is moved, of terminals or of exit codes.

mod facts;
mod items;
mod needed;
mod probe;
mod rate;
mod report;
mod sample;
mod server;

use std::{path::Path, time::Duration};

pub use items::Item;
use keyferry_keyspace::objects::Objects;
use keyferry_model::{OnConflict, OnUnsupported};
use keyferry_net::Endpoint;
pub use report::{Finding, Report, Status};

use crate::facts::Facts;

/// What is going to be done, and what is to be looked at beforehand.
pub struct Request<'a> {
    /// Where the data is.
    pub source: Source<'a>,
    /// Where it goes.
    pub target: &'a Endpoint,
    /// What is migrated.
    pub objects: &'a Objects,
    /// What happens to keys that the target holds already.
    pub on_conflict: OnConflict,
    /// What happens to data of a kind that the target cannot hold.
    pub on_unsupported: OnUnsupported,
    /// By how much deadlines on the target are later.
    pub ttl_grace: Duration,
    /// The name of the task.
    pub task: &'a str,
    /// Names that a task the other way round may have: what a cut-over calls it, and what it is called without a name.
    pub reverse_tasks: &'a [String],
    /// Where received bytes are going to be kept.
    pub spool_dir: &'a Path,
    /// Bytes that may be kept there; `None`: the spool's own default.
    pub spool_limit: Option<u64>,
    /// For how long the source is watched to learn how fast it is written to.
    pub sample: Duration,
    /// Items that are not looked at.
    pub skip: &'a [Item],
}

/// Where the data is.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A server, which is asked.
    Server(&'a Endpoint),
    /// A dump file of so many bytes, into which nobody looks. Items that need a server are skipped.
    File(u64),
}

/// Looks at every item that is not to be skipped, in the order of [`Item::ALL`].
pub async fn check(request: &Request<'_>) -> Report {
    let mut facts = Facts::gather(request).await;
    let mut findings = Vec::with_capacity(Item::ALL.len());
    for item in Item::ALL {
        let verdict = match request.skip.contains(&item) {
            true => report::Verdict::skipped("left out on request"),
            false => items::look_at(item, &mut facts).await,
        };
        findings.push(verdict.of(item));
    }
    Report::new(findings)
}
