//! Talking to a running task: where it stands, a pause, limits.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use keyferry_testkit::{
    data,
    keyferry::Builder,
    load::{Load, LoadSpec},
    process::Signal,
    wait_until,
};

use super::*;

/// `keyferry COMMAND --task NAME ...`, run to its end.
pub(super) fn talk(command: &str, task: &str, dir: &Path, args: &[&str]) -> Output {
    let mut talk = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    talk.args([command, "--task", task, "--state-dir"]).arg(dir).args(args).output().unwrap()
}

/// What it prints when it does what it should.
fn told(command: &str, dir: &Path, args: &[&str]) -> String {
    let done = talk(command, "t", dir, args);
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

pub(super) fn task(source: &Server, target: &str, dir: &Path) -> Builder {
    Keyferry::sync(env!("CARGO_BIN_EXE_keyferry"), &source.url(), target).args(["--task", "t", "--state-dir"]).arg(dir)
}

fn offset(server: &Server) -> u64 {
    server.info("replication").unwrap()["master_repl_offset"].parse().unwrap()
}

#[test]
fn a_task_that_does_not_run_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for dir in [dir.path(), &dir.path().join("not/there")] {
        for command in ["status", "pause", "resume", "limit"] {
            let done = talk(command, "t", dir, &[]);
            let stderr = String::from_utf8(done.stderr).unwrap();
            assert_eq!(done.status.code(), Some(1), "{stderr}");
            assert!(stderr.contains("error CTL-0001: ") && stderr.contains("remedy: "), "{stderr}");
        }
    }
}

#[test]
fn a_paused_task_reads_on_and_writes_nothing() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let run = task(&source, &target.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let load = Load::start(&source.url(), LoadSpec { rate: Some(5000), ..LoadSpec::default() }).unwrap();
    assert!(told("status", dir.path(), &[]).starts_with("t: incremental, "));
    let status = told("status", dir.path(), &["--output", "json"]);
    assert!(status.contains("\"phase\":\"incremental\"") && status.contains("\"paused\":false"), "{status}");
    assert!(told("pause", dir.path(), &[]).starts_with("t: paused"));
    let paused = run.wait_for(LONG, |p| p.phase == "paused" && p.commands_per_second == 0.0).unwrap();
    let (bytes, applied) = (paused.bytes, paused.applied_offset);
    let later = run.wait_for(LONG, |p| p.phase == "paused" && p.bytes > bytes + 500_000).unwrap();
    assert_eq!(later.applied_offset, applied, "nothing is written");
    assert!(!later.in_step);
    // The source hears from it meanwhile.
    let replica = source.info("replication").unwrap()["slave0"].clone();
    assert!(replica.contains("state=online") && !replica.contains("lag=-"), "{replica}");
    assert!(told("resume", dir.path(), &[]).starts_with("t: running"));
    let stats = load.stop();
    assert!(stats.failures.is_empty(), "{stats:?}");
    let goal = offset(&source);
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    differences_with_grace(&source, &target).assert_equal();
    // A clean stop works also while it is paused, and leaves no socket.
    told("pause", dir.path(), &[]);
    let () = ask(&source, 0, "SET behind the-pause");
    let behind = |p: &keyferry_testkit::keyferry::Progress| {
        p.applied_offset.is_some_and(|o| o >= goal) && p.delay_bytes.is_some_and(|d| d > 0)
    };
    run.wait_for(LONG, |p| p.phase == "paused" && behind(p)).unwrap();
    let begun = Instant::now();
    run.signal(Signal::TERM).unwrap();
    let exit = run.wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 130, "{}", exit.stderr);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(ask::<u64>(&target, 0, "EXISTS behind"), 0);
    assert!(!dir.path().join("t.sock").exists());
    let again = task(&source, &target.url(), dir.path()).spawn().unwrap();
    again.wait_for(LONG, |p| p.in_step).unwrap();
    assert_eq!(ask::<String>(&target, 0, "GET behind"), "the-pause");
}

#[test]
fn a_killed_pause_loses_nothing() {
    for full in [true, false] {
        let (source, target) = pair("redis-7.0");
        data::fill_mixed(&source.url(), 20_000, 3).unwrap();
        if full {
            source.config_set("rdb-key-save-delay", "100").unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let run = task(&source, &target.url(), dir.path()).spawn().unwrap();
        run.wait_for(LONG, |p| if full { p.keys > 0 } else { p.in_step }).unwrap();
        let load = Load::start(&source.url(), LoadSpec { rate: Some(2000), ..LoadSpec::default() }).unwrap();
        told("pause", dir.path(), &[]);
        let bytes = run.wait_for(LONG, |p| p.phase == "paused").unwrap().bytes;
        run.wait_for(LONG, |p| p.bytes > bytes + 200_000).unwrap();
        run.kill_9();
        // What the killed one has left is in nobody's way.
        assert!(dir.path().join("t.sock").exists());
        assert_eq!(talk("status", "t", dir.path(), &[]).status.code(), Some(1));
        let run = task(&source, &target.url(), dir.path()).spawn().unwrap();
        run.wait_for(LONG, |p| p.phase == "full_sync" || p.phase == "incremental").unwrap();
        told("pause", dir.path(), &[]);
        run.wait_for(LONG, |p| p.phase == "paused").unwrap();
        told("resume", dir.path(), &[]);
        let stats = load.stop();
        assert!(stats.failures.is_empty(), "{stats:?}");
        let goal = offset(&source);
        run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
        differences_with_grace(&source, &target).assert_equal();
    }
}

#[test]
fn limits_are_kept_and_can_be_changed() {
    const MB: u64 = 1 << 20;
    let (source, target) = pair("redis-7.0");
    data::fill_strings(&source.url(), 60_000, 1000, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let run = task(&source, &target.url(), dir.path()).args(["--limit-read-bytes", "5mb"]).spawn().unwrap();
    let first = run.wait_for(LONG, |p| p.phase == "full_sync" && p.bytes > MB).unwrap();
    let begun = Instant::now();
    let last = run.wait_for(LONG, |p| p.bytes > first.bytes + 20 * MB).unwrap();
    let rate = (last.bytes - first.bytes) as f64 / begun.elapsed().as_secs_f64() / MB as f64;
    // A busy machine may be slower, a line of progress older than a second.
    assert!((1.0..6.0).contains(&rate), "{rate} MB/s");
    assert!(last.percent.unwrap() < 100.0, "{last:?}");
    let limits = told("limit", dir.path(), &["--read-bytes", "off", "--write-commands", "2000"]);
    assert_eq!(limits, "t: running, limits: write 2,000 commands/s\n");
    let first = run.wait_for(LONG, |p| p.bytes > 55 * MB).unwrap();
    let begun = Instant::now();
    let last = run.wait_for(LONG, |p| p.keys > first.keys + 6000).unwrap();
    let rate = (last.keys - first.keys) as f64 / begun.elapsed().as_secs_f64();
    assert!((500.0..2900.0).contains(&rate), "{rate} keys/s");
    assert_eq!(last.phase, "full_sync");
    let limits = told("limit", dir.path(), &["--write-commands", "off", "--write-bytes", "4mb"]);
    assert_eq!(limits, "t: running, limits: write 4.00 MiB/s\n");
    let first = run.progress().unwrap();
    let begun = Instant::now();
    let last = run.wait_for(LONG, |p| p.keys > first.keys + 10_000).unwrap();
    let rate = (last.keys - first.keys) as f64 / begun.elapsed().as_secs_f64() / 1000.0;
    assert!((1.0..5.5).contains(&rate), "{rate} MB/s");
    assert_eq!(told("limit", dir.path(), &["--write-bytes", "off"]), "t: running, limits: none\n");
    run.wait_for(LONG, |p| p.in_step).unwrap();
    differences_with_grace(&source, &target).assert_equal();
}

#[test]
fn the_socket_is_the_users_own_and_bounded() {
    let (source, target) = pair("redis-7.0");
    let dir = tempfile::tempdir().unwrap();
    // As an earlier process may have left it.
    let path = dir.path().join("t.sock");
    std::fs::write(&path, "").unwrap();
    let run = task(&source, &target.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let connect = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    };
    for (request, answer) in [
        ("{}\n", "CTL-0002"),
        ("nonsense\n", "CTL-0002"),
        ("{\"v\":2,\"command\":\"status\"}\n", "version 2"),
        ("{\"v\":1,\"command\":\"status\",\"unknown\":1}\n", "\"reply\":\"status\""),
        (&"x".repeat(256 * 1024 + 1), "too long"),
    ] {
        let mut stream = connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"v\":1,") && line.contains(answer), "{line}");
    }
    // More clients than are taken, none of which says or reads anything: the work goes on.
    let mut held: Vec<UnixStream> = (0..16).map(|_| connect()).collect();
    for stream in &mut held {
        stream.write_all(&b"{\"v\":1,\"command\":\"status\"}\n".repeat(50)).unwrap();
    }
    wait_until("one too many is turned away", LONG, || matches!(connect().read(&mut [0]), Ok(0))).unwrap();
    let () = ask(&source, 0, "SET a 1");
    wait_until("the write arrives", LONG, || ask::<u64>(&target, 0, "EXISTS a") == 1).unwrap();
    drop(held);
    wait_until("there is room again", LONG, || talk("status", "t", dir.path(), &[]).status.success()).unwrap();
}

#[test]
fn who_watches_sees_the_end() {
    let (source, target) = pair("redis-7.0");
    let dir = tempfile::tempdir().unwrap();
    let run = task(&source, &target.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let stream = UnixStream::connect(dir.path().join("t.sock")).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    (&stream).write_all(b"{\"v\":1,\"command\":\"status\",\"watch\":true}\n").unwrap();
    let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("\"phase\":\"incremental\""));
    assert!(lines.next().unwrap().contains("\"in_step\":true"));
    run.signal(Signal::TERM).unwrap();
    let last = lines.last().unwrap();
    assert!(last.contains("\"phase\":\"stopped\""), "{last}");
    assert_eq!(run.wait_exit(LONG).unwrap().code(), 130);
}
