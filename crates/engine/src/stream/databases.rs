//! Which database of the source goes into which of the target.

/// All databases to the same number, or one to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Databases {
    All,
    One { source: u32, target: u32 },
}

impl Databases {
    /// From the databases of the two URLs.
    pub(crate) fn new(source: Option<u32>, target: Option<u32>) -> Self {
        source.map_or(Self::All, |source| Self::One { source, target: target.unwrap_or(source) })
    }

    /// Whether something of the source goes into database `db` of the target.
    pub(crate) fn has_target(self, db: u32) -> bool {
        match self {
            Self::All => true,
            Self::One { target, .. } => db == target,
        }
    }

    /// Where a database of the source goes; `None` when it is not chosen.
    pub(crate) fn target_of(self, db: u32) -> Option<u32> {
        match self {
            Self::All => Some(db),
            Self::One { source, target } => (db == source).then_some(target),
        }
    }
}
