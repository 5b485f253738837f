//! Commands on streams, but those that add and trim, which are in `stream_entries.rs`.

use keyferry_resp::request::Request;

use super::{Abilities, Lesser, Older, Rule, Verdict, always, command, eval, is, lacks, number, rule, scripts};

pub(super) const OF_4: &[Rule] =
    &[rule(b"XDEL", Abilities::STREAMS, always, no_streams), rule(b"XACK", Abilities::STREAMS, always, no_streams)];

pub(super) const OF_6: &[Rule] = &[
    rule(b"XCLAIM", Abilities::STREAMS.and(Abilities::OF_7_0), always, claim),
    rule(b"XGROUP", Abilities::STREAMS.and(Abilities::OF_6_2).and(Abilities::OF_7_0), group_applies, group),
    rule(b"XSETID", Abilities::STREAMS.and(Abilities::OF_7_0), set_id_applies, set_id),
    rule(b"XDELEX", Abilities::STREAM_REFS, always, delete),
];

pub(super) const OF_7: &[Rule] =
    &[rule(b"XACKDEL", Abilities::STREAM_REFS, always, delete), rule(b"XCFGSET", Abilities::XCFGSET, always, settings)];

pub(super) const OF_10: &[Rule] = &[rule(b"XREADGROUP", Abilities::STREAMS, always, no_streams)];

pub(super) const OF_11: &[Rule] = &[
    rule(b"XIDMPRECORD", Abilities::XIDMPRECORD, always, record),
    rule(b"XAUTOCLAIM", Abilities::STREAMS, always, no_streams),
];

pub(super) const STREAM: &str = "stream command";

fn no_streams(_: &Older, _: &[&[u8]], _: &mut Vec<u8>) -> Verdict {
    lacks(STREAM, Lesser::Nothing)
}

fn settings(older: &Older, _: &[&[u8]], _: &mut Vec<u8>) -> Verdict {
    lacks(if older.lacks(Abilities::STREAMS) { STREAM } else { "stream producer settings" }, Lesser::Nothing)
}

fn record(older: &Older, _: &[&[u8]], _: &mut Vec<u8>) -> Verdict {
    lacks(if older.lacks(Abilities::STREAMS) { STREAM } else { "stream producer ids" }, Lesser::Nothing)
}

/// `XCLAIM key group consumer min-idle id ...`, of one entry as servers send it. From 7.0 on it also says that an entry is
/// gone, to servers that know this.
fn claim(older: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    match args {
        _ if older.lacks(Abilities::STREAMS) => lacks(STREAM, Lesser::Nothing),
        [_, key, rest @ ..] if rest.len() > 3 => eval(out, scripts::XCLAIM, &[key], rest),
        _ => Verdict::Known,
    }
}

fn group_applies(lacks: Abilities, request: &Request<'_>) -> bool {
    lacks.any_of(Abilities::STREAMS)
        || request.arg(1).is_some_and(|word| is(word, "CREATECONSUMER")) && lacks.any_of(Abilities::OF_6_2)
        || request.argc() > 5 && request.args().skip(5).any(|arg| is(arg, "ENTRIESREAD"))
}

/// `XGROUP CREATE|SETID key group id [MKSTREAM] [ENTRIESREAD n]`, `XGROUP CREATECONSUMER key group consumer`
fn group(older: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    if older.lacks(Abilities::STREAMS) {
        return lacks(STREAM, Lesser::Nothing);
    }
    match args {
        // To ask for what the consumer was given before makes the consumer, and gives nothing.
        [_, word, key, group, consumer] if is(word, "CREATECONSUMER") => {
            command(out, &[b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"1", b"STREAMS", key, b"0"])
        }
        [start @ .., word, _] if is(word, "ENTRIESREAD") => command(out, start),
        [a, b, c, d, e, word, _, rest @ ..] if is(word, "ENTRIESREAD") => {
            command(out, &[&[*a, *b, *c, *d, *e], rest].concat())
        }
        _ => Verdict::Known,
    }
}

fn set_id_applies(lacks: Abilities, request: &Request<'_>) -> bool {
    lacks.any_of(Abilities::STREAMS) || request.argc() > 3
}

/// `XSETID key id [ENTRIESADDED n] [MAXDELETEDID id]`
fn set_id(older: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    match args.get(..3) {
        _ if older.lacks(Abilities::STREAMS) => lacks(STREAM, Lesser::Nothing),
        Some(plain) => command(out, plain),
        None => Verdict::Known,
    }
}

/// `XDELEX key [KEEPREF|DELREF|ACKED] IDS n id ...`, `XACKDEL key group ...`
fn delete(older: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    if older.lacks(Abilities::STREAMS) {
        return lacks(STREAM, Lesser::Nothing);
    }
    let (acknowledges, group, rest): (&[u8], &[u8], _) = match args {
        [name, _, group, rest @ ..] if is(name, "XACKDEL") => (b"1", group, rest),
        [_, _, rest @ ..] => (b"0", b"", rest),
        _ => return Verdict::Known,
    };
    // The strategy may stand on either side of the IDs.
    let Some(at) = rest.iter().position(|arg| is(arg, "IDS")) else { return Verdict::Known };
    let ids = rest.get(at + 1).and_then(|n| number(n)).and_then(|n| rest.get(at + 2..)?.split_at_checked(n));
    let Some((ids, behind)) = ids else { return Verdict::Known };
    let strategy = rest[..at].iter().chain(behind).next().map_or(b"KEEPREF".to_vec(), |arg| arg.to_ascii_uppercase());
    if strategy == b"KEEPREF" && acknowledges == b"0" {
        return command(out, &[&[b"XDEL", args[1]], ids].concat());
    }
    let all: [&[u8]; 3] = [&strategy, acknowledges, group];
    eval(out, &scripts::delete(), &[args[1]], &[&all, ids].concat())
}
