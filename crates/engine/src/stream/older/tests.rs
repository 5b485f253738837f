//! Command in, commands out, for a target of some version.

use keyferry_resp::{Limits, request::Scanner};

use super::*;

pub(super) fn server(text: &str) -> ServerVersion {
    let (name, version) = text.split_once(' ').unwrap();
    let info = match name {
        "redis" => format!("redis_version:{version}\r\n"),
        _ => format!("redis_version:7.2.4\r\n{name}_version:{version}\r\n"),
    };
    ServerVersion::from_info(info.as_bytes()).unwrap()
}

/// What becomes of a command: commands in words, scripts by their names in angle brackets; `=` when it is passed on.
pub(super) fn rewrite(older: &Older, words: &str) -> String {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    let (mut wire, mut out) = (Vec::new(), Vec::new());
    encode::command(&mut wire, &args);
    let request = Scanner::new(Limits::default()).next(&wire).unwrap().unwrap();
    let Some(write) = older.rule_for(&request) else { return "=".into() };
    let verdict = older.rewrite(write, &request, &mut out);
    let mut commands = Vec::new();
    let mut rest = &out[..];
    while !rest.is_empty() {
        let request = Scanner::new(Limits::default()).next(rest).unwrap().unwrap();
        rest = &rest[request.bytes().len()..];
        commands.push(request.args().map(shown).collect::<Vec<_>>().join(" "));
    }
    let text = commands.join("; ");
    match verdict {
        Verdict::Known => "=".into(),
        Verdict::Written => text,
        Verdict::Payload => "payload".into(),
        Verdict::Lacks { what, lesser } => format!("{what}, {lesser:?}: {text}").trim_end().into(),
    }
}

fn shown(arg: &[u8]) -> String {
    let (delete, trim) = (scripts::delete(), scripts::trim());
    let all: [(&[u8], &str); 15] = [
        (scripts::COPY, "<copy>"),
        (scripts::SET_KEEPTTL, "<set>"),
        (scripts::LMOVE, "<lmove>"),
        (scripts::RENAME, "<rename>"),
        (scripts::RENAMENX, "<renamenx>"),
        (scripts::SWAPDB, "<swapdb>"),
        (scripts::ZADD, "<zadd>"),
        (scripts::ZRANGESTORE, "<zrangestore>"),
        (scripts::ZDIFFSTORE, "<zdiffstore>"),
        (scripts::GEORADIUS, "<georadius>"),
        (scripts::BITOP, "<bitop>"),
        (scripts::HSET_KEEPTTL, "<hset>"),
        (scripts::XCLAIM, "<xclaim>"),
        (&delete, "<delete>"),
        (bitfield::SCRIPT, "<bitfield>"),
    ];
    if arg == trim {
        return "<trim>".into();
    }
    let named = all.iter().find(|(script, _)| *script == arg).map(|(_, name)| (*name).to_owned());
    named.unwrap_or_else(|| String::from_utf8_lossy(arg).into_owned())
}

fn check(source: &str, target: &str, table: &[(&str, &str)]) {
    let older = Older::new(&server(source), &server(target), OnUnsupported::Fail, b"place");
    for (words, expected) in table {
        assert_eq!(rewrite(&older, words), *expected, "{words} for {target}");
        let lower = words.split_once(' ').map_or(words.to_lowercase(), |(name, rest)| name.to_lowercase() + " " + rest);
        assert_eq!(rewrite(&older, &lower).to_lowercase(), expected.to_lowercase(), "{lower} for {target}");
    }
}

#[test]
fn keys_and_databases() {
    check(
        "redis 8.6.3",
        "redis 3.2.9",
        &[
            ("UNLINK a b", "DEL a b"),
            ("DEL a", "="),
            ("SWAPDB 0 1", "EVAL <swapdb> 1 place: 0 1"),
            ("SWAPDB 1 1", ""),
            ("FLUSHDB", "="),
            ("FLUSHDB ASYNC", "FLUSHDB"),
            ("FLUSHALL SYNC", "FLUSHALL"),
            ("COPY a b", "EVAL <copy> 2 a b  0"),
            ("COPY a b DB 3 REPLACE", "EVAL <copy> 2 a b 3 1"),
            ("SPUBLISH c m", "PUBLISH c m"),
            ("SCRIPT FLUSH SYNC", "SCRIPT FLUSH"),
            ("SCRIPT LOAD code", "="),
            ("FUNCTION FLUSH", ""),
            ("FUNCTION DELETE l", ""),
            ("FUNCTION LOAD code", "function library, Nothing:"),
            ("FUNCTION RESTORE payload", "function library, Nothing:"),
            ("RESTORE k 0 payload", "payload"),
            ("RENAME a b", "="),
        ],
    );
    check(
        "redis 8.6.3",
        "redis 6.0.16",
        &[("UNLINK a b", "="), ("SWAPDB 0 1", "="), ("FLUSHDB ASYNC", "="), ("FLUSHALL SYNC", "FLUSHALL")],
    );
    check(
        "redis 8.6.3",
        "redis 7.0.15",
        &[
            ("COPY a b", "="),
            ("SPUBLISH c m", "="),
            ("FUNCTION LOAD code", "="),
            ("FUNCTION RESTORE p", "payload"),
            ("FLUSHALL SYNC", "="),
        ],
    );
    let older = Older::new(&server("redis 8.6.3"), &server("redis 4.0.9"), OnUnsupported::Drop, b"place");
    assert_eq!(rewrite(&older, "RENAME a b"), "EVAL <rename> 2 a b");
    assert_eq!(rewrite(&older, "RENAMENX a b"), "EVAL <renamenx> 2 a b");
}

#[test]
fn strings() {
    check(
        "redis 8.6.3",
        "redis 5.0.10",
        &[
            ("SET k v", "="),
            ("SET k v PXAT 5", "="),
            ("SET k v NX", "="),
            ("SET k v KEEPTTL", "EVAL <set> 1 k v"),
            ("SET k v XX KEEPTTL", "EVAL <set> 1 k v"),
            ("SET k KEEPTTL PXAT 5", "="),
            ("SET k v IFEQ KEEPTTL", "SET k v"),
            ("SET k v IFNE x PXAT 5", "SET k v PXAT 5"),
            ("SET k v XX IFDEQ x PXAT 5", "SET k v XX PXAT 5"),
            ("MSETEX 2 a 1 b 2 NX PXAT 5", "SET a 1 PXAT 5; SET b 2 PXAT 5"),
            ("MSETEX 1 a NX KEEPTTL XX", "SET a NX KEEPTTL"),
            ("MSETEX 3 a 1", "="),
            ("DELEX k IFEQ v", "DEL k"),
            ("BITOP AND d a b", "="),
            ("BITOP DIFF d a b", "EVAL <bitop> 6 place:1 place:2 place:3 d a b DIFF"),
        ],
    );
    check(
        "redis 8.6.3",
        "valkey 8.1.8",
        &[("SET k v KEEPTTL", "="), ("SET k v IFEQ x", "="), ("SET k v IFNE x KEEPTTL", "SET k v KEEPTTL")],
    );
    check("valkey 9.1.2", "redis 8.6.3", &[("DELIFEQ k v", "DEL k"), ("SET k v IFEQ x", "="), ("DELEX k", "=")]);
    check("redis 6.2.1", "redis 3.0.5", &[("BITFIELD k GET u8 0", "EVAL <bitfield> 1 k")]);
}

#[test]
fn lists_and_hashes() {
    check(
        "redis 8.6.3",
        "redis 3.0.5",
        &[
            ("LPOP k", "="),
            ("LPOP k 2", "LTRIM k 2 -1"),
            ("RPOP k 2", "LTRIM k 0 -3"),
            ("LMOVE a b RIGHT LEFT", "RPOPLPUSH a b"),
            ("LMOVE a b LEFT RIGHT", "EVAL <lmove> 2 a b LEFT RIGHT"),
            ("LPUSHX k a", "="),
            ("LPUSHX k a b", "LPUSHX k a; LPUSHX k b"),
            ("RPUSHX k a b", "RPUSHX k a; RPUSHX k b"),
            ("HSET h a 1", "="),
            ("HSET h a 1 b 2", "HMSET h a 1 b 2"),
            ("HGETDEL h FIELDS 2 a b", "HDEL h a b"),
            ("HSETEX h FIELDS 2 a 1 b 2", "HSET h a 1 b 2"),
            ("HSETEX h KEEPTTL FIELDS 1 a 1", "HSET h a 1"),
            ("HSETEX h FXX PXAT 5 FIELDS 1 a 1", "hash field deadline, Degraded: HSET h a 1"),
            ("HSETEX h FIELDS 1 EX 1 PXAT 5", "hash field deadline, Degraded: HSET h EX 1"),
            ("HSETEX h FIELDS 2 a 1", "="),
            ("HPEXPIREAT h 5 FIELDS 1 a", "hash field deadline, Degraded:"),
            ("HEXPIRE h 5 FIELDS 1 a", "hash field deadline, Degraded:"),
            ("HPERSIST h FIELDS 1 a", ""),
        ],
    );
    check(
        "redis 8.6.3",
        "redis 7.4.1",
        &[
            ("LPOP k 2", "="),
            ("HSET h a 1 b 2", "="),
            ("HPEXPIREAT h 5 FIELDS 1 a", "="),
            ("HPERSIST h FIELDS 1 a", "="),
            ("HSETEX h FNX FIELDS 1 a 1", "HSET h a 1"),
            ("HSETEX h PXAT 5 FIELDS 2 a 1 b 2", "HSET h a 1 b 2; HPEXPIREAT h 5 FIELDS 2 a b"),
            ("HSETEX h KEEPTTL FIELDS 2 a 1 b 2", "EVAL <hset> 1 h 2 a b a 1 b 2"),
        ],
    );
    check("valkey 9.1.2", "valkey 9.0.1", &[("HGETDEL h FIELDS 1 a", "HDEL h a"), ("HSETEX h FIELDS 1 a 1", "=")]);
}

#[test]
fn sorted_sets_and_places() {
    check(
        "redis 8.6.3",
        "redis 4.0.9",
        &[
            ("ZADD k 1 a", "="),
            ("ZADD k NX CH 1 a", "="),
            ("ZADD k GT CH 1 LT", "EVAL <zadd> 1 k G 1 LT"),
            ("ZADD k XX LT INCR 1 a", "EVAL <zadd> 1 k XLI 1 a"),
            ("ZPOPMIN k", "ZREMRANGEBYRANK k 0 0"),
            ("ZPOPMIN k 3", "ZREMRANGEBYRANK k 0 2"),
            ("ZPOPMAX k 3", "ZREMRANGEBYRANK k -3 -1"),
            ("ZPOPMAX k 0", ""),
            ("ZRANGESTORE d s 0 -1", "EVAL <zrangestore> 2 d s ZRANGE 0 -1"),
            ("ZRANGESTORE d s (1 5 BYSCORE LIMIT 1 2", "EVAL <zrangestore> 2 d s ZRANGEBYSCORE (1 5 LIMIT 1 2"),
            ("ZRANGESTORE d s [b [a REV BYLEX", "EVAL <zrangestore> 2 d s ZREVRANGEBYLEX [b [a"),
            ("ZDIFFSTORE d 2 a b", "EVAL <zdiffstore> 3 d a b"),
            ("ZUNIONSTORE d 2 a b", "="),
            (
                "GEOSEARCHSTORE d s FROMLONLAT 1 2 BYRADIUS 3 km ASC COUNT 4",
                "EVAL <georadius> 2 d s GEORADIUS 1 2 3 km ASC COUNT 4 STORE d",
            ),
            (
                "GEOSEARCHSTORE d s BYRADIUS 3 km FROMMEMBER ASC STOREDIST",
                "EVAL <georadius> 2 d s GEORADIUSBYMEMBER ASC 3 km STOREDIST d",
            ),
            ("GEOSEARCHSTORE d s FROMMEMBER m BYBOX 3 4 km", "GEOSEARCHSTORE, Nothing:"),
            ("GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 3 km COUNT 1 ANY", "GEOSEARCHSTORE, Nothing:"),
            ("GEORADIUS s 1 2 3 km STORE d", "="),
            ("GEORADIUS s 1 2 3 km COUNT 1 ANY STORE d", "GEORADIUS, Nothing:"),
        ],
    );
    check(
        "redis 6.2.1",
        "redis 3.0.1",
        &[
            ("ZADD k 1 a", "="),
            ("ZADD k NX CH 1 a", "EVAL <zadd> 1 k N 1 a"),
            ("GEORADIUSBYMEMBER s m 3 km STORE d", "GEORADIUSBYMEMBER, Nothing:"),
            ("GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 3 km", "GEOSEARCHSTORE, Nothing:"),
        ],
    );
}

#[test]
fn streams() {
    check(
        "redis 8.6.3",
        "redis 4.0.9",
        &[
            ("XADD s 1-1 f v", "stream command, Nothing:"),
            ("XTRIM s MAXLEN 1", "stream command, Nothing:"),
            ("XCLAIM s g c 0 1-1", "stream command, Nothing:"),
            ("XGROUP DESTROY s g", "stream command, Nothing:"),
            ("XSETID s 1-1", "stream command, Nothing:"),
            ("XDELEX s IDS 1 1-1", "stream command, Nothing:"),
            ("XDEL s 1-1", "stream command, Nothing:"),
            ("XACK s g 1-1", "stream command, Nothing:"),
        ],
    );
    check(
        "redis 8.6.3",
        "redis 6.0.16",
        &[
            ("XADD s 1-1 f v", "="),
            ("XADD s NOMKSTREAM 1-1 f v", "XADD s 1-1 f v"),
            ("XADD s MAXLEN = 3 1-1 MINID v", "="),
            ("XADD s MAXLEN = 3 LIMIT 10 1-1 f v", "XADD s MAXLEN = 3 1-1 f v"),
            (
                "XADD s MINID = 2-0 3-1 f v",
                "XADD s 3-1 f v; EVAL <trim> 1 s KEEPREF MINID 2-0 1-18446744073709551615 0",
            ),
            ("XADD s MINID 0 3-1 f v", "XADD s 3-1 f v"),
            ("XTRIM s MINID 2-5", "EVAL <trim> 1 s KEEPREF MINID 2-5 2-4 0"),
            ("XTRIM s MAXLEN 5 ACKED", "EVAL <trim> 1 s ACKED MAXLEN 5  0"),
            ("XTRIM s KEEPREF MAXLEN 5", "XTRIM s MAXLEN 5"),
            ("XTRIM s MAXLEN 5", "="),
            ("XGROUP CREATE s g 1-1 MKSTREAM ENTRIESREAD 5", "XGROUP CREATE s g 1-1 MKSTREAM"),
            ("XGROUP CREATE s g 1-1 ENTRIESREAD 5 MKSTREAM", "XGROUP CREATE s g 1-1 MKSTREAM"),
            ("XGROUP SETID s g 1-1", "="),
            ("XGROUP CREATECONSUMER s g c", "XREADGROUP GROUP g c COUNT 1 STREAMS s 0"),
            ("XSETID s 1-1 ENTRIESADDED 5 MAXDELETEDID 1-1", "XSETID s 1-1"),
            ("XSETID s 1-1", "="),
            ("XCLAIM s g c 0 1-1 TIME 5 JUSTID", "EVAL <xclaim> 1 s g c 0 1-1 TIME 5 JUSTID"),
            ("XDELEX s IDS 2 1-1 2-1", "XDEL s 1-1 2-1"),
            ("XDELEX s ACKED IDS 1 1-1", "EVAL <delete> 1 s ACKED 0  1-1"),
            ("XACKDEL s g IDS 1 1-1 DELREF", "EVAL <delete> 1 s DELREF 1 g 1-1"),
            ("XCFGSET s IDMP-MAXSIZE 1", "stream producer settings, Nothing:"),
            (
                "XADD s IDMPAUTO p MAXLEN = 3 1-1 f v",
                "stream producer ids, WithoutOption: XADD s 1-1 f v; XTRIM s MAXLEN = 3",
            ),
            ("XADD s IDMP p i * f v", ""),
        ],
    );
}

#[test]
fn what_no_target_takes_from_a_client() {
    check(
        "redis 8.6.3",
        "redis 8.6.3",
        &[
            ("XADD s 1-1 f v", "="),
            ("XADD s NOMKSTREAM MAXLEN = 3 KEEPREF 1-1 f v", "="),
            ("XADD s NOMKSTREAM MAXLEN = 3 LIMIT 10 1-1 f v", "XADD s NOMKSTREAM MAXLEN = 3 1-1 f v"),
            ("XTRIM s MINID = 3 LIMIT 10", "XTRIM s MINID = 3"),
            ("XTRIM s MINID ~ 3 LIMIT 10", "="),
            ("XADD s IDMP p i 1-1 f v", "XADD s 1-1 f v; XIDMPRECORD s p i 1-1"),
            (
                "XADD s IDMP p i MAXLEN = 0 DELREF 1-1 f v",
                "XADD s DELREF 1-1 f v; XIDMPRECORD s p i 1-1; XTRIM s MAXLEN = 0 DELREF",
            ),
            ("XADD s IDMPAUTO p * f v", ""),
            ("COPY a b", "="),
        ],
    );
}

#[test]
fn what_came_with_4_0_and_its_targets() {
    let pushes =
        [("LPUSHX k a", "="), ("RPUSHX k a b", "RPUSHX k a; RPUSHX k b"), ("HSET h a 1 b 2", "HMSET h a 1 b 2")];
    check("redis 4.0.9", "redis 3.2.9", &pushes);
    check("redis 4.0.9", "redis 3.0.5", &pushes);
    check("redis 4.0.9", "redis 5.0.10", &[("RPUSHX k a b", "="), ("HSET h a 1 b 2", "=")]);
}

#[test]
fn producers_where_there_are_no_streams() {
    let nothing = "stream command, Nothing:";
    check("redis 8.6.3", "redis 4.0.9", &[("XCFGSET s IDMP-DURATION 9", nothing), ("XIDMPRECORD s p i 1-1", nothing)]);
}

#[test]
fn polygons_are_searched_by_valkey_only() {
    let polygon = "GEOSEARCHSTORE d s BYPOLYGON 3 1 1 2 2 3 1 ASC";
    for target in ["redis 6.2.14", "redis 8.6.3", "valkey 8.1.8"] {
        check(
            "valkey 9.1.2",
            target,
            &[
                (polygon, "GEOSEARCHSTORE, Nothing:"),
                ("GEOSEARCHSTORE d s FROMMEMBER bypolygon BYRADIUS 3 km", "="),
                ("GEOSEARCHSTORE d s FROMMEMBER m BYBOX 3 4 km", "="),
            ],
        );
    }
    check("valkey 9.1.2", "valkey 9.0.0", &[(polygon, "=")]);
    check("valkey 9.1.2", "redis 6.0.16", &[(polygon, "GEOSEARCHSTORE, Nothing:")]);
}

/// What is written is never looked at for ever: each of its commands is known in the end.
#[test]
fn rewriting_ends() {
    for target in ["redis 3.0.1", "redis 3.2.9", "redis 5.0.10", "redis 7.4.1", "valkey 8.0.1"] {
        let older = Older::new(&server("redis 8.6.3"), &server(target), OnUnsupported::Degrade, b"place");
        for words in [
            "MSETEX 1 a 1 KEEPTTL",
            "HSETEX h FIELDS 2 a 1 b 2",
            "HSETEX h PXAT 5 FIELDS 2 a 1 b 2",
            "XADD s IDMP p i NOMKSTREAM MINID = 5-1 DELREF 1-1 f v",
            "LPUSHX k a b",
            "SET k v IFEQ x KEEPTTL",
        ] {
            let mut waiting = vec![words.to_owned()];
            let mut steps = 0;
            while let Some(words) = waiting.pop() {
                steps += 1;
                assert!(steps < 20, "{words} for {target}");
                let result = rewrite(&older, &words);
                let commands = result.rsplit(": ").next().unwrap();
                let next = commands.split("; ").filter(|text| !matches!(*text, "=" | "" | "payload"));
                waiting.extend(next.filter(|text| !text.ends_with(':')).map(str::to_owned));
            }
        }
    }
}
