//! Types of values, as `TYPE` names them, and sets of such types.

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A plain string; bitmaps and HyperLogLogs are strings too.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set; places on the earth are one too.
    SortedSet,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
    /// A value of a module's own type; vector sets are one too.
    Module,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 7] =
        [Self::String, Self::List, Self::Set, Self::SortedSet, Self::Hash, Self::Stream, Self::Module];

    /// The word that `TYPE` answers, and `module` for all values of modules.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Module => "module",
        }
    }

    /// The type of this name, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    }

    const fn bit(self) -> u8 {
        match self {
            Self::String => 1,
            Self::List => 1 << 1,
            Self::Set => 1 << 2,
            Self::SortedSet => 1 << 3,
            Self::Hash => 1 << 4,
            Self::Stream => 1 << 5,
            Self::Module => 1 << 6,
        }
    }
}

/// A set of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(0x7f);

    pub(crate) const fn of(kind: Kind) -> Self {
        Self(kind.bit())
    }

    pub(crate) const fn and(self, kind: Kind) -> Self {
        Self(self.0 | kind.bit())
    }

    pub(crate) const fn without(self, kind: Kind) -> Self {
        Self(self.0 & !kind.bit())
    }

    pub(crate) const fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    pub(crate) const fn has_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Kinds};

    #[test]
    fn names_and_sets() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name().to_uppercase().as_bytes()), Some(kind));
            assert!(Kinds::ALL.has(kind) && !Kinds::ALL.without(kind).has(kind) && !Kinds::NONE.has(kind));
            assert!(Kinds::ALL.has_all(Kinds::of(kind)) && !Kinds::NONE.has_all(Kinds::of(kind)));
        }
        assert_eq!(Kind::ALL.into_iter().fold(Kinds::NONE, Kinds::and), Kinds::ALL);
        assert_eq!(Kind::parse(b"sorted set"), None);
    }
}
