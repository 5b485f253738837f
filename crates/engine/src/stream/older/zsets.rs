//! Commands on sorted sets, with places among them.

use keyferry_resp::request::Request;

use super::{Abilities, Lesser, Older, Rule, Verdict, always, command, eval, is, lacks, number, rule, scripts};

pub(super) const OF_4: &[Rule] = &[rule(b"ZADD", Abilities::ZADD_FLAGS.and(Abilities::OF_6_2), zadd_applies, zadd)];

pub(super) const OF_7: &[Rule] =
    &[rule(b"ZPOPMIN", Abilities::ZPOP, always, pop_lowest), rule(b"ZPOPMAX", Abilities::ZPOP, always, pop_highest)];

pub(super) const OF_9: &[Rule] =
    &[rule(b"GEORADIUS", Abilities::GEO.and(Abilities::OF_6_2), places_apply, |_, _, _| {
        lacks("GEORADIUS", Lesser::Nothing)
    })];

pub(super) const OF_10: &[Rule] = &[rule(b"ZDIFFSTORE", Abilities::OF_6_2, always, zdiffstore)];

pub(super) const OF_11: &[Rule] = &[rule(b"ZRANGESTORE", Abilities::OF_6_2, always, zrangestore)];

pub(super) const OF_14: &[Rule] =
    &[rule(b"GEOSEARCHSTORE", Abilities::OF_6_2.and(Abilities::POLYGON), search_applies, geosearchstore)];

pub(super) const OF_17: &[Rule] =
    &[rule(b"GEORADIUSBYMEMBER", Abilities::GEO.and(Abilities::OF_6_2), places_apply, |_, _, _| {
        lacks("GEORADIUSBYMEMBER", Lesser::Nothing)
    })];

/// `COUNT n ANY` came with 6.2. What it finds depends on the order in which a server looks.
fn places_apply(lacks: Abilities, request: &Request<'_>) -> bool {
    let any = || request.args().skip(5).skip_while(|arg| !is(arg, "COUNT")).nth(2).is_some_and(|arg| is(arg, "ANY"));
    lacks.any_of(Abilities::GEO) || any()
}

/// Only Valkey searches a polygon. What follows `FROMMEMBER` is a member, whatever it reads like.
fn search_applies(lacks: Abilities, request: &Request<'_>) -> bool {
    let mut options = request.args().skip(3);
    let polygon = loop {
        match options.next() {
            Some(option) if is(option, "FROMMEMBER") => drop(options.next()),
            Some(option) if is(option, "BYPOLYGON") => break true,
            Some(_) => {}
            None => break false,
        }
    };
    polygon || lacks.any_of(Abilities::OF_6_2)
}

/// What `ZADD` is told behind the key: its flags, as [`scripts::ZADD`] names them, without CH, which only asks.
fn zadd_flag(arg: &[u8]) -> Option<&'static str> {
    [("NX", "N"), ("XX", "X"), ("GT", "G"), ("LT", "L"), ("INCR", "I"), ("CH", "")]
        .iter()
        .find(|(word, _)| is(arg, word))
        .map(|(_, flag)| *flag)
}

fn zadd_applies(lacks: Abilities, request: &Request<'_>) -> bool {
    let flags = || request.args().skip(2).map_while(zadd_flag);
    match lacks.any_of(Abilities::ZADD_FLAGS) {
        true => flags().next().is_some(),
        false => flags().any(|flag| flag == "G" || flag == "L"),
    }
}

fn zadd(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, key, rest @ ..] = args else { return Verdict::Known };
    let flags: Vec<&str> = rest.iter().map_while(|arg| zadd_flag(arg)).collect();
    let text = flags.concat();
    let mut all: Vec<&[u8]> = vec![text.as_bytes()];
    all.extend(&rest[flags.len()..]);
    eval(out, scripts::ZADD, &[key], &all)
}

/// `ZPOPMIN key [count]`
fn pop_lowest(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    match (args, args.get(2).map_or(Some(1), |n| number(n))) {
        (_, Some(0)) => Verdict::Written,
        ([_, key, ..], Some(n)) => command(out, &[b"ZREMRANGEBYRANK", key, b"0", (n - 1).to_string().as_bytes()]),
        _ => Verdict::Known,
    }
}

fn pop_highest(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    match (args, args.get(2).map_or(Some(1), |n| number(n))) {
        (_, Some(0)) => Verdict::Written,
        ([_, key, ..], Some(n)) => command(out, &[b"ZREMRANGEBYRANK", key, format!("-{n}").as_bytes(), b"-1"]),
        _ => Verdict::Known,
    }
}

/// `ZDIFFSTORE destination numkeys key ...`
fn zdiffstore(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, to, count, keys @ ..] = args else { return Verdict::Known };
    if number(count) != Some(keys.len()) {
        return Verdict::Known;
    }
    let mut all: Vec<&[u8]> = vec![to];
    all.extend(keys);
    eval(out, scripts::ZDIFFSTORE, &all, &[])
}

/// `ZRANGESTORE destination source min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]`
fn zrangestore(_: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, to, from, min, max, options @ ..] = args else { return Verdict::Known };
    let has = |word| options.iter().any(|arg| is(arg, word));
    let name: &[u8] = match (has("BYSCORE"), has("BYLEX"), has("REV")) {
        (true, _, false) => b"ZRANGEBYSCORE",
        (true, _, true) => b"ZREVRANGEBYSCORE",
        (_, true, false) => b"ZRANGEBYLEX",
        (_, true, true) => b"ZREVRANGEBYLEX",
        (_, _, false) => b"ZRANGE",
        (_, _, true) => b"ZREVRANGE",
    };
    let mut all: Vec<&[u8]> = vec![name, min, max];
    if let Some(at) = options.iter().position(|arg| is(arg, "LIMIT")) {
        all.extend(options[at..].iter().take(3));
    }
    eval(out, scripts::ZRANGESTORE, &[to, from], &all)
}

/// `GEOSEARCHSTORE destination source FROMMEMBER m|FROMLONLAT x y BYRADIUS r unit|BYBOX ... [ASC|DESC] [COUNT n [ANY]]
/// [STOREDIST]`. Older servers search circles only, Redis no polygons, and find any few of them in another order.
fn geosearchstore(older: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    let [_, to, from, options @ ..] = args else { return Verdict::Known };
    let unknown = lacks("GEOSEARCHSTORE", Lesser::Nothing);
    if !older.lacks(Abilities::OF_6_2) {
        return unknown;
    }
    let (mut name, mut centre, mut circle): (&[u8], &[&[u8]], &[&[u8]]) = (b"GEORADIUS", &[], &[]);
    let (mut more, mut store): (Vec<&[u8]>, &[u8]) = (Vec::new(), b"STORE");
    let mut rest = options;
    while let Some((option, behind)) = rest.split_first() {
        let takes = |n| behind.split_at_checked(n);
        let (taken, behind) = match option {
            o if is(o, "FROMMEMBER") => {
                let Some((member, behind)) = takes(1) else { return unknown };
                (name, centre) = (b"GEORADIUSBYMEMBER", member);
                (&[][..], behind)
            }
            o if is(o, "FROMLONLAT") => {
                let Some((place, behind)) = takes(2) else { return unknown };
                centre = place;
                (&[][..], behind)
            }
            o if is(o, "BYRADIUS") => {
                let Some((radius, behind)) = takes(2) else { return unknown };
                circle = radius;
                (&[][..], behind)
            }
            o if is(o, "COUNT") => {
                let Some((count, behind)) = takes(1) else { return unknown };
                more.push(o);
                (count, behind)
            }
            o if is(o, "ASC") || is(o, "DESC") => {
                more.push(o);
                (&[][..], behind)
            }
            o if is(o, "STOREDIST") => {
                store = b"STOREDIST";
                (&[][..], behind)
            }
            _ => return unknown,
        };
        more.extend(taken);
        rest = behind;
    }
    if older.lacks(Abilities::GEO) || centre.is_empty() || circle.is_empty() {
        return unknown;
    }
    let mut all: Vec<&[u8]> = vec![name];
    all.extend(centre);
    all.extend(circle);
    all.extend(more);
    all.extend([store, to]);
    eval(out, scripts::GEORADIUS, &[to, from], &all)
}
