//! Where the keys of a command are, and what becomes of them.
//!
//! Known are the write commands of all servers and of their usual modules, in the form in which a source sends them to
//! replicas; the table beside this file is data only. Of any other command nothing is assumed: where its keys are
//! cannot be guessed without one day being wrong.
//!
//! It must not know what is chosen, nor the protocol: a command is an iterator over its arguments, the name first.

mod table;

use std::iter::Enumerate;

use crate::kind::{Kind, Kinds};

/// What a command does to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads it: what is written elsewhere depends on it.
    Read,
    /// Writes or removes it, and may read it too.
    Write,
}

/// A key among the arguments of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// Which argument it is; the name of the command is 0.
    pub at: usize,
    /// The key itself.
    pub name: &'a [u8],
    /// What the command does to it.
    pub access: Access,
}

/// Why the keys of a command cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// Not in the table.
    #[error("it is not known which of its arguments are keys")]
    Unknown,
    /// In the table, with other arguments.
    #[error("its arguments are not those of this command")]
    Malformed,
}

/// The keys of a command; none for one that has no keys, such as PUBLISH. Allocates nothing.
///
/// Not among them is what a script finds by itself, and what SORT finds with BY and GET.
pub fn keys<'a, I>(args: I) -> Result<impl Iterator<Item = Key<'a>>, NoKeys>
where
    I: ExactSizeIterator<Item = &'a [u8]> + Clone,
{
    let row = args.clone().next().and_then(find).ok_or(NoKeys::Unknown)?;
    let spots = row.form.spots(args.clone()).ok_or(NoKeys::Malformed)?;
    Ok(spots.keys(args))
}

/// A command of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// In upper case.
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) form: Form,
    pub(crate) effect: Effect,
}

/// The row for a name, in any case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Row> {
    // The longest name has 20 bytes (GEORADIUSBYMEMBER_RO, which no source sends).
    let mut upper = [0; 20];
    let upper = upper.get_mut(..name.len())?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let found = table::ROWS.binary_search_by(|row| row.name.as_bytes().cmp(upper));
    found.ok().and_then(|i| table::ROWS.get(i))
}

#[cfg(test)]
pub(crate) fn rows() -> &'static [Row] {
    table::ROWS
}

/// What servers group a command under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Bitmap,
    Generic,
    Geo,
    Hash,
    HyperLogLog,
    List,
    Module,
    PubSub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
}

impl Group {
    pub(crate) const ALL: [Self; 14] = [
        Self::Bitmap,
        Self::Generic,
        Self::Geo,
        Self::Hash,
        Self::HyperLogLog,
        Self::List,
        Self::Module,
        Self::PubSub,
        Self::Scripting,
        Self::Server,
        Self::Set,
        Self::SortedSet,
        Self::Stream,
        Self::String,
    ];

    /// As COMMAND DOCS names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bitmap => "bitmap",
            Self::Generic => "generic",
            Self::Geo => "geo",
            Self::Hash => "hash",
            Self::HyperLogLog => "hyperloglog",
            Self::List => "list",
            Self::Module => "module",
            Self::PubSub => "pubsub",
            Self::Scripting => "scripting",
            Self::Server => "server",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::String => "string",
        }
    }
}

/// Where the keys are, and how they depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// None, and it belongs to no database.
    NoKey,
    /// One, in this place.
    One(usize),
    /// Each with `step - 1` arguments behind it, to the end; each for itself.
    Many { step: usize },
    /// `numkeys`, and so many pairs of a key and a value; each for itself.
    ManyCounted,
    /// From the first argument on, but for so many at the end; it is not said which of them is written.
    Either { behind: usize },
    /// As many as argument `count` says, behind it; it is not said which of them is written.
    EitherCounted { count: usize },
    /// What is written, in this place, from all that follow.
    Store { to: usize },
    /// What is written, from the key that follows.
    StoreFrom,
    /// What is written, `numkeys`, and so many to make it from.
    StoreCounted,
    /// What is read, and behind STORE what is written.
    Sort,
    /// What is read, and behind STORE or STOREDIST what is written.
    Places,
    /// From the first to the second, under which it goes on.
    Rename,
    /// From the first to the second, which may be in another database.
    Copy,
    /// An element that is not named, from the first to the second.
    PopPush,
    /// The third argument, from the first to the second.
    MoveMember,
    /// The first and the second, neither without the other.
    Together,
    /// Half of what follows STREAMS.
    Streams,
    /// The first, into the database that the second argument names.
    Move,
    /// None: all of every database.
    FlushAll,
    /// None: all of the selected database.
    FlushDb,
    /// None: all of the two databases that are named.
    SwapDb,
}

impl Form {
    /// Where the keys are among these arguments; `None` where they are not those of the command.
    pub(crate) fn spots<'a, I>(self, args: I) -> Option<Spots>
    where
        I: ExactSizeIterator<Item = &'a [u8]> + Clone,
    {
        let argc = args.len();
        let behind = |n: usize| argc.checked_sub(n);
        let spots = match self {
            Self::NoKey | Self::FlushAll | Self::FlushDb | Self::SwapDb => Spots::rest(argc, 1, 0),
            Self::One(at) => Spots::rest(at, 1, 1),
            Self::Many { step } => {
                let args = behind(1)?;
                (args.checked_rem(step)? == 0).then_some(())?;
                Spots::rest(1, step, args.checked_div(step)?)
            }
            Self::ManyCounted => Spots::rest(2, 2, number(args, 1)?),
            Self::Either { behind: tail } => Spots::rest(1, 1, behind(tail)?.checked_sub(1)?),
            Self::EitherCounted { count } => Spots::rest(count.checked_add(1)?, 1, number(args, count)?),
            Self::Store { to } => {
                let first = to.checked_add(1)?;
                Spots::rest(first, 1, behind(first)?).with(to, Access::Write, Access::Read)
            }
            Self::StoreFrom => Spots::rest(2, 1, 1).with(1, Access::Write, Access::Read),
            Self::StoreCounted => Spots::rest(3, 1, number(args, 2)?).with(1, Access::Write, Access::Read),
            Self::Sort | Self::Places => {
                let found = if self == Self::Sort { sort_store(args) } else { places_store(args) };
                let (first, count) = found.map_or((argc, 0), |at| (at, 1));
                Spots::rest(first, 1, count).with(1, Access::Read, Access::Write)
            }
            Self::Copy => Spots::rest(2, 1, 1).with(1, Access::Read, Access::Write),
            Self::Rename | Self::PopPush | Self::MoveMember | Self::Together => Spots::rest(1, 1, 2),
            Self::Streams => {
                let first = streams(args)?;
                let keys = behind(first)?;
                (keys.checked_rem(2)? == 0).then_some(())?;
                Spots::rest(first, 1, keys.checked_div(2)?)
            }
            Self::Move => Spots::rest(1, 1, 1),
        };
        (spots.end()? <= argc).then_some(spots)
    }
}

/// What a command does to what it finds under its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Whatever type it is.
    Any,
    /// All of them are of this type, or are not there; else the command is refused.
    Fills(Kind),
    /// What is written is of this type afterwards, whatever it was before, and is made from such.
    Replaces { kind: Kind, from: Kinds },
    /// What is written is what the payload says, whatever it was before.
    Payload,
    /// What a script does.
    Script,
}

/// The places of keys: `head`, when it is an argument at all, and `count` places from `first` on, `step` apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spots {
    head: Option<(usize, Access)>,
    first: usize,
    step: usize,
    count: usize,
    access: Access,
}

impl Spots {
    const fn rest(first: usize, step: usize, count: usize) -> Self {
        Self { head: None, first, step, count, access: Access::Write }
    }

    const fn with(mut self, at: usize, head: Access, rest: Access) -> Self {
        self.head = Some((at, head));
        self.access = rest;
        self
    }

    /// Behind the last argument that belongs to a key.
    fn end(&self) -> Option<usize> {
        let rest = self.first.checked_add(self.step.checked_mul(self.count)?)?;
        let head = self.head.map_or(Some(0), |(at, _)| at.checked_add(1))?;
        Some(if self.count == 0 { head } else { rest.max(head) })
    }

    /// What is done to argument `at`, when it is a key.
    pub(crate) fn access(&self, at: usize) -> Option<Access> {
        if let Some((head, access)) = self.head
            && head == at
        {
            return Some(access);
        }
        let behind = at.checked_sub(self.first)?;
        let is_key = behind.checked_rem(self.step)? == 0 && behind.checked_div(self.step)? < self.count;
        is_key.then_some(self.access)
    }

    pub(crate) fn keys<'a, I>(self, args: I) -> impl Iterator<Item = Key<'a>> + Clone
    where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        let args: Enumerate<I> = args.enumerate();
        args.filter_map(move |(at, name)| Some(Key { at, name, access: self.access(at)? }))
    }
}

pub(crate) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// Argument `at` as a count of keys.
fn number<'a>(mut args: impl Iterator<Item = &'a [u8]>, at: usize) -> Option<usize> {
    std::str::from_utf8(args.nth(at)?).ok()?.parse().ok()
}

/// Behind STORE, the last one when there are several (sort.c sortCommandGeneric, Redis 7.2).
fn sort_store<'a>(args: impl Iterator<Item = &'a [u8]>) -> Option<usize> {
    let mut args = args.enumerate().skip(2);
    let mut found = None;
    while let Some((_, arg)) = args.next() {
        match arg {
            _ if is(arg, "LIMIT") => drop(args.nth(1)),
            _ if is(arg, "BY") || is(arg, "GET") => drop(args.next()),
            _ if is(arg, "STORE") => found = args.next().map(|(at, _)| at),
            _ => {}
        }
    }
    found
}

/// Likewise, of GEORADIUS and GEORADIUSBYMEMBER (db.c georadiusGetKeys, Redis 7.2).
fn places_store<'a>(args: impl Iterator<Item = &'a [u8]>) -> Option<usize> {
    let mut args = args.enumerate().skip(5);
    let mut found = None;
    while let Some((_, arg)) = args.next() {
        if is(arg, "STORE") || is(arg, "STOREDIST") {
            found = args.next().map(|(at, _)| at).or(found);
        }
    }
    found
}

/// Behind STREAMS (db.c xreadGetKeys, Redis 7.2).
fn streams<'a>(args: impl Iterator<Item = &'a [u8]>) -> Option<usize> {
    let mut args = args.enumerate().skip(1);
    loop {
        let (at, arg) = args.next()?;
        match arg {
            _ if is(arg, "STREAMS") => return at.checked_add(1),
            _ if is(arg, "GROUP") => drop(args.nth(1)),
            _ if is(arg, "NOACK") => {}
            // COUNT, BLOCK, CLAIM.
            _ => drop(args.next()),
        }
    }
}

#[cfg(test)]
mod tests;
