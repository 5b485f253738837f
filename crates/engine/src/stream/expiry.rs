//! Deadlines of the stream: made absolute, and later by the grace.
//!
//! The target is a primary and expires keys by itself. Written as they come, two kinds of deadlines lose data:
//! - a relative one (sources before 7.0 pass on EXPIRE, SETEX, SET EX ... as they were typed) would begin to count when
//!   the target gets it, so it is made absolute from the time at which its bytes were received;
//! - one that the source renews just before it passes would be over on the target before the renewal is there, so the
//!   target gets all of them later by the grace. The source sends DEL when a key is over, which removes it on time. While
//!   the target is far behind, the grace is not enough, and they are held instead: see `crate::holding`.
//!
//! A condition (NX, XX, GT, LT) is taken off: the source only passes on what took effect, and deadlines on the target are not
//! those that it was judged by. Except for fields of Valkey, which passes the condition on with all fields that were named:
//! it is judged again, by a script that knows held deadlines.
//!
//! What needs no change is left to be passed on as it is; here nothing is allocated.

use std::time::Duration;

use keyferry_keyspace::{Flavor, ServerVersion};
use keyferry_resp::{encode, request::Request};

use crate::{
    holding::Bounds,
    target::{held, held_field},
};

/// What a rewrite depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expiry {
    /// Added to every deadline, in milliseconds.
    pub(crate) grace_ms: u64,
    /// Added instead where the deadline is further away than that: less while a cut-over is under way, see `cutover.rs`.
    pub(crate) far_grace_ms: u64,
    /// The target's SET takes PXAT (6.2 and later).
    pub(crate) set_pxat: bool,
    /// The target's RESTORE takes ABSTTL (5.0 and later).
    pub(crate) restore_absttl: bool,
    /// The source passes on the fields for which a condition did not hold, too (Valkey).
    pub(crate) all_fields: bool,
    /// With which delay deadlines are held; `None` for never.
    pub(crate) hold: Option<Bounds>,
    /// They are held now.
    pub(crate) holds: bool,
    /// How long the bytes have waited. Counted only while deadlines are held: it may be any time then.
    pub(crate) age_ms: u64,
}

/// What has become of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// It goes out as it is.
    No,
    /// It was written with another deadline.
    Yes,
    /// Likewise, of fields of a hash.
    Field,
    /// Likewise, and it does nothing else, to fields one of which the source has: -2 for each of them says that it is gone.
    FieldDeadline,
    /// Likewise, and it does nothing but move the deadline of a key, without a condition: 0 says that the key is gone.
    Deadline,
    /// It goes out as it is, and 0, or -2 for each field, says that the key or the field is gone.
    Proof,
}

/// How a command says its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// In a fixed place; rewritten to this absolute command.
    Fixed { unit: Unit, to: &'static [u8] },
    /// `SETEX key time value`.
    SetEx(Unit),
    /// As an option somewhere behind this many arguments.
    Option { from: usize },
    /// Likewise, before or behind `FIELDS numfields` and so many arguments for each field.
    FieldOption { per_field: usize },
    /// `PERSIST key` or `HPERSIST key FIELDS ...`: no deadline any more.
    Persist,
    /// `MSETEX numkeys key value ... [option]`.
    MultiOption,
    /// `RESTORE key ttl payload [ABSTTL]`.
    Restore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unit {
    ms: u64,
    absolute: bool,
}

const SECONDS: Unit = Unit { ms: 1000, absolute: false };
const MILLIS: Unit = Unit { ms: 1, absolute: false };
const UNIX_SECONDS: Unit = Unit { ms: 1000, absolute: true };
const UNIX_MILLIS: Unit = Unit { ms: 1, absolute: true };

const KEY: &[u8] = b"PEXPIREAT";
const FIELD: &[u8] = b"HPEXPIREAT";

/// Whose deadline it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Key,
    Field,
}

/// A field without a deadline lives for ever: nothing is later. Of held deadlines, old or new, what they will be counts: see
/// `target/hold.rs`. Answers what was there for each field, -2 for none.
const JUDGE: &[u8] = b"local function real(at) \
    if at>=2^45 and at<2^45+2^42 then return at-2^45+tonumber(ARGV[3]) end return at end \
    local at,seen=real(tonumber(ARGV[1])),{} for i=4,#ARGV do \
    local old=redis.call('HPEXPIRETIME',KEYS[1],'FIELDS',1,ARGV[i]) old=real(old and old[1] or -2) seen[#seen+1]=old \
    local set if ARGV[2]=='GT' then set=old>=0 and at>old else set=old==-1 or old>=0 and at<old end \
    if set then redis.call('HPEXPIREAT',KEYS[1],ARGV[1],'FIELDS',1,ARGV[i]) end end return seen";

fn form(name: &[u8]) -> Option<Form> {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    let fixed = |unit, to| Some(Form::Fixed { unit, to });
    match name.len() {
        3 if is(b"SET") => Some(Form::Option { from: 3 }),
        5 if is(b"SETEX") => Some(Form::SetEx(SECONDS)),
        5 if is(b"GETEX") => Some(Form::Option { from: 2 }),
        6 if is(b"PSETEX") => Some(Form::SetEx(MILLIS)),
        6 if is(b"EXPIRE") => fixed(SECONDS, KEY),
        6 if is(b"HSETEX") => Some(Form::FieldOption { per_field: 2 }),
        6 if is(b"HGETEX") => Some(Form::FieldOption { per_field: 1 }),
        6 if is(b"MSETEX") => Some(Form::MultiOption),
        7 if is(b"PERSIST") => Some(Form::Persist),
        7 if is(b"PEXPIRE") => fixed(MILLIS, KEY),
        7 if is(b"HEXPIRE") => fixed(SECONDS, FIELD),
        7 if is(b"RESTORE") => Some(Form::Restore),
        8 if is(b"EXPIREAT") => fixed(UNIX_SECONDS, KEY),
        8 if is(b"HPERSIST") => Some(Form::Persist),
        8 if is(b"HPEXPIRE") => fixed(MILLIS, FIELD),
        9 if is(b"PEXPIREAT") => fixed(UNIX_MILLIS, KEY),
        9 if is(b"HEXPIREAT") => fixed(UNIX_SECONDS, FIELD),
        10 if is(b"HPEXPIREAT") => fixed(UNIX_MILLIS, FIELD),
        14 if is(b"RESTORE-ASKING") => Some(Form::Restore),
        _ => None,
    }
}

impl Expiry {
    pub(crate) fn new(grace: Duration, source: &ServerVersion, target: &ServerVersion) -> Self {
        Self {
            grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
            far_grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
            set_pxat: target.set_pxat(),
            restore_absttl: target.restore_absttl(),
            all_fields: source.flavor == Flavor::Valkey,
            hold: None,
            holds: false,
            age_ms: 0,
        }
    }

    /// Holds deadlines while the delay asks for it.
    pub(crate) fn held_from(self, hold: Option<Bounds>) -> Self {
        Self { hold, ..self }
    }

    /// Writes `request` with another deadline to `out`, or nothing when it goes out as it is.
    /// `received_ms`: when its bytes came, in Unix milliseconds.
    #[inline]
    pub(crate) fn rewrite(&self, request: &Request<'_>, received_ms: u64, out: &mut Vec<u8>) -> Rewritten {
        // The most common command of all has no option.
        if request.argc() <= 3 && request.name().len() == 3 {
            return Rewritten::No;
        }
        match form(request.name()) {
            // Passed on only when there was a deadline: where there is none, there is no key either.
            Some(Form::Persist) => Rewritten::Proof,
            Some(form) if self.apply(form, request, received_ms, out) => match form {
                Form::Fixed { to: KEY, .. } => Rewritten::Deadline,
                Form::Fixed { .. } => Rewritten::FieldDeadline,
                Form::FieldOption { .. } => Rewritten::Field,
                _ => Rewritten::Yes,
            },
            _ => Rewritten::No,
        }
    }

    fn apply(&self, form: Form, request: &Request<'_>, now: u64, out: &mut Vec<u8>) -> bool {
        match form {
            Form::Fixed { unit, to } => {
                let of = if to == KEY { Of::Key } else { Of::Field };
                let Some(at) = self.deadline(request.arg(2), unit, now, of) else { return false };
                let end = if to == KEY { 3 } else { request.argc() };
                // Of fields: `HPEXPIREAT key time [NX|XX|GT|LT] FIELDS numfields field ...`
                let condition = request.arg(3).filter(|arg| to == FIELD && arg.len() == 2);
                if let Some(condition) = condition.filter(|_| self.all_fields)
                    && [b"GT", b"LT"].iter().any(|word| condition.eq_ignore_ascii_case(*word))
                {
                    self.judge(condition, at, request, out);
                    return true;
                }
                let skipped = condition.is_some() && !self.all_fields;
                encode::array(out, end - usize::from(skipped));
                for (i, arg) in request.args().enumerate().take(end) {
                    match i {
                        0 => encode::bulk(out, to),
                        2 => encode::bulk_int(out, at),
                        3 if skipped => {}
                        _ => encode::bulk(out, arg),
                    }
                }
            }
            Form::SetEx(unit) => {
                let (Some(key), Some(value)) = (request.arg(1), request.arg(3)) else { return false };
                let Some(at) = self.deadline(request.arg(2), unit, now, Of::Key) else { return false };
                encode::array(out, 5);
                [b"SET", key, value].iter().for_each(|arg| encode::bulk(out, arg));
                self.option(out, at, now);
            }
            Form::Option { from } => return self.with_option(from, 0, request, now, out),
            Form::FieldOption { per_field } => return self.with_option(2, per_field, request, now, out),
            Form::Persist => return false,
            Form::MultiOption => {
                let pairs = request.arg(1).and_then(number).unwrap_or(u64::MAX);
                let from = usize::try_from(pairs.saturating_mul(2).saturating_add(2)).unwrap_or(usize::MAX);
                return self.with_option(from, 0, request, now, out);
            }
            Form::Restore => return self.with_restore(request, now, out),
        }
        true
    }

    /// Sets the deadline `at` of those fields for which `condition` holds on the target.
    fn judge(&self, condition: &[u8], at: i64, request: &Request<'_>, out: &mut Vec<u8>) {
        let fields = request.argc().saturating_sub(6);
        encode::array(out, 7 + fields);
        [b"EVAL", JUDGE, b"1", request.arg(1).unwrap_or_default()].iter().for_each(|arg| encode::bulk(out, arg));
        encode::bulk_int(out, at);
        encode::bulk(out, &condition.to_ascii_uppercase());
        encode::bulk_int(out, i64::try_from(self.grace_ms).unwrap_or(i64::MAX));
        request.args().skip(6).for_each(|field| encode::bulk(out, field));
    }

    fn with_option(&self, from: usize, per_field: usize, request: &Request<'_>, now: u64, out: &mut Vec<u8>) -> bool {
        let mut args = request.args().enumerate().skip(from);
        let found = loop {
            let Some((i, arg)) = args.next() else { return false };
            let is = |word: &[u8]| arg.eq_ignore_ascii_case(word);
            match arg.len() {
                2 if is(b"EX") => break (i, SECONDS),
                2 if is(b"PX") => break (i, MILLIS),
                4 if is(b"EXAT") => break (i, UNIX_SECONDS),
                4 if is(b"PXAT") => break (i, UNIX_MILLIS),
                // What follows is a value to compare with, which may read like an option.
                4 if is(b"IFEQ") || is(b"IFNE") => drop(args.next()),
                5 if is(b"IFDEQ") || is(b"IFDNE") => drop(args.next()),
                // Fields, and their values, which may read like an option.
                6 if per_field > 0 && is(b"FIELDS") => {
                    let fields = args.next().and_then(|(_, n)| number(n)).unwrap_or(u64::MAX);
                    let skip = usize::try_from(fields).unwrap_or(usize::MAX).saturating_mul(per_field);
                    if skip > request.argc() {
                        return false;
                    }
                    if skip > 0 {
                        args.nth(skip - 1);
                    }
                }
                _ => {}
            }
        };
        let ((place, unit), of) = (found, if per_field > 0 { Of::Field } else { Of::Key });
        let Some(at) = self.deadline(args.next().map(|(_, arg)| arg), unit, now, of) else { return false };
        replace(out, request, |i, arg, out| {
            if i == place {
                self.option(out, at, now);
            } else if i != place + 1 {
                encode::bulk(out, arg);
            }
        });
        true
    }

    fn with_restore(&self, request: &Request<'_>, now: u64, out: &mut Vec<u8>) -> bool {
        let absolute = request.args().skip(4).any(|arg| arg.eq_ignore_ascii_case(b"ABSTTL"));
        let unit = if absolute { UNIX_MILLIS } else { MILLIS };
        // 0 says that it never expires.
        let ttl = request.arg(2).filter(|ttl| *ttl != b"0");
        let Some(at) = self.deadline(ttl, unit, now, Of::Key) else { return false };
        let add = self.restore_absttl && !absolute;
        let ttl = if self.restore_absttl { at } else { self.left(at, now) };
        // A target that does not know the word gets the time that is left instead.
        let unknown = |i: usize, arg: &[u8]| !self.restore_absttl && i > 3 && arg.eq_ignore_ascii_case(b"ABSTTL");
        let dropped = request.args().enumerate().filter(|&(i, arg)| unknown(i, arg)).count();
        encode::array(out, request.argc() + usize::from(add) - dropped);
        for (i, arg) in request.args().enumerate() {
            match i {
                2 => encode::bulk_int(out, ttl),
                _ if unknown(i, arg) => {}
                _ => encode::bulk(out, arg),
            }
        }
        if add {
            encode::bulk(out, b"ABSTTL");
        }
        true
    }

    fn option(&self, out: &mut Vec<u8>, at: i64, now: u64) {
        if self.set_pxat {
            encode::bulk(out, b"PXAT");
            encode::bulk_int(out, at);
        } else {
            encode::bulk(out, b"PX");
            encode::bulk_int(out, self.left(at, now));
        }
    }

    /// The deadline for the target in Unix milliseconds; `None` when the text is no time, which the target shall judge.
    fn deadline(&self, time: Option<&[u8]>, unit: Unit, now: u64, of: Of) -> Option<i64> {
        let time = number(time?)?.saturating_mul(unit.ms);
        let at = if unit.absolute { time } else { time.saturating_add(now) };
        // What is over already may be renewed by what follows.
        let at = if self.grace_ms > 0 { at.max(now) } else { at };
        let late = match of {
            _ if !self.holds => at,
            Of::Key => held(at),
            Of::Field => held_field(at),
        };
        let far = at > now.saturating_add(self.grace_ms);
        // What lives long has no other form: it has the grace.
        let grace = if far { self.far_grace_ms } else { self.grace_ms };
        let late = if late == at { at.saturating_add(grace) } else { late };
        i64::try_from(late).ok()
    }

    /// Milliseconds from `now`, when the bytes came, to `at`; at least one: 0 is an error, or means never. A held deadline is
    /// not to become later by all that they have waited.
    fn left(&self, at: i64, now: u64) -> i64 {
        let now = if self.holds { now.saturating_add(self.age_ms) } else { now };
        at.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX)).max(1)
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The same number of arguments, each written by `write`, which may write two for one and none for the next.
fn replace(out: &mut Vec<u8>, request: &Request<'_>, mut write: impl FnMut(usize, &[u8], &mut Vec<u8>)) {
    encode::array(out, request.argc());
    for (i, arg) in request.args().enumerate() {
        write(i, arg, out);
    }
}

#[cfg(test)]
mod tests;
