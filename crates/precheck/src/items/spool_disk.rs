//! There is disk for what waits until the target has taken it.
//!
//! Failed: the directory cannot be there, or has less room than the smallest spool. Warning: the disk is full before the
//! limit is reached, or the data of the source is more than what may wait, so that reading the source can stop in the
//! full copy.

use std::path::Path;

use crate::{
    Source,
    facts::Facts,
    report::{Checked, Verdict, size},
};

/// The smallest limit that can be chosen.
const SMALLEST: u64 = 16 << 20;
const REMEDY: &str = "choose a larger disk with --state-dir, or another --spool-limit";

pub(super) fn check(facts: &mut Facts<'_>) -> Checked {
    let (dir, asked) = (facts.request.spool_dir, facts.request.spool_limit);
    if let Source::File(_) = facts.request.source {
        return Err(Verdict::skipped("a dump file does not go through the spool"));
    }
    let chosen = facts.chosen();
    let unusable = |why: String| Verdict::failed(why, "choose a directory that this user may write with --state-dir");
    let free = free(dir).map_err(|e| unusable(format!("the state directory cannot be used: {e}")))?;
    let limit = match asked {
        Some(limit) => limit,
        None => keyferry_spool::default_limit(dir).map_err(|e| unusable(e.to_string()))?,
    };
    // Whole databases go through it, and values of a snapshot are rarely larger than in memory.
    let expected = facts.source().ok().and_then(|source| source.data_bytes(chosen));
    let room = limit.min(free);
    let shown = format!("{} are free for a spool of at most {}", size(free), size(limit));
    let verdict = match expected {
        _ if free < SMALLEST => Verdict::failed(format!("only {} are free for the spool", size(free)), REMEDY),
        _ if limit > free => Verdict::warning(format!("{shown}: the disk is full before the limit is reached"), REMEDY),
        Some(expected) if expected > room => {
            let reason = format!(
                "{shown}, and the source holds about {}: if the target is much slower than the source, reading stops \
                 meanwhile",
                size(expected)
            );
            Verdict::warning(reason, REMEDY)
        }
        _ => Verdict::passed(shown),
    };
    Ok(verdict.with("free", free).with("limit", limit).with_some("expected_snapshot", expected))
}

/// Bytes that are free where the directory is, or is going to be.
fn free(dir: &Path) -> Result<u64, String> {
    let there = dir.ancestors().map(|a| if a.as_os_str().is_empty() { Path::new(".") } else { a });
    let there = there.into_iter().find(|a| a.exists()).unwrap_or(Path::new("/"));
    if !there.is_dir() {
        return Err(format!("{} is no directory", there.display()));
    }
    if rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_err() {
        return Err(format!("{} cannot be written by this user", there.display()));
    }
    let stat = rustix::fs::statvfs(there).map_err(|e| format!("{}: {e}", there.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
