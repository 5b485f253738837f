//! While a sync runs.

use keyferry_testkit::load::{Load, LoadSpec};

use super::*;

/// Writes go on all the time; what is on its way is no difference in the end, what was changed by somebody else is.
#[test]
fn no_false_alarm_beside_a_running_sync() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    keyferry_testkit::data::fill_mixed(&source.url(), 5_000, 9).unwrap();
    let state = tempfile::tempdir().unwrap();
    let sync = Keyferry::sync(KEYFERRY, &source.url(), &target.url())
        .args(["--state-dir", state.path().to_str().unwrap()])
        .spawn()
        .unwrap();
    sync.wait_for(LONG, |p| p.phase == "incremental").unwrap();
    let spec = LoadSpec { rate: Some(2_000), ..LoadSpec::default() };
    let load = Load::start(&source.url(), spec).unwrap();
    for mode in ["full", "quick", "keys"] {
        let mut command = command(&source.url(), &target.url());
        command.args(["--rounds", "5", "--interval", "500ms", "--mode", mode]);
        let done = super::done(command);
        assert_eq!(done.found().0, [], "{mode}: {}", done.stdout);
        done.assert_equal();
    }
    run(&target, 3, &["SET not-by-the-task 1"]);
    let mut command = command(&source.url(), &target.url());
    command.args(["--rounds", "4", "--interval", "300ms"]);
    let found = super::done(command).found().0;
    assert_eq!(found, [(3, "not-by-the-task".to_owned(), "missing_on_source".to_owned())]);
    load.stop();
    // Its position is on the target: nothing is repaired.
    compare(&source, &target, &["--repair"]).assert_error("TGT-0026");
}

/// A server that goes away in the middle is waited for, and nothing is taken for equal before it was looked at.
#[test]
fn a_target_that_restarts_is_waited_for() {
    let source = Server::start("redis-7.0").unwrap();
    let mut target = Server::builder("redis-7.0").arg("save 3600 1").start().unwrap();
    keyferry_testkit::data::fill_strings(&source.url(), 20_000, 20, 1).unwrap();
    keyferry_testkit::data::fill_strings(&target.url(), 20_000, 20, 1).unwrap();
    run(&target, 0, &["SET only-here 1", "SAVE"]);
    let mut command = command(&source.url(), &target.url());
    command.args(["--rounds", "1", "--rate", "10000"]).stdout(std::process::Stdio::piped());
    let child = process::Supervised::spawn(command, false).unwrap();
    let mut stdout = child.with_child(|child| child.stdout.take()).unwrap();
    is_asked(&target, "mget", 3);
    target.restart().unwrap();
    let status = child.wait(LONG).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
    let done = Done { code: status.code().unwrap(), stdout: text, stderr: String::new() };
    let (found, last) = done.found();
    assert_eq!(found, [(0, "only-here".to_owned(), "missing_on_source".to_owned())]);
    assert_eq!(last["keys"], 20_000);
}

/// One that is started again between two rounds may have lost what was equal.
#[test]
fn a_target_that_restarts_between_rounds_is_walked_again() {
    let (source, mut target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    for server in [&source, &target] {
        keyferry_testkit::data::fill_strings(&server.url(), 300, 20, 1).unwrap();
    }
    run(&source, 0, &["SET only-here 1"]);
    let mut command = command(&source.url(), &target.url());
    command.args(["--rounds", "2", "--interval", "1s"]).stdout(std::process::Stdio::piped());
    let child = process::Supervised::spawn(command, false).unwrap();
    let mut stdout = child.with_child(|child| child.stdout.take()).unwrap();
    is_asked(&target, "mget", 1);
    let alone = || ask::<String>(&target, 0, "CLIENT LIST").lines().count() == 1;
    keyferry_testkit::wait_until("the walk is over", LONG, alone).unwrap();
    target.restart().unwrap();
    let status = child.wait(LONG).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
    let done = Done { code: status.code().unwrap(), stdout: text, stderr: String::new() };
    let last = done.found().1;
    assert_eq!((done.code, &last["missing_on_target"], &last["rounds"]), (1, &301.into(), &2.into()));
}

/// A target that stays away is an error, not a result.
#[test]
fn a_target_that_stays_away_is_an_error() {
    let (source, mut target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    keyferry_testkit::data::fill_strings(&source.url(), 20_000, 20, 1).unwrap();
    let mut command = command(&source.url(), &target.url());
    command.args(["--rate", "5000"]).stdout(std::process::Stdio::piped());
    let child = process::Supervised::spawn(command, false).unwrap();
    let mut stdout = child.with_child(|child| child.stdout.take()).unwrap();
    is_asked(&target, "mget", 2);
    target.kill_9();
    let status = child.wait(LONG).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
    assert_eq!((status.code(), &text[..]), (Some(2), ""));
}
