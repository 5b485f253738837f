//! A task that stands still in the middle of a repair: what becomes of it when whoever has asked goes meanwhile, and of times
//! to live.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

/// Waits until a process is stopped by its failpoint.
fn is_stopped(sync: &Keyferry) {
    let stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", sync.pid())).unwrap();
        stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
    };
    wait_until("it is stopped", LONG, stopped).unwrap();
}

/// Nobody waits for it any more: the task follows its source, and takes the next repair.
#[test]
fn a_comparison_that_is_killed() {
    thread::scope(|scope| {
        let cases: Vec<_> = REPAIR_FAILPOINTS.iter().map(|place| scope.spawn(move || asked_and_gone(place))).collect();
        cases.into_iter().for_each(|case| case.join().unwrap());
    });
}

fn asked_and_gone(place: &str) {
    // The list is built there by commands.
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-6.2").unwrap());
    let state = tempfile::tempdir().unwrap();
    let sync =
        sync(&source, &target, state.path()).env("KEYFERRY_FAILPOINT", format!("{place}:1:stop")).spawn().unwrap();
    sync.wait_for(LONG, |p| p.in_step).unwrap();
    run(&source, 0, &["SET counter 50", "RPUSH list a", "SET last 1"]);
    wait_until("all is there", LONG, || ask::<Option<u64>>(&target, 0, "GET last") == Some(1)).unwrap();
    run(&target, 0, &["DEL counter list", "SET extra 1"]);
    let mut asks = command(&source.url(), &target.url());
    asks.args(["--repair", "--rounds", "1", "--state-dir"]).arg(state.path());
    let mut asks = asks.spawn().unwrap();
    is_stopped(&sync);
    // Also what is written meanwhile is there once.
    run(&source, 0, &["INCR counter", "RPUSH list b"]);
    asks.kill().unwrap();
    asks.wait().unwrap();
    sync.signal(Signal::CONT).unwrap();
    run(&source, 0, &["INCR last"]);
    wait_until("it goes on", LONG, || ask::<u64>(&target, 0, "GET last") == 2).unwrap();
    // All of it, or nothing: then INCR and RPUSH have made what they make of nothing.
    let (counter, list) = (ask::<u64>(&target, 0, "GET counter"), ask::<Vec<String>>(&target, 0, "LRANGE list 0 -1"));
    let there = counter == 51;
    assert_eq!((counter, list.join("")), if there { (51, "ab".into()) } else { (1, "b".into()) }, "{place}");
    assert_eq!(ask::<bool>(&target, 0, "EXISTS extra"), !there, "{place}");
    repair(&source, &target, state.path(), &[]).assert_equal();
    oracle_says_equal(&source, &target);
    assert_eq!(sync.status().unwrap(), None, "{}", sync.stderr());
}

/// A source before 7.0 tells what is left to live. It counts from then, and not from when it is written.
#[test]
fn times_to_live_do_not_wait() {
    const WAIT: u64 = 2_000;
    let (source, target) = (Server::start("redis-6.2").unwrap(), Server::start("redis-7.0").unwrap());
    let state = tempfile::tempdir().unwrap();
    let sync = sync(&source, &target, state.path())
        .args(["--ttl-grace", "0s"])
        .env("KEYFERRY_FAILPOINT", "repair-decoded:1:stop")
        .spawn()
        .unwrap();
    sync.wait_for(LONG, |p| p.in_step).unwrap();
    let now = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let at = now() + 5_000_000;
    run(&source, 0, &["SET text 1", &format!("PEXPIREAT text {at}"), "RPUSH list a", &format!("PEXPIREAT list {at}")]);
    wait_until("all is there", LONG, || ask::<i64>(&target, 0, "PTTL list") > 0).unwrap();
    run(&target, 0, &["DEL text list"]);
    thread::scope(|scope| {
        let done = scope.spawn(|| repair(&source, &target, state.path(), &[]));
        is_stopped(&sync);
        let until = now() + WAIT;
        wait_until("some time is over", LONG, || now() >= until).unwrap();
        sync.signal(Signal::CONT).unwrap();
        done.join().unwrap().assert_equal();
    });
    for key in ["text", "list"] {
        let deadline: u64 = ask(&target, 0, &format!("PEXPIRETIME {key}"));
        assert!((at..at + WAIT / 2).contains(&deadline), "{key}: {at}, {deadline}");
    }
}
