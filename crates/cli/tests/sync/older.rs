//! The stream towards older targets: each command that the target's version does not know arrives in another form, or is
//! treated as `--on-unsupported` says.

use keyferry_testkit::oracle::{Difference, Kind};
use redis::{Connection, Value};

use super::*;

/// What every source from 6.2 on knows, and no target before it.
const SINCE_6_2: &str = "
RPUSH l:a 1 2 3 4 5 6 7 8
LPOP l:a 2
RPOP l:a 3
RPUSH l:b 1 2 3
LPOP l:b 10
RPUSH l:c 1 2 3 4
LMOVE l:c l:d RIGHT LEFT
LMOVE l:c l:d LEFT RIGHT
LMOVE l:c l:d LEFT LEFT
LMOVE l:c l:d RIGHT RIGHT
RPUSH l:e 1 2 3
LMOVE l:e l:e LEFT RIGHT
RPUSH l:f 1
PEXPIREAT l:f 4000000000000
LMOVE l:f l:f LEFT RIGHT
RPUSH l:g a
LPUSHX l:g b c
RPUSHX l:g d e f
ZADD z:a 1 a 2 b 3 c 4 d 5 e 6 f 6 g
ZPOPMIN z:a
ZPOPMIN z:a 2
ZPOPMAX z:a
ZADD z:b 1 a 2 b
ZPOPMAX z:b 5
ZADD z:c 1 a 2 b 3 c inf d -inf e 0.1 f
ZADD z:c GT CH 5 a 1 b 7 new
ZADD z:c LT 1.5 c 9 f
ZADD z:c XX GT INCR 2.25 a
ZADD z:c NX 9 a 9 x
ZADD z:c XX 4 x 4 y
ZADD z:c INCR 0.1 x
ZADD z:c LT INCR -1 lower
ZRANGESTORE z:d z:c 0 -1
ZRANGESTORE z:e z:c (1 7 BYSCORE LIMIT 0 2
ZRANGESTORE z:f z:c 5 1 BYSCORE REV
ZRANGESTORE z:g z:c 1 2 REV
ZADD z:lex 0 a 0 b 0 c
ZRANGESTORE z:h z:lex [a (c BYLEX
ZRANGESTORE z:i z:lex + [b BYLEX REV
ZRANGESTORE z:lex z:lex 0 0
ZADD z:gone 1 a
ZRANGESTORE z:gone z:c 100 200
SADD s:a a b
ZDIFFSTORE z:j 2 z:c s:a
ZDIFFSTORE z:k 2 s:a z:lex
ZDIFFSTORE z:c 2 z:c z:lex
SET k:a value PXAT 4000000000000
SET k:a longer-value KEEPTTL
SET k:a short KEEPTTL
SET k:b 1
INCRBYFLOAT k:b 1.5
SET k:c 10 PXAT 4000000000000
INCRBYFLOAT k:c 0.25
SET k:d v NX
GETEX k:d PXAT 4000000000000
SET k:e v
GETDEL k:e
COPY k:a k:f
COPY k:a k:g DB 5
SET k:a other
COPY k:a k:g DB 5 REPLACE
COPY z:a z:l
COPY l:a z:l REPLACE
HSET h:a a 1 b 2 c 3
HSET h:a d 4
HINCRBYFLOAT h:a a 0.5
SADD s:b 1 2 3 4
SPOP s:b 2
SET u:a v
SET u:b v
UNLINK u:a u:b
GEOADD g:a 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEOADD g:a XX CH 13.5 38.1 Palermo
SPOP s:a 2";

/// Likewise, for targets with places.
const PLACES_SINCE_6_2: &str = "
GEOSEARCHSTORE g:b g:a FROMLONLAT 15 37 BYRADIUS 200 km ASC COUNT 1
GEOSEARCHSTORE g:c g:a FROMMEMBER Palermo BYRADIUS 300 km STOREDIST
ZADD g:d 1 a
GEOSEARCHSTORE g:d g:none FROMLONLAT 15 37 BYRADIUS 200 km
BITFIELD b:a SET u8 0 255 INCRBY i5 100 1";

/// Likewise, for targets with streams.
const STREAMS_SINCE_6_2: &str = "
XADD x:a 1-1 f v
XADD x:a NOMKSTREAM 2-1 f v
XADD x:a NOMKSTREAM MAXLEN ~ 100 LIMIT 10 3-1 f v
XADD x:b 1-1 f v
XADD x:b 1-2 f v
XADD x:b 2-1 f v
XADD x:b MINID = 1-2 3-1 f v
XADD x:b MINID 2 4-1 f v
XADD x:c 1-1 f v
XADD x:c 2-1 f v
XADD x:c 3-1 f v
XTRIM x:c MINID 3
XTRIM x:c MAXLEN ~ 0 LIMIT 100
XGROUP CREATE x:a g 0
XGROUP CREATECONSUMER x:a g idle
XREADGROUP GROUP g c COUNT 2 STREAMS x:a >
XADD x:d 1-1 f v
XADD x:d 2-1 f v
XGROUP CREATE x:d g 0
XREADGROUP GROUP g c STREAMS x:d >
XDEL x:d 1-1
XCLAIM x:d g d 0 2-1
XADD x:e 1-1 f v
XGROUP CREATE x:e g $
COPY x:a x:f";

/// What sources from 7.0 on know.
const SINCE_7_0: &str = "
RPUSH m:a 1 2 3 4
LMPOP 1 m:a RIGHT COUNT 3
ZADD m:b 1 a 2 b 3 c
ZMPOP 1 m:b MAX COUNT 2
SET m:c v
SET m:c w NX GET
SPUBLISH channel message";

const STREAMS_SINCE_7_0: &str = "
XAUTOCLAIM x:d g e 0 0
XGROUP CREATE x:a h 0 ENTRIESREAD 0
XGROUP SETID x:a g 2-1 ENTRIESREAD 2
XSETID x:e 9-9 ENTRIESADDED 10 MAXDELETEDID 4-1";

/// Fields with deadlines, and those that do not need them.
const FIELDS_SINCE_8_0: &str = "
HSET f:a a 1 b 2 c 3 d 4
HGETDEL f:a FIELDS 2 a none
HSETEX f:a FNX FIELDS 1 e 5
HSETEX f:a FXX FIELDS 2 e 6 b 7
HSETEX f:b KEEPTTL FIELDS 1 a 1";

const FIELD_DEADLINES_SINCE_8_0: &str = "
HSETEX f:c PXAT 4000000000000 FIELDS 2 a 1 b 2
HSETEX f:c KEEPTTL FIELDS 2 a 3 c 4
HSETEX f:c FIELDS 1 b 5
HPEXPIREAT f:c 4000000000000 FIELDS 1 b
HPERSIST f:c FIELDS 1 b";

/// What Redis knows from 8.2 on, and no Valkey.
const SINCE_8_2: &str = "
SETBIT o:a 3 1
SETBIT o:a 9 1
SETBIT o:b 3 1
SETBIT o:b 30 1
SETBIT o:c 9 1
SETBIT o:c 50 1
BITOP DIFF o:d o:a o:b o:none
BITOP DIFF1 o:e o:a o:b o:c
BITOP ANDOR o:f o:a o:b o:c
BITOP ONE o:g o:a o:b o:c
BITOP DIFF o:h o:c o:a
BITOP ONE o:a o:a o:b
BITOP diff o:b o:none o:none
XADD y:a 1-1 f v
XADD y:a 2-1 f v
XADD y:a 3-1 f v
XADD y:a 4-1 f v
XADD y:a 5-1 f v
XADD y:a 6-1 f v
XGROUP CREATE y:a g 0
XGROUP CREATE y:a h 0
XREADGROUP GROUP g c COUNT 5 STREAMS y:a >
XREADGROUP GROUP h c COUNT 3 STREAMS y:a >
XACK y:a h 1-1 2-1
XDELEX y:a KEEPREF IDS 1 6-1
XACKDEL y:a g ACKED IDS 2 1-1 4-1
XACKDEL y:a g KEEPREF IDS 2 2-1 99-1
XDELEX y:a ACKED IDS 2 3-1 4-1
XDELEX y:a DELREF IDS 1 3-1
XACKDEL y:a g DELREF IDS 1 5-1
XADD y:b 1-1 f v
XADD y:b 2-1 f v
XADD y:b 3-1 f v
XADD y:b 4-1 f v
XGROUP CREATE y:b g 0
XREADGROUP GROUP g c COUNT 4 STREAMS y:b >
XADD y:b DELREF MAXLEN = 4 5-1 f v
XADD y:b KEEPREF MAXLEN = 4 6-1 f v
XTRIM y:b MAXLEN 3 DELREF
XTRIM y:b MINID 5-1 DELREF
XADD y:c 1-1 f v
XADD y:c 2-1 f v
XADD y:c 3-1 f v
XGROUP CREATE y:c g 0
XREADGROUP GROUP g c COUNT 3 STREAMS y:c >
XACK y:c g 1-1 2-1
XTRIM y:c MAXLEN 0 ACKED
XADD y:c ACKED MAXLEN 1 4-1 f v
XADD y:d 1-1 f v
XADD y:d 2-1 f v
XADD y:d 3-1 f v
XADD y:d 4-1 f v
XADD y:d 5-1 f v
XADD y:d 6-1 f v
XGROUP CREATE y:d g 0
XREADGROUP GROUP g c COUNT 5 STREAMS y:d >
XDEL y:d 1-1
XACK y:d g 2-1 4-1
XTRIM y:d MINID 7-1 ACKED
XACK y:d g 3-1
XADD y:d ACKED MAXLEN 1 7-1 f v";

/// What Redis knows from 8.4 on.
const SINCE_8_4: &str = "
SET c:a 1
SET c:a 2 IFEQ 1
SET c:a 3 IFNE 1
SET c:a 4 IFEQ 3 PXAT 4000000000000
SET c:a 5 IFDNE 0123456789abcdef
SET c:a 6 IFEQ nothing
MSETEX 2 c:b 1 c:c 2
MSETEX 2 c:b 3 c:c 4 XX PXAT 4000000000000
MSETEX 2 c:b 5 c:c 6 KEEPTTL
MSETEX 2 c:b 7 c:d 8 NX
SET c:e 1
DELEX c:e IFEQ 1
SET c:f 1
DELEX c:f";

/// Producers, from 8.6 on. What is added twice is added once.
const SINCE_8_6: &str = "
XADD p:a IDMP producer one * f v
XADD p:a IDMP producer one * f v
XADD p:a IDMP producer two MAXLEN = 1 * f v
XADD p:a IDMP producer two MAXLEN = 0 * f v
XADD p:b IDMP producer one MAXLEN = 0 * f v
XADD p:b IDMP producer two * f v";

/// Those that no target can be told: their IDs follow from the fields.
const UNNAMED_SINCE_8_6: &str = "
XADD p:c IDMPAUTO producer * f w
XADD p:c IDMPAUTO producer * f w";

/// What Valkey knows from 8.1 on.
const VALKEY_SINCE_8_1: &str = "
SET c:a 1
SET c:a 2 IFEQ 1
SET c:a 3 IFEQ 2 GET";

const VALKEY_SINCE_9_0: &str = "
SET d:a 1
DELIFEQ d:a 1
HSET f:a a 1 b 2
HSETEX f:a FXX FIELDS 1 a 3
HSETEX f:b FNX FIELDS 1 a 3";

const VALKEY_SINCE_9_1: &str = "
HSET f:c a 1 b 2
HGETDEL f:c FIELDS 1 a
MSETEX 2 c:b 1 c:c 2
MSETEX 2 c:b 3 c:c 4 XX EX 100000";

/// Sends one line; any error is a failure of the test.
fn send(conn: &mut Connection, line: &str) -> Value {
    let mut words = line.split(' ');
    let mut command = cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query(conn).unwrap_or_else(|e| panic!("{line}: {e}"))
}

/// A pair of which the link follows the source.
struct Following {
    source: Server,
    target: Server,
    run: Keyferry,
}

impl Following {
    fn start(source: &str, target: &str, args: &[&str]) -> Self {
        let (source, target) = (Server::start(source).unwrap(), Server::start(target).unwrap());
        let run = sync(&source.url(), &target.url()).args(args.iter().copied()).spawn().unwrap();
        run.wait_for(LONG, |p| p.phase == "incremental").unwrap();
        Self { source, target, run }
    }

    /// Runs lines in database 0, in database 1 as one transaction, and in database 2 each from a script.
    fn run_lines(&self, lists: &[&str]) {
        let lines: Vec<&str> = lists.iter().flat_map(|list| list.lines()).filter(|line| !line.is_empty()).collect();
        let conn = &mut self.source.conn().unwrap();
        for line in &lines {
            send(conn, line);
        }
        send(conn, "SELECT 1");
        send(conn, "MULTI");
        for line in &lines {
            send(conn, line);
        }
        let Value::Array(replies) = send(conn, "EXEC") else { panic!("the transaction did not run") };
        assert_eq!(replies.len(), lines.len());
        assert!(!replies.iter().any(|r| matches!(r, Value::ServerError(_))), "{replies:?}");
        send(conn, "SELECT 2");
        for line in &lines {
            let mut command = cmd("EVAL");
            command.arg("return redis.call(unpack(ARGV))").arg(0);
            line.split(' ').for_each(|word| {
                command.arg(word);
            });
            command.exec(conn).unwrap_or_else(|e| panic!("{line} in a script: {e}"));
        }
    }

    fn wait_in_step(&self) {
        let goal: u64 = self.source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
        self.run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    }

    /// Both sides are equal, but for what `tolerates` says.
    fn assert_equal_but(&self, tolerates: impl Fn(&Difference) -> bool) {
        self.wait_in_step();
        let options =
            Options { ttl_grace_ms: 30_000, exact_groups: false, max_listed: usize::MAX, ..Options::default() };
        let report = compare(&self.source.url(), &self.target.url(), &options).unwrap();
        let found: Vec<String> = report.differences.iter().filter(|d| !tolerates(d)).map(ToString::to_string).collect();
        assert!(found.is_empty(), "{found:#?}");
        let ours: Vec<String> = ask(&self.target, 0, "KEYS __keyferry*");
        assert!(ours.is_empty(), "{ours:?}");
    }

    /// Stops the task, and gives back what it has said.
    fn stop(self) -> String {
        self.run.signal(keyferry_testkit::process::Signal::TERM).unwrap();
        let exit = self.run.wait_exit(LONG).unwrap();
        assert_eq!(exit.code(), 130, "{}", exit.stderr);
        exit.stderr
    }
}

macro_rules! exact {
    ($($name:ident: $source:literal -> $target:literal, $lists:expr;)*) => {
        $(#[test] fn $name() {
            let following = Following::start($source, $target, &[]);
            following.run_lines($lists);
            following.assert_equal_but(|_| false);
            let said = following.stop();
            assert!(!said.contains("dropped") && !said.contains("degraded"), "{said}");
        })*
    };
}

exact! {
    from_6_2_to_6_0: "redis-6.2" -> "redis-6.0", &[SINCE_6_2, PLACES_SINCE_6_2, STREAMS_SINCE_6_2];
    from_6_2_to_4_0: "redis-6.2" -> "redis-4.0", &[SINCE_6_2, PLACES_SINCE_6_2];
    from_7_0_to_3_0: "redis-7.0" -> "redis-3.0", &[SINCE_6_2, SINCE_7_0];
    from_7_0_to_3_2: "redis-7.0" -> "redis-3.2", &[SINCE_6_2, PLACES_SINCE_6_2, SINCE_7_0];
    from_7_4_to_5_0: "redis-7.4" -> "redis-5.0",
        &[SINCE_6_2, PLACES_SINCE_6_2, STREAMS_SINCE_6_2, SINCE_7_0, STREAMS_SINCE_7_0];
    from_7_4_to_6_2: "redis-7.4" -> "redis-6.2",
        &[SINCE_6_2, PLACES_SINCE_6_2, STREAMS_SINCE_6_2, SINCE_7_0, STREAMS_SINCE_7_0];
    from_7_0_to_7_0: "redis-7.0" -> "redis-7.0",
        &[SINCE_6_2, PLACES_SINCE_6_2, STREAMS_SINCE_6_2, SINCE_7_0, STREAMS_SINCE_7_0];
    from_8_0_to_7_4: "redis-8.0" -> "redis-7.4", &[SINCE_6_2, FIELDS_SINCE_8_0, FIELD_DEADLINES_SINCE_8_0];
    from_8_6_to_6_0: "redis-8.6" -> "redis-6.0",
        &[
            SINCE_6_2, PLACES_SINCE_6_2, STREAMS_SINCE_6_2, SINCE_7_0, STREAMS_SINCE_7_0, FIELDS_SINCE_8_0, SINCE_8_2,
            SINCE_8_4,
        ];
    from_8_6_to_8_6: "redis-8.6" -> "redis-8.6",
        &[SINCE_6_2, STREAMS_SINCE_6_2, FIELDS_SINCE_8_0, FIELD_DEADLINES_SINCE_8_0, SINCE_8_2, SINCE_8_4, SINCE_8_6];
    from_8_6_to_7_4: "redis-8.6" -> "redis-7.4",
        &[SINCE_7_0, FIELDS_SINCE_8_0, FIELD_DEADLINES_SINCE_8_0, SINCE_8_2, SINCE_8_4];
    from_8_2_to_valkey_8_1: "redis-8.2" -> "valkey-8.1", &[SINCE_6_2, STREAMS_SINCE_6_2, FIELDS_SINCE_8_0, SINCE_8_2];
    from_8_6_to_valkey_9_1: "redis-8.6" -> "valkey-9.1",
        &[SINCE_7_0, FIELDS_SINCE_8_0, FIELD_DEADLINES_SINCE_8_0, SINCE_8_2, SINCE_8_4];
    from_valkey_9_0_to_6_2: "valkey-9.0" -> "redis-6.2",
        &[SINCE_6_2, STREAMS_SINCE_6_2, SINCE_7_0, STREAMS_SINCE_7_0, VALKEY_SINCE_8_1, VALKEY_SINCE_9_0];
    from_valkey_9_1_to_7_4: "valkey-9.1" -> "redis-7.4",
        &[SINCE_7_0, VALKEY_SINCE_8_1, VALKEY_SINCE_9_0, VALKEY_SINCE_9_1];
    from_valkey_9_1_to_valkey_9_0: "valkey-9.1" -> "valkey-9.0",
        &[SINCE_7_0, VALKEY_SINCE_8_1, VALKEY_SINCE_9_0, VALKEY_SINCE_9_1];
}

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
    for (policy, counted) in [("drop", "hash field deadline dropped: 6"), ("degrade", "hash field deadline degraded: 6")] {
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
fn libraries_are_restored_on_an_older_target() {
    const CODE: &str = "#!lua name=lib\nredis.register_function('f', function(keys, args) return redis.call('SET', keys[1], args[1]) end)";
    let following = Following::start("redis-8.6", "redis-7.0", &[]);
    let conn = &mut following.source.conn().unwrap();
    cmd("FUNCTION").arg("LOAD").arg(CODE).exec(conn).unwrap();
    let dump: Vec<u8> = cmd("FUNCTION").arg("DUMP").query(conn).unwrap();
    cmd("FUNCTION").arg("FLUSH").exec(conn).unwrap();
    cmd("FUNCTION").arg("RESTORE").arg(dump).exec(conn).unwrap();
    following.assert_equal_but(|_| false);
    send(&mut following.target.conn().unwrap(), "FCALL f 1 key value");
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

/// Values that the source restores: their payloads say a version that the target does not know, or cannot be read by it.
fn restores(source: &str, target: &str, policy: &str, tolerates: impl Fn(&Difference) -> bool) -> String {
    let following = Following::start(source, target, &["--on-unsupported", policy]);
    let conn = &mut following.source.conn().unwrap();
    for line in [
        "SET r:string value",
        "SET r:int 12",
        "RPUSH r:list a b 3",
        "SADD r:set a b 3",
        "SADD r:ints 1 2 3",
        "ZADD r:zset 1 a 2.5 b",
        "HSET r:hash a 1 b 2",
        "HSET r:fields a 1 b 2",
        "HPEXPIREAT r:fields 4000000000000 FIELDS 1 a",
        "XADD r:stream 1-1 f v",
        "XGROUP CREATE r:stream g 0",
        "XREADGROUP GROUP g c STREAMS r:stream >",
    ] {
        send(conn, line);
    }
    let keys: Vec<String> = cmd("KEYS").arg("r:*").query(conn).unwrap();
    let dumps: Vec<(String, Vec<u8>)> =
        keys.into_iter().map(|key| (key.clone(), cmd("DUMP").arg(&key).query(conn).unwrap())).collect();
    for in_transaction in [false, true] {
        send(conn, if in_transaction { "SELECT 1" } else { "SELECT 0" });
        for (key, dump) in &dumps {
            send(conn, &format!("SADD {key}:replaced old"));
            if in_transaction {
                send(conn, "MULTI");
            }
            let restore = |conn: &mut Connection, to: &str, ttl: &str, options: &[&str]| {
                cmd("RESTORE").arg(format!("{key}:{to}")).arg(ttl).arg(dump).arg(options).exec(conn).unwrap();
            };
            restore(conn, "copy", "0", &[]);
            restore(conn, "replaced", "0", &["REPLACE", "FREQ", "7"]);
            restore(conn, "relative", "10000000", &[]);
            restore(conn, "absolute", "4000000000000", &["ABSTTL", "IDLETIME", "7"]);
            if in_transaction {
                send(conn, "EXEC");
            }
        }
    }
    following.assert_equal_but(tolerates);
    following.stop()
}

#[test]
fn restored_values_that_the_target_does_not_read() {
    let fields = |d: &Difference| d.kind == Kind::FieldExpiry;
    // Every stream of 8.6 has settings for producers.
    restores("redis-8.6", "redis-7.4", "degrade", |_| false);
    restores("redis-7.4", "valkey-9.0", "fail", |_| false);
    restores("valkey-9.0", "redis-8.6", "fail", |_| false);
    let said = restores("redis-8.6", "redis-7.0", "degrade", fields);
    assert!(said.contains("hash field deadline degraded: 9"), "{said}");
    restores("redis-7.4", "redis-5.0", "degrade", fields);
    let streams = |d: &Difference| d.kind == Kind::MissingOnTarget && d.detail == "a stream" || fields(d);
    restores("redis-7.4", "redis-3.0", "degrade", streams);
    let left_out = |d: &Difference| d.kind == Kind::MissingOnTarget && matches!(d.detail.as_str(), "a stream" | "a hash");
    let said = restores("redis-7.4", "redis-4.0", "drop", |d| left_out(d) || fields(d));
    assert!(said.contains("hash dropped: 8") && said.contains("stream dropped: 8"), "{said}");
}

#[test]
fn a_restored_value_that_the_target_cannot_hold_ends_the_task() {
    let following = Following::start("redis-7.4", "redis-7.2", &[]);
    let conn = &mut following.source.conn().unwrap();
    let dump: Vec<u8> = {
        let other = Server::start("redis-7.4").unwrap();
        let conn = &mut other.conn().unwrap();
        send(conn, "HSET h a 1");
        send(conn, "HPEXPIREAT h 4000000000000 FIELDS 1 a");
        cmd("DUMP").arg("h").query(conn).unwrap()
    };
    cmd("RESTORE").arg("h").arg(0).arg(dump).exec(conn).unwrap();
    let exit = following.run.wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "TGT-0017");
    assert!(exit.stderr.contains("RESTORE at offset"), "{}", exit.stderr);
}

/// Whole databases change places, or are emptied in ways that the target has no word for.
#[test]
fn whole_databases() {
    let following = Following::start("redis-6.2", "redis-3.2", &[]);
    let conn = &mut following.source.conn().unwrap();
    for line in [
        "SET both 0",
        "SET a 0 PX 4000000",
        "RPUSH list 1 2",
        "SELECT 1",
        "SET both 1 PX 4000000",
        "SET b 1",
        "SELECT 0",
        "SWAPDB 0 1",
        "SET c 0",
        "SWAPDB 3 3",
        "SWAPDB 1 4",
        "SELECT 7",
        "SET gone 1",
        "FLUSHDB SYNC",
        "SET gone 1",
        "FLUSHDB ASYNC",
        "SET stays 1",
    ] {
        send(conn, line);
    }
    following.assert_equal_but(|_| false);
    assert_eq!(ask::<Vec<String>>(&following.target, 4, "KEYS *").len(), 3);
    for line in ["FLUSHALL SYNC", "SET stays 1"] {
        send(conn, line);
    }
    following.assert_equal_but(|_| false);
    assert_eq!(following.target.keys().unwrap(), 1);
}

/// Sources before 5.0 send scripts as they were called; that is said once, and counted.
fn runs_scripts(source: &str) {
    const SET: &str = "return redis.call('SET', KEYS[1], ARGV[1])";
    const PUSH: &str = "redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('INCR', 'n')";
    let (source, target) = (Server::start(source).unwrap(), Server::start("redis-7.0").unwrap());
    let conn = &mut source.conn().unwrap();
    let load = |conn: &mut Connection, code: &str| -> String { cmd("SCRIPT").arg("LOAD").arg(code).query(conn).unwrap() };
    let call = |conn: &mut Connection, how: &str, script: &str, key: &str| {
        cmd(how).arg(script).arg(1).arg(key).arg("value").exec(conn).unwrap();
    };
    let early = load(conn, SET);
    call(conn, "EVALSHA", &early, "before");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.phase == "incremental").unwrap();
    let following = Following { source, target, run };
    call(conn, "EVALSHA", &early, "after");
    call(conn, "EVALSHA", &early, "again");
    call(conn, "EVAL", PUSH, "list");
    let late = load(conn, PUSH);
    call(conn, "EVALSHA", &late, "list");
    send(conn, "MULTI");
    call(conn, "EVALSHA", &late, "list");
    call(conn, "EVAL", SET, "in-transaction");
    send(conn, "EXEC");
    following.assert_equal_but(|_| false);
    assert_eq!(ask::<u64>(&following.target, 0, "GET n"), 3);
    let said = following.stop();
    assert!(said.contains("scripts run again by the target: 6"), "{said}");
    assert_eq!(said.matches("the source sends scripts as they were called").count(), 1, "{said}");
}

#[test]
fn scripts_of_3_2_run_on_7_0() {
    runs_scripts("redis-3.2");
}

#[test]
fn scripts_of_4_0_run_on_7_0() {
    runs_scripts("redis-4.0");
}

#[test]
fn later_sources_send_what_scripts_have_done() {
    let following = Following::start("redis-5.0", "redis-5.0", &[]);
    let conn = &mut following.source.conn().unwrap();
    cmd("EVAL").arg("return redis.call('SET', 'k', 'v')").arg(0).exec(conn).unwrap();
    following.assert_equal_but(|_| false);
    let said = following.stop();
    assert!(!said.contains("scripts"), "{said}");
}
