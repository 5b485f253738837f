//! Passwords: where they come from, and where they are never seen.

use std::{fs, path::Path};

use keyferry_testkit::{
    keyferry::Exit,
    process::{self, Signal},
};

use super::*;

const SECRET: &str = "xyzzy-plugh-1979";

fn servers() -> (Server, Server) {
    let source = Server::builder("redis-7.0").user("ferry", SECRET).start().unwrap();
    (source, Server::builder("redis-7.0").password(SECRET).start().unwrap())
}

fn url(server: &Server, user: &str) -> String {
    format!("redis://{user}127.0.0.1:{}", server.port())
}

fn assert_unseen(exit: &Exit) {
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert!(!exit.stderr.contains(SECRET), "{}", exit.stderr);
}

#[test]
fn from_the_environment() {
    let (source, target) = servers();
    let run = sync(&url(&source, "ferry@"), &url(&target, ""))
        .env("KEYFERRY_SOURCE_PASSWORD", SECRET)
        .env("KEYFERRY_TARGET_PASSWORD", SECRET)
        .args(["--full-only", "--log-level", "trace"]);
    assert_unseen(&run.spawn().unwrap().wait_exit(LONG).unwrap());
}

#[test]
fn from_files() {
    let (source, target) = servers();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let file = file.to_str().unwrap();
    let args = ["--full-only", "--source-password-file", file, "--target-password-file", file];
    let run = sync(&url(&source, "ferry@"), &url(&target, "")).args(args);
    assert_unseen(&run.spawn().unwrap().wait_exit(LONG).unwrap());
    let missing = dir.path().join("missing");
    let run = sync(&source.url(), &target.url()).args(["--source-password-file", missing.to_str().unwrap()]);
    assert_fails(&run.spawn().unwrap().wait_exit(LONG).unwrap(), 2, "CFG-0003");
}

/// Which password belongs to which side is told by the place of the URL, whatever else looks like one, or does not.
#[test]
fn each_side_has_its_own() {
    const OTHER: &str = "plover-1979";
    let source = Server::builder("redis-7.0").password(SECRET).start().unwrap();
    let target = Server::builder("redis-7.0").password(OTHER).start().unwrap();
    let mut conn = source.conn().unwrap();
    cmd("SET").arg("http://a").arg(1).exec(&mut conn).unwrap();
    cmd("SAVE").exec(&mut conn).unwrap();
    let dump = format!("file:{}", source.dir().join("dump.rdb").display());
    let (from, to) = (source.url(), target.url());
    for (from, args) in [(&from, ["--key", "http://*"]), (&dump, ["--on-conflict", "replace"])] {
        let mut command = process::command(Path::new(env!("CARGO_BIN_EXE_keyferry")));
        let state = tempfile::tempdir().unwrap();
        command.arg("sync").args(args).args([from, &to, "--full-only", "--state-dir"]).arg(state.path());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !said.contains(SECRET) && !said.contains(OTHER), "{args:?}: {said}");
        assert_eq!(target.ask::<u64>(0, "GET http://a").unwrap(), 1);
    }
    // What is wrong on a command line is shown, without the passwords in it: a URL too many, no command, no value.
    for (args, why) in [
        (vec!["sync", &from, &to, &from], "unexpected argument"),
        (vec![&from, &to], "unrecognized subcommand"),
        (vec!["sync", "--on-conflict", &from, &to], "invalid value"),
    ] {
        let mut command = process::command(Path::new(env!("CARGO_BIN_EXE_keyferry")));
        let output = command.args(&args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(why), "{args:?}: {said}");
        assert!(!said.contains(SECRET) && !said.contains(OTHER), "{said}");
    }
}

#[test]
fn from_the_url_and_then_gone_from_the_process_list() {
    let (source, target) = servers();
    // A scheme counts in any case.
    let source_url = url(&source, &format!("ferry:{SECRET}@")).replace("redis:", "REDIS:");
    let run = sync(&source_url, &url(&target, &format!(":{SECRET}@")));
    let run = run.args(["--log-level", "trace"]).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let command_line = fs::read(format!("/proc/{}/cmdline", run.pid())).unwrap();
    let command_line = String::from_utf8_lossy(&command_line).into_owned();
    assert!(command_line.contains("sync"), "{command_line}");
    assert!(!command_line.contains(SECRET), "{command_line}");
    run.signal(Signal::INT).unwrap();
    let exit = run.wait_exit(LONG).unwrap();
    assert!(!exit.stderr.contains(SECRET), "{}", exit.stderr);
}
