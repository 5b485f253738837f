//! What differs is repaired while the sync of both sides runs, through its stream: nothing is lost and nothing doubled,
//! whatever is written meanwhile and wherever the process dies. Who judges is the oracle, and the counts of the writers.

use std::{
    os::unix::process::ExitStatusExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use keyferry_model::REPAIR_FAILPOINTS;
use keyferry_testkit::{oracle, process::Signal, wait_until};

use super::*;

mod reasons;
mod waits;

fn sync(source: &Server, target: &Server, dir: &Path) -> keyferry_testkit::keyferry::Builder {
    Keyferry::sync(KEYFERRY, &source.url(), &target.url()).arg("--state-dir").arg(dir)
}

/// A repair in two rounds, of the task in this directory.
fn repair(source: &Server, target: &Server, dir: &Path, args: &[&str]) -> Done {
    let mut command = command(&source.url(), &target.url());
    command.args(["--repair", "--rounds", "2", "--interval", "50ms", "--state-dir"]).arg(dir).args(args);
    done(command)
}

/// Deadlines are later on the target by the grace.
fn oracle_says_equal(source: &Server, target: &Server) {
    let options = oracle::Options { ttl_tolerance_ms: 31_000, ..oracle::Options::default() };
    let found = oracle::compare_until_equal(&source.url(), &target.url(), &options, Duration::from_secs(20));
    found.unwrap().assert_equal();
}

/// Stops a writer, also when a check fails before that.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Keys of each kind that are written all the time.
const HOT: u64 = 10;

/// Writes to every hot key until `stop`, and gives how often.
fn write(source: &Server, stop: &AtomicBool) -> u64 {
    let mut conn = source.conn().unwrap();
    let mut steps = 0;
    while !stop.load(SeqCst) {
        let mut pipe = redis::pipe();
        if steps % 2 == 0 {
            pipe.atomic();
        }
        for n in 0..HOT {
            pipe.cmd("INCR").arg(format!("counter:{n}"));
            pipe.cmd("RPUSH").arg(format!("list:{n}")).arg(steps);
            pipe.cmd("HINCRBY").arg(format!("hash:{n}")).arg("field").arg(1);
            pipe.cmd("SET").arg(format!("short:{n}")).arg(steps).arg("PX").arg(200 + n);
        }
        pipe.exec(&mut conn).unwrap();
        steps += 1;
        // So often that something is written between the halt of the stream and the answer of the source.
        thread::sleep(Duration::from_micros(200));
    }
    steps
}

/// Everything that is written all the time is made wrong, and some that is not.
fn damage(target: &Server, round: u64) {
    for n in 0..HOT {
        let half = n % 2 == round % 2;
        let counter = if half { format!("DEL counter:{n}") } else { format!("SET counter:{n} {round}") };
        let list = if half { format!("DEL list:{n}") } else { format!("RPUSH list:{n} wrong") };
        let hash = if half { format!("DEL hash:{n}") } else { format!("HSET hash:{n} field 7 other 1") };
        let short = if half { format!("DEL short:{n}") } else { format!("PERSIST short:{n}") };
        run(target, 0, &[&counter, &list, &hash, &short, &format!("SET extra:{round}:{n} 1")]);
    }
    run(target, 0, &["DEL rest:1 rest:2", "RPUSH rest:1 other", "SET rest:3 wrong", "PEXPIRE rest:4 1000000"]);
    run(target, 3, &["SET extra 1", "DEL rest"]);
}

#[test]
fn under_load_nothing_is_lost_or_doubled() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let state = tempfile::tempdir().unwrap();
    for n in 0..10 {
        run(&source, 0, &[&format!("SET rest:{n} value PX 5000000")]);
    }
    run(&source, 3, &["HSET rest a 1"]);
    let sync = sync(&source, &target, state.path()).spawn().unwrap();
    sync.wait_for(LONG, |p| p.in_step).unwrap();
    let stop = AtomicBool::new(false);
    let steps = thread::scope(|scope| {
        let stops = Stops(&stop);
        let writer = scope.spawn(|| write(&source, &stop));
        for round in 0..2 {
            damage(&target, round);
            let done = repair(&source, &target, state.path(), &[]);
            // What is written all the time may be seen as different once more; nothing else is, and no key has a reason.
            assert!(done.code < 2 && !done.stdout.contains("not repaired"), "{done:?}");
            assert!(done.found().1["repaired"].as_u64() >= Some(15), "{done:?}");
        }
        drop(stops);
        writer.join().unwrap()
    });
    oracle_says_equal(&source, &target);
    for server in [&source, &target] {
        for n in 0..HOT {
            assert_eq!(ask::<u64>(server, 0, &format!("GET counter:{n}")), steps);
            assert_eq!(ask::<u64>(server, 0, &format!("HGET hash:{n} field")), steps);
            let list: Vec<u64> = ask(server, 0, &format!("LRANGE list:{n} 0 -1"));
            assert!(list.iter().copied().eq(0..steps), "each number once and in order: {list:?}");
        }
    }
    assert_eq!(sync.status().unwrap(), None, "{}", sync.stderr());
}

#[test]
fn killed_at_each_place() {
    thread::scope(|scope| {
        let cases: Vec<_> = REPAIR_FAILPOINTS.iter().map(|place| scope.spawn(move || killed_at(place))).collect();
        cases.into_iter().for_each(|case| case.join().unwrap());
    });
}

/// The values of a process that dies are on the target as a whole, or not at all; and the next one repairs them.
fn killed_at(place: &str) {
    const LOST: u64 = 50;
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let state = tempfile::tempdir().unwrap();
    let dying = sync(&source, &target, state.path()).env("KEYFERRY_FAILPOINT", format!("{place}:1")).spawn().unwrap();
    dying.wait_for(LONG, |p| p.in_step).unwrap();
    let step = |n: u64| {
        run(&source, 0, &["INCR counter", &format!("RPUSH list {n}"), "APPEND text x"]);
    };
    (0..LOST).for_each(step);
    let there = |steps: u64| ask::<Option<u64>>(&target, 0, "STRLEN text") == Some(steps);
    wait_until("all is there", LONG, || there(LOST)).unwrap();
    run(&target, 0, &["DEL counter list text"]);
    let stop = AtomicBool::new(false);
    let steps = thread::scope(|scope| {
        let stops = Stops(&stop);
        let writer = scope.spawn(|| {
            let mut steps = LOST;
            while !stop.load(SeqCst) {
                step(steps);
                steps += 1;
            }
            steps
        });
        let done = repair(&source, &target, state.path(), &[]);
        let exit = dying.wait_exit(LONG);
        drop(stops);
        // It has asked once more when the socket was gone, or it has seen its end.
        assert!(done.code == 2, "{place}: {done:?}");
        assert_eq!(exit.unwrap().status.signal(), Some(9), "{place}: {done:?}");
        writer.join().unwrap()
    });
    let next = sync(&source, &target, state.path()).spawn().unwrap();
    let expected = if place == "repair-applied" { 0 } else { LOST };
    next.wait_for(LONG, |p| p.in_step).unwrap();
    wait_until("all is there", LONG, || there(steps - expected)).unwrap();
    assert_eq!(ask::<u64>(&target, 0, "GET counter"), steps - expected, "{place}");
    let list: Vec<u64> = ask(&target, 0, "LRANGE list 0 -1");
    assert!(list.iter().copied().eq(expected..steps), "{place}: {list:?}");
    repair(&source, &target, state.path(), &[]).assert_equal();
    oracle_says_equal(&source, &target);
    assert!(!next.stderr().contains("prepares a snapshot"), "{place}");
}

/// The connection to the target is lost when the values are in a batch: nothing of it is there, and nothing is there twice.
#[test]
fn a_connection_that_is_lost_is_repaired_behind() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let state = tempfile::tempdir().unwrap();
    let sync = sync(&source, &target, state.path()).env("KEYFERRY_FAILPOINT", "repair-decoded:1:stop").spawn().unwrap();
    sync.wait_for(LONG, |p| p.in_step).unwrap();
    run(&source, 0, &["SET counter 50"]);
    wait_until("it is there", LONG, || ask::<Option<u64>>(&target, 0, "GET counter") == Some(50)).unwrap();
    run(&target, 0, &["DEL counter"]);
    let stop = AtomicBool::new(false);
    let steps = thread::scope(|scope| {
        let stops = Stops(&stop);
        let writer = scope.spawn(|| {
            let mut steps = 50_u64;
            while !stop.load(SeqCst) {
                run(&source, 0, &["INCR counter"]);
                steps += 1;
            }
            steps
        });
        let repair = scope.spawn(|| repair(&source, &target, state.path(), &[]));
        let is_stopped = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", sync.pid())).unwrap();
            stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
        };
        let stopped = wait_until("it is stopped", LONG, is_stopped);
        // That of the comparison, too: it comes back.
        run(&target, 0, &["CLIENT KILL TYPE normal"]);
        sync.signal(Signal::CONT).unwrap();
        let done = repair.join().unwrap();
        drop(stops);
        stopped.unwrap();
        assert!(done.code < 2, "{done:?}");
        writer.join().unwrap()
    });
    oracle_says_equal(&source, &target);
    assert_eq!(ask::<u64>(&target, 0, "GET counter"), steps);
    assert!(sync.stderr().contains("the target is lost"), "{}", sync.stderr());
}

/// A value of each type that the server has, short and long, in two databases.
fn fill(source: &Server) {
    for db in [0, 2] {
        let mut conn = source.conn().unwrap();
        cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        for line in [
            "SET text abc",
            "SET number 12",
            "SET mortal 1 PX 5000000",
            "RPUSH list a b 3",
            "SADD set a b 3",
            "SADD numbers 1 2 3",
            "ZADD zset 1 a 2.5 b",
            "HSET hash a 1",
            "XADD stream 1-1 f v",
            "XGROUP CREATE stream g 0",
            "XREADGROUP GROUP g c STREAMS stream >",
            "HSET fields a 1",
            "HSET fields b 1",
            "HPEXPIRE fields 5000000 FIELDS 1 a",
        ] {
            let mut words = line.split(' ');
            let mut command = cmd(words.next().unwrap());
            words.for_each(|word| {
                command.arg(word);
            });
            // Not every version has all of them.
            let _ = command.exec(&mut conn);
        }
        for n in 0..600 {
            cmd("RPUSH").arg("long:list").arg(n).exec(&mut conn).unwrap();
            cmd("HSET").arg("long:hash").arg(n).arg(n).exec(&mut conn).unwrap();
        }
    }
}

/// All that the target had is gone, and comes back while the source is silent.
fn all_comes_back(source: &str, target: &str) {
    let (source, target) = (Server::start(source).unwrap(), Server::start(target).unwrap());
    let state = tempfile::tempdir().unwrap();
    fill(&source);
    let sync = sync(&source, &target, state.path()).args(["--task", "t"]).spawn().unwrap();
    sync.wait_for(LONG, |p| p.in_step).unwrap();
    let mut left = 0;
    for db in 0..16 {
        let keys: Vec<Vec<u8>> = ask(&target, db, "KEYS *");
        let mut conn = target.conn().unwrap();
        cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        // The position of the task stays.
        for key in keys.iter().filter(|key| !key.starts_with(b"__keyferry")) {
            cmd("DEL").arg(key).exec(&mut conn).unwrap();
            left += 1;
        }
    }
    run(&target, 0, &["SET extra 1"]);
    assert!(left >= 20);
    let done = repair(&source, &target, state.path(), &["--task", "t"]);
    done.assert_equal();
    assert_eq!(done.found().1["repaired"], left + 1);
    oracle_says_equal(&source, &target);
    let late = ask::<i64>(&target, 0, "PTTL mortal") - ask::<i64>(&source, 0, "PTTL mortal");
    assert!((29_000..=31_000).contains(&late), "{late}");
    assert_eq!(sync.status().unwrap(), None, "{}", sync.stderr());
}

#[test]
fn between_versions() {
    let pairs = [
        // The target reads hardly any of the payloads.
        ("redis-7.2", "redis-5.0"),
        // Deadlines of fields are later one by one.
        ("redis-7.4", "redis-7.4"),
        // The source tells an offset behind the MULTI of the question.
        ("redis-6.0", "redis-6.0"),
        // The source tells neither times nor sizes nor a history by a name of its own, and the target takes no times.
        ("redis-3.2", "redis-3.0"),
    ];
    thread::scope(|scope| {
        let cases = pairs.map(|(source, target)| scope.spawn(move || all_comes_back(source, target)));
        cases.into_iter().for_each(|case| case.join().unwrap());
    });
}

/// Beside a task that does not run here, is paused, or is not that of the position.
#[test]
fn refused_where_no_task_can_do_it() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&source, 0, &["SET a 1"]);
    let running = sync(&source, &target, state.path()).args(["--task", "t"]).spawn().unwrap();
    running.wait_for(LONG, |p| p.in_step).unwrap();
    run(&target, 0, &["DEL a"]);
    let refused = |args: &[&str], why: &str| {
        let done = repair(&source, &target, state.path(), args);
        done.assert_error("TGT-0026");
        assert!(done.stderr.contains(why), "{done:?}");
        assert_eq!(ask::<Option<u64>>(&target, 0, "GET a"), None);
    };
    // Not named, and not that of both addresses.
    refused(&[], "a task keeps its position");
    repair(&source, &target, elsewhere.path(), &[]).assert_error("TGT-0026");
    let talk = |what: &str| {
        let mut command = process::command(Path::new(KEYFERRY));
        command.args([what, "--task", "t", "--state-dir"]).arg(state.path());
        assert!(command.output().unwrap().status.success());
    };
    talk("pause");
    refused(&["--task", "t"], "the task is paused");
    talk("resume");
    // It runs, and there is no position of it on this target: it may put one there at any time.
    let third = Server::start("redis-7.0").unwrap();
    let begins = sync(&source, &third, state.path()).args(["--task", "begins"]).spawn().unwrap();
    begins.wait_for(LONG, |p| p.in_step).unwrap();
    let fourth = Server::start("redis-7.0").unwrap();
    let done = repair(&source, &fourth, state.path(), &["--task", "begins"]);
    done.assert_error("TGT-0026");
    assert!(done.stderr.contains("keeps no position there yet"), "{done:?}");
    assert_eq!(ask::<Option<u64>>(&fourth, 0, "GET a"), None);
    // Beside the position of another one.
    run(&target, 5, &["SET __keyferry_checkpoint:other x"]);
    refused(&["--task", "t"], "database 5");
    run(&target, 5, &["DEL __keyferry_checkpoint:other"]);
    running.signal(Signal::TERM).unwrap();
    running.wait_exit(LONG).unwrap();
    refused(&["--task", "t"], "start it on this machine");
    let _again = sync(&source, &target, state.path()).args(["--task", "t"]).spawn().unwrap();
    _again.wait_for(LONG, |p| p.in_step).unwrap();
    repair(&source, &target, state.path(), &["--task", "t"]).assert_equal();
    assert_eq!(ask::<Option<u64>>(&target, 0, "GET a"), Some(1));
}
