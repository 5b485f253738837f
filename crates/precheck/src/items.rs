//! The items: their names, their order, and one file for each.

mod clock_skew;
mod cluster;
mod commands;
mod connections;
mod cyclic_replication;
mod databases;
mod largest_keys;
mod memory_headroom;
mod modules;
mod same_instance;
mod source_connection;
mod source_log_buffer;
mod source_output_buffer;
mod source_permission;
mod spool_disk;
mod target_connection;
mod target_data;
mod target_eviction;
mod target_permission;
mod target_role;
mod version_pair;

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{facts::Facts, report::Verdict};

/// What is looked at. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// The source answers.
    SourceConnection,
    /// The target answers.
    TargetConnection,
    /// The user of the source may replicate.
    SourcePermission,
    /// The user of the target may write.
    TargetPermission,
    /// Keys that the target holds already.
    TargetData,
    /// The target can hold what the source's version has.
    VersionPair,
    /// The target has the source's modules.
    Modules,
    /// Source and target are not one server.
    SameInstance,
    /// What is copied does not come back.
    CyclicReplication,
    /// The target can be written to.
    TargetRole,
    /// The target drops no keys when it is full.
    TargetEviction,
    /// The data fits into the target.
    MemoryHeadroom,
    /// The target has enough databases.
    Databases,
    /// Neither side is a kind of server that is not supported.
    Cluster,
    /// Both clocks agree.
    ClockSkew,
    /// No key is too large.
    LargestKeys,
    /// No command that is needed is blocked or renamed.
    Commands,
    /// There is disk for the spool.
    SpoolDisk,
    /// The source's backlog covers an outage.
    SourceLogBuffer,
    /// The source keeps the link while it sends its snapshot.
    SourceOutputBuffer,
}

impl Item {
    /// In the order in which they are looked at. Those that take time are last.
    pub const ALL: [Self; 20] = [
        Self::SourceConnection,
        Self::TargetConnection,
        Self::SourcePermission,
        Self::TargetPermission,
        Self::TargetData,
        Self::VersionPair,
        Self::Modules,
        Self::SameInstance,
        Self::CyclicReplication,
        Self::TargetRole,
        Self::TargetEviction,
        Self::MemoryHeadroom,
        Self::Databases,
        Self::Cluster,
        Self::ClockSkew,
        Self::LargestKeys,
        Self::Commands,
        Self::SpoolDisk,
        Self::SourceLogBuffer,
        Self::SourceOutputBuffer,
    ];

    /// The name by which it is shown and skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::SourceConnection => "source-connection",
            Self::TargetConnection => "target-connection",
            Self::SourcePermission => "source-permission",
            Self::TargetPermission => "target-permission",
            Self::TargetData => "target-data",
            Self::VersionPair => "version-pair",
            Self::Modules => "modules",
            Self::SameInstance => "same-instance",
            Self::CyclicReplication => "cyclic-replication",
            Self::TargetRole => "target-role",
            Self::TargetEviction => "target-eviction",
            Self::MemoryHeadroom => "memory-headroom",
            Self::Databases => "databases",
            Self::Cluster => "cluster",
            Self::ClockSkew => "clock-skew",
            Self::LargestKeys => "largest-keys",
            Self::Commands => "commands",
            Self::SpoolDisk => "spool-disk",
            Self::SourceLogBuffer => "source-log-buffer",
            Self::SourceOutputBuffer => "source-output-buffer",
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Item {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|item| item.name() == text);
        found.ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Looks at one item.
pub(crate) async fn look_at(item: Item, facts: &mut Facts<'_>) -> Verdict {
    let checked = match item {
        Item::SourceConnection => source_connection::check(facts),
        Item::TargetConnection => target_connection::check(facts),
        Item::SourcePermission => source_permission::check(facts).await,
        Item::TargetPermission => target_permission::check(facts).await,
        Item::TargetData => target_data::check(facts).await,
        Item::VersionPair => version_pair::check(facts),
        Item::Modules => modules::check(facts).await,
        Item::SameInstance => same_instance::check(facts),
        Item::CyclicReplication => cyclic_replication::check(facts).await,
        Item::TargetRole => target_role::check(facts).await,
        Item::TargetEviction => target_eviction::check(facts).await,
        Item::MemoryHeadroom => memory_headroom::check(facts).await,
        Item::Databases => databases::check(facts).await,
        Item::Cluster => cluster::check(facts),
        Item::ClockSkew => clock_skew::check(facts).await,
        Item::LargestKeys => largest_keys::check(facts).await,
        Item::Commands => commands::check(facts).await,
        Item::SpoolDisk => spool_disk::check(facts),
        Item::SourceLogBuffer => source_log_buffer::check(facts).await,
        Item::SourceOutputBuffer => source_output_buffer::check(facts).await,
    };
    checked.unwrap_or_else(|early| early)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for item in Item::ALL {
            assert_eq!(item.name().parse(), Ok(item));
            assert!(item.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        }
        assert!("Modules".parse::<Item>().is_err());
    }
}
