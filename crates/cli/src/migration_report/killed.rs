//! A process that writes lines is killed, again and again. This test starts itself as that process.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::to_value;

use super::collect::report;
use crate::history::{Entry, History, Settings, read};

const DIR: &str = "KEYFERRY_HISTORY_KILL_DIR";
/// Lines of a process, should it live for so long.
const LINES: u64 = 600;
/// Processes that are killed. All of their lines fit into one file.
const ROUNDS: u64 = 8;
const LONG: Duration = Duration::from_secs(60);

fn begin(dir: &Path) -> History {
    let history = History::open(dir, "t");
    history.note(Entry::Started(Settings {
        keyferry: "0".into(),
        source: "source".into(),
        target: "target".into(),
        rules: Vec::new(),
        on_conflict: "abort".into(),
        on_unsupported: "fail".into(),
        restart: false,
    }));
    let (source, target) = (None, "7.0".into());
    history.note(Entry::Begun { copy: 1, source, target, offset: 1, resumed: false, copied: false, counted: true });
    history
}

/// The process that is killed.
#[test]
#[ignore = "started by the test below"]
fn child() {
    let dir = PathBuf::from(env::var_os(DIR).expect("started by the test below"));
    let history = begin(&dir);
    // Of all lengths, so that one may be torn anywhere.
    (0..LINES).for_each(|n| {
        history.note(Entry::Retrying { side: None, error: Some("x".repeat(1 << (n % 13))) });
        if n % 5 == 0 {
            history.finish();
        }
    });
    thread::sleep(LONG);
}

#[test]
fn a_killed_process_leaves_whole_lines_and_the_report_is_honest() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.history");
    let len = || fs::metadata(&file).map_or(0, |file| file.len());
    for round in 0..ROUNDS {
        let before = len();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "migration_report::killed::child", "--ignored"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while len() <= before + round * 20_000 {
            assert!(begun.elapsed() < LONG, "it writes");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let history = begin(dir.path());
    history.note(Entry::ReadAll { keys: 0 });
    history.note(Entry::Copied { offset: 1 });
    history.finish();

    let lines = read(dir.path(), "t").unwrap();
    // What is there of each process are its first lines, in order.
    let mut runs: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    lines.lines.iter().for_each(|line| runs.entry(&line.run).or_default().push(line.n));
    assert!(runs.values().all(|numbers| numbers.iter().copied().eq(0..numbers.len() as u64)), "{runs:?}");
    assert!(runs.len() as u64 == ROUNDS + 1 && lines.unreadable <= ROUNDS);
    assert!(lines.lines.len() as u64 > ROUNDS * 10, "{runs:?}");
    println!("{} lines of {} processes, {} torn", lines.lines.len(), runs.len(), lines.unreadable);
    let report = to_value(report("t", &lines, 0)).unwrap();
    assert_eq!(report["processes"]["restarts"], ROUNDS);
    assert_eq!(
        (&report["history"]["missing"], &report["history"]["unreadable"]),
        (&0.into(), &lines.unreadable.into())
    );
    assert_eq!(report["full_copy"]["complete"], lines.unreadable == 0);
}
