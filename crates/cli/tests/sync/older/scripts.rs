//! Scripts of sources that send them as they were called.

use super::*;

/// Sources before 5.0 send scripts as they were called; that is said once, and counted.
fn runs_scripts(source: &str) {
    const SET: &str = "return redis.call('SET', KEYS[1], ARGV[1])";
    const PUSH: &str = "redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('INCR', 'n')";
    let (source, target) = (Server::start(source).unwrap(), Server::start("redis-7.0").unwrap());
    let conn = &mut source.conn().unwrap();
    let load =
        |conn: &mut Connection, code: &str| -> String { cmd("SCRIPT").arg("LOAD").arg(code).query(conn).unwrap() };
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
