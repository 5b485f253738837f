//! What breaks while a cut-over is under way: it is undone, and says so, or it is done, and says so. Nothing is lost in between.
//!
//! The process stops itself at a place of the cut-over, then something is broken, then it goes on.

use std::{fs, sync::Arc, thread};

use keyferry_testkit::{Proxy, process::Signal, proxy::Way, wait_until};

use super::{
    control::{talk, task},
    report::report,
    reverse::{Counter, counted, wait_for_all, wait_in_step},
    *,
};

/// The servers behind proxies, a task between them, and somebody who writes to the source itself.
pub(super) struct Case {
    pub(super) old: Server,
    pub(super) new: Server,
    pub(super) to_old: Proxy,
    pub(super) to_new: Arc<Proxy>,
    pub(super) dir: tempfile::TempDir,
    pub(super) run: Arc<Keyferry>,
    pub(super) pause: &'static str,
}

/// What the command says.
pub(super) struct Said {
    pub(super) done: bool,
    /// Both streams.
    pub(super) words: String,
}

impl Case {
    /// A task that stops at `place`.
    pub(super) fn start(place: &str) -> Self {
        Self::start_at(place, 1)
    }

    /// Likewise, when it comes there for the n-th time.
    fn start_at(place: &str, n: u32) -> Self {
        Self::start_between(pair("redis-7.2"), place, n)
    }

    /// Likewise, between these servers.
    pub(super) fn start_between((old, new): (Server, Server), place: &str, n: u32) -> Self {
        [&old, &new].into_iter().for_each(|server| server.config_set("repl-backlog-size", "64mb").unwrap());
        let (to_old, to_new) = (Proxy::start(&old.address()).unwrap(), Arc::new(Proxy::start(&new.address()).unwrap()));
        let dir = tempfile::tempdir().unwrap();
        let run = Keyferry::sync(env!("CARGO_BIN_EXE_keyferry"), &to_old.url(), &to_new.url())
            .args(["--task", "t", "--state-dir"])
            .arg(dir.path())
            .env("KEYFERRY_FAILPOINT", format!("{place}:{n}:stop"))
            .spawn()
            .unwrap();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        Self { old, new, to_old, to_new, dir, run: Arc::new(run), pause: "3s" }
    }

    pub(super) fn wait_until_stopped(&self) {
        let path = format!("/proc/{}/stat", self.run.pid());
        let stopped = || fs::read_to_string(&path).is_ok_and(|stat| stat.contains(") T "));
        wait_until("it has stopped", LONG, stopped).unwrap();
    }

    /// Cuts over; `break_it` is called at the place.
    pub(super) fn cut_over(&mut self, args: &[&str], break_it: impl FnOnce(&mut Self)) -> Said {
        let (dir, pause) = (self.dir.path().to_owned(), self.pause);
        thread::scope(|scope| {
            let asked = scope.spawn(move || {
                let args = [&["--source-pause", pause, "--timeout", "10s"], args].concat();
                talk("cutover", "t", &dir, &args)
            });
            self.wait_until_stopped();
            break_it(self);
            self.run.signal(Signal::CONT).unwrap();
            let said = asked.join().unwrap();
            let words = [said.stdout, said.stderr].concat();
            Said { done: said.status.success(), words: String::from_utf8(words).unwrap() }
        })
    }

    /// It was undone: the writers go on at the source, the task follows them, and another cut-over is done.
    pub(super) fn goes_on(&self, counter: Counter, said: &Said) {
        assert!(!said.done && said.words.contains("error CTL-0004: "), "{}", said.words);
        self.follows(counter);
    }

    pub(super) fn follows(&self, counter: Counter) {
        counter.send_to(&self.old);
        counter.wait_for(1000);
        [&self.to_old, &*self.to_new].into_iter().for_each(Proxy::heal);
        let answered = counter.stop();
        wait_in_step(&self.run, "t", self.dir.path());
        let mut last = String::new();
        wait_until("it is cut over", LONG, || {
            let done = talk("cutover", "t", self.dir.path(), &["--source-pause", "2s"]);
            last = String::from_utf8(done.stderr).unwrap();
            // Deadlines are given back first, and the task may have to begin again.
            assert!(done.status.success() || last.contains("CTL-0003"), "{last}");
            done.status.success()
        })
        .unwrap_or_else(|e| panic!("{e}: {last}"));
        assert_eq!((counted(&self.old), counted(&self.new)), (answered, answered));
        differences_with_grace(&self.old, &self.new).assert_equal();
    }
}

fn gone(server: &Proxy) {
    server.refuse(true);
    server.reset();
}

#[test]
fn what_breaks_in_a_cut_over() {
    thread::scope(|scope| {
        let cases = [
            scope.spawn(|| {
                let mut case = Case::start("source-paused");
                let counter = Counter::start(&case.old);
                counter.wait_for(100);
                let said = case.cut_over(&[], |case| gone(&case.to_old));
                // It could not be told: the pause ends by itself.
                assert!(said.words.contains("look whether it does; to allow them: CLIENT UNPAUSE"), "{}", said.words);
                case.goes_on(counter, &said);
            }),
            scope.spawn(|| {
                let mut case = Case::start("source-paused");
                let counter = Counter::start(&case.old);
                counter.wait_for(100);
                let said = case.cut_over(&[], |case| gone(&case.to_new));
                assert!(said.words.contains("writes are allowed at the source"), "{}", said.words);
                case.goes_on(counter, &said);
            }),
            scope.spawn(|| {
                // Nobody writes: the next bytes of the source are its answer to the pause.
                let mut case = Case::start("before-pause");
                let said = case.cut_over(&[], |case| case.to_old.cut_after_way(Way::ToClient, Some(0)));
                assert!(said.words.contains("writes are allowed at the source"), "{}", said.words);
                let asked = case.old.info("commandstats").unwrap();
                assert!(asked.contains_key("cmdstat_client|pause"), "only the answer was lost: {asked:?}");
                case.goes_on(Counter::start(&case.old), &said);
            }),
            scope.spawn(|| {
                let mut case = Case::start("drained");
                let counter = Counter::start(&case.old);
                counter.wait_for(100);
                let said = case.cut_over(&[], |case| gone(&case.to_new));
                case.goes_on(counter, &said);
            }),
            scope.spawn(|| {
                let mut case = Case::start("turn-marked");
                let counter = Counter::start(&case.old);
                counter.wait_for(100);
                let said = case.cut_over(&["--reverse"], |case| gone(&case.to_new));
                case.goes_on(counter, &said);
            }),
            scope.spawn(|| {
                // The same data, and another history: nobody could follow it from the turn on.
                let mut case = Case::start("turn-marked");
                let counter = Counter::start(&case.old);
                counter.wait_for(100);
                let said = case.cut_over(&["--reverse"], |case| {
                    write(&case.new, "SAVE");
                    case.new.restart().unwrap();
                });
                case.goes_on(counter, &said);
            }),
            scope.spawn(|| {
                let mut case = Case::start("before-promote");
                let counter = Counter::start(&case.old);
                counter.wait_for(100);
                // The answer to the last step.
                let said = case.cut_over(&[], |case| case.to_new.cut_after_way(Way::ToClient, Some(0)));
                assert!(said.done, "{}", said.words);
                assert_eq!(counted(&case.old), counted(&case.new));
                let _: u64 = ask(&case.old, 0, "CLIENT KILL TYPE normal");
                counter.stop();
            }),
            scope.spawn(|| {
                // The same run, and another history.
                let mut case = Case::start("turn-marked");
                let counter = Counter::start(&case.old);
                counter.wait_for(100);
                let said = case.cut_over(&["--reverse"], |case| {
                    write(&case.new, "REPLICAOF 127.0.0.1 1");
                    write(&case.new, "REPLICAOF NO ONE");
                });
                case.goes_on(counter, &said);
            }),
            scope.spawn(a_target_that_is_back_when_the_time_is_over),
            scope.spawn(a_target_that_runs_the_last_step_late),
            scope.spawn(|| {
                let mut case = Case::start("drained");
                let counter = Counter::start(&case.old);
                counter.wait_for(100);
                let said = case.cut_over(&[], |case| gone(&case.to_old));
                case.goes_on(counter, &said);
            }),
            scope.spawn(|| a_source_that_is_started_again("drained")),
            scope.spawn(|| a_source_that_is_started_again("turned")),
            scope.spawn(a_source_that_is_gone_behind_the_last_step),
            scope.spawn(a_turn_whose_adoption_is_not_answered),
            scope.spawn(what_is_lifted_when_another_has_the_task),
        ];
        cases.into_iter().for_each(|case| case.join().unwrap());
    });
}

/// By then it has done the last step, or never will: nobody has to guess.
fn a_target_that_is_back_when_the_time_is_over() {
    let mut case = Case { pause: "6s", ..Case::start("before-promote") };
    let counter = Counter::start(&case.old);
    counter.wait_for(100);
    let said = case.cut_over(&[], |case| {
        gone(&case.to_new);
        let (run, to_new) = (Arc::clone(&case.run), Arc::clone(&case.to_new));
        thread::spawn(move || {
            let asked = || run.stderr().contains("whether the task has ended is asked again");
            wait_until("the time is over", LONG, asked).unwrap();
            to_new.heal();
        });
    });
    assert!(said.words.contains("writes are allowed at the source"), "{}", said.words);
    case.goes_on(counter, &said);
}

/// It does nothing: the source takes writes again by then.
fn a_target_that_runs_the_last_step_late() {
    let mut case = Case::start("before-promote");
    let counter = Counter::start(&case.old);
    counter.wait_for(100);
    let said = case.cut_over(&[], |case| case.new.stop_signal().unwrap());
    assert!(!said.done && said.words.contains("error CTL-0005: "), "{}", said.words);
    // The pause has ended by itself.
    counter.wait_for(1000);
    case.new.cont_signal().unwrap();
    case.follows(counter);
}

/// Its pause is over with it. Before the last step nothing comes of it; behind that, it is said.
fn a_source_that_is_started_again(place: &str) {
    let mut case = Case::start(place);
    write(&case.old, "SET before 1");
    let said = case.cut_over(&["--output", "json"], |case| {
        write(&case.old, "SAVE");
        case.old.restart().unwrap();
        if place == "turned" {
            write(&case.old, "INCR lost");
        }
    });
    if place == "drained" {
        assert!(said.words.contains("it was started again"), "{}", said.words);
        case.goes_on(Counter::start(&case.old), &said);
    } else {
        assert!(said.done && said.words.contains("\"source_changed\":\"it was started again"), "{}", said.words);
        assert_eq!(ask::<Option<u64>>(&case.new, 0, "GET lost"), None);
        case.run.wait_exit(LONG).unwrap();
        let seen = "it was started again, or another server answers in its place";
        assert_eq!(report(case.dir.path(), &[])["cutover"]["source_changed"], seen);
        let page = fs::read_to_string(case.dir.path().join("out/t.report.html")).unwrap();
        assert!(page.contains(&format!("<th>source changed</th><td>{seen}</td>")), "{page}");
    }
}

/// All that it had is on the target: the target is the place to write, and the way back begins when the old side is there again.
fn a_source_that_is_gone_behind_the_last_step() {
    let mut case = Case::start("turned");
    let counter = Counter::start(&case.old);
    counter.wait_for(100);
    let said = case.cut_over(&["--reverse"], |case| gone(&case.to_old));
    assert!(said.done && said.words.contains("write to the target now"), "{}", said.words);
    assert!(said.words.contains("the source may have changed meanwhile: it cannot be asked"), "{}", said.words);
    assert!(case.run.stderr().contains("the old side is not ready for the way back"), "{}", case.run.stderr());
    // Its writers were sent away before.
    counter.send_to(&case.new);
    counter.wait_for(1000);
    case.to_old.heal();
    wait_in_step(&case.run, "t-reverse", case.dir.path());
    let answered = counter.stop();
    wait_for_all(&case.new, &case.old);
    assert_eq!((counted(&case.new), counted(&case.old)), (answered, answered));
}

/// The position of the other task is written, and nobody says so: it is known again, in the same go.
fn a_turn_whose_adoption_is_not_answered() {
    // The first one is that of the full copy.
    let mut case = Case::start_at("before-put", 2);
    let counter = Counter::start(&case.old);
    counter.wait_for(100);
    let said = case.cut_over(&["--reverse"], |case| case.to_old.cut_after_way(Way::ToClient, Some(0)));
    assert!(said.done, "{}", said.words);
    counter.send_to(&case.new);
    wait_in_step(&case.run, "t-reverse", case.dir.path());
    counter.wait_for(1000);
    let answered = counter.stop();
    wait_for_all(&case.new, &case.old);
    assert_eq!((counted(&case.new), counted(&case.old)), (answered, answered));
    let log = case.run.stderr();
    assert!(log.contains("the task begins where a cut-over has turned") && !log.contains("WARN waiting"), "{log}");
}

/// Nothing: what a server runs when the other task has begun there may not touch what that has written.
fn what_is_lifted_when_another_has_the_task() {
    let mut case = Case::start("source-released");
    write(&case.old, "SET near 1 EX 300");
    let said = case.cut_over(&["--reverse"], |case| write(&case.old, "HSET __keyferry_checkpoint:t-reverse v another"));
    assert!(said.done, "{}", said.words);
    let log = case.run.stderr();
    assert!(log.contains("the other task has begun already"), "{log}");
    let left = [&case.old, &case.new].map(|server| ask::<i64>(server, 0, "PTTL near"));
    assert!(left[0] < left[1], "{left:?}");
}

/// A client that was sent away comes back to the old side before anybody knows of the new one: that is seen. What it removes
/// there stays on the new side. And nobody begins the first direction again.
#[test]
fn a_client_that_comes_back_to_the_old_side() {
    let mut case = Case::start("source-released");
    write(&case.old, "MSET removed 1 late 1");
    let said = case.cut_over(&["--reverse"], |case| {
        write(&case.old, "INCR late");
        write(&case.old, "DEL removed");
    });
    assert!(said.done && said.words.contains("written there 1 times"), "{}", said.words);
    wait_in_step(&case.run, "t-reverse", case.dir.path());
    assert_eq!(report(case.dir.path(), &[])["cutover"]["late_writes"], 1);
    let value = |server: &Server, key: &str| ask::<Option<u64>>(server, 0, &format!("GET {key}"));
    assert_eq!((value(&case.new, "late"), value(&case.new, "removed")), (Some(1), Some(1)));
    write(&case.new, "INCR late");
    let dir = tempfile::tempdir().unwrap();
    for more in [&[][..], &["--restart"]] {
        let exit = Keyferry::sync(env!("CARGO_BIN_EXE_keyferry"), &case.old.url(), &case.new.url())
            .args(["--task", "t", "--on-conflict", "clear", "--state-dir"])
            .arg(dir.path())
            .args(more)
            .spawn()
            .unwrap()
            .wait_exit(LONG)
            .unwrap();
        assert_fails(&exit, 3, "TGT-0012");
    }
    assert_eq!((value(&case.new, "late"), value(&case.new, "removed")), (Some(2), Some(1)));
}

pub(super) fn write(server: &Server, words: &str) {
    let _: redis::Value = ask(server, 0, words);
}

/// Deadlines come closer only when the target knows that they do: a process that finds them gives them the grace.
#[test]
fn killed_while_what_says_so_waits_for_a_limit() {
    let (old, new) = pair("redis-7.2");
    let dir = tempfile::tempdir().unwrap();
    write(&old, "SET mortal 1 EX 3600");
    let run = task(&old, &new.url(), dir.path()).env("KEYFERRY_FAILPOINT", "grace-lowered:1").spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    // What comes behind this waits for some seconds.
    let said = talk("limit", "t", dir.path(), &["--write-bytes", "64kb"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    write(&old, &format!("SET large {}", "x".repeat(250_000)));
    wait_until("it is there", LONG, || ask::<bool>(&new, 0, "EXISTS large")).unwrap();
    let said = talk("cutover", "t", dir.path(), &[]);
    assert!(String::from_utf8(said.stderr).unwrap().contains("error CTL-0005: "));
    let late = || ask::<i64>(&new, 0, "PEXPIRETIME mortal") - ask::<i64>(&old, 0, "PEXPIRETIME mortal");
    assert_eq!(late(), 1000, "it died with one lowered");
    let _run = task(&old, &new.url(), dir.path()).spawn().unwrap();
    wait_until("it has the grace", LONG, || late() == 30_000).unwrap();
}
