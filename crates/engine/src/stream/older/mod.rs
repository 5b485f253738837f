//! Commands of the stream that the target's version does not know, or not in this form: written in a form that it knows,
//! or named, so that the policy (`--on-unsupported`) can be applied. What has the same effect on the data is no matter of
//! the policy.
//!
//! Looked at is what servers send to replicas, which is not what clients have typed: GETEX comes as PEXPIREAT, ZMPOP as
//! ZPOPMIN with a count, HGETDEL of a Redis as HDEL.
//!
//! Invariants:
//! - A command that is passed on costs a look at its name, and at its arguments only where these decide; nothing is
//!   allocated for it. When the target knows all that the source can send, not even that.
//! - Rules write commands that need less than the one they replace. So what they write can be looked at again, which ends.
//! - `LIMIT` and the producer of XADD are for primaries and replicas alone: no target takes them from a client, whatever
//!   its version.

mod abilities;
mod bitfield;
mod collections;
mod keys;
mod scripts;
mod stream_entries;
mod streams;
mod strings;
mod vectors;
mod zsets;

use abilities::Abilities;
use keyferry_keyspace::ServerVersion;
use keyferry_model::OnUnsupported;
use keyferry_resp::{encode, request::Request};

/// What a target does not know that its source may send.
pub(crate) struct Older {
    lacks: Abilities,
    /// Prefix of the names that scripts use for what they need meanwhile.
    place: Vec<u8>,
    /// Whether the target can record which producer has written an entry.
    records_producers: bool,
}

/// What has become of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes out as it is.
    Known,
    /// Commands with the same effect have been written; none when the target is as it should be without it.
    Written,
    /// It carries a payload, which the target may not be able to read.
    Payload,
    /// The target has nothing for it.
    Lacks { what: &'static str, lesser: Lesser },
}

/// What has been written of a command for which the target has nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lesser {
    /// Nothing.
    Nothing,
    /// A lesser form, for who wants that.
    Degraded,
    /// All but one option, which is what is left out.
    WithoutOption,
}

/// Writes other commands instead of one with these arguments.
pub(crate) type Write = fn(&Older, &[&[u8]], &mut Vec<u8>) -> Verdict;

/// A command that older targets do not know in every form.
struct Rule {
    /// In upper case.
    name: &'static [u8],
    /// The rule is for targets that lack one of these.
    unless: Abilities,
    /// Whether this form needs it, judged without allocating. Called only where `unless` says so.
    applies: fn(Abilities, &Request<'_>) -> bool,
    write: Write,
}

const fn rule(
    name: &'static [u8],
    unless: Abilities,
    applies: fn(Abilities, &Request<'_>) -> bool,
    write: Write,
) -> Rule {
    Rule { name, unless, applies, write }
}

fn always(_: Abilities, _: &Request<'_>) -> bool {
    true
}

impl Older {
    pub(crate) fn new(
        source: &ServerVersion,
        target: &ServerVersion,
        on_unsupported: OnUnsupported,
        place: &[u8],
    ) -> Self {
        let mut lacks = Abilities::lacking(source, target);
        if on_unsupported != OnUnsupported::Fail {
            lacks = lacks.and(Abilities::ALL_KEYS);
        }
        Self { lacks, place: place.to_vec(), records_producers: target.redis >= (8, 6, 2) }
    }

    /// Keys of the source may be missing on the target, since they were left out.
    pub(crate) fn with_missing_keys(mut self, missing: bool) -> Self {
        if missing {
            self.lacks = self.lacks.and(Abilities::ALL_KEYS);
        }
        self
    }

    /// What is known of vector sets on the target goes before what its version says: whether it has them, and whether it
    /// reads those of the source.
    pub(crate) fn with_vector_sets(mut self, has: Option<bool>, reads: bool, source: &ServerVersion) -> Self {
        if !reads && source.redis >= (8, 0, 0) {
            self.lacks = self.lacks.and(Abilities::PAYLOADS);
        }
        match has {
            Some(true) => self.lacks = self.lacks.without(Abilities::VECTORS),
            // A module may have been left out of a build.
            Some(false) if source.redis >= (8, 0, 0) => self.lacks = self.lacks.and(Abilities::VECTORS),
            _ => {}
        }
        self
    }

    /// Looks at every payload, whatever the versions; gives what to set back.
    pub(in crate::stream) fn with_all_payloads(&mut self) -> Abilities {
        let before = self.lacks;
        self.lacks = before.and(Abilities::PAYLOADS);
        before
    }

    pub(in crate::stream) fn set_lacks(&mut self, lacks: Abilities) {
        self.lacks = lacks;
    }

    /// How `request` is written for the target; `None` when it goes out as it is.
    #[inline]
    pub(crate) fn rule_for(&self, request: &Request<'_>) -> Option<Write> {
        if let Some(b'X' | b'x') = request.name().first()
            && (is(request.name(), "XADD") || is(request.name(), "XTRIM"))
        {
            return stream_entries::applies(self.lacks, request).then_some(stream_entries::write);
        }
        if self.lacks.is_none() {
            return None;
        }
        let rule = find(request.name())?;
        let applies = self.lacks.any_of(rule.unless) && (rule.applies)(self.lacks, request);
        applies.then_some(rule.write)
    }

    /// Writes what `request` becomes to `out`, which must be empty.
    pub(crate) fn rewrite(&self, write: Write, request: &Request<'_>, out: &mut Vec<u8>) -> Verdict {
        let args: Vec<&[u8]> = request.args().collect();
        let verdict = write(self, &args, out);
        if matches!(verdict, Verdict::Known | Verdict::Payload) {
            out.clear();
        }
        verdict
    }

    fn lacks(&self, what: Abilities) -> bool {
        self.lacks.any_of(what)
    }
}

/// The rule for a name, in any case.
#[inline]
fn find(name: &[u8]) -> Option<&'static Rule> {
    let rules: &[&[Rule]] = match name.len() {
        3 => &[strings::OF_3],
        4 => &[keys::OF_4, collections::OF_4, zsets::OF_4, streams::OF_4, vectors::OF_4],
        5 => &[strings::OF_5, collections::OF_5],
        6 => &[keys::OF_6, strings::OF_6, collections::OF_6, streams::OF_6],
        7 => &[keys::OF_7, strings::OF_7, collections::OF_7, zsets::OF_7, streams::OF_7],
        8 => &[keys::OF_8, strings::OF_8, collections::OF_8, vectors::OF_8],
        9 => &[collections::OF_9, zsets::OF_9],
        10 => &[collections::OF_10, zsets::OF_10, streams::OF_10],
        11 => &[zsets::OF_11, streams::OF_11],
        14 => &[keys::OF_14, zsets::OF_14],
        17 => &[zsets::OF_17],
        _ => return None,
    };
    // The first letter in upper case: see `classify`.
    let first = name.first().copied().unwrap_or_default() & !0x20;
    rules.iter().copied().flatten().find(|rule| rule.name[0] == first && rule.name.eq_ignore_ascii_case(name))
}

fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

fn number(arg: &[u8]) -> Option<usize> {
    std::str::from_utf8(arg).ok()?.parse().ok()
}

/// Appends one command.
fn command(out: &mut Vec<u8>, args: &[&[u8]]) -> Verdict {
    encode::command(out, args);
    Verdict::Written
}

/// Appends the same command under another name.
fn named(out: &mut Vec<u8>, name: &[u8], args: &[&[u8]]) -> Verdict {
    encode::array(out, args.len());
    encode::bulk(out, name);
    args.iter().skip(1).for_each(|arg| encode::bulk(out, arg));
    Verdict::Written
}

/// Appends a script with its keys and arguments.
fn eval(out: &mut Vec<u8>, script: &[u8], keys: &[&[u8]], args: &[&[u8]]) -> Verdict {
    encode::array(out, 3 + keys.len() + args.len());
    encode::bulk(out, b"EVAL");
    encode::bulk(out, script);
    encode::bulk_int(out, i64::try_from(keys.len()).unwrap_or(i64::MAX));
    keys.iter().chain(args).for_each(|arg| encode::bulk(out, arg));
    Verdict::Written
}

fn lacks(what: &'static str, lesser: Lesser) -> Verdict {
    Verdict::Lacks { what, lesser }
}

#[cfg(test)]
mod tests;
