//! Signals, limits of time, and two processes with one task.

use std::{
    io::Write as _,
    process::Stdio,
    time::{Duration, Instant},
};

use keyferry_testkit::{
    data,
    process::{self, Signal, Supervised},
};

use super::*;

/// What is promised, and half a second for a busy machine to start and reap a process.
const PROMISED: Duration = Duration::from_millis(5500);

#[test]
fn ctrl_c_and_sigterm_stop_while_following() {
    for signal in [Signal::INT, Signal::TERM] {
        let (source, target) = pair("redis-7.0");
        let run = sync(&source.url(), &target.url()).spawn().unwrap();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        let () = ask(&source, 0, "SET a 1");
        keyferry_testkit::wait_until("the write arrives", LONG, || ask::<u64>(&target, 0, "EXISTS a") == 1).unwrap();
        let begun = Instant::now();
        run.signal(signal).unwrap();
        let exit = run.wait_exit(LONG).unwrap();
        assert_eq!(exit.code(), 130, "{}", exit.stderr);
        assert!(begun.elapsed() < PROMISED, "{:?}", begun.elapsed());
        assert!(exit.stderr.contains("everything up to the offset"), "{}", exit.stderr);
        differences(&source, &target).assert_equal();
    }
}

#[test]
fn it_stops_within_the_full_copy_and_says_so() {
    let (source, target) = pair("redis-7.0");
    source.config_set("rdb-key-save-delay", "200").unwrap();
    data::fill_strings(&source.url(), 100_000, 10, 1).unwrap();
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.keys > 0).unwrap();
    let begun = Instant::now();
    run.signal(Signal::TERM).unwrap();
    let exit = run.wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 130, "{}", exit.stderr);
    assert!(begun.elapsed() < PROMISED);
    assert!(exit.stderr.contains("incomplete copy"), "{}", exit.stderr);
}

#[test]
fn it_stops_also_when_the_target_is_deaf() {
    let (source, target) = pair("redis-7.0");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    target.stop_signal().unwrap();
    let () = ask(&source, 0, "SET a 1");
    run.wait_for(LONG, |p| !p.in_step && p.delay_bytes.is_some_and(|d| d > 0)).unwrap();
    let begun = Instant::now();
    run.signal(Signal::INT).unwrap();
    let exit = run.wait_exit(LONG).unwrap();
    target.cont_signal().unwrap();
    assert_eq!(exit.code(), 130, "{}", exit.stderr);
    assert!(begun.elapsed() < PROMISED, "{:?}", begun.elapsed());
}

#[test]
fn a_task_runs_once_on_a_machine() {
    let (source, target) = pair("redis-7.0");
    let first = sync(&source.url(), &target.url()).spawn().unwrap();
    first.wait_for(LONG, |p| p.in_step).unwrap();
    let second = sync(&source.url(), &target.url()).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&second, 3, "CFG-0005");
    // Another name is another task; it finds the first one's keys.
    let () = ask(&source, 0, "SET a 1");
    keyferry_testkit::wait_until("the write arrives", LONG, || ask::<u64>(&target, 0, "EXISTS a") == 1).unwrap();
    let third = sync(&source.url(), &target.url()).args(["--task", "other"]).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&third, 3, "TGT-0012");
}

#[test]
fn progress_goes_where_it_was_asked_for() {
    let (source, target) = pair("redis-7.0");
    let run = |mode: &str| {
        let args = ["--stop-when-synced", "--on-conflict", "replace", "--log-format", "json", "--log-level", "info"];
        sync(&source.url(), &target.url()).progress(mode).args(args).spawn().unwrap().wait_exit(LONG).unwrap()
    };
    let json = run("json");
    assert_eq!(json.code(), 0, "{}", json.stderr);
    assert_eq!(json.progress.last().unwrap().phase, "stopped");
    assert!(json.stderr.lines().any(|l| l.starts_with('{') && l.contains("\"both sides answer\"")), "{}", json.stderr);
    for mode in ["bar", "none", "auto"] {
        let exit = run(mode);
        assert_eq!(exit.code(), 0, "{}", exit.stderr);
        assert!(exit.progress.is_empty());
    }
}

#[test]
fn an_idle_target_connection_is_kept() {
    let (source, target) =
        (Server::start("redis-7.0").unwrap(), Server::builder("redis-7.0").arg("timeout 12").start().unwrap());
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    // Nothing is written for longer than the target keeps an idle connection: this is what the test is about.
    std::thread::sleep(Duration::from_secs(16));
    let () = ask(&source, 0, "SET a 1");
    keyferry_testkit::wait_until("the write arrives", LONG, || ask::<u64>(&target, 0, "EXISTS a") == 1).unwrap();
    assert_eq!(run.status().unwrap(), None);
}

#[test]
fn a_reader_that_does_not_read_stops_nothing() {
    let (source, target) = pair("redis-7.0");
    // A pipe that is full from the start: Linux gives it 64 KiB.
    let (_reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'\n'; 65536]).unwrap();
    let mut command = process::command(env!("CARGO_BIN_EXE_keyferry").as_ref());
    command.args(["sync", &source.url(), &target.url(), "--progress", "json"]);
    command.args(["--state-dir", env!("CARGO_TARGET_TMPDIR")]).stdout(writer).stderr(Stdio::null());
    let run = Supervised::spawn(command, false).unwrap();
    for n in 0..3 {
        let replicas = || source.info("replication").unwrap()["connected_slaves"] == "1";
        keyferry_testkit::wait_until("it follows", LONG, replicas).unwrap();
        let () = ask(&source, 0, &format!("SET a {n}"));
        let arrived = || ask::<Option<u64>>(&target, 0, "GET a") == Some(n);
        keyferry_testkit::wait_until("the write arrives", LONG, arrived).unwrap();
        // Two lines of progress become due and find no place.
        std::thread::sleep(Duration::from_secs(1));
    }
    let begun = Instant::now();
    run.signal(Signal::TERM).unwrap();
    assert_eq!(run.wait(LONG).unwrap().code(), Some(130));
    assert!(begun.elapsed() < PROMISED, "{:?}", begun.elapsed());
}
