//! `keyferry rdb` against dumps of real servers, and against what those servers say is in them.

mod commands;
mod faults;
mod filters;
mod golden;
mod info;
mod large;
mod values;

use std::{
    ffi::OsStr,
    io::Write as _,
    process::{Command, Output, Stdio},
};

/// Runs `keyferry rdb` and waits for its end.
fn rdb<S: AsRef<OsStr>>(args: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyferry")).arg("rdb").args(args).stdin(Stdio::null()).output().unwrap()
}

/// The same with `input` on standard input, given in small pieces.
fn rdb_with_input(args: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.arg("rdb").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || input.chunks(7_001).try_for_each(|piece| stdin.write_all(piece)));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

/// Ends well; gives standard output.
fn good(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Ends with this code, and the user sees `code` and a remedy; gives standard error.
fn bad(output: Output, exit: i32, code: &str) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{stderr}");
    assert!(stderr.contains(&format!("keyferry: error {code}: ")), "{stderr}");
    assert!(stderr.contains("keyferry: remedy: "), "{stderr}");
    stderr
}
