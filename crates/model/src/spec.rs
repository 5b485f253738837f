//! What a user asks for.

use std::{path::PathBuf, str::FromStr, time::Duration};

use keyferry_keyspace::objects::Objects;

/// What happens to keys that the target holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Stop before the first write when a chosen database of the target holds any key.
    #[default]
    Abort,
    /// Keep the target's key. Holds for the full sync; afterwards every write of the source is applied.
    Ignore,
    /// Overwrite the target's key.
    Replace,
    /// Empty the chosen databases of the target first.
    Clear,
}

impl FromStr for OnConflict {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "abort" => Ok(Self::Abort),
            "ignore" => Ok(Self::Ignore),
            "replace" => Ok(Self::Replace),
            "clear" => Ok(Self::Clear),
            _ => Err("expected abort, ignore, replace or clear".into()),
        }
    }
}

/// What happens to data of a kind that the target's version cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnsupported {
    /// Stop.
    #[default]
    Fail,
    /// Leave it out, and count it.
    Drop,
    /// Keep what can be kept in a lesser form (hash fields without their deadlines), leave out the rest, and count both.
    Degrade,
}

impl FromStr for OnUnsupported {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "fail" => Ok(Self::Fail),
            "drop" => Ok(Self::Drop),
            "degrade" => Ok(Self::Degrade),
            _ => Err("expected fail, drop or degrade".into()),
        }
    }
}

/// The options of one `sync` task, next to its two endpoints.
#[derive(Debug, Clone)]
pub struct SyncSpec {
    /// What of the source is migrated, and under which names. With a database in the URLs, it says so too.
    pub objects: Objects,
    /// What happens to keys that the target holds already.
    pub on_conflict: OnConflict,
    /// What happens to data of a kind that the target's version cannot hold.
    pub on_unsupported: OnUnsupported,
    /// End after the full sync, without following the changes.
    pub full_only: bool,
    /// End as soon as both sides are in step.
    pub stop_when_synced: bool,
    /// By how much deadlines on the target are later than on the source, so that none passes before its renewal is
    /// there. The source's own DEL removes a key on time.
    pub ttl_grace: Duration,
    /// For how long a lost server, or one that is loading, is tried again. `None`: for ever.
    pub retry_window: Option<Duration>,
    /// What happens when the source no longer has what is needed to go on.
    pub on_lost_backlog: OnLostBacklog,
    /// Forget where the task was, and begin anew.
    pub restart: bool,
    /// The name under which the target keeps the position.
    pub task: String,
    /// Where received bytes are kept until they are applied.
    pub spool_dir: PathBuf,
    /// Bytes that may be kept there; `None`: 10 GiB or a fifth of the free disk.
    pub spool_limit: Option<u64>,
}

/// The end of the name of a task that goes the other way than the one without it.
const REVERSE: &str = "-reverse";

/// The name of the task that goes the other way than `task`.
pub fn reverse_task(task: &str) -> String {
    match task.strip_suffix(REVERSE).filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => format!("{task}{REVERSE}"),
    }
}

impl SyncSpec {
    /// The task that goes on from the target to the source once the target is the place to write; and of that one the first
    /// one again. It never copies everything: its target is the only other copy. `None` when its rules cannot be said.
    pub fn reversed(&self) -> Option<Self> {
        let task = reverse_task(&self.task);
        Some(Self {
            objects: self.objects.reversed()?,
            on_conflict: OnConflict::Abort,
            full_only: false,
            stop_when_synced: false,
            on_lost_backlog: OnLostBacklog::Stop,
            restart: false,
            spool_dir: self.spool_dir.with_file_name(format!("{task}.spool")),
            task,
            ..self.clone()
        })
    }
}

/// What happens when the source no longer has what is needed to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLostBacklog {
    /// Everything is copied again.
    #[default]
    Full,
    /// The task ends.
    Stop,
}

impl FromStr for OnLostBacklog {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text {
            "full" => Ok(Self::Full),
            "stop" => Ok(Self::Stop),
            _ => Err("expected full or stop"),
        }
    }
}
