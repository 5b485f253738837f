//! The way back: behind a cut-over the task goes on in the other direction, and back again. Nothing is lost, doubled or sent
//! round, whenever the process dies.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use keyferry_model::CUTOVER_FAILPOINTS;
use keyferry_testkit::{
    load::{Load, LoadSpec},
    process::Signal,
    wait_until,
};

use super::{
    control::{talk, task},
    *,
};

/// Counts in two databases, in turns, wherever it is sent: what was answered is what has to be there.
pub(super) struct Counter {
    /// Where to, and how often that was said.
    url: Arc<Mutex<(String, u32)>>,
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Counter {
    pub(super) fn start(server: &Server) -> Self {
        let url = Arc::new(Mutex::new((server.url(), 0)));
        let (answered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (url, answered, stop) = (Arc::clone(&url), Arc::clone(&answered), Arc::clone(&stop));
            move || {
                while !stop.load(SeqCst) {
                    let at = url.lock().unwrap().clone();
                    let mut conn = redis::Client::open(at.0.as_str()).unwrap().get_connection().unwrap();
                    while !stop.load(SeqCst) {
                        let n = answered.load(SeqCst);
                        // SELECT and INCR in one write: sent away with the first, the second is not executed either.
                        let mut both = redis::pipe();
                        both.cmd("SELECT").arg(n % 2 * 5).ignore().cmd("INCR").arg("count");
                        if both.query::<(u64,)>(&mut conn).is_err() {
                            break;
                        }
                        answered.store(n + 1, SeqCst);
                    }
                    // Sent away: it waits to be told where to write.
                    while *url.lock().unwrap() == at && !stop.load(SeqCst) {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            }
        });
        Self { url, answered, stop, thread }
    }

    /// Says where to write, also where it was; gives how often it was answered before. It goes there when it was sent away.
    pub(super) fn send_to(&self, server: &Server) -> u64 {
        let before = self.answered.load(SeqCst);
        let mut url = self.url.lock().unwrap();
        *url = (server.url(), url.1 + 1);
        before
    }

    pub(super) fn wait_for(&self, more: u64) {
        let goal = self.answered.load(SeqCst) + more;
        wait_until("it counts on", LONG, || self.answered.load(SeqCst) >= goal).unwrap();
    }

    pub(super) fn stop(self) -> u64 {
        self.stop.store(true, SeqCst);
        self.thread.join().unwrap();
        self.answered.load(SeqCst)
    }
}

/// What the counter has written.
pub(super) fn counted(server: &Server) -> u64 {
    [0, 5].map(|db| ask::<Option<u64>>(server, db, "GET count").unwrap_or_default()).iter().sum()
}

/// Waits until the task is in step, and has lifted deadlines.
pub(super) fn wait_in_step(run: &Keyferry, name: &str, dir: &Path) {
    let in_step = || {
        let said = talk("status", name, dir, &["--output", "json"]);
        String::from_utf8_lossy(&said.stdout).contains("\"in_step\":true")
    };
    wait_until("the task is in step", LONG, in_step).unwrap_or_else(|e| panic!("{name}: {e}: {}", run.stderr()));
}

/// Everything that `source` has written is on `target`.
pub(super) fn wait_for_all(source: &Server, target: &Server) {
    let _: u64 = ask(source, 1, "INCR last");
    let last: u64 = ask(source, 1, "GET last");
    wait_until("the last write is there", LONG, || ask::<Option<u64>>(target, 1, "GET last") == Some(last)).unwrap();
}

pub(super) fn cut_over(run: &Keyferry, name: &str, dir: &Path, args: &[&str]) -> String {
    let done = talk("cutover", name, dir, &[&["--output", "json"], args].concat());
    let (report, said) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    if !done.status.success() {
        panic!("{said}{}", run.stderr());
    }
    println!("{report}");
    report
}

/// A consumer that was given nothing is on the side that was read from, and on no other: a server does not send it.
fn assert_equal_but_for_idle_consumers(source: &Server, target: &Server) {
    let report = differences_with_grace(source, target);
    let idle = |d: &keyferry_testkit::oracle::Difference| {
        d.kind == keyferry_testkit::oracle::Kind::StreamGroup && d.detail.contains(": consumers [")
    };
    assert!(report.total == report.differences.len() as u64 && report.differences.iter().all(idle), "{report}");
}

fn positions(server: &Server) -> Vec<String> {
    let mut keys: Vec<String> = ask(server, 0, "KEYS __keyferry_*");
    keys.sort();
    keys
}

#[test]
fn there_and_back_under_load() {
    let (old, new) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.2").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let () = ask(&old, 0, "SET mortal 1 EX 3600");
    let run = task(&old, &new.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let counter = Counter::start(&old);
    let spec = LoadSpec { rate: Some(5000), threads: 2, ..LoadSpec::default() };
    let load = Load::start(&old.url(), spec.clone()).unwrap();
    run.wait_for(LONG, |p| p.commands_per_second > 1000.0).unwrap();

    let report = cut_over(&run, "t", dir.path(), &["--reverse"]);
    assert!(report.contains("\"step\":\"way_back\",\"state\":\"done\""), "{report}");
    assert!(report.contains("\"reverse_task\":\"t-reverse\""), "{report}");
    wait_in_step(&run, "t-reverse", dir.path());
    assert!(!load.stop().failures.is_empty(), "its connections were closed");
    assert_eq!(counted(&new), counter.send_to(&new));
    assert_eq!((positions(&old), positions(&new)), (vec!["__keyferry_checkpoint:t-reverse".into()], vec![]));
    let load = Load::start(&new.url(), LoadSpec { seed: 2, ..spec.clone() }).unwrap();
    counter.wait_for(1000);
    wait_until("deadlines are lifted", LONG, || run.stderr().contains("have the grace")).unwrap();
    let () = ask(&new, 0, "SET mortal-too 1 EX 3600");
    wait_for_all(&new, &old);
    for key in ["mortal", "mortal-too"] {
        let left = [&old, &new].map(|server| ask::<i64>(server, 0, &format!("PTTL {key}")));
        assert!((29_900..=30_100).contains(&(left[0] - left[1])), "{key}: {left:?}");
    }

    let report = cut_over(&run, "t-reverse", dir.path(), &["--reverse"]);
    assert!(report.contains("\"reverse_task\":\"t\""), "{report}");
    wait_in_step(&run, "t", dir.path());
    assert!(!load.stop().failures.is_empty());
    assert_eq!(counted(&old), counter.send_to(&old));
    assert_eq!((positions(&old), positions(&new)), (vec![], vec!["__keyferry_checkpoint:t".into()]));
    let load = Load::start(&old.url(), LoadSpec { seed: 3, ..spec }).unwrap();
    counter.wait_for(1000);
    let stats = load.stop();
    assert!(stats.failures.is_empty(), "{stats:?}");
    let answered = counter.stop();
    wait_for_all(&old, &new);
    assert_eq!((counted(&old), counted(&new)), (answered, answered), "each count that was answered, and no other");
    assert_equal_but_for_idle_consumers(&old, &new);
    // The end, without another turn.
    wait_until("deadlines are lifted", LONG, || run.stderr().matches("have the grace").count() >= 2).unwrap();
    cut_over(&run, "t", dir.path(), &[]);
    let exit = run.wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert_eq!((positions(&old), positions(&new)), (vec![], vec![]));
    assert!(!exit.stderr.contains("prepares a snapshot") || exit.stderr.matches("prepares a snapshot").count() == 1);
}

/// What a process leaves that is killed in a cut-over, and how its user goes on.
#[test]
fn killed_at_each_step() {
    thread::scope(|scope| {
        let cases: Vec<_> = CUTOVER_FAILPOINTS.iter().map(|place| scope.spawn(move || killed_at(place))).collect();
        cases.into_iter().for_each(|case| case.join().unwrap());
    });
}

fn killed_at(place: &str) {
    let (old, new) = pair("redis-7.2");
    // For as long as nobody follows.
    [&old, &new].into_iter().for_each(|server| server.config_set("repl-backlog-size", "64mb").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let () = ask(&old, 0, "SET mortal 1 EX 3600");
    let () = ask(&old, 0, "SET near 1 EX 20");
    let run = task(&old, &new.url(), dir.path()).env("KEYFERRY_FAILPOINT", format!("{place}:1")).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let counter = Counter::start(&old);
    counter.wait_for(100);
    let done = talk("cutover", "t", dir.path(), &["--reverse", "--source-pause", "2s"]);
    let said = String::from_utf8(done.stderr).unwrap();
    let told = place == "turn-adopted";
    assert_eq!(done.status.success(), told, "{place}: {said}");
    assert!(told || said.contains("error CTL-0005: "), "{place}: {said}");
    wait_until("it is dead", LONG, || run.status().unwrap().is_some()).unwrap();
    let turned = !["before-pause", "source-paused", "drained", "turn-marked", "before-promote"].contains(&place);
    assert_eq!(positions(&new).iter().any(|key| key == "__keyferry_checkpoint:t"), !turned, "{place}");
    let start = |source: &Server, target: &Server, task: &str| {
        Keyferry::sync(env!("CARGO_BIN_EXE_keyferry"), &source.url(), &target.url())
            .args(["--task", task, "--on-lost-backlog", "stop", "--state-dir"])
            .arg(dir.path())
            .spawn()
            .unwrap()
    };
    if turned {
        // Nobody lived to end the pause, and who has waited in it does not write behind it.
        if place == "turned" {
            let _: u64 = ask(&old, 0, "PUBLISH when-it-has-ended 1");
            assert_eq!(counted(&old), counted(&new), "{place}");
        }
        let clear = task(&old, &new.url(), dir.path()).args(["--on-conflict", "clear"]);
        let abort = task(&old, &new.url(), dir.path());
        let refused = if told { abort } else { clear }.spawn().unwrap().wait_exit(LONG).unwrap();
        assert!(refused.code() == 3 && refused.stderr.contains("error TGT-0012: "), "{place}: {}", refused.stderr);
    }
    let (from, to, name) = if turned { (&new, &old, "t-reverse") } else { (&old, &new, "t") };
    let run = start(from, to, name);
    if turned {
        let (there, answered) = (counted(&new), counter.send_to(&new));
        assert!((answered..=answered + 1).contains(&there), "{place}: {answered}, {there}");
    }
    wait_in_step(&run, name, dir.path());
    if place == "before-promote" {
        // It was sent away.
        counter.send_to(from);
    }
    counter.wait_for(1000);
    let answered = counter.stop();
    wait_for_all(from, to);
    assert_eq!((counted(from), counted(to)), (answered, answered), "{place}");
    let late = |key| {
        let of = |server: &Server| ask::<i64>(server, 0, &format!("PTTL {key}"));
        of(to) - of(from)
    };
    // Also what one that was killed before the last step has lowered.
    let lifted = || ["mortal", "near"].into_iter().all(|key| (29_000..=30_100).contains(&late(key)));
    wait_until("deadlines have the grace", LONG, lifted)
        .unwrap_or_else(|e| panic!("{e}, {place}: {} and {} ms", late("mortal"), late("near")));
    assert_eq!((positions(from), positions(to)), (vec![], vec![format!("__keyferry_checkpoint:{name}")]), "{place}");
    assert!(!run.stderr().contains("prepares a snapshot"), "{place}");
}

/// A history has no name of its own there, scripts are written to the stream in other words, and a pause is a setting.
#[test]
fn there_and_back_between_old_servers() {
    let (old, new) = pair("redis-3.2");
    let dir = tempfile::tempdir().unwrap();
    let () = ask(&old, 0, "SET near 1 EX 300");
    let run = task(&old, &new.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let report = cut_over(&run, "t", dir.path(), &["--reverse"]);
    assert!(report.contains("\"late_writes\":0,\"source_changed\":null,\"target_replicas\":null"), "{report}");
    let late = ask::<i64>(&old, 0, "PTTL near") - ask::<i64>(&new, 0, "PTTL near");
    assert!((29_900..=30_100).contains(&late), "it is lifted before anybody is told: {late} ms");
    let counter = Counter::start(&new);
    wait_in_step(&run, "t-reverse", dir.path());
    counter.wait_for(100);
    let answered = counter.stop();
    wait_for_all(&new, &old);
    assert_eq!((counted(&old), counted(&new)), (answered, answered));
    cut_over(&run, "t-reverse", dir.path(), &[]);
    assert_eq!((positions(&old), positions(&new)), (vec![], vec![]));
}

/// A server does not say that a field has run out until it comes to remove it.
#[test]
fn a_field_that_runs_out_in_the_pause_goes_on_both_sides() {
    thread::scope(|scope| {
        let cases = ["redis-7.4", "redis-8.6", "valkey-9.0"].map(|version| scope.spawn(move || runs_out_on(version)));
        cases.into_iter().for_each(|case| case.join().unwrap());
    });
}

fn runs_out_on(version: &str) {
    let start = || Server::builder(version).arg("enable-debug-command yes").start().unwrap();
    let (old, new) = (start(), start());
    let dir = tempfile::tempdir().unwrap();
    // It comes to remove none.
    let () = ask(&old, 0, "DEBUG SET-ACTIVE-EXPIRE 0");
    let _: u64 = ask(&old, 0, "HSET mixed stays 1 lives 1 short 1");
    let _: u64 = ask(&old, 5, "HSET all short 1");
    let _: [i64; 1] = ask(&old, 0, "HPEXPIRE mixed 300000 FIELDS 1 lives");
    let stops = ("KEYFERRY_FAILPOINT", "source-paused:1:stop");
    let run = task(&old, &new.url(), dir.path()).env(stops.0, stops.1).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    for (db, key) in [(0, "mixed"), (5, "all")] {
        let _: [i64; 1] = ask(&old, db, &format!("HPEXPIRE {key} 2000 FIELDS 1 short"));
    }
    let [at] = ask::<[u64; 1]>(&old, 5, "HPEXPIRETIME all FIELDS 1 short");
    thread::scope(|scope| {
        let asked = scope.spawn(|| cut_over(&run, "t", dir.path(), &["--reverse", "--source-pause", "20s"]));
        let path = format!("/proc/{}/stat", run.pid());
        let stopped = || fs::read_to_string(&path).is_ok_and(|stat| stat.contains(") T "));
        wait_until("it has stopped", LONG, stopped).unwrap();
        let clock = || ask::<[u64; 2]>(&old, 0, "TIME")[0] * 1000;
        wait_until("the field has run out", LONG, || clock() > at).unwrap();
        run.signal(Signal::CONT).unwrap();
        asked.join().unwrap();
    });
    let [stays, lives, short]: [i64; 3] = ask(&new, 0, "HPTTL mixed FIELDS 3 stays lives short");
    assert!((stays, short) == (-1, -2) && lives > 200_000, "{version}: {stays}, {lives}, {short}");
    assert_eq!(ask::<u64>(&new, 5, "EXISTS all"), 0, "{version}");
    wait_in_step(&run, "t-reverse", dir.path());
    let () = ask(&old, 0, "DEBUG SET-ACTIVE-EXPIRE 1");
    let _: u64 = ask(&new, 0, "HINCRBY mixed short 7");
    wait_for_all(&new, &old);
    assert_eq!(ask::<u64>(&old, 0, "HGET mixed short"), 7, "{version}");
    wait_until("it is gone there, too", LONG, || ask::<u64>(&old, 5, "EXISTS all") == 0).unwrap();
    assert_equal_but_for_idle_consumers(&new, &old);
}

/// Many small hashes together, one that takes more than a step, and those that lack such deadlines.
#[test]
fn fields_of_many_hashes_get_the_grace() {
    let (old, new) = pair("redis-7.4");
    let dir = tempfile::tempdir().unwrap();
    let fill = "local names={} for i=1,3000 do names[i]='f'..i redis.call('HSET','large',names[i],i) end \
        for i=1,600 do redis.call('HSET','h:'..i,'near',1,'far',1,'none',1) redis.call('HPEXPIRE','h:'..i,300000+i,'FIELDS',1,'near') \
        redis.call('HPEXPIRE','h:'..i,3600000+i,'FIELDS',1,'far') redis.call('HSET','none:'..i,'a',1) end \
        redis.call('HPEXPIRE','large',400000,'FIELDS',3000,unpack(names))";
    cmd("EVAL").arg(fill).arg(0).exec(&mut old.conn().unwrap()).unwrap();
    let run = task(&old, &new.url(), dir.path()).args(["--ttl-grace", "1s"]).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    cut_over(&run, "t", dir.path(), &["--reverse", "--source-pause", "20s"]);
    let deadlines = |server: &Server| {
        let mut pipe = redis::pipe();
        for n in 1..=600 {
            pipe.cmd("HPEXPIRETIME").arg(format!("h:{n}")).arg(&["FIELDS", "3", "near", "far", "none"]);
            pipe.cmd("HPEXPIRETIME").arg(&["large", "FIELDS", "1"]).arg(format!("f{n}"));
        }
        let found: Vec<Vec<i64>> = pipe.query(&mut server.conn().unwrap()).unwrap();
        found.concat()
    };
    // Later than on the new side, by the grace.
    let of_source = deadlines(&new);
    let late: Vec<i64> = deadlines(&old).iter().zip(&of_source).map(|(old, new)| old - new).collect();
    assert_eq!(late.len(), 2400);
    for fields in late.chunks(4) {
        assert_eq!(fields, [1000, 1000, 0, 1000]);
    }
    assert!(of_source.iter().filter(|at| **at > 0).count() == 1800);
}

/// The figures of a release build: `cargo nextest run --release -p keyferry-cli --run-ignored only -E 'test(a_million)'
/// --no-capture`.
#[test]
#[ignore = "a measurement with a million keys, for a release build"]
fn a_million_deadlines_on_the_old_side() {
    // All of them far away; all of them near.
    for seconds in [3600, 500] {
        let (old, new) = pair("redis-7.2");
        let dir = tempfile::tempdir().unwrap();
        let fill = "for i=1,10000 do redis.call('SET','k:'..ARGV[1]..':'..i,'value','EX',ARGV[2]) end";
        let mut conn = old.conn().unwrap();
        for n in 0..100 {
            cmd("EVAL").arg(fill).arg(&[0, n, seconds]).exec(&mut conn).unwrap();
        }
        let run = task(&old, &new.url(), dir.path()).spawn().unwrap();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        // It prints the report, with the write pause.
        cut_over(&run, "t", dir.path(), &["--reverse", "--source-pause", "60s"]);
        let begun = std::time::Instant::now();
        wait_until("deadlines are lifted", LONG, || run.stderr().contains("have the grace")).unwrap();
        println!("a million deadlines in {seconds} s: all lifted {:?} later", begun.elapsed());
    }
}
