//! A side that comes back without its keys while something is to be repaired: then nothing says what is right, and the last
//! copies may be those of the target.

use std::{io::Read as _, process::Stdio, thread};

use keyferry_testkit::{data, process::Signal, process::Supervised, wait_until};

use super::*;

const KEYS: u64 = 300;

/// The same names on both sides; of the last hundred, or of all, the values are others.
fn sides(all: bool) -> (Server, Server) {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    data::fill_strings(&source.url(), KEYS, 20, 1).unwrap();
    data::fill_strings(&target.url(), KEYS, 20, 1).unwrap();
    for key in if all { 0 } else { 200 }..KEYS {
        run(&target, 0, &[&format!("SET key:{key:010} other")]);
    }
    (source, target)
}

fn start(source: &Server, target: &Server, args: &[&str]) -> Supervised {
    let mut command = command(&source.url(), &target.url());
    command.args(["--interval", "500ms", "--rate", "300"]).args(args).stderr(Stdio::piped()).stdout(Stdio::null());
    Supervised::spawn(command, false).unwrap()
}

fn ended(child: &Supervised) -> Done {
    let mut stderr = String::new();
    let mut pipe = child.with_child(|child| child.stderr.take()).unwrap();
    pipe.read_to_string(&mut stderr).unwrap();
    Done { code: child.wait(LONG).unwrap().code().unwrap_or(-1), stdout: String::new(), stderr }
}

/// It stands still while a server is started again, and has not come to its end before.
fn restarted(child: &Supervised, server: &mut Server) {
    child.signal(Signal::STOP).unwrap();
    server.restart().unwrap();
    assert_eq!(ask::<u64>(server, 0, "DBSIZE"), 0);
    child.signal(Signal::CONT).unwrap();
}

fn assert_refused(child: &Supervised, side: &str) {
    let done = ended(child);
    done.assert_error("TGT-0026");
    assert!(done.stderr.contains(&format!("the {side} redis://127.0.0.1")), "{done:?}");
    assert!(done.stderr.contains("was started again") && done.stderr.contains("compare again"), "{done:?}");
}

#[test]
fn nothing_is_removed_for_a_source_that_comes_back_empty() {
    let in_repair = || {
        let (mut source, target) = sides(true);
        let child = start(&source, &target, &["--repair", "--rounds", "1"]);
        is_asked(&target, "restore", 30);
        restarted(&child, &mut source);
        assert_refused(&child, "source");
        assert_eq!(ask::<u64>(&target, 0, "DBSIZE"), KEYS);
    };
    let between_rounds = || {
        let (mut source, target) = sides(false);
        let child = start(&source, &target, &["--repair", "--rounds", "2"]);
        is_asked(&target, "mget", 1);
        let alone = || ask::<String>(&target, 0, "CLIENT LIST").lines().count() == 1;
        wait_until("the walk is over", LONG, alone).unwrap();
        restarted(&child, &mut source);
        assert_refused(&child, "source");
        assert_eq!(ask::<u64>(&target, 0, "DBSIZE"), KEYS);
    };
    let in_the_walk = || {
        let (mut source, target) = sides(false);
        let child = start(&source, &target, &["--repair", "--rounds", "1"]);
        is_asked(&target, "mget", 1);
        restarted(&child, &mut source);
        assert_refused(&child, "source");
        assert_eq!(ask::<u64>(&target, 0, "DBSIZE"), KEYS);
    };
    thread::scope(|scope| {
        let cases = [scope.spawn(in_repair), scope.spawn(between_rounds), scope.spawn(in_the_walk)];
        cases.into_iter().for_each(|case| case.join().unwrap());
    });
}

/// What was equal before is gone with it, and is not looked at again.
#[test]
fn a_target_that_comes_back_empty_is_not_repaired() {
    let (source, mut target) = sides(false);
    let child = start(&source, &target, &["--repair", "--rounds", "1"]);
    is_asked(&target, "restore", 30);
    restarted(&child, &mut target);
    assert_refused(&child, "target");
}

/// A name that leads to one server after the other.
#[test]
fn a_side_that_is_another_one_each_time() {
    let (source, mut target) = sides(false);
    let child = start(&source, &target, &["--rounds", "1"]);
    for _ in 0..4 {
        assert!(child.status().unwrap().is_none(), "it is to begin anew");
        is_asked(&target, "mget", 1);
        restarted(&child, &mut target);
    }
    let done = ended(&child);
    done.assert_error("TGT-0009");
    assert!(done.stderr.contains("4 times since the comparison began"), "{done:?}");
}
