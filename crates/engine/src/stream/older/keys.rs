//! Commands on whole keys and databases, messages, functions.

use keyferry_resp::request::Request;

use super::{Abilities, Lesser, Older, Rule, Verdict, always, command, eval, is, lacks, named, rule, scripts};

pub(super) const OF_4: &[Rule] = &[rule(b"COPY", Abilities::OF_6_2, always, copy)];

pub(super) const OF_6: &[Rule] = &[
    rule(b"UNLINK", Abilities::UNLINK, always, |_, args, out| named(out, b"DEL", args)),
    rule(b"SWAPDB", Abilities::UNLINK, always, swap),
    rule(b"SCRIPT", Abilities::OF_6_2, script_applies, |_, args, out| command(out, &args[..2])),
    rule(b"RENAME", Abilities::ALL_KEYS, always, |_, args, out| rename(scripts::RENAME, args, out)),
];

pub(super) const OF_7: &[Rule] = &[
    rule(b"FLUSHDB", Abilities::UNLINK.and(Abilities::OF_6_2), flush_applies, |_, args, out| command(out, &args[..1])),
    rule(b"RESTORE", Abilities::PAYLOADS, always, |_, _, _| Verdict::Payload),
];

pub(super) const OF_8: &[Rule] = &[
    rule(b"FLUSHALL", Abilities::UNLINK.and(Abilities::OF_6_2), flush_applies, |_, args, out| command(out, &args[..1])),
    rule(b"SPUBLISH", Abilities::OF_7_0, always, |_, args, out| named(out, b"PUBLISH", args)),
    rule(b"FUNCTION", Abilities::OF_7_0.and(Abilities::PAYLOADS), always, function),
    rule(b"RENAMENX", Abilities::ALL_KEYS, always, |_, args, out| rename(scripts::RENAMENX, args, out)),
];

pub(super) const OF_14: &[Rule] = &[rule(b"RESTORE-ASKING", Abilities::PAYLOADS, always, |_, _, _| Verdict::Payload)];

/// `COPY source destination [DB n] [REPLACE]`
fn copy(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, from, to, options @ ..] = args else { return Verdict::Known };
    let db = options.iter().position(|arg| is(arg, "DB")).and_then(|i| options.get(i + 1)).copied();
    let replace: &[u8] = if options.iter().any(|arg| is(arg, "REPLACE")) { b"1" } else { b"0" };
    eval(out, scripts::COPY, &[from, to], &[db.unwrap_or_default(), replace])
}

fn swap(older: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    match args {
        [_, a, b] if a == b => Verdict::Written,
        [_, a, b] => eval(out, scripts::SWAPDB, &[&[&older.place, b":".as_slice()].concat()], &[a, b]),
        _ => Verdict::Known,
    }
}

fn rename(script: &[u8], args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    match args {
        [_, from, to] => eval(out, script, &[from, to], &[]),
        _ => Verdict::Known,
    }
}

/// ASYNC came with 4.0, SYNC with 6.2.
fn flush_applies(lacks: Abilities, request: &Request<'_>) -> bool {
    request
        .arg(1)
        .is_some_and(|arg| lacks.any_of(Abilities::UNLINK) || is(arg, "SYNC") && lacks.any_of(Abilities::OF_6_2))
}

/// `SCRIPT FLUSH SYNC|ASYNC`
fn script_applies(_: Abilities, request: &Request<'_>) -> bool {
    request.argc() == 3 && request.arg(1).is_some_and(|arg| is(arg, "FLUSH"))
}

/// A target without functions has none to delete.
fn function(older: &Older, args: &[&[u8]], _: &mut Vec<u8>) -> Verdict {
    let restores = args.get(1).is_some_and(|arg| is(arg, "RESTORE"));
    match args.get(1) {
        _ if !older.lacks(Abilities::OF_7_0) => {
            if restores {
                Verdict::Payload
            } else {
                Verdict::Known
            }
        }
        Some(word) if is(word, "DELETE") || is(word, "FLUSH") => Verdict::Written,
        _ => lacks("function library", Lesser::Nothing),
    }
}
