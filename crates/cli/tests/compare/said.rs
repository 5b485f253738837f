//! What a comparison says of itself, beside what it finds.

use std::{fs::File, process::Stdio};

use super::*;

#[test]
fn what_says_nothing_is_warned_of() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    run(&source, 0, &["SET a 1"]);
    // Equal, and nothing was learnt by it.
    let same = "both URLs lead to the same data";
    let none = "nothing was compared";
    for (other, args, said) in [
        (&source, &[][..], Some(same)),
        (&source, &["--db", "0:1"], None),
        (&target, &["--key", "b*"], Some(none)),
        (&target, &[], None),
    ] {
        let done = compare(&source, other, args);
        let equal = if said.is_some() { 0 } else { 1 };
        assert_eq!((done.code, done.stderr.contains("WARN")), (equal, said.is_some()), "{args:?}: {done:?}");
        assert!(said.is_none_or(|said| done.stderr.contains(said)), "{done:?}");
    }
    compare(&target, &target, &["--db", "0:1"]).assert_equal();
}

#[test]
fn a_database_that_a_side_does_not_have() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    run(&source, 1, &["SET a 1"]);
    compare(&source, &target, &["--db", "999:1"]).assert_error("CFG-0008");
    compare(&source, &target, &["--db", "1:999"]).assert_error("TGT-0019");
}

/// A comparison needs other rights than a task, for which the remedy is.
#[test]
fn which_rights_are_missing() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    run(&source, 0, &["SET a 1", "SET b 1", "ACL SETUSER few on >secret ~a* +ping +info +select"]);
    let url = source.url().replace("redis://", "redis://few:secret@");
    for rights in ["+ping", "+@read +time"] {
        run(&source, 0, &[&format!("ACL SETUSER few {rights}")]);
        let done = done(command(&url, &target.url()));
        done.assert_error("SRC-0007");
        assert!(done.stderr.contains("+@read +info +select +time +ping"), "{done:?}");
    }
}

/// A reader of stdout that goes is no error; a disk that is full is one.
#[test]
fn a_check_whose_reader_goes() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let check = |stdout: Stdio, args: &[&str]| {
        let mut command = process::command(Path::new(KEYFERRY));
        command.args(["check", &source.url(), &target.url()]).args(args).stdout(stdout);
        done(command)
    };
    let mut directory = process::command(Path::new(KEYFERRY));
    directory.args(["check", "file:/tmp", &target.url()]);
    done(directory).assert_error("CFG-0007");
    run(&target, 0, &["SET a 1"]);
    for (args, code) in [(&["--on-conflict", "replace", "--accept-warnings"][..], 0), (&[], 3)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = check(writer.into(), args);
        assert_eq!((gone.code, &gone.stderr[..]), (code, ""));
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    check(full.into(), &[]).assert_error("CFG-0007");
}
