//! The last step of a cut-over is lost, or cannot be done: what becomes of it is known at once, wherever it can be known.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use keyferry_testkit::{process::Signal, proxy::Way, wait_until};

use super::{
    cutover_faults::{Case, write},
    report::report,
    reverse::{Counter, wait_in_step},
    *,
};

#[test]
fn what_becomes_of_the_last_step() {
    thread::scope(|scope| {
        let cases = [
            scope.spawn(a_position_that_somebody_else_has_removed),
            scope.spawn(what_never_will_be_done_is_undone_at_once),
            scope.spawn(who_has_asked_goes_in_front_of_the_last_step),
            scope.spawn(a_consumer_that_was_not_stopped_by_hand),
            scope.spawn(|| a_stop_while_the_target_is_silent("redis-7.2")),
            scope.spawn(|| a_stop_while_the_target_is_silent("redis-6.0")),
            scope.spawn(a_stop_in_front_of_the_last_step),
            scope.spawn(a_stop_while_the_old_side_is_silent),
            scope.spawn(a_stop_while_the_old_side_is_made_ready),
            scope.spawn(a_target_that_refuses_the_last_step),
            scope.spawn(a_target_that_refuses_half_of_the_last_step),
        ];
        cases.into_iter().for_each(|case| case.join().unwrap());
    });
}

/// That is no last step: it is undone when the target says so, and not known when that is lost.
fn a_position_that_somebody_else_has_removed() {
    for (answer, code) in [(None, "CTL-0004"), (Some(0), "CTL-0005")] {
        let mut case = Case::start("before-promote");
        let counter = Counter::start(&case.old);
        counter.wait_for(100);
        let said = case.cut_over(&["--reverse"], |case| {
            write(&case.new, "FLUSHALL");
            case.to_new.cut_after_way(Way::ToClient, answer);
        });
        assert!(!said.done && said.words.contains(&format!("error {code}: ")), "{}", said.words);
        // The writers go on there.
        counter.send_to(&case.old);
        counter.wait_for(1000);
        counter.stop();
        if answer.is_none() {
            wait_until("it ends", LONG, || case.run.stderr().contains("error TGT-0024: ")).unwrap();
        }
    }
}

/// The target was asked for the last step, which is lost on the way, and behind it the source is not what was paused.
fn what_never_will_be_done_is_undone_at_once() {
    let mut case = Case { pause: "40s", ..Case::start("before-promote") };
    let mut begun = Instant::now();
    let said = case.cut_over(&[], |case| {
        case.to_new.reset();
        write(&case.old, "CLIENT UNPAUSE");
        write(&case.old, "INCR behind");
        begun = Instant::now();
    });
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}: {}", begun.elapsed(), said.words);
    assert!(said.words.contains("1 commands have come there"), "{}", said.words);
    case.goes_on(Counter::start(&case.old), &said);
}

/// Nobody would be told.
fn who_has_asked_goes_in_front_of_the_last_step() {
    let case = Case::start("turn-marked");
    let counter = Counter::start(&case.old);
    counter.wait_for(100);
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(["cutover", "--reverse", "--task", "t", "--state-dir"]).arg(case.dir.path());
    let mut asked = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    case.wait_until_stopped();
    asked.kill().unwrap();
    asked.wait().unwrap();
    case.run.signal(Signal::CONT).unwrap();
    let seen = || case.run.stderr().contains("the cut-over is undone");
    wait_until("it is undone", LONG, seen).unwrap();
    assert!(case.run.stderr().contains("who has asked for it has gone"), "{}", case.run.stderr());
    // Nothing is wrong with the task.
    wait_in_step(&case.run, "t", case.dir.path());
    assert_eq!(case.run.progress().unwrap().last_error, None);
    assert!(!case.run.stderr().contains("WARN waiting"), "{}", case.run.stderr());
    assert_eq!(report(case.dir.path(), &[])["processes"]["retries"], 0);
    case.follows(counter);
}

/// In the stream it looks like a key that has run out; on the target the job would be done once more.
fn a_consumer_that_was_not_stopped_by_hand() {
    let mut case = Case { pause: "manual", ..Case::start("drained") };
    write(&case.old, "SET job 1");
    let said = case.cut_over(&[], |case| write(&case.old, "GETDEL job"));
    assert!(said.words.contains("1 commands have come there"), "{}", said.words);
    case.goes_on(Counter::start(&case.old), &said);
}

/// It is over in time, and nobody is told more than is known. The source takes no writes while the target may still do it.
fn a_stop_while_the_target_is_silent(version: &str) {
    let mut case = Case { pause: "40s", ..Case::start_between(pair(version), "before-promote", 1) };
    write(&case.old, "SET before 1");
    let mut begun = Instant::now();
    let said = case.cut_over(&[], |case| {
        case.new.stop_signal().unwrap();
        case.run.signal(Signal::TERM).unwrap();
        begun = Instant::now();
    });
    let exit = case.run.wait_exit(LONG).unwrap();
    println!("stopped after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}: {}", begun.elapsed(), exit.stderr);
    assert_eq!(exit.code(), 130, "{}", exit.stderr);
    assert!(!said.done && said.words.contains("error CTL-0005: "), "{}", said.words);
    assert!(!said.words.contains("undone"), "{}", said.words);
    assert!(exit.stderr.contains("it is not known whether the cut-over was done"), "{}", exit.stderr);
    assert!(!exit.stderr.contains("undone"), "{}", exit.stderr);
    let mut conn = case.old.conn().unwrap();
    conn.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(cmd("SET").arg("behind").arg(1).exec(&mut conn).is_err(), "it is refused, or waits");
    drop(conn);
    if version == "redis-6.0" {
        assert!(said.words.contains("to allow them: CONFIG SET min-replicas-to-write 0"), "{}", said.words);
    }
    // What it was asked for, it does.
    case.new.cont_signal().unwrap();
    let gone = || ask::<Vec<String>>(&case.new, 0, "KEYS __keyferry_*").is_empty();
    wait_until("the last step is done", LONG, gone).unwrap();
    differences_with_grace(&case.old, &case.new).assert_equal();
}

/// It is not begun any more: its answer might not come in time.
fn a_stop_in_front_of_the_last_step() {
    let mut case = Case::start("turn-marked");
    write(&case.old, "SET before 1");
    let said = case.cut_over(&["--reverse"], |case| case.run.signal(Signal::TERM).unwrap());
    assert_eq!(case.run.wait_exit(LONG).unwrap().code(), 130);
    assert!(!said.done && said.words.contains("error CTL-0004: "), "{}", said.words);
    assert!(said.words.contains("asked to stop"), "{}", said.words);
    assert_eq!(ask::<Vec<String>>(&case.new, 0, "KEYS __keyferry_*"), ["__keyferry_checkpoint:t"]);
    // Nobody waits there any more.
    write(&case.old, "SET behind 1");
}

/// The cut-over is done. Before 6.2 clients keep their connections in the pause: they are sent away in front of its end.
fn a_stop_while_the_old_side_is_silent() {
    let mut case = Case { pause: "40s", ..Case::start_between(pair("redis-6.0"), "turned", 1) };
    write(&case.old, "SET before 1");
    let mut client = case.old.conn().unwrap();
    let (run, old) = (Arc::clone(&case.run), case.old.pid().to_string());
    let goes_on = thread::spawn(move || {
        let tried = || run.stderr().contains("the old side is not ready for the way back");
        wait_until("it was tried", LONG, tried).unwrap();
        assert!(Command::new("kill").args(["-CONT", &old]).status().unwrap().success());
    });
    let mut begun = Instant::now();
    let said = case.cut_over(&["--reverse"], |case| {
        case.old.stop_signal().unwrap();
        case.run.signal(Signal::TERM).unwrap();
        begun = Instant::now();
    });
    goes_on.join().unwrap();
    let exit = case.run.wait_exit(LONG).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}: {}", begun.elapsed(), exit.stderr);
    assert!(said.done, "{}", said.words);
    assert!(said.words.contains("the task had to stop before it was asked once more"), "{}", said.words);
    assert!(exit.stderr.contains("writes are allowed at the source again"), "{}", exit.stderr);
    let error = cmd("SET").arg("behind").arg(1).exec(&mut client).unwrap_err();
    assert!(error.is_io_error() || error.is_connection_dropped(), "{error}");
    write(&case.old, "SET behind 1");
}

/// What was seen until then is said, also when there is no time for all of it.
fn a_stop_while_the_old_side_is_made_ready() {
    let mut case = Case::start("source-released");
    let said = case.cut_over(&["--reverse"], |case| {
        write(&case.old, "INCR late");
        case.new.stop_signal().unwrap();
        case.run.signal(Signal::TERM).unwrap();
    });
    let exit = case.run.wait_exit(LONG).unwrap();
    assert!(said.done && said.words.contains("written there 1 times"), "{}: {}", said.words, exit.stderr);
    assert!(said.words.contains("asked to stop: the old side follows as task t-reverse when"), "{}", said.words);
    assert!(exit.stderr.contains("the old side is not ready for the way back"), "{}", exit.stderr);
}

/// It has said so: writers do not wait until the pause is over.
fn a_target_that_refuses_the_last_step() {
    let mut case = Case { pause: "40s", ..Case::start("before-promote") };
    let counter = Counter::start(&case.old);
    counter.wait_for(100);
    let mut begun = Instant::now();
    let said = case.cut_over(&["--reverse"], |case| {
        // The link of the way back counts as one.
        case.new.config_set("min-replicas-to-write", "5").unwrap();
        begun = Instant::now();
    });
    case.new.config_set("min-replicas-to-write", "0").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}: {}", begun.elapsed(), said.words);
    assert!(said.words.contains("NOREPLICAS"), "{}", said.words);
    case.goes_on(counter, &said);
}

/// A script that is ended by an error leaves what it has done before. Here the turn cannot be written.
fn a_target_that_refuses_half_of_the_last_step() {
    let mut case = Case { pause: "40s", ..Case::start("before-promote") };
    write(&case.old, "SET before 1");
    let mut begun = Instant::now();
    let said = case.cut_over(&["--reverse"], |case| {
        let () = ask(&case.new, 0, "ACL SETUSER default -hmset");
        begun = Instant::now();
    });
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}: {}", begun.elapsed(), said.words);
    assert!(!said.done && said.words.contains("error CTL-0004: "), "{}", said.words);
    // Nor can the task go on without it.
    assert_ne!(case.run.wait_exit(LONG).unwrap().code(), 0);
    assert_eq!(ask::<Vec<String>>(&case.new, 0, "KEYS __keyferry_*"), ["__keyferry_checkpoint:t"]);
}
