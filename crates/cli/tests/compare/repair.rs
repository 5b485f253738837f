//! What differs is repaired, and the oracle agrees.

use keyferry_testkit::{data, oracle};

use super::*;

fn oracle_says_equal(source: &Server, target: &Server) {
    let options = oracle::Options { ttl_tolerance_ms: 1_000, ..oracle::Options::default() };
    oracle::compare(&source.url(), &target.url(), &options).unwrap().assert_equal();
}

/// An empty target, a wrong one, and one with too much are all made the same.
fn repairs(source: &str, target: &str) {
    let (source, target) = (Server::start(source).unwrap(), Server::start(target).unwrap());
    data::fill_mixed(&source.url(), 2_000, 3).unwrap();
    if ask::<redis::Value>(&source, 0, "COMMAND INFO FUNCTION") != redis::Value::Array(vec![redis::Value::Nil]) {
        run(&source, 0, &["FUNCTION FLUSH"]);
    }
    // Wrong everywhere: other values under the same names, and names of its own.
    data::fill_mixed(&target.url(), 1_000, 4).unwrap();
    if ask::<redis::Value>(&target, 0, "COMMAND INFO FUNCTION") != redis::Value::Array(vec![redis::Value::Nil]) {
        run(&target, 0, &["FUNCTION FLUSH"]);
    }
    run(&target, 4, &["SET too-much 1"]);
    // What expires within the grace would be left to go by itself.
    let done = compare(&source, &target, &["--repair", "--ttl-grace", "0s"]);
    done.assert_equal();
    assert!(done.found().1["repaired"].as_u64().unwrap() > 2_000, "{done:?}");
    oracle_says_equal(&source, &target);
    let again = compare(&source, &target, &["--repair", "--ttl-grace", "0s"]);
    again.assert_equal();
    assert_eq!(again.found().1["repaired"], 0);
}

#[test]
fn between_7_0() {
    repairs("redis-7.0", "redis-7.0");
}

#[test]
fn from_7_2_to_5_0() {
    repairs("redis-7.2", "redis-5.0");
}

#[test]
fn from_7_4_to_valkey() {
    repairs("redis-7.2", "valkey-8.0");
}

#[test]
fn without_repair_nothing_is_written() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    data::fill_mixed(&source.url(), 500, 3).unwrap();
    run(&target, 0, &["SET own 1", "CONFIG RESETSTAT"]);
    let before: String = target.info("persistence").unwrap()["rdb_changes_since_last_save"].clone();
    assert_eq!(compare(&source, &target, &[]).code, 1);
    assert_eq!(target.info("persistence").unwrap()["rdb_changes_since_last_save"], before);
}

/// What the target cannot hold stays different, with the reason.
#[test]
fn what_cannot_be_repaired_is_said() {
    let (source, target) = (Server::start("redis-7.4").unwrap(), Server::start("redis-5.0").unwrap());
    run(&source, 0, &["HSET h f 1", "HEXPIRE h 5000 FIELDS 1 f", "SET fine 1"]);
    let done = compare(&source, &target, &["--repair"]);
    assert_eq!(done.code, 1, "{done:?}");
    let lines = done.lines();
    assert_eq!(lines.len(), 2, "{done:?}");
    let detail = lines[0]["detail"].as_str().unwrap();
    assert!(detail.contains("not repaired: the target cannot hold it"), "{detail}");
    assert_eq!(lines[1]["repaired"], 1);
}

#[test]
fn refused_beside_a_task() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    run(&source, 2, &["SET a 1"]);
    run(&target, 0, &["SET __keyferry_checkpoint:some-task x"]);
    // Also for another database than the one that holds the position.
    let mut command = command(&format!("{}/2", source.url()), &format!("{}/2", target.url()));
    command.arg("--repair");
    let done = super::done(command);
    done.assert_error("TGT-0026");
    assert_eq!(ask::<Option<String>>(&target, 2, "GET a"), None);
    // The position itself is no difference.
    assert_eq!(compare(&source, &target, &[]).found().0, [(2, "a".to_owned(), "missing_on_target".to_owned())]);
}

#[test]
fn a_large_value_is_copied_whole() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    run(&source, 0, &["SETRANGE big 20000000 x", "SET a 1"]);
    compare(&source, &target, &["--repair"]).assert_equal();
    oracle_says_equal(&source, &target);
}

/// Values that the target cannot read as they are, so that they are built there by commands: lists and hashes, which say in
/// each element which of both they are.
fn fill(server: &Server, word: &str, list: usize, fields: usize) {
    let mut conn = server.conn().unwrap();
    for i in 0..400 {
        let mut pipe = redis::pipe();
        pipe.cmd("DEL").arg(format!("l:{i}")).arg(format!("h:{i}"));
        pipe.cmd("RPUSH").arg(format!("l:{i}")).arg(vec![word; list]);
        let fields: Vec<(String, &str)> = (0..fields).map(|n| (format!("f{n}"), word)).collect();
        pipe.cmd("HMSET").arg(format!("h:{i}")).arg(fields);
        pipe.exec(&mut conn).unwrap();
    }
}

/// How many values are those of the source. Each one is that or the target's old one, as a whole.
fn whole(target: &Server) -> usize {
    let mut conn = target.conn().unwrap();
    let mut new = 0;
    for i in 0..400 {
        let mut pipe = redis::pipe();
        pipe.cmd("LRANGE").arg(format!("l:{i}")).arg(0).arg(-1).cmd("HVALS").arg(format!("h:{i}"));
        let values: (Vec<String>, Vec<String>) = pipe.query(&mut conn).unwrap();
        for (value, len) in [(values.0, 600), (values.1, 100)] {
            let is_new = value.len() == len && value.iter().all(|word| word == "new");
            assert!(is_new || value == vec!["old"; 10], "{} elements in key {i}", value.len());
            new += usize::from(is_new);
        }
    }
    new
}

#[test]
fn a_repair_that_is_killed_leaves_no_value_in_part() {
    let (source, target) = (Server::start("redis-7.2").unwrap(), Server::start("redis-5.0").unwrap());
    fill(&source, "new", 600, 100);
    for transactions in [1, 250, 500] {
        fill(&target, "old", 10, 10);
        run(&target, 0, &["CONFIG RESETSTAT"]);
        let mut command = command(&source.url(), &target.url());
        command.args(["--repair", "--rounds", "1", "--rate", "2000"]);
        let child = process::Supervised::spawn(command, false).unwrap();
        is_asked(&target, "exec", transactions);
        assert!(child.status().unwrap().is_none(), "it is to be killed in the middle");
        child.kill();
        let new = whole(&target);
        assert!((1..800).contains(&new), "{new} of 800 are repaired");
    }
    compare(&source, &target, &["--repair"]).assert_equal();
    assert_eq!(whole(&target), 800);
    oracle_says_equal(&source, &target);
}
