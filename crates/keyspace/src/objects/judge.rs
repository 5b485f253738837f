//! What becomes of a command of the stream.
//!
//! What is decided for each command, and why, stands in `docs/design/objects.md`. In short: where the target can be made
//! what the rules say from the command alone, that is done; where it cannot, the command is refused, and never applied
//! in half.

use super::{Choice, Objects};
use crate::{
    keys::{self, Access, Effect, Form, Row, Spots},
    kind::Kind,
    position::Db,
};

/// What becomes of a command. What is passed on or written goes to where its selected database goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes out as it is.
    Pass,
    /// It concerns nothing that is chosen.
    Skip,
    /// What goes out instead has been written to the sink: one or more commands.
    Written,
    /// FLUSHDB or FLUSHALL: of the selected database, or of all of them, what is chosen has to go, and nothing else.
    Flush,
    /// It cannot be followed. Nothing has been written.
    Refuse(Refusal),
}

/// Why a command cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in the table of commands.
    #[error("it is not known which of its arguments are keys")]
    Unknown,
    /// In the table, with other arguments.
    #[error("its arguments are not those of this command")]
    Malformed,
    /// What it writes is made from a value that is not chosen, and which the target does not have.
    #[error("it makes a chosen key from one that is not chosen")]
    Value,
    /// Some of its keys are chosen and others are not, and it is not said what happens to which.
    #[error("some of its keys are chosen and others are not")]
    Parts,
    /// A script may do anything with its keys, and it may use others.
    #[error("a script is not bound to what is chosen")]
    Script,
    /// Its result depends on values of types that are not chosen, or cannot be told to be of one that is.
    #[error("its result depends on types that are not chosen")]
    Type,
    /// It concerns the whole of a database of which not all is chosen.
    #[error("it concerns whole databases, of which not all is chosen")]
    Databases,
    /// A chosen key has the name that another one gets.
    #[error("a key has a name that a new prefix gives to another one")]
    Clash,
}

/// Takes the commands that go out instead of one.
pub trait Sink {
    /// A command of so many arguments, its name among them, begins.
    fn command(&mut self, argc: usize);

    /// Its next argument is made of these two together.
    fn arg(&mut self, start: &[u8], end: &[u8]);
}

impl Objects {
    /// What becomes of a command that was sent with database `db` selected. `args` are all of its arguments, the name
    /// first.
    ///
    /// `kind_of` says which type a payload of RESTORE holds; it is asked only when types are left out. What marks the
    /// frame of the stream (SELECT, MULTI, EXEC, PING, ...) is not for here.
    pub fn judge<'a, I, S: Sink>(
        &self,
        db: u32,
        args: I,
        kind_of: impl FnOnce(&[u8]) -> Option<Kind>,
        sink: &mut S,
    ) -> Verdict
    where
        I: ExactSizeIterator<Item = &'a [u8]> + Clone,
    {
        if self.is_all() {
            return Verdict::Pass;
        }
        let Some(name) = args.clone().next() else { return Verdict::Refuse(Refusal::Malformed) };
        if !self.command(name) {
            return Verdict::Skip;
        }
        let here = self.database(db);
        let row = keys::find(name);
        match row.map(|row| row.form) {
            // It belongs to no database.
            Some(Form::NoKey) => return Verdict::Pass,
            Some(Form::FlushAll) if self.databases.is_none() && self.is_whole() => return Verdict::Pass,
            Some(Form::FlushAll) => return Verdict::Flush,
            Some(Form::FlushDb) if here.is_some() && !self.is_whole() => return Verdict::Flush,
            Some(Form::SwapDb) => return or_refuse(self.swap(args, sink)),
            Some(form @ (Form::Move | Form::Copy)) => return or_refuse(self.across(form, db, args, sink)),
            _ if here.is_none() => return Verdict::Skip,
            _ if self.is_whole() => return Verdict::Pass,
            _ => {}
        }
        let Some(row) = row else { return Verdict::Refuse(Refusal::Unknown) };
        let Some(spots) = row.form.spots(args.clone()) else { return Verdict::Refuse(Refusal::Malformed) };
        or_refuse(Case { rules: self, row, args, spots, sink }.verdict(kind_of))
    }

    /// SWAPDB: the whole of two databases.
    fn swap<'a>(&self, args: impl Iterator<Item = &'a [u8]>, sink: &mut impl Sink) -> Result<Verdict, Refusal> {
        let mut databases = args.skip(1).map(|arg| Db::parse(arg).map(|db| db.0).ok_or(Refusal::Malformed));
        let (Some(a), Some(b)) = (databases.next(), databases.next()) else { return Err(Refusal::Malformed) };
        let (a, b) = (a?, b?);
        match (self.database(a), self.database(b)) {
            _ if a == b => Ok(Verdict::Skip),
            (None, None) => Ok(Verdict::Skip),
            (Some(to_a), Some(to_b)) if self.is_whole() => {
                if (a, b) == (to_a, to_b) {
                    return Ok(Verdict::Pass);
                }
                sink.command(3);
                sink.arg(b"SWAPDB", b"");
                sink.arg(to_a.to_string().as_bytes(), b"");
                sink.arg(to_b.to_string().as_bytes(), b"");
                Ok(Verdict::Written)
            }
            _ => Err(Refusal::Databases),
        }
    }

    /// MOVE, or COPY, which may name another database too.
    fn across<'a, I>(&self, form: Form, db: u32, args: I, sink: &mut impl Sink) -> Result<Verdict, Refusal>
    where
        I: ExactSizeIterator<Item = &'a [u8]> + Clone,
    {
        let arg = |i| args.clone().nth(i).ok_or(Refusal::Malformed);
        let is_move = form == Form::Move;
        let (from, to) = (arg(1)?, arg(if is_move { 1 } else { 2 })?);
        // Where the number of the other database is, when it is said.
        let mut words = args.clone().enumerate().skip(3);
        let named = match is_move {
            true => Some(2),
            false => words.find(|(_, word)| keys::is(word, "DB")).and_then(|(at, _)| at.checked_add(1)),
        };
        let other = match named {
            Some(at) => Db::parse(arg(at)?).ok_or(Refusal::Malformed)?.0,
            None => db,
        };
        let name = |db, key| match self.database(db) {
            Some(db) => self.name(key).map(|name| name.map(|name| (db, name))),
            None => Ok(None),
        };
        let (from_name, (there, to_name)) = match (name(db, from)?, name(other, to)?) {
            (Some((_, from)), Some(to)) => (from, to),
            // It is gone from where it was.
            (Some((_, from)), None) if is_move => {
                delete(sink, [from].into_iter());
                return Ok(Verdict::Written);
            }
            (_, None) => return Ok(Verdict::Skip),
            (None, Some(_)) => return Err(Refusal::Value),
        };
        if self.leaves_out_types() && !is_move && args.clone().skip(3).any(|word| keys::is(word, "REPLACE")) {
            if other != db {
                return Err(Refusal::Type);
            }
            // What was there goes also when what is copied is not on the target.
            delete(sink, [to_name].into_iter());
        } else if (named.is_none() || there == other) && (from_name, to_name) == ((b"", from), (b"", to)) {
            return Ok(Verdict::Pass);
        }
        sink.command(args.len());
        for (at, arg) in args.enumerate() {
            match at {
                _ if Some(at) == named => sink.arg(there.to_string().as_bytes(), b""),
                1 => sink.arg(from_name.0, from_name.1),
                2 => sink.arg(to_name.0, to_name.1),
                _ => sink.arg(b"", arg),
            }
        }
        Ok(Verdict::Written)
    }

    /// A key's name on the target, in two parts.
    fn name<'k>(&'k self, key: &'k [u8]) -> Result<Option<Name<'k>>, Refusal> {
        match self.key(key) {
            Choice::Out => Ok(None),
            Choice::Same => Ok(Some((b"", key))),
            Choice::New(start, end) => Ok(Some((start, end))),
            Choice::Clash => Err(Refusal::Clash),
        }
    }
}

type Name<'k> = (&'k [u8], &'k [u8]);

fn or_refuse(verdict: Result<Verdict, Refusal>) -> Verdict {
    verdict.unwrap_or_else(Verdict::Refuse)
}

fn delete<'k>(sink: &mut impl Sink, names: impl Iterator<Item = Name<'k>> + Clone) {
    sink.command(names.clone().count().saturating_add(1));
    sink.arg(b"DEL", b"");
    names.for_each(|(start, end)| sink.arg(start, end));
}

/// A command within a chosen database, of which not all is chosen.
struct Case<'o, I, S> {
    rules: &'o Objects,
    row: &'static Row,
    args: I,
    spots: Spots,
    sink: &'o mut S,
}

impl<'a, I, S> Case<'_, I, S>
where
    I: ExactSizeIterator<Item = &'a [u8]> + Clone,
    S: Sink,
{
    fn verdict(&mut self, kind_of: impl FnOnce(&[u8]) -> Option<Kind>) -> Result<Verdict, Refusal> {
        let (mut total, mut chosen, mut written) = (0_usize, 0_usize, 0_usize);
        for key in self.spots.keys(self.args.clone()) {
            total = total.saturating_add(1);
            if self.rules.name(key.name)?.is_some() {
                chosen = chosen.saturating_add(1);
                written = written.saturating_add(usize::from(key.access == Access::Write));
            }
        }
        match self.row.effect {
            // It writes, or it would not have been sent: to keys that it does not name.
            Effect::Script if total == 0 => return Err(Refusal::Script),
            _ if total == 0 => return Err(Refusal::Malformed),
            _ if written == 0 => return Ok(Verdict::Skip),
            _ => {}
        }
        if self.rules.leaves_out_types()
            && let Some(verdict) = self.by_type(kind_of)?
        {
            return Ok(verdict);
        }
        if self.row.form == Form::Sort && !self.rules.has_all_keys() && self.looks_up() {
            return Err(Refusal::Value);
        }
        match self.row.form {
            _ if chosen == total => Ok(self.with_names()),
            Form::Many { step } => Ok(self.reduce(1, step, chosen)),
            Form::ManyCounted => Ok(self.reduce(2, 2, chosen)),
            Form::Rename | Form::PopPush | Form::MoveMember => self.half(),
            Form::Either { .. } | Form::EitherCounted { .. } | Form::Streams | Form::Together => Err(Refusal::Parts),
            Form::Store { .. } | Form::StoreFrom | Form::StoreCounted | Form::Sort | Form::Places => {
                Err(Refusal::Value)
            }
            // These have one key or none, or have been judged before.
            Form::NoKey | Form::One(_) | Form::Move | Form::Copy | Form::FlushAll | Form::FlushDb | Form::SwapDb => {
                Ok(Verdict::Skip)
            }
        }
    }

    /// What types say, when they say it all.
    fn by_type(&mut self, kind_of: impl FnOnce(&[u8]) -> Option<Kind>) -> Result<Option<Verdict>, Refusal> {
        let allows = |kind| self.rules.kinds.has(kind);
        match self.row.effect {
            // A type that is left out is not on the target, where such a command finds nothing.
            Effect::Any => Ok(None),
            Effect::Fills(kind) => Ok((!allows(kind)).then_some(Verdict::Skip)),
            Effect::Replaces { kind, .. } if !allows(kind) => Ok(Some(self.delete_written())),
            Effect::Replaces { from, .. } if !self.rules.kinds.has_all(from) => Err(Refusal::Type),
            Effect::Replaces { .. } => Ok(None),
            Effect::Payload => match self.args.clone().nth(3).and_then(kind_of) {
                None => Err(Refusal::Type),
                Some(kind) if allows(kind) => Ok(None),
                Some(_) => Ok(Some(self.delete_written())),
            },
            Effect::Script => Err(Refusal::Script),
        }
    }

    /// What was there is replaced by something that is left out.
    fn delete_written(&mut self) -> Verdict {
        let rules = self.rules;
        let keys = self.spots.keys(self.args.clone()).filter(|key| key.access == Access::Write);
        // A clash has been refused.
        delete(self.sink, keys.filter_map(|key| rules.name(key.name).ok().flatten()));
        Verdict::Written
    }

    /// The whole command, with the names that its keys have on the target.
    fn with_names(&mut self) -> Verdict {
        let mut keys = self.spots.keys(self.args.clone());
        if keys.all(|key| self.rules.key(key.name) == Choice::Same) {
            return Verdict::Pass;
        }
        self.sink.command(self.args.len());
        for (at, arg) in self.args.clone().enumerate() {
            self.arg(at, arg);
        }
        Verdict::Written
    }

    fn arg(&mut self, at: usize, arg: &[u8]) {
        let name = self.spots.access(at).and_then(|_| self.rules.name(arg).ok().flatten());
        let (start, end) = name.unwrap_or((b"", arg));
        self.sink.arg(start, end);
    }

    /// The command with those of its keys that are chosen, and what belongs to them: `step` arguments each, from `first`
    /// on. What is in front of them and not the name is their number.
    fn reduce(&mut self, first: usize, step: usize, chosen: usize) -> Verdict {
        let end = first.saturating_add(self.spots.keys(self.args.clone()).count().saturating_mul(step));
        let behind = self.args.len().saturating_sub(end);
        self.sink.command(first.saturating_add(chosen.saturating_mul(step)).saturating_add(behind));
        let mut keep = true;
        for (at, arg) in self.args.clone().enumerate() {
            if self.spots.access(at).is_some() {
                keep = self.rules.key(arg) != Choice::Out;
            }
            match at {
                0 => self.sink.arg(b"", arg),
                _ if at < first => self.sink.arg(chosen.to_string().as_bytes(), b""),
                _ if at >= end || keep => self.arg(at, arg),
                _ => {}
            }
        }
        Verdict::Written
    }

    /// From a key to another one, of which one is chosen.
    fn half(&mut self) -> Result<Verdict, Refusal> {
        let mut args = self.args.clone().skip(1);
        let (Some(from), Some(to)) = (args.next(), args.next()) else { return Err(Refusal::Malformed) };
        let member = args.next().unwrap_or_default();
        match (self.row.form, self.rules.name(from)?, self.rules.name(to)?) {
            (Form::Rename, Some(from), _) => delete(self.sink, [from].into_iter()),
            (Form::MoveMember, Some(from), _) => self.three(b"SREM", from, member),
            (Form::MoveMember, _, Some(to)) => self.three(b"SADD", to, member),
            (Form::PopPush, Some(from), _) => {
                let left = !self.row.name.ends_with("PUSH") && keys::is(member, "LEFT");
                self.sink.command(2);
                self.sink.arg(if left { b"LPOP" } else { b"RPOP" }, b"");
                self.sink.arg(from.0, from.1);
            }
            _ => return Err(Refusal::Value),
        }
        Ok(Verdict::Written)
    }

    fn three(&mut self, command: &[u8], key: Name<'_>, last: &[u8]) {
        self.sink.command(3);
        self.sink.arg(command, b"");
        self.sink.arg(key.0, key.1);
        self.sink.arg(b"", last);
    }

    /// Whether SORT looks up keys by a pattern: a star in it stands for an element.
    fn looks_up(&self) -> bool {
        let mut words = self.args.clone().skip(2);
        while let Some(word) = words.next() {
            let looks = keys::is(word, "BY") || keys::is(word, "GET");
            let skipped = match word {
                _ if keys::is(word, "LIMIT") => words.nth(1),
                _ if looks || keys::is(word, "STORE") => words.next(),
                _ => None,
            };
            if looks && skipped.is_some_and(|pattern| pattern.contains(&b'*')) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
