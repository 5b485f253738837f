//! `keyferry rdb commands` makes the same data again.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use keyferry_testkit::{
    Server,
    oracle::{Options, compare},
};

use crate::{
    bad,
    golden::{path, readable},
    rdb,
};

/// Sends commands as `redis-cli --pipe` does, and ends them with an ECHO; no answer may be an error.
fn pipe(server: &Server, commands: &[u8]) {
    let mut link = TcpStream::connect(server.address()).unwrap();
    let mut writer = link.try_clone().unwrap();
    let mut all = commands.to_vec();
    all.extend_from_slice(b"*2\r\n$4\r\nECHO\r\n$11\r\nthis is all\r\n");
    let writing = std::thread::spawn(move || writer.write_all(&all).unwrap());
    let mut answers = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while !answers.ends_with(b"this is all\r\n") {
        let got = link.read(&mut piece).unwrap();
        assert!(got > 0, "the server closed the connection");
        answers.extend_from_slice(&piece[..got]);
    }
    writing.join().unwrap();
    let error = answers.split(|&byte| byte == b'\n').find(|line| line.first() == Some(&b'-'));
    assert_eq!(error.map(String::from_utf8_lossy), None);
}

fn commands_for(path: &str, more: &[&str]) -> Vec<u8> {
    let mut args = vec!["commands", path];
    args.extend(more);
    let output = rdb(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn an_empty_server_gets_the_same_data() {
    // Values of the Stack modules are whole worlds of their own, and a cluster is not what is filled here.
    // Redis 5.0 is too old for values of modules.
    let fits = |name: &str| !["stack", "cluster", "5.0-hello"].iter().any(|part| name.contains(part));
    for golden in readable().into_iter().filter(|golden| fits(&golden.name)) {
        let Some(source) = golden.server() else { continue };
        let builder = Server::builder(source.version().name());
        let hello = golden.name.contains("hellotype");
        let target = if hello { builder.module("hellotype") } else { builder }.start().unwrap();
        // Before 3.2 a dump does not say who wrote it.
        let version = source.version().name();
        pipe(&target, &commands_for(golden.path.to_str().unwrap(), &["--target-version", version]));
        let report = compare(&source.url(), &target.url(), &Options::default()).unwrap();
        assert!(report.is_equal(), "{}: {report}", golden.name);
        assert_eq!(report.keys, golden.keys.len() as u64, "{}", golden.name);
    }
}

#[test]
fn a_newer_server_gets_it_too_and_replace_does_it_again() {
    for golden in readable().into_iter().filter(|golden| ["redis-3.0", "redis-6.2"].contains(&&*golden.name)) {
        let Some(source) = golden.server() else { continue };
        let target = Server::start("redis-7.4").unwrap();
        let commands = commands_for(golden.path.to_str().unwrap(), &["--target-version", "7.4", "--replace"]);
        pipe(&target, &commands);
        pipe(&target, &commands);
        let report = compare(&source.url(), &target.url(), &Options::default()).unwrap();
        assert!(report.is_equal(), "{}: {report}", golden.name);
    }
}

#[test]
fn a_target_that_cannot_hold_a_value_is_named() {
    let hash = path("redis-7.4");
    let stderr = bad(rdb(&["commands", hash.to_str().unwrap(), "--target-version", "7.2"]), 1, "TGT-0017");
    assert!(stderr.contains("database 0, value of type hash-"), "{stderr}");
    assert!(stderr.contains("the target has no expiries of fields"), "{stderr}");
    let stream = path("redis-5.0");
    let stderr = bad(rdb(&["commands", stream.to_str().unwrap(), "--target-version", "4.0"]), 1, "TGT-0017");
    assert!(stderr.contains("the target has no streams"), "{stderr}");
    let module = path("redis-5.0-hellotype");
    let stderr = bad(rdb(&["commands", module.to_str().unwrap()]), 1, "TGT-0017");
    assert!(stderr.contains("value of type module-2 at byte "), "{stderr}");
    // What is left out by a filter does no harm.
    let output = rdb(&["commands", stream.to_str().unwrap(), "--target-version", "4.0", "--type", "set"]);
    assert!(output.status.success());
    assert!(output.stdout.starts_with(b"*2\r\n$6\r\nSELECT\r\n"));
}

#[test]
fn the_dump_says_which_server_it_is_for() {
    let own = commands_for(path("redis-7.4").to_str().unwrap(), &[]);
    assert_eq!(own, commands_for(path("redis-7.4").to_str().unwrap(), &["--target-version", "7.4"]));
    let own = commands_for(path("valkey-9.0").to_str().unwrap(), &[]);
    assert_eq!(own, commands_for(path("valkey-9.0").to_str().unwrap(), &["--target-version", "valkey-9.0"]));
}
