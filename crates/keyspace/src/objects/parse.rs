//! Rules from the texts in which a user writes them.

use std::fmt;

use super::{Blocked, Objects, Pattern};
use crate::{
    keys::{self, Group},
    kind::{Kind, Kinds},
    position::Db,
};

/// What a text is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// `0,3:5`: only database 0, and 3 as 5.
    Databases,
    /// A pattern as KEYS takes it: only such keys. Several rules choose what any of them describes.
    Key,
    /// Only keys that begin so. Goes together with [`Rule::Key`].
    Prefix,
    /// A pattern: no such keys, whatever else says.
    BlockKey,
    /// No keys that begin so.
    BlockPrefix,
    /// `old:=new:`: keys that begin with the first begin with the second on the target.
    Rename,
    /// `hash,list`: only values of these types.
    Types,
    /// No values of these types.
    BlockTypes,
    /// `FLUSHALL,@scripting`: not these commands of the stream, nor those of these groups.
    BlockCommands,
}

impl Rule {
    /// For messages.
    const fn name(self) -> &'static str {
        match self {
            Self::Databases => "databases",
            Self::Key => "key pattern",
            Self::Prefix => "key prefix",
            Self::BlockKey => "blocked key pattern",
            Self::BlockPrefix => "blocked key prefix",
            Self::Rename => "new prefix",
            Self::Types => "types",
            Self::BlockTypes => "blocked types",
            Self::BlockCommands => "blocked commands",
        }
    }
}

/// A rule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {text:?}: {what}; {instead}", rule.name())]
pub struct RuleError {
    /// Which rule it is.
    pub rule: Rule,
    /// As it was written.
    pub text: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: &'static str,
}

/// A text with its rule, for errors.
#[derive(Clone, Copy)]
struct Text<'t>(Rule, &'t str);

impl Text<'_> {
    fn wrong(self, what: impl fmt::Display, instead: &'static str) -> RuleError {
        RuleError { rule: self.0, text: self.1.into(), what: what.to_string(), instead }
    }
}

const SOME_TEXT: &str = "leave the rule away, or name something";

impl Objects {
    /// Reads rules. Several of one kind add up.
    pub fn parse<'t>(rules: impl IntoIterator<Item = (Rule, &'t str)>) -> Result<Self, RuleError> {
        let mut objects = Self::default();
        let mut chosen = Kinds::NONE;
        let mut blocked = Kinds::NONE;
        let mut last_types = None;
        for (rule, words) in rules {
            let text = Text(rule, words);
            if words.is_empty() {
                return Err(text.wrong("nothing is named", SOME_TEXT));
            }
            match rule {
                Rule::Databases => objects.add_databases(text)?,
                Rule::Key => objects.allowed.push(pattern(words)),
                Rule::Prefix => objects.allowed.push(Pattern::Prefix(words.into())),
                Rule::BlockKey => objects.blocked.push(pattern(words)),
                Rule::BlockPrefix => objects.blocked.push(Pattern::Prefix(words.into())),
                Rule::Rename => objects.add_rename(text)?,
                Rule::Types => chosen = add_types(text, chosen)?,
                Rule::BlockTypes => blocked = add_types(text, blocked)?,
                Rule::BlockCommands => objects.add_commands(text)?,
            }
            if matches!(rule, Rule::Types | Rule::BlockTypes) {
                last_types = Some(text);
            }
        }
        objects.kinds_named = chosen != Kinds::NONE;
        let chosen = if objects.kinds_named { chosen } else { Kinds::ALL };
        objects.kinds = Kind::ALL.into_iter().filter(|kind| blocked.has(*kind)).fold(chosen, Kinds::without);
        if let Some(text) = last_types.filter(|_| objects.kinds == Kinds::NONE) {
            return Err(text.wrong("no type is left", "leave one type that is not blocked"));
        }
        // The longest first; the order of others is no matter.
        objects.renamed.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Ok(objects)
    }

    fn add_databases(&mut self, text: Text<'_>) -> Result<(), RuleError> {
        let databases = self.databases.get_or_insert_default();
        for part in text.1.split(',') {
            let (from, to) = part.split_once(':').unwrap_or((part, part));
            let (Some(from), Some(to)) = (Db::parse(from.as_bytes()), Db::parse(to.as_bytes())) else {
                let what = format!("{part:?} is no database and no pair of databases");
                return Err(text.wrong(what, "write numbers, such as 0,2 or 3:0"));
            };
            if databases.iter().any(|(other, _)| *other == from.0) {
                return Err(text.wrong(format!("database {} is named twice", from.0), "name each database once"));
            }
            if let Some((other, _)) = databases.iter().find(|(_, other)| *other == to.0) {
                let what = format!("databases {other} and {} would both go into {}", from.0, to.0);
                return Err(text.wrong(what, "give each a database of its own, such as 0,3:1"));
            }
            databases.push((from.0, to.0));
        }
        Ok(())
    }

    fn add_rename(&mut self, text: Text<'_>) -> Result<(), RuleError> {
        let mut parts = text.1.split('=');
        let (Some(from), Some(to), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(text.wrong("it is not two prefixes with one = between them", "write old:=new:"));
        };
        if from == to {
            return Err(text.wrong("both prefixes are the same", "leave the rule away"));
        }
        if to.starts_with("__keyferry_") {
            return Err(text.wrong("such keys on the target are Keyferry's own", "take another new prefix"));
        }
        for (other, other_to) in &self.renamed {
            if other == from.as_bytes() {
                return Err(text.wrong(format!("{from:?} has a new prefix already"), "name each prefix once"));
            }
            if other_to.starts_with(to.as_bytes()) || to.as_bytes().starts_with(other_to) {
                let other_to = String::from_utf8_lossy(other_to);
                let what = format!("keys of {to:?} and of {other_to:?} could get the same name");
                return Err(text.wrong(what, "take new prefixes of which none begins with another one"));
            }
        }
        self.renamed.push((from.into(), to.into()));
        Ok(())
    }

    fn add_commands(&mut self, text: Text<'_>) -> Result<(), RuleError> {
        for word in text.1.split(',') {
            let blocked = match word.strip_prefix('@') {
                Some(name) => {
                    let group = Group::ALL.into_iter().find(|group| group.name().eq_ignore_ascii_case(name));
                    let instead = "write one of @bitmap, @generic, @geo, @hash, @hyperloglog, @list, @module, @pubsub, \
                                   @scripting, @server, @set, @sorted-set, @stream, @string";
                    group
                        .map(Blocked::Group)
                        .ok_or_else(|| text.wrong(format!("there is no group {word:?}"), instead))?
                }
                None if keys::find(word.as_bytes()).is_some() || word.contains('.') => Blocked::Name(word.into()),
                None => {
                    let what = format!("{word:?} is not a command that writes");
                    return Err(
                        text.wrong(what, "write the name of one, such as FLUSHALL, or a group, such as @scripting")
                    );
                }
            };
            self.commands.push(blocked);
        }
        Ok(())
    }
}

/// A pattern that only asks for how a key begins is told apart: most do.
fn pattern(text: &str) -> Pattern {
    let special = |prefix: &str| prefix.contains(['*', '?', '[', '\\']);
    match text.strip_suffix('*') {
        Some(prefix) if !special(prefix) => Pattern::Prefix(prefix.into()),
        _ => Pattern::Glob(text.into()),
    }
}

fn add_types(text: Text<'_>, mut kinds: Kinds) -> Result<Kinds, RuleError> {
    for word in text.1.split(',') {
        let Some(kind) = Kind::parse(word.as_bytes()) else {
            let instead = "write some of string, list, set, zset, hash, stream, module";
            return Err(text.wrong(format!("there is no type {word:?}"), instead));
        };
        kinds = kinds.and(kind);
    }
    Ok(kinds)
}
