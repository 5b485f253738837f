//! Deadlines of the stream: made absolute, and later by the grace.
//!
//! The target is a primary and expires keys by itself. Written as they come, two kinds of deadlines lose data:
//! - a relative one (sources before 7.0 pass on EXPIRE, SETEX, SET EX ... as they were typed) would begin to count when
//!   the target gets it, so it is made absolute from the time at which its bytes were received;
//! - one that the source renews just before it passes would be over on the target before the renewal is there, so the
//!   target gets all of them later by the grace. The source sends DEL when a key is over, which removes it on time.
//!
//! A condition (NX, XX, GT, LT) is taken off: the source only passes on what took effect, and deadlines on the target are not
//! those that it was judged by. Except for fields of Valkey, which passes the condition on with all fields that were named:
//! it is judged again, by a script that knows held deadlines.
//!
//! What needs no change is left to be passed on as it is; here nothing is allocated.

use std::time::Duration;

use keyferry_keyspace::{Flavor, ServerVersion};
use keyferry_resp::{encode, request::Request};

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
}

/// What has become of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// It goes out as it is.
    No,
    /// It was written with another deadline.
    Yes,
    /// Likewise, and it does nothing but move the deadline of a key, without a condition: 0 says that the key is gone.
    Deadline,
    /// It goes out as it is, and 0 says that the key is gone.
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
    /// `PERSIST key`: no deadline any more.
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

/// A field without a deadline lives for ever: nothing is later. Held deadlines: see `target/hold.rs`.
const JUDGE: &[u8] = b"local at=tonumber(ARGV[1]) for i=4,#ARGV do \
    local old=redis.call('HPEXPIRETIME',KEYS[1],'FIELDS',1,ARGV[i]) old=old and old[1] or -2 \
    if old>=2^45 and old<2^45+2^42 then old=old-2^45+tonumber(ARGV[3]) end \
    local set if ARGV[2]=='GT' then set=old>=0 and at>old else set=old==-1 or old>=0 and at<old end \
    if set then redis.call('HPEXPIREAT',KEYS[1],ARGV[1],'FIELDS',1,ARGV[i]) end end";

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
        }
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
                _ => Rewritten::Yes,
            },
            _ => Rewritten::No,
        }
    }

    fn apply(&self, form: Form, request: &Request<'_>, now: u64, out: &mut Vec<u8>) -> bool {
        match form {
            Form::Fixed { unit, to } => {
                let Some(at) = self.deadline(request.arg(2), unit, now) else { return false };
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
                let Some(at) = self.deadline(request.arg(2), unit, now) else { return false };
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
        let (place, unit) = found;
        let Some(at) = self.deadline(args.next().map(|(_, arg)| arg), unit, now) else { return false };
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
        let Some(at) = self.deadline(request.arg(2).filter(|ttl| *ttl != b"0"), unit, now) else { return false };
        let add = self.restore_absttl && !absolute;
        let ttl = if self.restore_absttl { at } else { left(at, now) };
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
            encode::bulk_int(out, left(at, now));
        }
    }

    /// The deadline for the target in Unix milliseconds; `None` when the text is no time, which the target shall judge.
    fn deadline(&self, time: Option<&[u8]>, unit: Unit, now: u64) -> Option<i64> {
        let time = number(time?)?.saturating_mul(unit.ms);
        let at = if unit.absolute { time } else { time.saturating_add(now) };
        // What is over already may be renewed by what follows.
        let at = if self.grace_ms > 0 { at.max(now) } else { at };
        let far = at > now.saturating_add(self.grace_ms);
        i64::try_from(at.saturating_add(if far { self.far_grace_ms } else { self.grace_ms })).ok()
    }
}

/// Milliseconds from `now` to `at`, at least one: 0 is an error, or means never.
fn left(at: i64, now: u64) -> i64 {
    at.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX)).max(1)
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
mod tests {
    use keyferry_resp::{Limits, request::Scanner};

    use super::*;

    const NOW: u64 = 1_000_000;

    fn rewrite(words: &str, expiry: Expiry) -> Option<String> {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let (mut wire, mut out) = (Vec::new(), Vec::new());
        encode::command(&mut wire, &args);
        let request = Scanner::new(Limits::default()).next(&wire).unwrap().unwrap();
        if matches!(expiry.rewrite(&request, NOW, &mut out), Rewritten::No | Rewritten::Proof) {
            assert!(out.is_empty());
            return None;
        }
        let request = Scanner::new(Limits::default()).next(&out).unwrap().unwrap();
        assert_eq!(request.bytes().len(), out.len(), "one whole command");
        Some(request.args().map(|a| String::from_utf8_lossy(a).into_owned()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_form() {
        let new =
            Expiry { grace_ms: 5000, far_grace_ms: 5000, set_pxat: true, restore_absttl: true, all_fields: false };
        let old = Expiry { set_pxat: false, restore_absttl: false, ..new };
        for (words, to_new, to_old) in [
            ("EXPIRE k 10", "PEXPIREAT k 1015000", "PEXPIREAT k 1015000"),
            ("pexpire k 10 NX", "PEXPIREAT k 1005010", "PEXPIREAT k 1005010"),
            ("PEXPIREAT k 2000000 XX GT", "PEXPIREAT k 2005000", "PEXPIREAT k 2005000"),
            ("EXPIREAT k 2000", "PEXPIREAT k 2005000", "PEXPIREAT k 2005000"),
            ("PEXPIREAT k 2000000", "PEXPIREAT k 2005000", "PEXPIREAT k 2005000"),
            ("HPEXPIREAT h 2000000 FIELDS 1 f", "HPEXPIREAT h 2005000 FIELDS 1 f", "HPEXPIREAT h 2005000 FIELDS 1 f"),
            ("HEXPIRE h 1 gt FIELDS 1 f", "HPEXPIREAT h 1006000 FIELDS 1 f", "HPEXPIREAT h 1006000 FIELDS 1 f"),
            ("HEXPIRE h 1 FIELDS 1 f", "HPEXPIREAT h 1006000 FIELDS 1 f", "HPEXPIREAT h 1006000 FIELDS 1 f"),
            ("SETEX k 10 v", "SET k v PXAT 1015000", "SET k v PX 15000"),
            ("PSETEX k 10 v", "SET k v PXAT 1005010", "SET k v PX 5010"),
            ("SET k v EX 10 NX", "SET k v PXAT 1015000 NX", "SET k v PX 15000 NX"),
            ("SET k v XX PXAT 2000000", "SET k v XX PXAT 2005000", "SET k v XX PX 1005000"),
            ("SET k EX IFEQ PX EXAT 2000", "SET k EX IFEQ PX PXAT 2005000", "SET k EX IFEQ PX PX 1005000"),
            ("SET PX EX PX 10", "SET PX EX PXAT 1005010", "SET PX EX PX 5010"),
            ("GETEX k PX 10", "GETEX k PXAT 1005010", "GETEX k PX 5010"),
            ("HSETEX h PX 10 FIELDS 1 EX 3", "HSETEX h PXAT 1005010 FIELDS 1 EX 3", "HSETEX h PX 5010 FIELDS 1 EX 3"),
            ("HSETEX h FIELDS 1 EX 3 PX 10", "HSETEX h FIELDS 1 EX 3 PXAT 1005010", "HSETEX h FIELDS 1 EX 3 PX 5010"),
            ("HGETEX h FIELDS 1 EX PX 10", "HGETEX h FIELDS 1 EX PXAT 1005010", "HGETEX h FIELDS 1 EX PX 5010"),
            ("MSETEX 1 EX PX PX 10", "MSETEX 1 EX PX PXAT 1005010", "MSETEX 1 EX PX PX 5010"),
            ("RESTORE k 10 p REPLACE", "RESTORE k 1005010 p REPLACE ABSTTL", "RESTORE k 5010 p REPLACE"),
            ("RESTORE k 2000000 p ABSTTL", "RESTORE k 2005000 p ABSTTL", "RESTORE k 1005000 p"),
            ("RESTORE k 900000 p ABSTTL", "RESTORE k 1005000 p ABSTTL", "RESTORE k 5000 p"),
        ] {
            assert_eq!(rewrite(words, new).as_deref(), Some(to_new), "{words}");
            assert_eq!(rewrite(words, old).as_deref(), Some(to_old), "{words}");
        }
    }

    /// Valkey passes on all fields that were named.
    #[test]
    fn conditions_on_fields_are_judged_again() {
        let expiry =
            Expiry { grace_ms: 5000, far_grace_ms: 5000, set_pxat: true, restore_absttl: true, all_fields: true };
        let kept = rewrite("HPEXPIREAT h 2000000 NX FIELDS 2 f g", expiry).unwrap();
        assert_eq!(kept, "HPEXPIREAT h 2005000 NX FIELDS 2 f g");
        let judged = rewrite("HPEXPIREAT h 2000000 lt FIELDS 2 f g", expiry).unwrap();
        let script = std::str::from_utf8(JUDGE).unwrap();
        assert_eq!(judged, format!("EVAL {script} 1 h 2005000 LT 5000 f g"));
    }

    #[test]
    fn all_else_goes_out_as_it_is() {
        let expiry =
            Expiry { grace_ms: 5000, far_grace_ms: 5000, set_pxat: true, restore_absttl: true, all_fields: false };
        for words in [
            "SET k v",
            "SET k v NX",
            "SET EX PX",
            "SET k v KEEPTTL",
            "GETEX k PERSIST",
            "DEL EX PX 1",
            "RESTORE k 0 p",
            "HSETEX h FIELDS 1 PX 3",
            "MSETEX 2 k v PX 10",
            "MSETEX x k v PX 10",
            "EXPIRE k x",
            "EXPIRE k",
            "HPEXPIREAT h",
            "SETEX k 1",
            "SET k v PX",
            "PEXPIREAT k 99999999999999999999",
        ] {
            assert_eq!(rewrite(words, expiry), None, "{words}");
        }
    }
}
