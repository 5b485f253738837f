//! `keyferry compare` against real servers. Who judges a repair is the oracle, which shares no code with the product.

mod differences;
mod filters;
mod forms;
mod large;
mod live;
mod many;
mod objects;
mod repair;
mod restarts;
mod resume;
mod said;
mod speed;
mod through;

use std::{path::Path, process::Command, time::Duration};

use keyferry_testkit::{Keyferry, Server, process};
use redis::{FromRedisValue, cmd};
use serde_json::Value;

const KEYFERRY: &str = env!("CARGO_BIN_EXE_keyferry");
/// Longer than anything here takes on a busy machine; a test that waits this long has failed.
const LONG: Duration = Duration::from_secs(90);

/// How a comparison ended and what it said.
#[derive(Debug)]
struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

/// One difference of JSON output: database, key, kind.
type Found = (u64, String, String);

impl Done {
    fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// The differences, and the object behind them.
    fn found(&self) -> (Vec<Found>, Value) {
        let mut lines = self.lines();
        let last = lines.pop().unwrap_or_else(|| panic!("{self:?}"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut found: Vec<Found> =
            lines.iter().map(|d| (d["db"].as_u64().unwrap(), text(&d["key"]), text(&d["kind"]))).collect();
        found.sort();
        (found, last)
    }

    fn assert_equal(&self) {
        assert_eq!(self.code, 0, "{self:?}");
        assert_eq!(self.found().1["equal"], true, "{self:?}");
    }

    fn assert_error(&self, code: &str) {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.stderr.contains(&format!("error {code}: ")) && self.stderr.contains("remedy: "), "{self:?}");
    }
}

fn command(source: &str, target: &str) -> Command {
    let mut command = process::command(Path::new(KEYFERRY));
    command.args(["compare", source, target, "--output", "json"]);
    command
}

fn done(mut command: Command) -> Done {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Two rounds in quick succession: what differs at rest stays different.
fn compare(source: &Server, target: &Server, args: &[&str]) -> Done {
    let mut command = command(&source.url(), &target.url());
    command.args(["--rounds", "2", "--interval", "50ms"]).args(args);
    done(command)
}

/// Copies everything, with exact expiries.
fn copy(source: &Server, target: &Server, args: &[&str]) {
    let state = tempfile::tempdir().unwrap();
    let exit = Keyferry::sync(KEYFERRY, &source.url(), &target.url())
        .args(["--state-dir", state.path().to_str().unwrap(), "--full-only"])
        .args(args)
        .spawn()
        .unwrap()
        .wait_exit(LONG)
        .unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
}

/// One command in one database.
fn ask<T: FromRedisValue>(server: &Server, db: u32, words: &str) -> T {
    server.ask(db, words).unwrap()
}

/// The same commands, whose answers do not matter.
fn run(server: &Server, db: u32, commands: &[&str]) {
    for words in commands {
        let _: redis::Value = ask(server, db, words);
    }
}

/// Waits until a server has run a command so many times.
fn is_asked(server: &Server, command: &str, times: u64) {
    let calls = || {
        let stats = server.info("commandstats").unwrap();
        let calls = stats.get(&format!("cmdstat_{command}"))?.strip_prefix("calls=")?.split(',').next()?;
        calls.parse::<u64>().ok()
    };
    keyferry_testkit::wait_until("a comparison is under way", LONG, || calls().is_some_and(|n| n >= times)).unwrap();
}
