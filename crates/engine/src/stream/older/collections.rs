//! Commands on lists and hashes.

use keyferry_resp::encode;

use super::{Abilities, Lesser, Older, Rule, Verdict, always, command, eval, is, lacks, named, number, rule, scripts};

pub(super) const OF_4: &[Rule] = &[
    rule(b"HSET", Abilities::MANY, |_, request| request.argc() > 4, |_, args, out| named(out, b"HMSET", args)),
    rule(b"LPOP", Abilities::OF_6_2, |_, request| request.argc() == 3, pop_left),
    rule(b"RPOP", Abilities::OF_6_2, |_, request| request.argc() == 3, pop_right),
];

pub(super) const OF_5: &[Rule] = &[rule(b"LMOVE", Abilities::OF_6_2, always, lmove)];

pub(super) const OF_6: &[Rule] = &[
    rule(b"LPUSHX", Abilities::MANY, |_, request| request.argc() > 3, push_each),
    rule(b"RPUSHX", Abilities::MANY, |_, request| request.argc() > 3, push_each),
    rule(b"HSETEX", Abilities::HSETEX, always, hsetex),
    rule(b"HGETEX", Abilities::FIELD_TTL, always, field_deadline),
];

pub(super) const OF_7: &[Rule] = &[
    rule(b"HGETDEL", Abilities::HGETDEL, always, hgetdel),
    rule(b"HEXPIRE", Abilities::FIELD_TTL, always, field_deadline),
];

pub(super) const OF_8: &[Rule] = &[
    rule(b"HPEXPIRE", Abilities::FIELD_TTL, always, field_deadline),
    // Fields that have no deadline keep none.
    rule(b"HPERSIST", Abilities::FIELD_TTL, always, |_, _, _| Verdict::Written),
];

pub(super) const OF_9: &[Rule] = &[rule(b"HEXPIREAT", Abilities::FIELD_TTL, always, field_deadline)];

pub(super) const OF_10: &[Rule] = &[rule(b"HPEXPIREAT", Abilities::FIELD_TTL, always, field_deadline)];

/// `LPOP key count`
fn pop_left(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    match args {
        [_, key, count] if number(count).is_some() => command(out, &[b"LTRIM", key, count, b"-1"]),
        _ => Verdict::Known,
    }
}

fn pop_right(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, key, count] = args else { return Verdict::Known };
    let Some(last) = number(count).and_then(|n| n.checked_add(1)) else { return Verdict::Known };
    command(out, &[b"LTRIM", key, b"0", format!("-{last}").as_bytes()])
}

/// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`
fn lmove(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, from, to, take, put] = args else { return Verdict::Known };
    match is(take, "RIGHT") && is(put, "LEFT") {
        true => command(out, &[b"RPOPLPUSH", from, to]),
        false => eval(out, scripts::LMOVE, &[from, to], &[&take.to_ascii_uppercase(), &put.to_ascii_uppercase()]),
    }
}

/// `LPUSHX key element ...`
fn push_each(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [name, key, elements @ ..] = args else { return Verdict::Known };
    elements.iter().for_each(|element| encode::command(out, &[name, key, element]));
    Verdict::Written
}

/// `HGETDEL key FIELDS numfields field ...`
fn hgetdel(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, key, word, _, fields @ ..] = args else { return Verdict::Known };
    if !is(word, "FIELDS") || fields.is_empty() {
        return Verdict::Known;
    }
    encode::array(out, 2 + fields.len());
    [b"HDEL", *key].iter().chain(fields).for_each(|arg| encode::bulk(out, arg));
    Verdict::Written
}

/// The hash stays as it is, without the deadlines.
fn field_deadline(_: &Older, args: &[&[u8]], _: &mut Vec<u8>) -> Verdict {
    // HGETEX alone may take deadlines away, and there are none.
    let takes_away = is(args[0], "HGETEX") && !args.iter().any(|arg| deadline(arg).is_some());
    if takes_away { Verdict::Written } else { lacks("hash field deadline", Lesser::Degraded) }
}

/// The command that sets the deadlines which an option of HSETEX sets.
fn deadline(option: &[u8]) -> Option<&'static [u8]> {
    let all: [(&str, &'static [u8]); 4] =
        [("EX", b"HEXPIRE"), ("PX", b"HPEXPIRE"), ("EXAT", b"HEXPIREAT"), ("PXAT", b"HPEXPIREAT")];
    all.iter().find(|(word, _)| is(option, word)).map(|(_, name)| *name)
}

/// `HSETEX key [NX|XX|FNX|FXX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL] FIELDS numfields field value ...`: the source sends it
/// only where the condition was met.
fn hsetex(older: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, key, rest @ ..] = args else { return Verdict::Known };
    let (mut options, mut at, mut keepttl) = (rest.iter(), None, false);
    let (count, pairs) = loop {
        let Some(option) = options.next() else { return Verdict::Known };
        if is(option, "FIELDS") {
            let Some(count) = options.next() else { return Verdict::Known };
            break (count, options.as_slice());
        }
        match deadline(option) {
            Some(name) => at = options.next().map(|time| (name, time)),
            None => keepttl |= is(option, "KEEPTTL"),
        }
    };
    // Options may stand behind the fields, too.
    let Some((pairs, behind)) = number(count).and_then(|n| pairs.split_at_checked(n.checked_mul(2)?)) else {
        return Verdict::Known;
    };
    let mut options = behind.iter();
    while let Some(option) = options.next() {
        match deadline(option) {
            Some(name) => at = options.next().map(|time| (name, time)),
            None => keepttl |= is(option, "KEEPTTL"),
        }
    }
    let fields: Vec<&[u8]> = pairs.iter().step_by(2).copied().collect();
    if keepttl && !older.lacks(Abilities::FIELD_TTL) {
        let mut all: Vec<&[u8]> = vec![count];
        all.extend(&fields);
        all.extend(pairs);
        return eval(out, scripts::HSET_KEEPTTL, &[key], &all);
    }
    encode::array(out, 2 + pairs.len());
    [b"HSET", *key].iter().chain(pairs).for_each(|arg| encode::bulk(out, arg));
    match at {
        None => Verdict::Written,
        Some(_) if older.lacks(Abilities::FIELD_TTL) => lacks("hash field deadline", Lesser::Degraded),
        Some((name, time)) => {
            let mut all: Vec<&[u8]> = vec![name, key, time, b"FIELDS", count];
            all.extend(&fields);
            command(out, &all)
        }
    }
}
