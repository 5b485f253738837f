use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use keyferry_testkit::{Keyferry, process::Signal};
use tempfile::TempDir;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A script in place of the product.
fn stand_in(body: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keyferry");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    (dir, path)
}

fn line(phase: &str, in_step: bool) -> String {
    format!(
        r#"echo '{{"phase":"{phase}","keys":3,"bytes":40,"percent":50.0,"source_offset":7,"applied_offset":0,"delay_bytes":null,"delay_seconds":null,"in_step":{in_step},"keys_per_second":1.5,"commands_per_second":0.0,"last_error":null}}'"#
    )
}

#[test]
fn progress_and_clean_stop() {
    let script = format!(
        "trap 'echo bye >&2; exit 130' TERM\n{}\n{}\nwhile :; do sleep 0.05; done",
        line("full_sync", false),
        line("incremental", true)
    );
    let (_dir, path) = stand_in(&script);
    let keyferry = Keyferry::sync(&path, "redis://a", "redis://b").spawn().unwrap();
    let progress = keyferry.wait_for(TIMEOUT, |progress| progress.in_step).unwrap();
    assert_eq!((progress.phase.as_str(), progress.delay_bytes), ("incremental", None));
    keyferry.signal(Signal::TERM).unwrap();
    let exit = keyferry.wait_exit(TIMEOUT).unwrap();
    assert_eq!((exit.code(), exit.stderr.as_str(), exit.progress.len()), (130, "bye\n", 2));
}

#[test]
fn an_early_end_is_told_with_its_stderr() {
    let (_dir, path) = stand_in("echo \"$*\" >&2; exit 3");
    let keyferry = Keyferry::sync(&path, "redis://a", "redis://b").args(["--full-only"]).spawn().unwrap();
    let error = keyferry.wait_for(TIMEOUT, |progress| progress.in_step).unwrap_err().to_string();
    assert!(error.contains("sync redis://a redis://b --full-only --progress json"), "{error}");
    assert_eq!(keyferry.wait_exit(TIMEOUT).unwrap().code(), 3);
}

#[test]
fn a_stray_line_is_an_error() {
    let (_dir, path) = stand_in("echo hello; sleep 60");
    let keyferry = Keyferry::sync(&path, "redis://a", "redis://b").spawn().unwrap();
    let error = keyferry.wait_for(TIMEOUT, |_| true).unwrap_err().to_string();
    assert!(error.contains("hello"), "{error}");
}
