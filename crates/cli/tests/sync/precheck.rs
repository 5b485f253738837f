//! `keyferry check`, and the same before `sync` begins anew.

use std::process::{Command, Output};

use keyferry_testkit::process::Signal;

use super::{
    control::task,
    reverse::{cut_over, wait_in_step},
    *,
};

/// `keyferry check SOURCE TARGET`.
fn check(source: &str, target: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(["check", source, target, "--state-dir", env!("CARGO_TARGET_TMPDIR")]).args(args);
    command.output().unwrap()
}

/// As if a task had copied from the target to the source.
fn position_of_a_task_the_other_way_round(source: &Server, target: &Server) {
    let mut position = vec![0; 176];
    position[..4].copy_from_slice(b"KFC1");
    position[88..128].copy_from_slice(target.info("replication").unwrap()["master_replid"].as_bytes());
    let mut conn = source.conn().unwrap();
    cmd("HSET").arg("__keyferry_checkpoint:back").arg("v").arg(position).exec(&mut conn).unwrap();
}

#[test]
fn sync_is_refused_when_an_item_fails() {
    let (source, target) = pair("redis-7.0");
    let () = ask(&source, 0, "SET k v");
    position_of_a_task_the_other_way_round(&source, &target);
    let run = |args: &[&str]| {
        let sync = sync(&source.url(), &target.url()).arg("--full-only").args(args.iter().copied());
        sync.spawn().unwrap().wait_exit(LONG).unwrap()
    };
    let exit = run(&[]);
    assert_fails(&exit, 3, "CFG-0010");
    assert!(exit.stderr.contains("cyclic-replication: "), "{}", exit.stderr);
    assert_eq!(target.keys().unwrap(), 0, "nothing was written");
    assert_eq!(source.info("stats").unwrap()["sync_full"], "0", "and no snapshot was made");
    // A warning does not stop it.
    target.config_set("maxmemory", "100mb").unwrap();
    target.config_set("maxmemory-policy", "allkeys-lru").unwrap();
    let exit = run(&["--skip", "largest-keys,cyclic-replication"]);
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert!(exit.stderr.contains("WARN") && exit.stderr.contains("target-eviction"), "{}", exit.stderr);
    assert_eq!(run(&["--skip", "everything"]).code(), 2);
}

/// Its position is found by its name: among so many keys nobody looks for long enough to come across it.
#[test]
fn a_task_that_a_cut_over_has_turned_round_is_known() {
    let (old, new) = pair("redis-6.2");
    let () = ask(&old, 0, "SET k v");
    let dir = tempfile::tempdir().unwrap();
    let run = task(&old, &new.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    cut_over(&run, "t", dir.path(), &["--reverse"]);
    wait_in_step(&run, "t-reverse", dir.path());
    let () = ask(&old, 0, "DEBUG POPULATE 2000000");
    let output = check(&old.url(), &new.url(), &["--task", "t", "--on-conflict", "clear"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("FAIL  cyclic-replication\n      reason: the source holds the position of a task that"),
        "{text}"
    );
}

/// It is tried again while somebody makes room.
#[test]
fn a_target_without_room_is_only_warned_of() {
    let (source, target) = pair("redis-7.0");
    keyferry_testkit::data::fill_strings(&source.url(), 50_000, 200, 1).unwrap();
    target.config_set("maxmemory", "8mb").unwrap();
    let sync = sync(&source.url(), &target.url()).args(["--full-only", "--retry-window", "0s"]);
    let exit = sync.spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "TGT-0015");
    let warned = exit.stderr.lines().any(|line| line.contains("WARN") && line.contains("memory-headroom"));
    assert!(warned, "{}", exit.stderr);
}

#[test]
fn a_task_that_goes_on_is_not_checked() {
    let (source, target) = pair("redis-7.0");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    run.signal(Signal::TERM).unwrap();
    assert_eq!(run.wait_exit(LONG).unwrap().code(), 130);
    position_of_a_task_the_other_way_round(&source, &target);
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    run.signal(Signal::TERM).unwrap();
    assert_eq!(run.wait_exit(LONG).unwrap().code(), 130);
    // Anew, it is.
    let exit = sync(&source.url(), &target.url()).arg("--restart").spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&exit, 3, "CFG-0010");
}

#[test]
fn check_as_json_and_text() {
    let (source, target) = pair("redis-7.0");
    let (from, to) = (source.url(), target.url());
    let json = |args: &[&str]| {
        let output = check(&from, &to, &[&["--output", "json"], args].concat());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), report)
    };
    let (code, report) = json(&[]);
    assert_eq!((code, &report["ok"], &report["passed"]), (0, &true.into(), &20.into()), "{report}");
    let items = report["items"].as_array().unwrap();
    let first = items[0].as_object().unwrap();
    let fields: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(fields, ["item", "measured", "reason", "remedy", "status"]);
    assert_eq!((&first["item"], &first["status"]), (&"source-connection".into(), &"passed".into()));

    // A failure, one that is left out, a warning, one that is accepted.
    let () = ask(&target, 0, "SET k v");
    assert_eq!(json(&[]).0, 3);
    let (code, report) = json(&["--skip", "target-data"]);
    assert_eq!((code, &report["skipped"]), (0, &1.into()));
    let (code, report) = json(&["--on-conflict", "replace"]);
    assert_eq!((code, &report["warnings"], &report["ok"]), (3, &1.into(), &false.into()));
    let (code, report) = json(&["--on-conflict", "replace", "--accept-warnings"]);
    assert_eq!((code, &report["warnings"], &report["ok"]), (0, &1.into(), &true.into()));

    let output = check(&from, &to, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("FAIL  target-data\n      reason: ") && text.contains("      remedy: "), "{text}");
    assert!(text.ends_with("19 passed, 0 warnings, 1 failed, 0 skipped: not ready\n"), "{text}");

    for args in [["--skip", "everything"], ["--output", "xml"], ["--on-conflict", "merge"]] {
        assert_eq!(check(&from, &to, &args).status.code(), Some(2));
    }
    assert_eq!(check("http://127.0.0.1:1", &to, &[]).status.code(), Some(2));
    assert_eq!(check(&from, &format!("{to}/1"), &[]).status.code(), Some(2));
    // Nothing is left behind.
    assert_eq!((source.keys().unwrap(), target.keys().unwrap()), (0, 1));
}

#[test]
fn a_dump_file_is_checked_against_its_target() {
    let (source, target) = pair("redis-7.0");
    keyferry_testkit::data::fill_strings(&source.url(), 20_000, 200, 1).unwrap();
    let () = ask(&source, 0, "SAVE");
    let file = format!("file:{}", source.dir().join("dump.rdb").display());
    let json = |args: &[&str]| {
        let output = check(&file, &target.url(), &[&["--output", "json"], args].concat());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), report)
    };
    let (code, report) = json(&[]);
    assert_eq!((code, &report["passed"], &report["skipped"]), (0, &9.into(), &11.into()), "{report}");
    target.config_set("maxmemory", "3mb").unwrap();
    let run = |args: &[&str]| sync(&file, &target.url()).args(args).spawn().unwrap().wait_exit(LONG).unwrap();
    let exit = run(&[]);
    assert_fails(&exit, 3, "CFG-0010");
    assert!(exit.stderr.contains("memory-headroom: "), "{}", exit.stderr);
    assert_eq!(target.keys().unwrap(), 0, "nothing was written");
    assert_eq!(json(&[]).0, 3);
    assert_fails(&run(&["--skip", "memory-headroom"]), 1, "TGT-0015");
    target.config_set("maxmemory", "0").unwrap();
    // What was loaded until then is there.
    assert_eq!(json(&[]).0, 3);
    assert_fails(&run(&[]), 3, "TGT-0012");
    let exit = run(&["--on-conflict", "replace"]);
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    differences(&source, &target).assert_equal();
    assert_eq!(check("file:/no/such/file", &target.url(), &[]).status.code(), Some(2));
}
