//! What of a source is migrated: databases, keys, types and commands, and the names under which they arrive.
//!
//! One [`Objects`] decides everywhere: in the full copy, in the stream, in a comparison and in a repair. Rules are judged
//! by what the source has; names on the target follow from them.
//!
//! Invariants:
//! - No two keys of the source arrive under one name: what could is refused, when rules are read or when the key comes.
//! - What is chosen does not depend on the order of rules, but for prefixes of new names: the longest one wins.
//! - A key that is chosen costs no allocation, also when it gets a new name.
//!
//! It must not know the protocol, payloads, or what is done with a verdict.

mod judge;
mod parse;

use std::borrow::Cow;

pub use self::{
    judge::{Refusal, Sink, Verdict},
    parse::{Rule, RuleError},
};
use crate::{
    glob,
    keys::{self, Group},
    kind::{Kind, Kinds},
};

/// What is chosen, and what becomes of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objects {
    /// Source and target; `None` for all of them, each to the same number.
    databases: Option<Vec<(u32, u32)>>,
    /// None for all keys.
    allowed: Vec<Pattern>,
    /// Goes before what is allowed.
    blocked: Vec<Pattern>,
    /// Prefixes on the source and on the target, the longest of the source first.
    renamed: Vec<(Vec<u8>, Vec<u8>)>,
    kinds: Kinds,
    /// Types were chosen by name: one that a later version knows is not among them.
    kinds_named: bool,
    commands: Vec<Blocked>,
}

/// What keys are like.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Prefix(Vec<u8>),
    Glob(Vec<u8>),
}

impl Pattern {
    fn matches(&self, key: &[u8]) -> bool {
        match self {
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Glob(pattern) => glob::matches(pattern, key),
        }
    }
}

/// Commands that are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Blocked {
    Name(Vec<u8>),
    Group(Group),
}

/// Whether a key is chosen, and how it is called on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// Not chosen.
    Out,
    /// Chosen, under its own name.
    Same,
    /// Chosen, under the name that these two make together.
    New(&'a [u8], &'a [u8]),
    /// Chosen, but its own name is one that another key may get. Neither may be written.
    Clash,
}

impl Default for Objects {
    /// Everything, as it is.
    fn default() -> Self {
        Self {
            databases: None,
            allowed: Vec::new(),
            blocked: Vec::new(),
            renamed: Vec::new(),
            kinds: Kinds::ALL,
            kinds_named: false,
            commands: Vec::new(),
        }
    }
}

impl Objects {
    /// Whether there is no rule at all: nothing needs to be asked.
    pub fn is_all(&self) -> bool {
        self.databases.is_none() && self.is_whole() && self.commands.is_empty()
    }

    /// Whether chosen databases are chosen with all that is in them, under its own name. Then, and only then, a database
    /// of the target can be emptied or swapped as a whole.
    pub fn is_whole(&self) -> bool {
        self.has_all_keys() && !self.leaves_out_types()
    }

    /// Whether the target may lack a chosen key of the source: where values of some types, or some commands, are left out.
    /// Then a command may not find what it found there.
    pub fn may_lack_keys(&self) -> bool {
        self.leaves_out_types() || !self.commands.is_empty()
    }

    /// The rules of the way back: what they choose of the target is what these choose of the source. `None` where that cannot be
    /// said exactly: with new names, and where types or commands are left out, since the target lacks what they stand for.
    pub fn reversed(&self) -> Option<Self> {
        let invertible = self.renamed.is_empty() && !self.may_lack_keys();
        let turned = |databases: &Vec<(u32, u32)>| databases.iter().map(|&(from, to)| (to, from)).collect();
        invertible.then(|| Self { databases: self.databases.as_ref().map(turned), ..self.clone() })
    }

    fn leaves_out_types(&self) -> bool {
        self.kinds != Kinds::ALL
    }

    /// The rules as bytes that are equal where the rules are, in whatever order they were given: to tell later, and by a
    /// later version, whether they have changed. Only what was named is in them, so that they stay the same when a type, a
    /// command or a group becomes known; empty without a rule.
    pub fn canonical(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        let mut line = |parts: &[&[u8]]| {
            let part = |part: &&[u8]| [&(part.len() as u64).to_be_bytes(), *part].concat();
            lines.push(parts.iter().flat_map(part).collect::<Vec<u8>>());
        };
        for (from, to) in self.databases.iter().flatten() {
            line(&[b"db", &from.to_be_bytes(), &to.to_be_bytes()]);
        }
        for (rule, patterns) in [(&b"allow"[..], &self.allowed), (b"block", &self.blocked)] {
            for pattern in patterns {
                match pattern {
                    Pattern::Prefix(prefix) => line(&[rule, b"prefix", prefix]),
                    Pattern::Glob(glob) => line(&[rule, b"glob", glob]),
                }
            }
        }
        for (from, to) in &self.renamed {
            line(&[b"rename", from, to]);
        }
        let of_kinds: &[u8] = if self.kinds_named { b"type" } else { b"no type" };
        for kind in Kind::ALL.into_iter().filter(|kind| self.kinds.has(*kind) == self.kinds_named) {
            line(&[of_kinds, kind.name().as_bytes()]);
        }
        for command in &self.commands {
            match command {
                Blocked::Name(name) => line(&[b"no command", &name.to_ascii_uppercase()]),
                Blocked::Group(group) => line(&[b"no group", group.name().as_bytes()]),
            }
        }
        lines.sort();
        lines.dedup();
        lines.concat()
    }

    fn has_all_keys(&self) -> bool {
        self.allowed.is_empty() && self.blocked.is_empty() && self.renamed.is_empty()
    }

    /// Where a database of the source goes; `None` when it is not chosen.
    pub fn database(&self, source: u32) -> Option<u32> {
        let Some(databases) = &self.databases else { return Some(source) };
        databases.iter().find(|(from, _)| *from == source).map(|(_, to)| *to)
    }

    /// The database of the source that goes into this one of the target; `None` when none does.
    pub fn source_database(&self, target: u32) -> Option<u32> {
        let Some(databases) = &self.databases else { return Some(target) };
        databases.iter().find(|(_, to)| *to == target).map(|(from, _)| *from)
    }

    /// The chosen databases, as source and target; `None` for all of them, each to the same number.
    pub fn databases(&self) -> Option<&[(u32, u32)]> {
        self.databases.as_deref()
    }

    /// Whether a key of the source is chosen, and how it is called on the target.
    pub fn key<'a>(&'a self, key: &'a [u8]) -> Choice<'a> {
        let allowed = self.allowed.is_empty() || self.allowed.iter().any(|pattern| pattern.matches(key));
        if !allowed || self.blocked.iter().any(|pattern| pattern.matches(key)) {
            return Choice::Out;
        }
        for (from, to) in &self.renamed {
            if let Some(rest) = key.strip_prefix(from.as_slice()) {
                return Choice::New(to, rest);
            }
        }
        // Whether the other key is there is not known, and it may come later.
        let taken = self.renamed.iter().any(|(_, to)| key.starts_with(to));
        if taken { Choice::Clash } else { Choice::Same }
    }

    /// The key of the source that is called so on the target; `None` when no chosen key is.
    pub fn source_key<'k>(&self, target: &'k [u8]) -> Option<Cow<'k, [u8]>> {
        for (from, to) in &self.renamed {
            let Some(rest) = target.strip_prefix(to.as_slice()) else { continue };
            let source = [from, rest].concat();
            // A longer prefix may have taken the key elsewhere. No other rule gives this name: see `parse.rs`.
            let is_its_name = self.key(&source) == Choice::New(to, rest);
            return is_its_name.then_some(Cow::Owned(source));
        }
        (self.key(target) == Choice::Same).then_some(Cow::Borrowed(target))
    }

    /// Whether values of a type are chosen.
    pub fn allows_type(&self, kind: Kind) -> bool {
        self.kinds.has(kind)
    }

    /// Whether a command is passed on as far as its name is concerned.
    pub fn command(&self, name: &[u8]) -> bool {
        let group = || match keys::find(name) {
            Some(row) => Some(row.group),
            // Modules name their commands so.
            None => name.contains(&b'.').then_some(Group::Module),
        };
        !self.commands.iter().any(|blocked| match blocked {
            Blocked::Name(other) => other.eq_ignore_ascii_case(name),
            Blocked::Group(other) => group() == Some(*other),
        })
    }
}

#[cfg(test)]
mod tests;
