//! Which keys of a dump are looked at.

use keyferry_keyspace::glob;
use keyferry_rdb::{Entry, Group};

use super::args::SelectArgs;

/// The filters of the command line. An empty list lets everything through.
pub(super) struct Select {
    dbs: Vec<u32>,
    groups: Vec<Group>,
    globs: Vec<Vec<u8>>,
}

impl Select {
    pub(super) fn new(args: &SelectArgs) -> Self {
        let globs = args.key.iter().map(|glob| glob.as_bytes().to_vec()).collect();
        Self { dbs: args.db.clone(), groups: args.group.clone(), globs }
    }

    /// Whether everything is let through.
    pub(super) fn is_all(&self) -> bool {
        self.dbs.is_empty() && self.groups.is_empty() && self.globs.is_empty()
    }

    /// Whether this key is let through.
    #[inline]
    pub(super) fn has(&self, entry: &Entry<'_>) -> bool {
        (self.dbs.is_empty() || self.dbs.contains(&entry.db))
            && (self.groups.is_empty() || self.groups.contains(&entry.kind.group()))
            && (self.globs.is_empty() || self.globs.iter().any(|pattern| glob::matches(pattern, entry.key)))
    }
}
