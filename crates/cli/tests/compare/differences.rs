//! Every kind of difference is found, and nothing else is reported.

use keyferry_testkit::data;

use super::*;

/// One key of each kind of value, in the database of the test.
const BEFORE: &[&str] = &[
    "SET d:string some-value",
    "SET d:length some-value",
    "SET d:ttl v EX 100000",
    "SET d:persisted v EX 100000",
    "SET d:gone v",
    "SET d:type v",
    "RPUSH d:list a b c",
    "SADD d:set a b c",
    "HSET d:hash f 1 g 2 h 3",
    "ZADD d:zset 1.1 a 2 b",
    "ZADD d:bigzset 17179869184.25 a",
    "XADD d:stream 1-1 f v",
    "XADD d:entry 1-1 f v",
    "XADD d:entry 1-2 f v",
    "XADD d:group 1-1 f v",
    "XGROUP CREATE d:group g 0",
    "XADD d:pending 1-1 f v",
    "XADD d:pending 1-2 f v",
    "XGROUP CREATE d:pending g 0",
    "XREADGROUP GROUP g c COUNT 2 STREAMS d:pending >",
    "XADD d:lastid 1-1 f v",
    "SET d:same v EX 5000",
];

/// What is done to the target, and what is then to be found.
const CHANGES: &[(&str, &str, &str)] = &[
    ("SETRANGE d:string 3 X", "d:string", "value"),
    ("APPEND d:length x", "d:length", "value"),
    ("EXPIRE d:ttl 50000", "d:ttl", "ttl"),
    ("PERSIST d:persisted", "d:persisted", "ttl"),
    ("DEL d:gone", "d:gone", "missing_on_target"),
    ("SET d:new v", "d:new", "missing_on_source"),
    ("DEL d:type", "d:type", "type"),
    ("LSET d:list 1 x", "d:list", "value"),
    ("SREM d:set b", "d:set", "value"),
    ("HSET d:hash g 22", "d:hash", "value"),
    // 1.1 and one ulp more.
    ("ZADD d:zset 1.1000000000000003 a", "d:zset", "value"),
    ("ZADD d:bigzset 17179869184.250004 a", "d:bigzset", "value"),
    ("XADD d:stream 1-2 f v", "d:stream", "value"),
    ("XDEL d:entry 1-1", "d:entry", "value"),
    ("XGROUP DESTROY d:group g", "d:group", "value"),
    ("XACK d:pending g 1-2", "d:pending", "value"),
    ("XSETID d:lastid 9-9", "d:lastid", "value"),
];

/// The same changes on any pair, found by full comparisons with and without pieces.
fn finds_all(source: &str, target: &str) {
    let (source, target) = (Server::start(source).unwrap(), Server::start(target).unwrap());
    data::fill_mixed(&source.url(), 3_000, 5).unwrap();
    run(&source, 5, BEFORE);
    if target.version().name() == "redis-5.0" {
        without_what_is_new(&source);
    }
    copy(&source, &target, &[]);
    compare(&source, &target, &[]).assert_equal();
    for (change, ..) in CHANGES {
        run(&target, 5, &[change]);
    }
    run(&target, 5, &["RPUSH d:type v"]);
    let changed = CHANGES.iter().map(|(_, key, kind)| (5, (*key).into(), (*kind).into()));
    let mut expected: Vec<Found> = changed.collect();
    expected.sort();
    for args in [&["--mode", "full"][..], &["--mode", "full", "--big-key-limit", "1"]] {
        let done = compare(&source, &target, args);
        let (found, last) = done.found();
        assert_eq!(found, expected, "{args:?}: {done:?}");
        assert_eq!(done.code, 1, "{done:?}");
        let counts = ["missing_on_target", "missing_on_source", "type", "value", "ttl"].map(|kind| &last[kind]);
        assert_eq!(counts, [1, 1, 1, 12, 2]);
        assert_eq!((&last["equal"], &last["rounds"]), (&false.into(), &2.into()));
    }
}

/// Removes what an older target cannot hold: hashes of which fields expire, and functions.
fn without_what_is_new(server: &Server) {
    let script = "for _,key in ipairs(redis.call('KEYS','*')) do if redis.call('TYPE',key).ok=='hash' then \
        for _,field in ipairs(redis.call('HKEYS',key)) do \
        if redis.call('HPTTL',key,'FIELDS',1,field)[1]~=-1 then redis.call('DEL',key) break end end end end";
    let mut conn = server.conn().unwrap();
    for db in [0, 1, 5, 15] {
        cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        cmd("EVAL").arg(script).arg(0).exec(&mut conn).unwrap();
    }
    cmd("FUNCTION").arg("FLUSH").exec(&mut conn).unwrap();
}

#[test]
fn every_kind_between_7_0() {
    finds_all("redis-7.0", "redis-7.0");
}

#[test]
fn every_kind_from_7_4_to_5_0() {
    finds_all("redis-7.4", "redis-5.0");
}

#[test]
fn every_kind_from_5_0_to_valkey() {
    finds_all("redis-5.0", "valkey-9.0");
}

/// The modes look at less.
#[test]
fn modes() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    run(&source, 5, BEFORE);
    copy(&source, &target, &[]);
    for (change, ..) in CHANGES {
        run(&target, 5, &[change]);
    }
    run(&target, 5, &["RPUSH d:type v"]);
    let names = |mode: &[&str]| -> Vec<String> {
        let (found, _) = compare(&source, &target, mode).found();
        found.into_iter().map(|(_, key, kind)| format!("{key} {kind}")).collect()
    };
    let missing = ["d:gone missing_on_target", "d:new missing_on_source"];
    assert_eq!(names(&["--mode", "keys"]), missing);
    let by_length = [
        "d:entry value",
        "d:gone missing_on_target",
        "d:length value",
        "d:new missing_on_source",
        "d:persisted ttl",
        "d:set value",
        "d:stream value",
        "d:ttl ttl",
        "d:type type",
    ];
    assert_eq!(names(&["--mode", "lengths"]), by_length);
    assert_eq!(names(&["--mode", "quick", "--sample", "0"]), by_length);
    assert_eq!(names(&["--mode", "quick", "--sample", "100"]).len(), CHANGES.len());
    // Strings that are long on the average are not fetched for their length.
    for i in 0..3_000 {
        run(&source, 5, &[&format!("SETRANGE long:{i} 5000 x")]);
        run(&target, 5, &[&format!("SETRANGE long:{i} 5000 y")]);
    }
    run(&target, 5, &["APPEND long:7 x"]);
    let quick = names(&["--mode", "quick", "--sample", "0"]);
    assert_eq!(quick.len(), by_length.len() + 1, "{quick:?}");
    assert!(quick.contains(&"long:7 value".into()));
}

/// Deadlines of fields, between servers that have them.
#[test]
fn fields_that_expire() {
    let (source, target) = (Server::start("redis-7.4").unwrap(), Server::start("redis-8.0").unwrap());
    for key in ["a", "b", "c"] {
        run(&source, 0, &[&format!("HSET {key} f 1 g 2"), &format!("HEXPIRE {key} 5000 FIELDS 1 f")]);
    }
    copy(&source, &target, &[]);
    compare(&source, &target, &[]).assert_equal();
    run(&target, 0, &["HEXPIRE a 9000 FIELDS 1 f", "HPERSIST b FIELDS 1 f"]);
    for args in [&[][..], &["--big-key-limit", "1"]] {
        let (found, _) = compare(&source, &target, args).found();
        let expected = ["a", "b"].map(|key| (0, key.to_owned(), "ttl".to_owned()));
        assert_eq!(found, expected);
    }
}

/// A grace, and deadlines that a running copy holds, are no differences; more than that is one.
#[test]
fn expiries_with_grace_and_held() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let at: u64 = 2_000_000_000_000;
    let set = |server: &Server, key: &str, at: u64| run(server, 0, &[&format!("SET {key} v PXAT {at}")]);
    for key in ["same", "grace", "late", "early", "held", "heldlate"] {
        set(&source, key, at);
    }
    let held = 1_u64 << 52;
    let pairs = [("same", at), ("grace", at + 30_000), ("late", at + 40_000), ("early", at - 5_000)];
    pairs.iter().for_each(|(key, at)| set(&target, key, *at));
    set(&target, "held", at + held);
    set(&target, "heldlate", at + held + 60_000);
    let names = |args: &[&str]| -> Vec<String> {
        compare(&source, &target, args).found().0.into_iter().map(|(_, key, _)| key).collect()
    };
    assert_eq!(names(&[]), ["early", "heldlate", "late"]);
    assert_eq!(names(&["--ttl-grace", "0s"]), ["early", "grace", "heldlate", "late"]);
    assert_eq!(names(&["--ttl-tolerance", "10s"]), ["heldlate"]);
}

/// What a server makes of the same registers is no difference.
#[test]
fn hyperloglogs_by_their_registers() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    run(&source, 0, &["PFADD hll a b c d"]);
    run(&target, 0, &["CONFIG SET hll-sparse-max-bytes 0", "PFADD hll a b c d"]);
    compare(&source, &target, &[]).assert_equal();
    run(&target, 0, &["PFADD hll e"]);
    assert_eq!(compare(&source, &target, &[]).code, 1);
}
