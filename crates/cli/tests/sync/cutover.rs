//! The switch from source to target: nothing is lost, and what cannot be done is undone.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use keyferry_testkit::{
    Proxy,
    keyferry::Exit,
    load::{Load, LoadSpec},
    process::Signal,
    wait_until,
};

use super::{
    control::{talk, task},
    *,
};

/// In a debug build on a busy machine; it is printed, too.
const PAUSE: u64 = 2000;

/// `keyferry cutover` in words, as it goes on.
pub(super) fn begin(dir: &Path, args: &[&str]) -> (Child, impl Iterator<Item = String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(["cutover", "--task", "t", "--state-dir"]).arg(dir).args(args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

/// How it ended, and what it says on stderr.
fn end(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

/// A number of the report, such as `write_pause_ms`.
fn number(report: &str, name: &str) -> u64 {
    let rest = report.split_once(&format!("\"{name}\":")).unwrap().1;
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// By how much a deadline is later on the target.
fn late(source: &Server, target: &Server, key: &str) -> i64 {
    ask::<i64>(target, 0, &format!("PTTL {key}")) - ask::<i64>(source, 0, &format!("PTTL {key}"))
}

fn assert_is_over(exit: &Exit, target: &Server, dir: &Path) {
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert!(exit.stderr.contains("cut over: the target is the place to write"), "{}", exit.stderr);
    assert_eq!(ask::<Vec<String>>(target, 0, "KEYS __keyferry_*"), Vec::<String>::new());
    let mut left: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["t.history", "t.lock"]);
}

/// Counts on the source until that no longer answers, then on the target. Gives how often it was answered.
fn count(source: &str, target: &str, switched: &AtomicBool, more: u64) -> u64 {
    let connect = |url: &str| {
        let conn = redis::Client::open(url).unwrap().get_connection().unwrap();
        conn.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
        conn
    };
    let mut conn = connect(source);
    let mut n = 0;
    while cmd("INCR").arg("count").exec(&mut conn).is_ok() {
        n += 1;
    }
    drop(conn);
    let end = Instant::now() + LONG;
    while !switched.load(Relaxed) && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    let mut conn = connect(target);
    for _ in 0..more {
        cmd("INCR").arg("count").exec(&mut conn).unwrap();
    }
    n + more
}

#[test]
fn nothing_is_lost_under_load() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.2").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut conn = source.conn().unwrap();
    for i in 0..3000 {
        cmd("SET").arg(&[&format!("old:{i}"), "1", "EX", "3600"]).exec(&mut conn).unwrap();
    }
    let run = task(&source, &target.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let load = LoadSpec { rate: Some(20_000), threads: 2, ..LoadSpec::default() };
    let load = Load::start(&source.url(), load).unwrap();
    // Deadlines that move by about the grace, all the time.
    let (stop, switched) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let renewer = thread::spawn({
        let (url, stop) = (source.url(), Arc::clone(&stop));
        move || {
            let mut conn = redis::Client::open(url).unwrap().get_connection().unwrap();
            for i in 0_u64.. {
                let time = if i % 2 == 0 { "600000" } else { "629000" };
                let renewed = cmd("PEXPIRE").arg(&[&format!("old:{}", i / 3 % 500), time]).exec(&mut conn);
                if renewed.is_err() || stop.load(Relaxed) {
                    break;
                }
            }
        }
    });
    let counter = thread::spawn({
        let (source, target, switched) = (source.url(), target.url(), Arc::clone(&switched));
        move || count(&source, &target, &switched, 1000)
    });
    run.wait_for(LONG, |p| p.commands_per_second > 1000.0).unwrap();
    let () = ask(&source, 0, "SET near 1 EX 25");
    let done = talk("cutover", "t", dir.path(), &["--output", "json", "--source-pause", "30s"]);
    let (report, said) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert!(done.status.success(), "{said}");
    println!("{report}{said}");
    let pause = number(&report, "write_pause_ms");
    assert!(pause < PAUSE, "{pause} ms");
    // Those that wait are not to write any more.
    let _: u64 = ask(&source, 0, "CLIENT KILL TYPE normal");
    stop.store(true, Relaxed);
    let stats = load.stop();
    assert!(!stats.failures.is_empty(), "it was cut off: {stats:?}");
    renewer.join().unwrap();
    assert_eq!(ask::<String>(&source, 0, "CLIENT UNPAUSE"), "OK");
    assert!(ask::<u64>(&source, 0, "GET count") > 0);
    assert_eq!(ask::<u64>(&source, 0, "GET count"), ask::<u64>(&target, 0, "GET count"));
    differences_with_grace(&source, &target).assert_equal();
    let by = ["old:2999", "near"].map(|key| late(&source, &target, key));
    assert!((900..=1100).contains(&by[0]) && (29_900..=30_100).contains(&by[1]), "{by:?}");
    switched.store(true, Relaxed);
    let counted = counter.join().unwrap();
    assert_eq!(ask::<u64>(&target, 0, "GET count"), counted, "each count that was answered, and no other");
    assert_is_over(&run.wait_exit(LONG).unwrap(), &target, dir.path());
}

#[test]
fn it_is_undone_when_the_target_stalls() {
    let (source, target) = pair("valkey-8.1");
    let proxy = Proxy::start(&target.address()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let () = ask(&source, 0, "SET mortal 1 EX 3600");
    let stops = ("KEYFERRY_FAILPOINT", "before-pause:1:stop");
    let run = task(&source, &proxy.url(), dir.path()).env(stops.0, stops.1).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let load = LoadSpec { rate: Some(20_000), threads: 2, ..LoadSpec::default() };
    let load = Load::start(&source.url(), load).unwrap();
    run.wait_for(LONG, |p| p.commands_per_second > 1000.0).unwrap();
    let (child, lines) = begin(dir.path(), &["--source-pause", "4s"]);
    // From here on nothing of what is written before the pause arrives.
    let path = format!("/proc/{}/stat", run.pid());
    let stopped = || std::fs::read_to_string(&path).is_ok_and(|stat| stat.contains(") T "));
    wait_until("it has stopped", LONG, stopped).unwrap();
    proxy.stall(true);
    run.signal(Signal::CONT).unwrap();
    let rest: Vec<String> = lines.collect();
    let (code, said) = end(child);
    assert_eq!(code, Some(1), "{said}{rest:?}");
    assert!(said.contains("error CTL-0004: ") && rest.iter().any(|line| line.starts_with("drain failed")), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("drain undone")), "{rest:?}");
    // The writers go on, though the target still stalls.
    let before = load.commands();
    wait_until("the writers go on", LONG, || load.commands() > before + 20_000).unwrap();
    proxy.stall(false);
    let late_by = || late(&source, &target, "mortal");
    let back = wait_until("the grace is back", LONG, || (29_000..=31_000).contains(&late_by()));
    back.unwrap_or_else(|e| panic!("{e}: {} ms, {}", late_by(), run.stderr()));
    wait_until("it is cut over", LONG, || {
        let done = talk("cutover", "t", dir.path(), &[]);
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success() || said.contains("CTL-0003"), "{said}");
        done.status.success()
    })
    .unwrap();
    let _: u64 = ask(&source, 0, "CLIENT KILL TYPE normal");
    drop(load);
    assert_eq!(ask::<String>(&source, 0, "CLIENT UNPAUSE"), "OK");
    differences_with_grace(&source, &target).assert_equal();
    assert_is_over(&run.wait_exit(LONG).unwrap(), &target, dir.path());
}

#[test]
fn a_process_killed_in_the_pause_goes_on() {
    let (source, target) = pair("redis-7.4");
    let proxy = Proxy::start(&target.address()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let run = task(&source, &proxy.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let load = LoadSpec { rate: Some(20_000), threads: 2, ..LoadSpec::default() };
    let load = Load::start(&source.url(), load).unwrap();
    run.wait_for(LONG, |p| p.commands_per_second > 1000.0).unwrap();
    let (child, mut lines) = begin(dir.path(), &["--source-pause", "5s"]);
    assert!(lines.any(|line| line.starts_with("pause source")));
    proxy.stall(true);
    assert!(lines.any(|line| line.starts_with("drain")));
    run.kill_9();
    let (code, said) = end(child);
    assert!(code == Some(1) && said.contains("error CTL-0005: "), "{said}");
    // The pause of the source ends by itself, and the task follows again when it is started.
    proxy.stall(false);
    let before = load.commands();
    wait_until("the writers go on", LONG, || load.commands() > before + 20_000).unwrap();
    let run = task(&source, &proxy.url(), dir.path()).spawn().unwrap();
    let stats = load.stop();
    assert!(stats.failures.is_empty(), "{stats:?}");
    let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    differences_with_grace(&source, &target).assert_equal();
    assert!(talk("cutover", "t", dir.path(), &[]).status.success());
    assert_is_over(&run.wait_exit(LONG).unwrap(), &target, dir.path());
    differences_with_grace(&source, &target).assert_equal();
}

#[test]
fn a_source_without_client_pause() {
    let (source, target) = (Server::start("redis-5.0").unwrap(), Server::start("redis-6.2").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let () = ask(&source, 0, "SET mortal 1 EX 3600");
    let setting = || ask::<Vec<String>>(&source, 0, "CONFIG GET min-replicas-to-write")[1].clone();
    let run = task(&source, &target.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    // Scripts write on, whatever this version is told: then nothing becomes of it.
    let load = Load::start(&source.url(), LoadSpec { rate: Some(5000), ..LoadSpec::default() }).unwrap();
    run.wait_for(LONG, |p| p.commands_per_second > 1000.0).unwrap();
    let undone = talk("cutover", "t", dir.path(), &[]);
    let said = String::from_utf8(undone.stderr).unwrap();
    assert!(undone.status.code() == Some(1) && said.contains("error CTL-0004: "), "{said}");
    assert_eq!(setting(), "0");
    load.stop();
    let mut conn = source.conn().unwrap();
    for db in 0..16 {
        cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let keys: Vec<Vec<u8>> = cmd("KEYS").arg("*").query(&mut conn).unwrap();
        for key in keys.iter().filter(|key| *key != b"mortal") {
            cmd("PERSIST").arg(key).exec(&mut conn).unwrap();
        }
    }
    // What runs out is written by the source itself, which this version does not keep from it.
    for n in 1..=4000 {
        cmd("SET").arg(&[&format!("short:{n}"), "1", "PX", &(n * 5).to_string()]).exec(&mut conn).unwrap();
    }
    let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = thread::spawn({
        let (url, answered, refused) = (source.url(), Arc::clone(&answered), Arc::clone(&refused));
        move || {
            let mut conn = redis::Client::open(url).unwrap().get_connection().unwrap();
            loop {
                match cmd("INCR").arg("count").query::<u64>(&mut conn) {
                    Ok(n) => answered.store(n, Relaxed),
                    Err(e) => {
                        assert!(e.to_string().contains("NOREPLICAS"), "{e}");
                        refused.store(true, Relaxed);
                        break;
                    }
                }
            }
        }
    });
    let mut done = None;
    wait_until("it is cut over", LONG, || {
        let last = talk("cutover", "t", dir.path(), &["--output", "json", "--source-pause", "20s"]);
        let over = last.status.success();
        assert!(over || String::from_utf8_lossy(&last.stderr).contains("CTL-0003"));
        done = Some(String::from_utf8(last.stdout).unwrap());
        over
    })
    .unwrap();
    let report = done.unwrap();
    println!("{report}");
    assert!(number(&report, "write_pause_ms") < PAUSE, "{report}");
    assert!(report.contains("CONFIG SET min-replicas-to-write 0"), "{report}");
    assert_ne!(setting(), "0");
    writer.join().unwrap();
    assert!(refused.load(Relaxed));
    assert_eq!(ask::<u64>(&target, 0, "GET count"), answered.load(Relaxed));
    // Asked to stop, it does not wait for the time of the pause.
    run.signal(Signal::TERM).unwrap();
    assert_is_over(&run.wait_exit(LONG).unwrap(), &target, dir.path());
    assert_eq!(setting(), "0");
    for server in [&source, &target] {
        let mut conn = server.conn().unwrap();
        cmd("SELECT").arg(15).exec(&mut conn).unwrap();
        (1..=4000).for_each(|n| cmd("DEL").arg(format!("short:{n}")).exec(&mut conn).unwrap());
    }
    differences_with_grace(&source, &target).assert_equal();
}

#[test]
fn writers_stopped_by_hand_and_a_client_that_goes() {
    let (source, target) = pair("redis-7.0");
    let dir = tempfile::tempdir().unwrap();
    let run = task(&source, &target.url(), dir.path()).args(["--on-conflict", "ignore"]).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    assert!(talk("pause", "t", dir.path(), &[]).status.success());
    let refused = talk("cutover", "t", dir.path(), &[]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("error CTL-0003: "), "{said}");
    assert!(talk("resume", "t", dir.path(), &[]).status.success());
    let load = Load::start(&source.url(), LoadSpec { rate: Some(1000), ..LoadSpec::default() }).unwrap();
    // The writers are not stopped, so nothing comes of it; and then nobody waits for it any more.
    let manual = ["--source-pause", "manual", "--timeout", "3s"];
    let (child, lines) = begin(dir.path(), &manual);
    let lines: Vec<String> = lines.collect();
    let (code, said) = end(child);
    assert!(code == Some(1) && said.contains("error CTL-0004: "), "{said}{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("grace skipped")), "{lines:?}");
    let (mut child, mut lines) = begin(dir.path(), &["--source-pause", "manual"]);
    assert!(lines.any(|line| line.starts_with("pause source")));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("it is seen", LONG, || run.stderr().contains("who has asked for it has gone")).unwrap();
    load.stop();
    let done = talk("cutover", "t", dir.path(), &["--source-pause", "manual", "--output", "json"]);
    let report = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(number(&report, "offset") > 0 && report.contains("\"step\":\"promote\",\"state\":\"done\""), "{report}");
    assert_is_over(&run.wait_exit(LONG).unwrap(), &target, dir.path());
    differences_with_grace(&source, &target).assert_equal();
}

#[test]
fn a_target_that_does_not_tell_the_time() {
    let (source, target) = pair("redis-7.2");
    let dir = tempfile::tempdir().unwrap();
    let () = ask(&target, 0, "ACL SETUSER m on >p ~* &* +@all -time");
    let run = task(&source, &target.url().replace("redis://", "redis://m:p@"), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let cut_over = || talk("cutover", "t", dir.path(), &[]);
    let said = String::from_utf8(cut_over().stderr).unwrap();
    assert!(said.contains("error CTL-0003: ") && said.contains("its user needs +time"), "{said}");
    let () = ask(&target, 0, "ACL SETUSER m +time");
    assert!(cut_over().status.success());
    assert_is_over(&run.wait_exit(LONG).unwrap(), &target, dir.path());
}

/// The figure of a release build: `cargo nextest run --release -p keyferry-cli --run-ignored only -E 'test(write_pause)'
/// --no-capture`.
#[test]
#[ignore = "a measurement of a minute, for a release build"]
fn write_pause_of_ten_cut_overs() {
    let mut pauses: Vec<u64> = (0..10).map(|_| write_pause_under_load()).collect();
    pauses.sort_unstable();
    let median = (pauses[4] + pauses[5]) / 2;
    println!("write pauses at 20 000 writes a second: {pauses:?} ms, median {median} ms, nothing lost");
    assert!(median <= 500, "{pauses:?}");
}

/// One cut-over at 20 000 writes a second; its write pause in milliseconds.
fn write_pause_under_load() -> u64 {
    let (source, target) = pair("redis-7.0");
    let dir = tempfile::tempdir().unwrap();
    let run = task(&source, &target.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let switched = Arc::new(AtomicBool::new(false));
    let counter = thread::spawn({
        let (source, target, switched) = (source.url(), target.url(), Arc::clone(&switched));
        move || count(&source, &target, &switched, 1000)
    });
    let load = LoadSpec { rate: Some(20_000), threads: 2, ..LoadSpec::default() };
    let load = Load::start(&source.url(), load).unwrap();
    run.wait_for(LONG, |p| p.commands_per_second > 18_000.0).unwrap();
    let done = talk("cutover", "t", dir.path(), &["--output", "json", "--source-pause", "30s"]);
    let (report, said) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert!(done.status.success(), "{said}");
    let _: u64 = ask(&source, 0, "CLIENT KILL TYPE normal");
    assert!(!load.stop().failures.is_empty());
    assert_eq!(ask::<String>(&source, 0, "CLIENT UNPAUSE"), "OK");
    differences_with_grace(&source, &target).assert_equal();
    switched.store(true, Relaxed);
    assert_eq!(counter.join().unwrap(), ask::<u64>(&target, 0, "GET count"));
    assert_is_over(&run.wait_exit(LONG).unwrap(), &target, dir.path());
    number(&report, "write_pause_ms")
}
