//! A comparison with a file goes on where it was killed.

use keyferry_testkit::data;

use super::*;

/// Starts a slow comparison, kills it when it is some way in, and gives the keys it had done by then.
fn killed(source: &Server, target: &Server, file: &str) {
    let mut command = command(&source.url(), &target.url());
    command.args(["--store", file, "--rate", "20000", "--rounds", "1"]);
    let child = process::Supervised::spawn(command, false).unwrap();
    // Four workers have one batch each under way.
    is_asked(source, "mget", 12);
    assert!(child.status().unwrap().is_none(), "it is to be killed in the middle");
    child.kill();
}

#[test]
fn after_kill_9() {
    let (source, mut target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    data::fill_strings(&source.url(), 100_000, 20, 1).unwrap();
    data::fill_strings(&target.url(), 100_000, 20, 1).unwrap();
    for i in 0..100 {
        run(&target, 0, &[&format!("SET key:{:010} other", i * 1_000)]);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results").to_str().unwrap().to_owned();
    killed(&source, &target, &file);
    // It is shown what there is, and that it is not all.
    let mut command = process::command(Path::new(KEYFERRY));
    command.args(["compare", "--show", &file, "--output", "json"]);
    let shown = done(command);
    let (part, last) = shown.found();
    assert_eq!((shown.code, &last["finished"], &last["equal"]), (1, &false.into(), &false.into()));
    assert!((1..100).contains(&part.len()), "{}", part.len());
    let before = last["keys"].as_u64().unwrap();
    assert!((1_000..100_000).contains(&before));

    // The rest is faster than the whole was meant to be, and the result is that of the whole.
    run(&source, 0, &["CONFIG RESETSTAT"]);
    let args = ["--store", &file];
    let mut command = super::command(&source.url(), &target.url());
    command.args(args).args(["--rounds", "1"]);
    let all = done(command);
    let (found, last) = all.found();
    assert_eq!((found.len(), &last["keys"], all.code), (100, &100_000.into(), 1));
    let scans = source.info("commandstats").unwrap()["cmdstat_scan"].clone();
    let calls: u64 = scans.strip_prefix("calls=").unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(calls <= (100_000 - before) / 1_000 + 20, "{calls} scans after {before} keys");

    // It is at its end: the same command begins a new one. A server that was started anew is walked from its beginning.
    killed(&source, &target, &file);
    target.restart().unwrap();
    data::fill_strings(&target.url(), 100_000, 20, 1).unwrap();
    let mut command = super::command(&source.url(), &target.url());
    command.args(args).args(["--rounds", "1"]);
    let done = done(command);
    done.assert_equal();
    assert_eq!(done.found().1["keys"], 100_000);
}

/// Two would take each other's results for their own.
#[test]
fn one_process_writes_to_a_file() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    data::fill_strings(&source.url(), 20_000, 20, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results").to_str().unwrap().to_owned();
    let same = || {
        let mut command = command(&source.url(), &target.url());
        command.args(["--store", &file, "--rate", "5000", "--rounds", "1"]);
        command
    };
    let first = process::Supervised::spawn(same(), false).unwrap();
    is_asked(&source, "mget", 2);
    let other = done(same());
    other.assert_error("CFG-0009");
    assert!(other.stderr.contains("another comparison writes to it"), "{other:?}");
    let mut show = process::command(Path::new(KEYFERRY));
    show.args(["compare", "--show", &file, "--output", "json"]);
    assert_eq!(done(show).found().1["finished"], false);
    first.kill();
}
