//! What stands in a report. The field names of its JSON form are stable; `format` counts changes of what they mean.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::history::Replicas;

/// The meaning of the fields.
pub(super) const FORMAT: u32 = 1;

/// One migration: from where a task began anew, over all its processes, to now or to its end.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) format: u32,
    pub(super) task: String,
    /// When it was written, and by which version of Keyferry.
    pub(super) written: String,
    pub(super) written_by: String,
    /// `copied`, `synced`, `cut_over`, `interrupted` or `failed`, as the last process has ended; `not_ended` when it runs, or
    /// was killed.
    pub(super) state: &'static str,
    pub(super) source: Server,
    pub(super) target: Server,
    pub(super) settings: Settings,
    pub(super) times: Times,
    pub(super) offsets: Offsets,
    pub(super) full_copy: FullCopy,
    pub(super) processes: Processes,
    pub(super) cutover: Option<Cutover>,
    pub(super) cutovers_undone: Vec<CutoverUndone>,
    pub(super) differences: Differences,
    pub(super) comparisons: Vec<Comparison>,
    pub(super) precheck: Option<Value>,
    pub(super) history: History,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Server {
    /// Without a user and a password.
    pub(super) url: String,
    /// In the order in which they were met.
    pub(super) versions: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Settings {
    pub(super) rules: Vec<String>,
    pub(super) on_conflict: String,
    pub(super) on_unsupported: String,
}

/// `null` for what has not come.
#[derive(Debug, Default, Serialize)]
pub(super) struct Times {
    pub(super) begun: Option<String>,
    /// The last full copy: from when it was decided on until all of it was on the target.
    pub(super) full_copy_begun: Option<String>,
    pub(super) full_copy_done: Option<String>,
    pub(super) full_copy_seconds: Option<f64>,
    /// For the first time behind the last full copy.
    pub(super) in_step: Option<String>,
    pub(super) cut_over: Option<String>,
    pub(super) ended: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Offsets {
    /// Where the stream begins.
    pub(super) full_copy: Option<u64>,
    /// What is known to be on the target.
    pub(super) applied: Option<u64>,
    /// Behind the last write of the source.
    pub(super) cut_over: Option<u64>,
    /// From the beginning of the stream to what is applied.
    pub(super) stream_bytes: Option<u64>,
}

/// What the last full copy has brought.
#[derive(Debug, Default, Serialize)]
pub(super) struct FullCopy {
    /// All of it is on the target, and all of it is known to be counted here.
    pub(super) complete: bool,
    pub(super) keys: u64,
    pub(super) bytes: u64,
    pub(super) by_type: Vec<OfType>,
    pub(super) by_database: Vec<OfDatabase>,
    /// Keys that the target has kept of its own.
    pub(super) kept: u64,
    /// What the target cannot hold: how it was treated, and how often.
    pub(super) unsupported: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct OfType {
    pub(super) r#type: String,
    pub(super) keys: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct OfDatabase {
    pub(super) database: u32,
    pub(super) target_database: u32,
    pub(super) keys: u64,
    pub(super) bytes: u64,
    pub(super) by_type: Vec<OfType>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Processes {
    /// How often the task was started again.
    pub(super) restarts: u64,
    /// How often it went on where something of it was on the target.
    pub(super) resumes: u64,
    /// How often everything was copied from the beginning.
    pub(super) full_copies: u64,
    /// How often a connection was lost, or the beginning decided again.
    pub(super) retries: u64,
    pub(super) received_bytes: u64,
    pub(super) list: Vec<Process>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Process {
    pub(super) begun: String,
    /// `null` for one that runs or was killed.
    pub(super) ended: Option<String>,
    pub(super) state: &'static str,
    pub(super) keyferry: String,
    pub(super) retries: u64,
    pub(super) offset: Option<u64>,
    pub(super) code: Option<String>,
    pub(super) error: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Cutover {
    pub(super) at: String,
    pub(super) write_pause_ms: u64,
    pub(super) offset: u64,
    /// Writes of clients to the old side behind the last step, which the new side lacks.
    pub(super) late_writes: u64,
    /// What was seen of the source behind the last step when it was not what was paused any more: what it has answered behind
    /// the offset may be lost. `null`: nothing.
    pub(super) source_changed: Option<String>,
    /// What the replicas of the target had in front of the last step. `null`: there were none, or it did not tell.
    pub(super) target_replicas: Option<Replicas>,
}

#[derive(Debug, Serialize)]
pub(super) struct CutoverUndone {
    pub(super) at: String,
    pub(super) code: String,
    pub(super) error: String,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Differences {
    /// What the last comparison said that has looked at both sides of the task by its rules, and was begun behind the full
    /// copy: `null` without one.
    pub(super) equal: Option<bool>,
    /// What that one has found that is left.
    pub(super) left: u64,
    /// Keys that all of them have copied again or removed.
    pub(super) repaired: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Comparison {
    pub(super) at: String,
    pub(super) source: String,
    pub(super) target: String,
    /// How deep it has looked, and at what.
    pub(super) options: Vec<String>,
    /// Differences that were found; of these so many were repaired, and so many are left.
    pub(super) found: u64,
    pub(super) repaired: u64,
    pub(super) left: u64,
    /// The last line of `keyferry compare --output json`.
    pub(super) result: Value,
}

/// How much of the history there is.
#[derive(Debug, Default, Serialize)]
pub(super) struct History {
    pub(super) lines: u64,
    /// Torn or damaged ones, or of another version; in all of the history.
    pub(super) unreadable: u64,
    /// Those whose numbers are missing.
    pub(super) missing: u64,
    /// The beginning of the migration is in it.
    pub(super) from_the_beginning: bool,
}
