//! What the target has nothing for, under each policy.

use keyferry_testkit::keyferry::Exit;

use super::*;

/// Runs lines under a policy that lets the task go on.
fn with_policy(pair: (&str, &str), policy: &str, lines: &str, tolerates: impl Fn(&Difference) -> bool) -> String {
    let following = Following::start(pair.0, pair.1, &["--on-unsupported", policy]);
    following.run_lines(&[lines]);
    following.assert_equal_but(tolerates);
    following.stop()
}

/// The task ends at the first of the lines, and says what it was.
fn fails(pair: (&str, &str), line: &str, name: &str) {
    let following = Following::start(pair.0, pair.1, &[]);
    let conn = &mut following.source.conn().unwrap();
    send(conn, "SET before 1");
    following.wait_in_step();
    let goal: u64 = following.source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
    for line in line.lines() {
        send(conn, line);
    }
    let exit = following.run.wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "TGT-0017");
    let said = exit.stderr.lines().find(|line| line.contains("TGT-0017")).unwrap();
    let offset = said.split("at offset ").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
    assert!(said.contains(name), "{said}");
    assert!(offset.parse::<u64>().unwrap() > goal, "{said}");
    assert_eq!(ask::<u64>(&following.target, 0, "GET before"), 1);
}

const HASH_DEADLINES: &str = "
HSET h a 1 b 2
HPEXPIREAT h 4000000000000 FIELDS 1 a
HPERSIST h FIELDS 1 a
HPEXPIREAT h 4000000000000 FIELDS 1 b";

#[test]
fn deadlines_of_fields_under_each_policy() {
    let pair = ("redis-7.4", "redis-7.2");
    fails(pair, "HSET h a 1\nHPEXPIREAT h 4000000000000 FIELDS 1 a", "HPEXPIREAT");
    for (policy, counted) in
        [("drop", "hash field deadline dropped: 6"), ("degrade", "hash field deadline degraded: 6")]
    {
        let said = with_policy(pair, policy, HASH_DEADLINES, |d| d.kind == Kind::FieldExpiry);
        assert!(said.contains(counted), "{said}");
    }
}

#[test]
fn values_with_deadlines_of_fields_under_each_policy() {
    let pair = ("redis-8.0", "redis-7.0");
    let lines = "HSET h z 1\nHSETEX h PXAT 4000000000000 FIELDS 1 a 1";
    fails(pair, lines, "HSETEX");
    let said = with_policy(pair, "degrade", lines, |d| d.kind == Kind::FieldExpiry);
    assert!(said.contains("hash field deadline degraded: 3"), "{said}");
    let said = with_policy(pair, "drop", lines, |d| matches!(d.kind, Kind::FieldExpiry | Kind::Value));
    assert!(said.contains("hash field deadline dropped: 3"), "{said}");
}

#[test]
fn streams_under_each_policy() {
    let pair = ("redis-7.0", "redis-4.0");
    fails(pair, "XADD s 1-1 f v", "XADD");
    // What was left out takes the place of what was there, and a name that is free stays free.
    let lines = "XADD s 1-1 f v\nXADD s MAXLEN 1 2-1 f v\nXGROUP CREATE s g 0\nXREADGROUP GROUP g c STREAMS s >\n\
        SET a 1\nRENAME s a\nRENAMENX a b\nSET c 1\nCOPY b c REPLACE\nDEL c\nSET after 1";
    for policy in ["drop", "degrade"] {
        let said = with_policy(pair, policy, lines, |d| d.kind == Kind::MissingOnTarget && d.detail == "a stream");
        assert!(said.contains("stream command dropped: 12"), "{said}");
    }
}

#[test]
fn functions_under_each_policy() {
    const CODE: &str = "#!lua name=lib\nredis.register_function('f', function(keys, args) return redis.call('SET', keys[1], args[1]) end)";
    let load = |server: &Server| {
        let conn = &mut server.conn().unwrap();
        cmd("FUNCTION").arg("LOAD").arg(CODE).exec(conn).unwrap();
        send(conn, "FCALL f 1 key value");
    };
    let following = Following::start("redis-7.0", "redis-6.2", &[]);
    load(&following.source);
    let exit = following.run.wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "TGT-0017");
    assert!(exit.stderr.contains("FUNCTION"), "{}", exit.stderr);
    for policy in ["drop", "degrade"] {
        let following = Following::start("redis-7.0", "redis-6.2", &["--on-unsupported", policy]);
        load(&following.source);
        send(&mut following.source.conn().unwrap(), "FUNCTION DELETE lib");
        following.assert_equal_but(|_| false);
        assert_eq!(ask::<String>(&following.target, 0, "GET key"), "value");
        let said = following.stop();
        assert!(said.contains("function library dropped: 1"), "{said}");
    }
}

#[test]
fn places_in_a_polygon_under_each_policy() {
    let lines = "GEOADD g 13.361389 38.115556 a 15.087269 37.502669 b\n\
        GEOSEARCHSTORE d g BYPOLYGON 4 10 36 17 36 17 43 10 43\nSET after 1";
    for target in ["valkey-8.1", "redis-8.6"] {
        let pair = ("valkey-9.0", target);
        fails(pair, lines, "GEOSEARCHSTORE");
        let said = with_policy(pair, "drop", lines, |d| d.kind == Kind::MissingOnTarget && d.key == b"d");
        assert!(said.contains("GEOSEARCHSTORE dropped: 3"), "{said}");
    }
}

/// Fills the source before the copy and writes behind it; gives back what was said. Where an element is not, nothing is
/// sent for it.
fn vector_sets(pair: (&str, &str), policy: &str, tolerates: impl Fn(&Difference) -> bool) -> Exit {
    let (source, target) = (Server::start(pair.0).unwrap(), Server::start(pair.1).unwrap());
    let conn = &mut source.conn().unwrap();
    send(conn, "SET before 1");
    send(conn, "VADD v:copied VALUES 3 1 0.5 -0.25 one");
    let run = sync(&source.url(), &target.url()).args(["--on-unsupported", policy]).spawn().unwrap();
    if policy == "fail" {
        return run.wait_exit(LONG).unwrap();
    }
    run.wait_for(LONG, |p| p.phase == "incremental").unwrap();
    let following = Following { source, target, run };
    following.run_lines(&["
VADD v:copied VALUES 3 0.1 0.2 0.3 two
VSETATTR v:copied one {}
VREM v:copied one
VADD v:new VALUES 2 1 2 one
RENAME v:new v:renamed
SET after 1"]);
    // A value that is restored replaces what is there, also with nothing.
    let conn = &mut following.source.conn().unwrap();
    let dump: Vec<u8> = cmd("DUMP").arg("v:renamed").query(conn).unwrap();
    send(&mut following.target.conn().unwrap(), "SET v:restored old");
    cmd("RESTORE").arg("v:restored").arg(0).arg(dump).arg("REPLACE").exec(conn).unwrap();
    following.assert_equal_but(tolerates);
    following.run.signal(keyferry_testkit::process::Signal::TERM).unwrap();
    following.run.wait_exit(LONG).unwrap()
}

#[test]
fn vector_sets_for_targets_without_them() {
    for target in ["redis-7.4", "redis-6.0", "valkey-9.1"] {
        let pair = ("redis-8.6", target);
        let exit = vector_sets(pair, "fail", |_| false);
        assert_fails(&exit, 1, "TGT-0017");
        assert!(exit.stderr.contains("a value of module type vectorset of database 0"), "{}", exit.stderr);
        for policy in ["drop", "degrade"] {
            let exit = vector_sets(pair, policy, |d| d.kind == Kind::MissingOnTarget && d.detail == "a vectorset");
            assert_eq!(exit.code(), 130, "{}", exit.stderr);
            let counted = ["vector set dropped: 2", "vector set command dropped: 8"];
            assert!(counted.iter().all(|counted| exit.stderr.contains(counted)), "{}", exit.stderr);
        }
    }
    fails(("redis-8.0", "redis-7.2"), "VADD v VALUES 2 1 2 one", "VADD");
}

/// What is not held in memory as a whole is known for what it is by its first bytes.
#[test]
fn large_vector_sets_for_targets_without_them() {
    let (source, target) = (Server::start("redis-8.6").unwrap(), Server::start("redis-7.4").unwrap());
    let conn = &mut source.conn().unwrap();
    let vector = 0.5_f32.to_le_bytes().repeat(16_000);
    for n in 0..160 {
        cmd("VADD").arg("v").arg("FP32").arg(&vector).arg(n).arg("NOQUANT").exec(conn).unwrap();
    }
    send(conn, "SET plain 1");
    let exit = sync(&source.url(), &target.url()).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "TGT-0017");
    assert!(exit.stderr.contains("module type vectorset"), "{}", exit.stderr);
    let args = ["--on-unsupported", "drop", "--on-conflict", "clear", "--stop-when-synced"];
    let exit = sync(&source.url(), &target.url()).args(args).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert!(exit.stderr.contains("vector set dropped: 1"), "{}", exit.stderr);
    assert_eq!(ask::<u64>(&target, 0, "GET plain"), 1);
}

/// 8.0 does not read what later ones save, and knows their commands: of what was left out it gets what comes later.
#[test]
fn vector_sets_of_later_versions_for_8_0() {
    for source in ["redis-8.2", "redis-8.6"] {
        let pair = (source, "redis-8.0");
        let exit = vector_sets(pair, "fail", |_| false);
        assert_fails(&exit, 1, "TGT-0017");
        assert!(exit.stderr.contains("module type vectorset"), "{}", exit.stderr);
        let missing = |d: &Difference| d.kind == Kind::MissingOnTarget && d.key == b"v:restored";
        let exit = vector_sets(pair, "drop", missing);
        assert_eq!(exit.code(), 130, "{}", exit.stderr);
        assert!(exit.stderr.contains("vector set dropped: 2"), "{}", exit.stderr);
        assert!(!exit.stderr.contains("vector set command"), "{}", exit.stderr);
    }
}

/// Any value of a module that the target has not loaded.
#[test]
fn values_of_modules_that_the_target_has_not() {
    let source = Server::builder("redis-7.4").module("rejson").start().unwrap();
    let target = Server::start("redis-7.4").unwrap();
    let conn = &mut source.conn().unwrap();
    send(conn, "SET plain 1");
    send(conn, "JSON.SET doc $ [1]");
    let exit = sync(&source.url(), &target.url()).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "TGT-0017");
    assert!(exit.stderr.contains("module type ReJSON-RL"), "{}", exit.stderr);
    let args = ["--on-unsupported", "drop", "--on-conflict", "clear", "--stop-when-synced"];
    let exit = sync(&source.url(), &target.url()).args(args).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert!(exit.stderr.contains("module dropped: 1"), "{}", exit.stderr);
    assert_eq!(ask::<u64>(&target, 0, "GET plain"), 1);
}

/// Too large for a payload: the stream is rebuilt, and so is what its producers have written.
#[test]
fn producers_of_a_large_stream_stay_known() {
    let (source, target) = (Server::start("redis-8.6").unwrap(), Server::start("redis-8.6").unwrap());
    let conn = &mut source.conn().unwrap();
    let add = |conn: &mut Connection, id: &str, value: &str| -> String {
        cmd("XADD").arg(&["s", "IDMP", "producer", id, "*", "f", value]).query(conn).unwrap()
    };
    let large = add(conn, "large", &"v".repeat(9 << 20));
    let numbered = add(conn, "7", "v");
    let deleted = add(conn, "deleted", "v");
    send(conn, &format!("XDEL s {deleted}"));
    let run = sync(&source.url(), &target.url()).args(["--stop-when-synced"]).spawn().unwrap();
    let exit = run.wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert!(!exit.stderr.contains("producer"), "{}", exit.stderr);
    let conn = &mut target.conn().unwrap();
    assert_eq!((add(conn, "large", "other"), add(conn, "7", "other")), (large, numbered));
    assert_eq!(ask::<u64>(&target, 0, "XLEN s"), 2);
}

#[test]
fn producers_that_cannot_be_told_are_a_matter_of_the_policy() {
    let pair = ("redis-8.6", "redis-8.2");
    fails(pair, "XADD s IDMP p i 1-1 f v".replace("1-1", "*").as_str(), "XADD");
    let said = with_policy(pair, "degrade", SINCE_8_6, |_| false);
    assert!(said.contains("stream producer ids dropped: 12"), "{said}");
    let said = with_policy(("redis-8.6", "redis-8.6"), "drop", UNNAMED_SINCE_8_6, |_| false);
    assert!(said.contains("stream producer ids dropped: 3"), "{said}");
}
