//! What a line of a history says. What is added later is left out by who does not know it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    /// This machine's time, in Unix milliseconds.
    pub(crate) at: u64,
    /// Names the process that wrote it.
    pub(crate) run: String,
    /// Which line of that process it is, from 0 on.
    pub(crate) n: u64,
    #[serde(flatten)]
    pub(crate) entry: Entry,
}

/// What has happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// A process has begun with the task.
    Started(Settings),
    /// What was looked at before a task began anew, as `keyferry check --output json` shows it.
    Precheck { report: Value },
    /// It is decided where the task begins: see `keyferry_engine::Begun`.
    Begun {
        #[serde(default)]
        copy: u64,
        source: Option<String>,
        target: String,
        offset: u64,
        resumed: bool,
        copied: bool,
        counted: bool,
    },
    /// All of a database of the snapshot has been read.
    Database(Moved),
    /// All of the snapshot has been read: so many keys, over all databases.
    ReadAll { keys: u64 },
    /// The snapshot is on the target, and the stream up to this offset.
    Copied { offset: u64 },
    /// The target has lost a part of the snapshot.
    FellBack,
    /// Both sides are in step for the first time in this process behind the snapshot.
    InStep { offset: u64 },
    /// A connection is lost, or the beginning is decided again.
    Retrying { side: Option<String>, error: Option<String> },
    /// The target is the place to write: see `keyferry_engine::CutoverReport`. It is said once more when all of it is over.
    CutOver {
        write_pause_ms: u64,
        offset: u64,
        #[serde(default)]
        late_writes: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_changed: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target_replicas: Option<Replicas>,
    },
    /// A cut-over was undone, or refused.
    CutoverUndone { code: String, error: String },
    /// What `keyferry compare`, begun at this time, has found: its last line. `options`: how deep it has looked; `rules`: at
    /// what.
    Compared {
        #[serde(default)]
        begun: u64,
        source: String,
        target: String,
        options: Vec<String>,
        #[serde(default)]
        rules: Vec<String>,
        result: Value,
    },
    /// Older lines than those in front of this one are gone.
    Cut,
    /// A process has ended.
    Ended(Ended),
}

/// What a process was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Version of Keyferry.
    pub(crate) keyferry: String,
    /// Address of the source, or `file:` and a path; without a user and a password.
    pub(crate) source: String,
    /// Address of the target.
    pub(crate) target: String,
    /// The rules that choose, as options.
    pub(crate) rules: Vec<String>,
    pub(crate) on_conflict: String,
    pub(crate) on_unsupported: String,
    pub(crate) restart: bool,
}

/// What came out of a database of the snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Moved {
    /// Its number at the source.
    pub(crate) database: u32,
    /// Its number at the target.
    pub(crate) target_database: u32,
    /// Keys and bytes by type.
    pub(crate) types: BTreeMap<String, (u64, u64)>,
}

/// How a process has ended, and what it counted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// `copied`, `synced`, `cut_over`, `interrupted` or `failed`.
    pub(crate) state: String,
    pub(crate) code: Option<String>,
    pub(crate) error: Option<String>,
    /// The offset that is on the target.
    pub(crate) offset: u64,
    /// Keys that the target has kept of its own.
    pub(crate) kept: u64,
    /// Bytes received from the source.
    pub(crate) received_bytes: u64,
    /// How often a connection was lost, or the beginning decided again.
    pub(crate) retries: u64,
    /// What the target cannot hold: how it was treated, and how often.
    pub(crate) unsupported: BTreeMap<String, u64>,
}

/// What the replicas of the target had in front of the last step of a cut-over.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Replicas {
    /// How many of them were connected.
    pub(crate) connected: u64,
    /// How many of these had all that the source has written.
    pub(crate) had_all: u64,
}

impl From<keyferry_engine::Replicas> for Replicas {
    fn from(keyferry_engine::Replicas { connected, had_all }: keyferry_engine::Replicas) -> Self {
        Self { connected, had_all }
    }
}
