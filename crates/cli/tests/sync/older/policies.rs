//! What the target has nothing for, under each policy.

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
fn producers_that_cannot_be_told_are_a_matter_of_the_policy() {
    let pair = ("redis-8.6", "redis-8.2");
    fails(pair, "XADD s IDMP p i 1-1 f v".replace("1-1", "*").as_str(), "XADD");
    let said = with_policy(pair, "degrade", SINCE_8_6, |_| false);
    assert!(said.contains("stream producer ids dropped: 12"), "{said}");
    let said = with_policy(("redis-8.6", "redis-8.6"), "drop", UNNAMED_SINCE_8_6, |_| false);
    assert!(said.contains("stream producer ids dropped: 3"), "{said}");
}
