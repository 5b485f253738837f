//! Each kind of difference is made between two equal servers, one at a time: the oracle must find it and only it.

use keyferry_testkit::{
    Server,
    oracle::{self, Kind, Options},
};
use redis::Connection;

/// Far in the future, in milliseconds since 1970.
const FAR: u64 = 4_000_000_000_000;

/// Runs one command given as words; `~` stands for a space inside a word.
fn run(conn: &mut Connection, line: &str) {
    let mut words = line.split(' ').map(|word| word.replace('~', " "));
    let mut command = redis::cmd(&words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.exec(conn).unwrap_or_else(|error| panic!("{line}: {error}"));
}

/// The same data for both sides: every type, long and short.
fn fill(server: &Server) {
    let conn = &mut server.conn().unwrap();
    for line in [
        "SET s value",
        "SET far value PX 100000000",
        "RPUSH l a b c",
        "SADD set 1 2 3",
        "HSET h f v g w",
        "ZADD z 1 a 0.1 b inf c -inf d",
        "XADD x 1-1 f v",
        "XADD x 2-1 f v",
        "XADD x 3-1 f v",
        "XDEL x 3-1",
        "XGROUP CREATE x g 0",
        "PFADD hll a b c",
        "GEOADD geo 13.4 52.5 Berlin",
        "SELECT 3",
        "SET s other",
        "SELECT 0",
    ] {
        run(conn, line);
    }
    run(conn, &format!("PEXPIREAT far {FAR}"));
    // Claimed by consumer and time, so that both sides have the same pending entry.
    run(conn, "XCLAIM x g c1 0 1-1 TIME 1600000000000 RETRYCOUNT 2 FORCE");
    run(conn, "XGROUP SETID x g 1-1");
    let mut long = redis::cmd("RPUSH");
    long.arg("long");
    for i in 0..20_000 {
        long.arg(i);
    }
    long.exec(conn).unwrap();
    redis::cmd("SET").arg("big").arg(vec![b'x'; 9 << 20]).exec(conn).unwrap();
    redis::cmd("SET").arg(b"bin\r\n\0\xff").arg("v").exec(conn).unwrap();
}

type Change<'a> = (&'a str, &'a str, &'a [(Kind, &'a str)]);

/// Each change is a name for what it does to the target, how it is undone (`=key` puts the key back as it was), and
/// what the oracle must find.
fn check(source: &Server, target: &Server, changes: &[Change]) {
    let options = Options::default();
    let (a, b) = (source.url(), target.url());
    let report = oracle::compare(&a, &b, &options).unwrap();
    assert!(report.is_equal() && report.expired == 0, "{report}");
    for (change, undo, expected) in changes {
        let conn = &mut target.conn().unwrap();
        let key = undo.strip_prefix('=');
        let dump: Option<Vec<u8>> = key.map(|key| redis::cmd("DUMP").arg(key).query(conn).unwrap());
        change.split(';').for_each(|line| run(conn, line));
        let report = oracle::compare(&a, &b, &options).unwrap();
        let found: Vec<_> = report
            .differences
            .iter()
            .map(|difference| (difference.kind, difference.key.escape_ascii().to_string()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(kind, key)| (*kind, (*key).to_owned())).collect();
        assert_eq!(found, expected, "after {change:?}: {report}");
        assert_eq!(report.total, expected.len() as u64);
        let conn = &mut target.conn().unwrap();
        match dump {
            Some(dump) => redis::cmd("RESTORE").arg(key).arg(0).arg(dump).arg("REPLACE").exec(conn).unwrap(),
            None => undo.split(';').for_each(|line| run(conn, line)),
        }
    }
    let report = oracle::compare(&a, &b, &options).unwrap();
    assert!(report.is_equal(), "after all was undone: {report}");
}

#[test]
fn finds_each_kind_of_difference_and_nothing_else() {
    let source = Server::start("redis-7.0").unwrap();
    let target = Server::start("redis-8.0").unwrap();
    fill(&source);
    fill(&target);
    let report = oracle::compare(&source.url(), &target.url(), &Options::default()).unwrap();
    assert_eq!(report.keys, 13);
    assert!(report.bytes > 9 << 20);
    use Kind::*;
    let far = format!("PEXPIREAT far {FAR}");
    let near_far = format!("PEXPIREAT far {}", FAR + 51);
    check(
        &source,
        &target,
        &[
            ("DEL s", "SET s value", &[(MissingOnTarget, "s")]),
            ("SET extra v", "DEL extra", &[(MissingOnSource, "extra")]),
            ("SELECT 5;SET extra v", "SELECT 5;DEL extra", &[(MissingOnSource, "extra")]),
            ("SELECT 3;SET s value", "SELECT 3;SET s other", &[(Value, "s")]),
            ("DEL s;RPUSH s value", "DEL s;SET s value", &[(Type, "s")]),
            ("SETRANGE big 9437183 y", "SETRANGE big 9437183 x", &[(Value, "big")]),
            ("LSET long 19999 y", "LSET long 19999 19999", &[(Value, "long")]),
            ("RPUSH l d", "RPOP l", &[(Value, "l")]),
            ("SREM set 3", "SADD set 3", &[(Value, "set")]),
            ("HSET h f x", "HSET h f v", &[(Value, "h")]),
            ("HSET h more x", "HDEL h more", &[(Value, "h")]),
            ("ZADD z 0.10000000000000002 b", "ZADD z 0.1 b", &[(Value, "z")]),
            ("PERSIST far", &far, &[(Expiry, "far")]),
            (&near_far, &far, &[(Expiry, "far")]),
            (&format!("PEXPIREAT s {FAR}"), "PERSIST s", &[(Expiry, "s")]),
            ("XADD x 4-1 f v", "=x", &[(Value, "x"), (StreamMeta, "x"), (StreamMeta, "x")]),
            ("XSETID x 4-1 ENTRIESADDED 3", "=x", &[(StreamMeta, "x")]),
            ("XSETID x 3-1 ENTRIESADDED 9", "=x", &[(StreamMeta, "x")]),
            ("XGROUP CREATECONSUMER x g c2", "=x", &[(StreamGroup, "x")]),
            ("XGROUP CREATE x h 0", "=x", &[(StreamGroup, "x")]),
            ("XGROUP SETID x g 2-1", "=x", &[(StreamGroup, "x")]),
            ("XCLAIM x g c1 0 1-1 TIME 1600000000000 RETRYCOUNT 3", "=x", &[(StreamGroup, "x")]),
            ("XCLAIM x g c1 0 1-1 TIME 1600000000051 RETRYCOUNT 2", "=x", &[(StreamGroup, "x")]),
            ("PFADD hll d", "DEL hll;PFADD hll a b c", &[(Value, "hll")]),
            (
                "FUNCTION LOAD #!lua~name=f\nredis.register_function('f',function()~end)",
                "FUNCTION DELETE f",
                &[(Functions, "")],
            ),
        ],
    );
}

#[test]
fn field_expiry_and_module_types() {
    let start = || Server::builder("redis-8.0").module("hellotype").start().unwrap();
    let (source, target) = (start(), start());
    let expire = format!("HPEXPIREAT h {FAR} FIELDS 1 f");
    for server in [&source, &target] {
        let conn = &mut server.conn().unwrap();
        for line in ["HSET h f v g w", &expire, "HELLOTYPE.INSERT m 1", "HELLOTYPE.INSERT m 2"] {
            run(conn, line);
        }
    }
    let other = format!("HPEXPIREAT h {} FIELDS 1 f", FAR + 60);
    check(
        &source,
        &target,
        &[
            ("HPERSIST h FIELDS 1 f", &expire, &[(Kind::FieldExpiry, "h")]),
            (&other, &expire, &[(Kind::FieldExpiry, "h")]),
            ("HDEL h f", &format!("HSET h f v;{expire}"), &[(Kind::Value, "h")]),
            ("HELLOTYPE.INSERT m 3", "DEL m;HELLOTYPE.INSERT m 1;HELLOTYPE.INSERT m 2", &[(Kind::Value, "m")]),
        ],
    );
}

#[test]
fn old_and_new_servers_are_compared_by_what_both_tell() {
    let source = Server::start("redis-5.0").unwrap();
    let target = Server::start("redis-6.2").unwrap();
    fill(&source);
    fill(&target);
    check(
        &source,
        &target,
        &[
            ("XADD x 9-1 f v", "=x", &[(Kind::Value, "x"), (Kind::StreamMeta, "x")]),
            ("XACK x g 1-1", "=x", &[(Kind::StreamGroup, "x")]),
            ("PERSIST far", &format!("PEXPIREAT far {FAR}"), &[(Kind::Expiry, "far")]),
        ],
    );
}

#[test]
fn what_runs_out_of_time_is_no_difference() {
    let source = Server::start("redis-7.0").unwrap();
    let target = Server::start("redis-7.0").unwrap();
    // Soon gone on one side, absent on the other.
    run(&mut source.conn().unwrap(), "SET soon v PX 300");
    run(&mut target.conn().unwrap(), "SET later v PX 300");
    let report = oracle::compare(&source.url(), &target.url(), &Options::default()).unwrap();
    assert!(report.is_equal(), "{report}");

    // The grace: the target keeps the key for longer, also after the source has dropped it.
    run(&mut source.conn().unwrap(), "SET both v PX 20000");
    run(&mut target.conn().unwrap(), "SET both v PX 50000");
    run(&mut target.conn().unwrap(), "SET dropped v PX 20000");
    let strict = oracle::compare(&source.url(), &target.url(), &Options::default()).unwrap();
    let kinds: Vec<Kind> = strict.differences.iter().map(|difference| difference.kind).collect();
    assert_eq!(kinds, [Kind::Expiry, Kind::MissingOnSource], "{strict}");
    let graceful = Options { ttl_tolerance_ms: 1000, ttl_grace_ms: 30_000, ..Options::default() };
    let report = oracle::compare(&source.url(), &target.url(), &graceful).unwrap();
    assert!(report.is_equal() && report.expired == 1, "{report}");
}
