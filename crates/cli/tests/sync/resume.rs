//! A task goes on where it was, whatever ended.

use keyferry_testkit::{
    Proxy, data,
    load::{Load, LoadSpec},
};

use super::*;

/// A task of its own, which is not that of another test.
fn task(source: &Server, target: &str) -> Builder {
    sync(&source.url(), target).args(["--task", &format!("resume-{}", source.port())])
}

fn goal(source: &Server) -> u64 {
    source.info("replication").unwrap()["master_repl_offset"].parse().unwrap()
}

/// How many full syncs the source has made.
fn full_syncs(source: &Server) -> u64 {
    source.info("stats").unwrap()["sync_full"].parse().unwrap()
}

fn wait_until_equal(run: &keyferry_testkit::Keyferry, source: &Server, target: &Server) {
    let goal = goal(source);
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    differences_with_grace(source, target).assert_equal();
}

/// Each list gets its next number with each step, in one transaction with a counter.
fn count_up(source: &Server, from: u64, to: u64) {
    let mut conn = source.conn().unwrap();
    for n in from..to {
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("INCR").arg("counter").cmd("RPUSH").arg("list").arg(n).cmd("APPEND").arg("text").arg("x");
        pipe.exec(&mut conn).unwrap();
    }
}

/// Waits until all of the snapshot is in the files of the spool: what is not there is gone with the process.
fn snapshot_on_disk(source: &Server) {
    keyferry_testkit::wait_until("the source has sent all", LONG, || {
        source.info("replication").unwrap().get("slave0").is_some_and(|s| s.contains("state=online"))
    })
    .unwrap();
    // Some of it may still be on its way. The heads of files and records take more than the answers in front of it.
    let sent: u64 = source.info("stats").unwrap()["total_net_repl_output_bytes"].parse().unwrap();
    let spool = format!("{}/resume-{}.spool", env!("CARGO_TARGET_TMPDIR"), source.port());
    let files = || std::fs::read_dir(&spool).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
    keyferry_testkit::wait_until("all of it is on the disk", LONG, || files() >= sent).unwrap();
}

#[test]
fn a_killed_process_goes_on_in_the_stream() {
    let (source, target) = pair("redis-7.0");
    data::fill_mixed(&source.url(), 5000, 1).unwrap();
    let mut applied = 0;
    for round in 0..6 {
        let run = task(&source, &target.url()).spawn().unwrap();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        count_up(&source, round * 300, round * 300 + 250);
        run.kill_9();
        run.wait_exit(LONG).unwrap();
        // Written while nobody follows.
        count_up(&source, round * 300 + 250, round * 300 + 300);
        applied = (round + 1) * 300;
    }
    let run = task(&source, &target.url()).spawn().unwrap();
    wait_until_equal(&run, &source, &target);
    assert_eq!(ask::<u64>(&target, 0, "GET counter"), applied);
    let list: Vec<u64> = ask(&target, 0, "LRANGE list 0 -1");
    assert!(list.iter().copied().eq(0..applied), "each number once and in order");
    assert_eq!(full_syncs(&source), 1);
}

#[test]
fn a_killed_process_goes_on_in_the_middle_of_the_copy() {
    let (source, target) = pair("redis-7.0");
    data::fill_mixed(&source.url(), 30_000, 2).unwrap();
    let proxy = Proxy::start(&target.address()).unwrap();
    proxy.limit(1_500_000);
    let mut keys = 0;
    for round in 0..3 {
        let run = task(&source, &proxy.url()).spawn().unwrap();
        let last = run.wait_for(LONG, |p| p.phase == "full_sync" && p.keys > keys + 3000).unwrap();
        keys = last.keys;
        if round == 0 {
            snapshot_on_disk(&source);
        }
        run.kill_9();
        run.wait_exit(LONG).unwrap();
    }
    proxy.limit(0);
    count_up(&source, 0, 50);
    let run = task(&source, &proxy.url()).spawn().unwrap();
    wait_until_equal(&run, &source, &target);
    assert_eq!(full_syncs(&source), 1);
}

/// What has come in while the target was not there is applied from the disk, also when the source has forgotten it.
#[test]
fn the_source_is_read_while_the_target_is_down() {
    let (source, mut target) = pair("redis-7.0");
    source.config_set("repl-backlog-size", "16384").unwrap();
    data::fill_mixed(&source.url(), 3000, 3).unwrap();
    let run = task(&source, &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let () = ask(&target, 0, "SAVE");
    target.kill_9();
    let load = Load::start(&source.url(), LoadSpec { rate: Some(5000), ..LoadSpec::default() }).unwrap();
    run.wait_for(LONG, |p| p.phase == "retrying").unwrap();
    keyferry_testkit::wait_until("much was written", LONG, || load.commands() > 15_000).unwrap();
    target.restart().unwrap();
    run.wait_for(LONG, |p| p.phase == "incremental").unwrap();
    assert!(load.stop().failures.is_empty());
    wait_until_equal(&run, &source, &target);
    assert_eq!(full_syncs(&source), 1);
}

/// A target that comes back without its last writes gets them again.
#[test]
fn a_target_that_has_fallen_back_gets_its_writes_again() {
    let (source, mut target) = pair("redis-7.0");
    data::fill_mixed(&source.url(), 3000, 4).unwrap();
    let run = task(&source, &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    count_up(&source, 0, 200);
    wait_until_equal(&run, &source, &target);
    let () = ask(&target, 0, "SAVE");
    count_up(&source, 200, 700);
    wait_until_equal(&run, &source, &target);
    // It has lost its last writes; they may be there again before anybody can look.
    target.kill_9();
    target.restart().unwrap();
    wait_until_equal(&run, &source, &target);
    assert_eq!(ask::<u64>(&target, 0, "GET counter"), 700);
    assert_eq!(full_syncs(&source), 1);
}

/// A target that comes back empty gets everything again.
#[test]
fn an_emptied_target_gets_everything_again() {
    let (source, mut target) = pair("redis-7.0");
    data::fill_mixed(&source.url(), 3000, 5).unwrap();
    let run = task(&source, &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    target.kill_9();
    target.restart().unwrap();
    count_up(&source, 0, 100);
    wait_until_equal(&run, &source, &target);
    assert_eq!(full_syncs(&source), 2);
}

#[test]
fn a_source_that_dies_within_the_snapshot_is_copied_again() {
    let (mut source, target) = pair("redis-7.0");
    data::fill_strings(&source.url(), 20_000, 10, 1).unwrap();
    let () = ask(&source, 0, "SAVE");
    source.config_set("rdb-key-save-delay", "200").unwrap();
    let run = task(&source, &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.keys > 0).unwrap();
    source.kill_9();
    source.restart().unwrap();
    // What the first copy has brought is no longer there; and a source that is empty for a moment is not copied.
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("FLUSHALL").cmd("SET").arg("other").arg("data").exec(&mut source.conn().unwrap()).unwrap();
    data::fill_strings(&source.url(), 500, 20, 2).unwrap();
    wait_until_equal(&run, &source, &target);
}

#[test]
fn a_lost_backlog_is_copied_again_or_ends_the_task() {
    let (source, target) = pair("redis-7.0");
    source.config_set("repl-backlog-size", "16384").unwrap();
    data::fill_mixed(&source.url(), 2000, 6).unwrap();
    let run = task(&source, &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    run.kill_9();
    run.wait_exit(LONG).unwrap();
    let () = ask(&source, 0, "FLUSHALL");
    data::fill_mixed(&source.url(), 2000, 7).unwrap();
    let exit =
        task(&source, &target.url()).args(["--on-lost-backlog", "stop"]).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "SRC-0014");
    let run = task(&source, &target.url()).spawn().unwrap();
    wait_until_equal(&run, &source, &target);
    assert!(run.stderr().contains("everything is copied again"), "{}", run.stderr());
}

#[test]
fn of_two_processes_only_one_writes() {
    let (source, target) = pair("redis-7.0");
    let name = format!("fence-{}", source.port());
    let in_dir = |dir: &str| {
        let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{dir}"));
        Keyferry::sync(env!("CARGO_BIN_EXE_keyferry"), &source.url(), &target.url())
            .args(["--task", &name, "--state-dir", dir.to_str().unwrap()])
            .spawn()
            .unwrap()
    };
    let older = in_dir("a");
    older.wait_for(LONG, |p| p.in_step).unwrap();
    let newer = in_dir("b");
    newer.wait_for(LONG, |p| p.in_step).unwrap();
    count_up(&source, 0, 300);
    assert_fails(&older.wait_exit(LONG).unwrap(), 1, "TGT-0024");
    wait_until_equal(&newer, &source, &target);
    assert_eq!(ask::<u64>(&target, 0, "GET counter"), 300);
}

/// Another server has what the target had, and is of another version: what it does not know is written in its words from then on,
/// and nothing is copied again.
#[test]
fn a_server_of_another_version_in_the_place_of_the_target() {
    for (before, after) in [("redis-7.0", "redis-6.0"), ("redis-6.0", "redis-7.0")] {
        let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start(before).unwrap());
        let other = Server::start(after).unwrap();
        let proxy = Proxy::start(&target.address()).unwrap();
        count_up(&source, 0, 50);
        let run = task(&source, &proxy.url()).spawn().unwrap();
        wait_until_equal(&run, &source, &target);
        proxy.refuse(true);
        proxy.cut();
        let mut conn = other.conn().unwrap();
        for key in ["counter", "text"] {
            cmd("SET").arg(key).arg(ask::<String>(&target, 0, &format!("GET {key}"))).exec(&mut conn).unwrap();
        }
        cmd("RPUSH").arg("list").arg(ask::<Vec<u64>>(&target, 0, "LRANGE list 0 -1")).exec(&mut conn).unwrap();
        let position = format!("__keyferry_checkpoint:resume-{}", source.port());
        let fields: Vec<Vec<u8>> = ask(&target, 0, &format!("HGETALL {position}"));
        cmd("HMSET").arg(&position).arg(fields).exec(&mut conn).unwrap();
        // 6.0 knows neither SET with PXAT, as which the first goes on, nor COPY. What was decided for it gives times to live.
        if before > after {
            let () = ask(&source, 0, "SET mortal 1 EX 3600");
        }
        let _: u64 = ask(&source, 0, "COPY text other");
        count_up(&source, 50, 100);
        proxy.redirect(&other.address());
        proxy.refuse(false);
        wait_until_equal(&run, &source, &other);
        let list: Vec<u64> = ask(&other, 0, "LRANGE list 0 -1");
        assert!(list.iter().copied().eq(0..100), "{after}: each number once and in order");
        assert_eq!(full_syncs(&source), 1, "{after}");
        // A newer one does all that was decided for the older.
        let again = run.stderr().contains(" now, and was Redis ");
        assert_eq!(again, before > after, "{after}: {}", run.stderr());
    }
}

/// What was settled after the first copy has to be settled again after the second one of the same process.
#[test]
fn deadlines_are_not_held_for_ever_after_a_second_copy() {
    let (source, mut target) = pair("redis-7.0");
    let mut conn = source.conn().unwrap();
    for n in 0..100 {
        let () = redis::cmd("SET").arg(n).arg("v").arg("PX").arg(3_600_000).query(&mut conn).unwrap();
    }
    let run = task(&source, &target.url()).spawn().unwrap();
    wait_until_equal(&run, &source, &target);
    target.kill_9();
    target.restart().unwrap();
    count_up(&source, 0, 100);
    wait_until_equal(&run, &source, &target);
    assert_eq!(full_syncs(&source), 2);
}

/// What a killed process had sent may reach the target while the next one begins.
#[test]
fn what_was_on_its_way_when_a_process_was_killed_does_not_stop_the_next_one() {
    let (source, target) = pair("redis-7.0");
    let run = task(&source, &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    target.stop_signal().unwrap();
    count_up(&source, 0, 3000);
    run.kill_9();
    run.wait_exit(LONG).unwrap();
    let run = task(&source, &target.url()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    target.cont_signal().unwrap();
    wait_until_equal(&run, &source, &target);
    assert_eq!(ask::<u64>(&target, 0, "GET counter"), 3000);
    assert_eq!(full_syncs(&source), 1);
}

/// At the end nothing of the task is left.
#[test]
fn a_task_that_has_ended_leaves_nothing_behind() {
    let (source, target) = pair("redis-7.0");
    data::fill_mixed(&source.url(), 500, 8).unwrap();
    let exit = task(&source, &target.url()).args(["--stop-when-synced"]).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    let options = Options { ttl_grace_ms: 30_000, ignore_target_prefixes: Vec::new(), ..Options::default() };
    compare(&source.url(), &target.url(), &options).unwrap().assert_equal();
    let spool = format!("resume-{}.spool", source.port());
    assert!(!std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(spool).exists());
}

/// What was received is applied by a process that is started while the source is gone, and the source is followed again when
/// it is back.
#[test]
fn a_start_without_its_source_applies_what_is_there() {
    let (mut source, target) = pair("redis-7.0");
    data::fill_mixed(&source.url(), 3000, 6).unwrap();
    let run = task(&source, &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    target.stop_signal().unwrap();
    count_up(&source, 0, 500);
    let end = goal(&source);
    let (head, received) = (run.progress().unwrap(), || run.progress().unwrap().bytes);
    let before = head.bytes;
    keyferry_testkit::wait_until("everything is received", LONG, || received() > before + 20_000).unwrap();
    run.wait_for(LONG, |p| p.source_offset.is_some_and(|o| o >= end)).unwrap();
    run.kill_9();
    run.wait_exit(LONG).unwrap();
    let () = ask(&source, 0, "SAVE");
    source.kill_9();
    target.cont_signal().unwrap();
    let run = task(&source, &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.phase == "retrying").unwrap();
    let counter = || ask::<Option<u64>>(&target, 0, "GET counter").unwrap_or_default();
    keyferry_testkit::wait_until("what was received is applied", LONG, || counter() == 500).unwrap();
    assert!(run.progress().unwrap().last_error.is_some());
    source.restart().unwrap();
    count_up(&source, 500, 600);
    wait_until_equal(&run, &source, &target);
    let list: Vec<u64> = ask(&target, 0, "LRANGE list 0 -1");
    assert!(list.iter().copied().eq(0..600), "each number once and in order");
}

/// Without anything to go on with, a source that cannot be reached is an error at once.
#[test]
fn a_first_start_without_its_source_fails() {
    let (mut source, target) = pair("redis-7.0");
    source.kill_9();
    let exit = task(&source, &target.url()).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "SRC-0002");
}
