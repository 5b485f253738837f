//! Every write that follows arrives too, and "in step" is true when it is said.

use std::{env, time::Duration};

use keyferry_testkit::{
    data,
    load::{Load, LoadSpec},
    wait_until,
};

use super::*;

/// How long the mixed load runs: a quarter of a minute, or what `KEYFERRY_TEST_LOAD_SECONDS` says.
fn load_seconds() -> Duration {
    let seconds = env::var("KEYFERRY_TEST_LOAD_SECONDS").ok().map_or(15, |n| n.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Mixed writes at full speed while the full copy runs and for some time behind it.
fn follows_a_load(source: &str, target: &str, time: Duration) {
    let (source, target) = (Server::start(source).unwrap(), Server::start(target).unwrap());
    // The load is faster than any link is meant to be: the copy must not be cut by the source's own default.
    source.config_set("client-output-buffer-limit", "slave 0 0 0").unwrap();
    data::fill_mixed(&source.url(), 50_000, 11).unwrap();
    let load = Load::start(&source.url(), LoadSpec { threads: 2, ..LoadSpec::default() }).unwrap();
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG + time, |p| p.phase == "incremental").unwrap();
    // The time is the load's: it is what this test is about, nothing is awaited here.
    std::thread::sleep(time);
    let stats = load.stop();
    assert!(stats.failures.is_empty(), "{stats:?}");
    let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
    let last = run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    assert_eq!(last.delay_seconds, Some(0.0));
    differences_with_grace(&source, &target).assert_equal();
    assert!(stats.commands > 1000 * time.as_secs(), "{stats:?}");
    assert_eq!(run.status().unwrap(), None, "it goes on following");
}

#[test]
fn follows_7_0_under_full_load() {
    follows_a_load("redis-7.0", "redis-7.0", load_seconds());
}

#[test]
fn follows_from_7_0_to_valkey() {
    follows_a_load("redis-7.0", "valkey-8.1", Duration::from_secs(4));
}

#[test]
fn follows_from_7_4_to_8_0() {
    follows_a_load("redis-7.4", "redis-8.0", Duration::from_secs(4));
}

#[test]
fn in_step_is_left_and_reached_again() {
    let (source, target) = pair("redis-7.0");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step && p.delay_bytes == Some(0)).unwrap();
    target.stop_signal().unwrap();
    let () = ask(&source, 0, "SET a 1");
    let behind = run.wait_for(LONG, |p| !p.in_step && p.delay_seconds.is_some_and(|s| s > 2.0)).unwrap();
    assert!(behind.delay_bytes.unwrap() > 0, "{behind:?}");
    target.cont_signal().unwrap();
    let applied = behind.applied_offset;
    run.wait_for(LONG, |p| p.in_step && p.applied_offset > applied && p.delay_seconds == Some(0.0)).unwrap();
    assert_eq!(ask::<u64>(&target, 0, "GET a"), 1);
}

#[test]
fn wait_on_the_source_means_on_the_target() {
    let (source, target) = pair("redis-7.0");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    for n in 0..20 {
        let mut conn = source.conn().unwrap();
        cmd("SET").arg("n").arg(n).exec(&mut conn).unwrap();
        assert_eq!(cmd("WAIT").arg(1).arg(30_000).query::<u64>(&mut conn).unwrap(), 1);
        assert_eq!(ask::<u64>(&target, 0, "GET n"), n, "acknowledged and not there");
    }
    target.stop_signal().unwrap();
    let mut conn = source.conn().unwrap();
    cmd("SET").arg("n").arg(99).exec(&mut conn).unwrap();
    let acknowledged: u64 = cmd("WAIT").arg(1).arg(2500).query(&mut conn).unwrap();
    target.cont_signal().unwrap();
    assert_eq!(acknowledged, 0, "the target has not got it");
}

#[test]
fn the_source_may_be_a_replica() {
    let (primary, source) = pair("redis-7.0");
    let target = Server::start("redis-7.0").unwrap();
    // The stream that the replica passes on is in database 5 before the copy begins, and never says so again.
    let () = ask(&primary, 5, "SET before 1");
    source.replicate(&primary).unwrap();
    let mut conn = primary.conn().unwrap();
    cmd("SELECT").arg(5).exec(&mut conn).unwrap();
    cmd("SET").arg("a").arg(1).exec(&mut conn).unwrap();
    wait_until("the replica has it", LONG, || ask::<u64>(&source, 5, "EXISTS a") == 1).unwrap();
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    cmd("SET").arg("b").arg(1).exec(&mut conn).unwrap();
    wait_until("the write arrives", LONG, || ask::<u64>(&target, 5, "EXISTS b") == 1).unwrap();
    assert_eq!(keys(&target, 0), 0);
    differences_with_grace(&primary, &target).assert_equal();
}
