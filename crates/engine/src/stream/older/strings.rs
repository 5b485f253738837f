//! Commands on strings.

use keyferry_resp::{encode, request::Request};

use super::{Abilities, Older, Rule, Verdict, always, bitfield, command, eval, is, named, number, rule, scripts};

const SET_OPTIONS: Abilities = Abilities::KEEPTTL.and(Abilities::SET_IFEQ).and(Abilities::SET_IFNE);

pub(super) const OF_3: &[Rule] = &[rule(b"SET", SET_OPTIONS, set_applies, set)];

pub(super) const OF_5: &[Rule] = &[
    rule(b"BITOP", Abilities::BITOP_DIFF, bitop_applies, bitop),
    rule(b"DELEX", Abilities::SET_IFNE, always, |_, args, out| delete(args, out)),
];

pub(super) const OF_6: &[Rule] = &[rule(b"MSETEX", Abilities::MSETEX, always, msetex)];

pub(super) const OF_7: &[Rule] = &[rule(b"DELIFEQ", Abilities::DELIFEQ, always, |_, args, out| delete(args, out))];

pub(super) const OF_8: &[Rule] =
    &[rule(b"BITFIELD", Abilities::BITFIELD.and(Abilities::OF_6_2), bitfield_applies, |_, args, out| {
        bitfield::write(args, out)
    })];

/// Servers up to 5.0 make 0 of an i64 that leaves its range.
fn bitfield_applies(lacks: Abilities, request: &Request<'_>) -> bool {
    lacks.any_of(Abilities::BITFIELD) || request.args().skip(3).any(|arg| is(arg, "I64"))
}

/// A condition that the target does not know; the source sends it only where it was met.
fn is_condition(lacks: Abilities, arg: &[u8]) -> bool {
    let newer = || is(arg, "IFNE") || is(arg, "IFDEQ") || is(arg, "IFDNE");
    lacks.any_of(Abilities::SET_IFEQ) && is(arg, "IFEQ") || lacks.any_of(Abilities::SET_IFNE) && newer()
}

/// Looks at the options of SET in their places, since a value to compare with may read like an option.
fn set_options<'a>(mut args: impl Iterator<Item = &'a [u8]>, mut each: impl FnMut(&'a [u8], Option<&'a [u8]>)) {
    while let Some(arg) = args.next() {
        let with_value = ["EX", "PX", "EXAT", "PXAT", "IFEQ", "IFNE", "IFDEQ", "IFDNE"].iter().any(|w| is(arg, w));
        each(arg, if with_value { args.next() } else { None });
    }
}

fn set_applies(lacks: Abilities, request: &Request<'_>) -> bool {
    let mut applies = false;
    // The most common form has no options.
    if request.argc() > 3 {
        let keepttl = lacks.any_of(Abilities::KEEPTTL);
        set_options(request.args().skip(3), |arg, _| {
            applies |= keepttl && is(arg, "KEEPTTL") || is_condition(lacks, arg);
        });
    }
    applies
}

fn set(older: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, key, value, options @ ..] = args else { return Verdict::Known };
    let mut plain: Vec<&[u8]> = vec![b"SET", key, value];
    let mut keepttl = false;
    set_options(options.iter().copied(), |arg, with| {
        if is(arg, "KEEPTTL") && older.lacks(Abilities::KEEPTTL) {
            keepttl = true;
        } else if !is_condition(older.lacks, arg) {
            plain.push(arg);
            plain.extend(with);
        }
    });
    match keepttl {
        true => eval(out, scripts::SET_KEEPTTL, &[key], &[value]),
        false => command(out, &plain),
    }
}

/// `MSETEX numkeys key value ... [NX|XX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`: the source sends it only where it took
/// effect.
fn msetex(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let Some(pairs) = args.get(1).and_then(|n| number(n)) else { return Verdict::Known };
    let Some((values, options)) = args.get(2..).and_then(|rest| rest.split_at_checked(pairs.checked_mul(2)?)) else {
        return Verdict::Known;
    };
    let kept: Vec<&[u8]> = options.iter().copied().filter(|arg| !is(arg, "NX") && !is(arg, "XX")).collect();
    for pair in values.chunks_exact(2) {
        encode::array(out, 3 + kept.len());
        encode::bulk(out, b"SET");
        pair.iter().chain(&kept).for_each(|arg| encode::bulk(out, arg));
    }
    Verdict::Written
}

/// Sent only where the condition was met.
fn delete(args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    match args {
        [_, _, ..] => named(out, b"DEL", &args[..2]),
        _ => Verdict::Known,
    }
}

fn bitop_applies(_: Abilities, request: &Request<'_>) -> bool {
    request.arg(1).is_some_and(|op| ["DIFF", "DIFF1", "ANDOR", "ONE"].iter().any(|word| is(op, word)))
}

fn bitop(older: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, op, keys @ ..] = args else { return Verdict::Known };
    let ours = [b":1", b":2", b":3"].map(|name| [older.place.as_slice(), name].concat());
    let mut all: Vec<&[u8]> = ours.iter().map(Vec::as_slice).collect();
    all.extend(keys);
    eval(out, scripts::BITOP, &all, &[&op.to_ascii_uppercase()])
}
