//! Values and libraries that the source restores.

use super::*;

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
        "XADD r:stream 1-1 f v",
        "XGROUP CREATE r:stream g 0",
        "XREADGROUP GROUP g c STREAMS r:stream >",
    ] {
        send(conn, line);
    }
    if !source.starts_with("redict") {
        send(conn, "HPEXPIREAT r:fields 4000000000000 FIELDS 1 a");
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
    restores("redict-7.3", "redis-7.2", "fail", |_| false);
    let said = restores("redis-8.6", "redis-7.0", "degrade", fields);
    assert!(said.contains("hash field deadline degraded: 9"), "{said}");
    restores("redis-7.4", "redis-5.0", "degrade", fields);
    let streams = |d: &Difference| d.kind == Kind::MissingOnTarget && d.detail == "a stream" || fields(d);
    restores("redis-7.4", "redis-3.0", "degrade", streams);
    let left_out =
        |d: &Difference| d.kind == Kind::MissingOnTarget && matches!(d.detail.as_str(), "a stream" | "a hash");
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
