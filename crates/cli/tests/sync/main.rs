//! The `keyferry` command against real servers, judged by the independent oracle.

mod bad_cases;
mod chaos;
mod conflicts;
mod control;
mod cutover;
mod cutover_faults;
mod cutover_last;
mod cutover_replicas;
mod deadlines;
mod failpoints;
mod fake_source;
mod full_copy;
mod grace;
mod incremental;
mod large;
mod link_loss;
mod matrix;
mod modules;
mod objects;
mod older;
mod outage;
mod precheck;
mod report;
mod resume;
mod reverse;
mod secrets;
mod stops;
mod tls;

use std::time::Duration;

use keyferry_testkit::{
    Keyferry, Server,
    keyferry::Builder,
    oracle::{Options, Report, compare},
};
use redis::{FromRedisValue, cmd};

/// Longer than anything here takes on a busy machine; a test that waits this long has failed.
const LONG: Duration = Duration::from_secs(90);

/// `keyferry sync SOURCE TARGET`, with the state kept out of the user's own folders.
fn sync(source: &str, target: &str) -> Builder {
    Keyferry::sync(env!("CARGO_BIN_EXE_keyferry"), source, target).args(["--state-dir", env!("CARGO_TARGET_TMPDIR")])
}

/// Two empty servers of one version.
fn pair(version: &str) -> (Server, Server) {
    (Server::start(version).unwrap(), Server::start(version).unwrap())
}

/// After a full copy alone: expiries are exact.
fn differences(source: &Server, target: &Server) -> Report {
    compare(&source.url(), &target.url(), &Options::default()).unwrap()
}

/// Of a running link: keys expire later on the target by the grace, and the stream does not carry what groups have read.
fn differences_with_grace(source: &Server, target: &Server) -> Report {
    let options = Options { ttl_grace_ms: 30_000, exact_groups: false, ..Options::default() };
    compare(&source.url(), &target.url(), &options).unwrap()
}

/// How many keys a database of the target has, without the position of the task.
fn keys(target: &Server, db: u32) -> usize {
    let keys: Vec<String> = ask(target, db, "KEYS *");
    keys.iter().filter(|key| !key.starts_with("__keyferry_checkpoint:")).count()
}

/// One command in one database.
fn ask<T: FromRedisValue>(server: &Server, db: u32, words: &str) -> T {
    server.ask(db, words).unwrap()
}

/// Ends with exit code `code`, and the user sees `error_code` and a remedy.
fn assert_fails(exit: &keyferry_testkit::keyferry::Exit, code: i32, error_code: &str) {
    assert_eq!(exit.code(), code, "{}", exit.stderr);
    assert!(exit.stderr.contains(&format!("error {error_code}: ")), "{}", exit.stderr);
    assert!(exit.stderr.contains("remedy: "), "{}", exit.stderr);
}
