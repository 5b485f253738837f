//! A lost source link while following: it is opened again where it broke, or the task says why it cannot be.

use std::time::Duration;

use keyferry_testkit::{
    load::{Load, LoadSpec},
    wait_until,
};

use super::*;

#[test]
fn goes_on_where_the_link_broke() {
    let (source, target) = pair("redis-7.0");
    source.config_set("repl-backlog-size", "64mb").unwrap();
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let load = Load::start(&source.url(), LoadSpec { rate: Some(5000), ..LoadSpec::default() }).unwrap();
    let mut conn = source.conn().unwrap();
    for _ in 0..5 {
        let applied = run.progress().unwrap().applied_offset;
        let killed: u64 = cmd("CLIENT").arg(&["KILL", "TYPE", "replica"]).query(&mut conn).unwrap();
        assert_eq!(killed, 1);
        run.wait_for(LONG, |p| p.in_step && p.applied_offset > applied && p.last_error.is_some()).unwrap();
    }
    let stats = load.stop();
    assert!(stats.failures.is_empty(), "{stats:?}");
    let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    differences_with_grace(&source, &target).assert_equal();
    let full: u64 = source.info("stats").unwrap()["sync_full"].parse().unwrap();
    assert_eq!(full, 1, "never a second full copy");
    assert!(run.progress().unwrap().last_error.unwrap().starts_with("SRC-0009"));
}

#[test]
fn follows_a_source_that_takes_on_a_new_id() {
    let (primary, source) = pair("redis-7.0");
    let target = Server::start("redis-7.0").unwrap();
    source.replicate(&primary).unwrap();
    let () = ask(&primary, 0, "SET a 1");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let before = source.info("replication").unwrap()["master_replid"].clone();
    let () = ask(&source, 0, "REPLICAOF NO ONE");
    assert_ne!(source.info("replication").unwrap()["master_replid"], before);
    let () = ask(&source, 3, "SET b 1");
    wait_until("the write arrives", LONG, || ask::<u64>(&target, 3, "EXISTS b") == 1).unwrap();
    run.wait_for(LONG, |p| p.phase == "incremental" && p.in_step).unwrap();
    differences_with_grace(&source, &target).assert_equal();
}

#[test]
fn a_source_that_has_forgotten_ends_the_task() {
    let (mut source, target) = pair("redis-7.0");
    let run = sync(&source.url(), &target.url()).args(["--on-lost-backlog", "stop"]).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    // It comes back with another id and without its backlog.
    source.restart().unwrap();
    assert_fails(&run.wait_exit(LONG).unwrap(), 1, "SRC-0014");
}

#[test]
fn the_retry_window_ends() {
    let (mut source, target) = pair("redis-7.0");
    let run = sync(&source.url(), &target.url()).args(["--retry-window", "2s"]).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    source.kill_9();
    let retrying = run.wait_for(LONG, |p| p.phase == "retrying").unwrap();
    assert!(!retrying.in_step);
    assert_fails(&run.wait_exit(Duration::from_secs(20)).unwrap(), 1, "SRC-0002");
}
