//! Differences of every kind among many keys: all are found, nothing else is, and a repair leaves none.

use std::time::Instant;

use keyferry_testkit::{data, oracle};

use super::*;

/// One key of each kind for each number below ARGV[1].
const KEYS: &str = "local call=redis.call for i=0,ARGV[1]-1 do \
    call('SET','s:'..i,'value of '..i) \
    for f=0,9 do call('HSET','h:'..i,'f'..f,f*i) end \
    call('SET','t:'..i,i) call('PEXPIREAT','t:'..i,'2000000000000') \
    call('RPUSH','l:'..i,i,i+1) \
    call('SET','m:'..i,i) \
    call('XADD','g:'..i,'1-1','f',i) call('XGROUP','CREATE','g:'..i,'g','0') \
    call('XADD','p:'..i,'1-1','f',i) call('XADD','p:'..i,'1-2','f',i) \
    call('XGROUP','CREATE','p:'..i,'g','0') call('XREADGROUP','GROUP','g','c','COUNT','2','STREAMS','p:'..i,'>') \
    call('ZADD','z:'..i,'1.1','a','2','b') end";

/// What becomes of every fourth of them on the target. The score is the next one behind 1.1.
const CHANGES: &str = "local call=redis.call for i=0,ARGV[1]-1,4 do \
    call('SETRANGE','s:'..i,'3','X') \
    call('HSET','h:'..i,'f3','other') \
    call('PEXPIREAT','t:'..i,'2000000100000') \
    call('DEL','l:'..i) call('SADD','l:'..i,i) \
    call('DEL','m:'..i) \
    call('SET','n:'..i,i) \
    call('XGROUP','DESTROY','g:'..i,'g') \
    call('XACK','p:'..i,'g','1-2') \
    call('ZADD','z:'..i,'1.1000000000000003','a') end";

/// What is then to be found of each.
const KINDS: [(&str, &str); 9] = [
    ("g", "value"),
    ("h", "value"),
    ("l", "type"),
    ("m", "missing_on_target"),
    ("n", "missing_on_source"),
    ("p", "value"),
    ("s", "value"),
    ("t", "ttl"),
    ("z", "value"),
];

fn run_script(server: &Server, script: &str, number: u64) {
    cmd("EVAL").arg(script).arg(0).arg(number).exec(&mut server.conn().unwrap()).unwrap();
}

/// Hides `each` differences of each kind among `strings` keys and some more; finds and repairs them.
fn finds_and_repairs([source, target]: [&str; 2], strings: u64, each: u64) {
    let (source, target) = (Server::start(source).unwrap(), Server::start(target).unwrap());
    data::fill_strings(&source.url(), strings, 100, 1).unwrap();
    run_script(&source, KEYS, 4 * each);
    copy(&source, &target, &[]);
    compare(&source, &target, &[]).assert_equal();
    run_script(&target, CHANGES, 4 * each);
    let numbers = || (0..each).map(|i| 4 * i);
    let mut expected: Vec<Found> = KINDS
        .iter()
        .flat_map(|(name, kind)| numbers().map(move |i| (0, format!("{name}:{i}"), (*kind).to_owned())))
        .collect();
    expected.sort();
    let begun = Instant::now();
    let done = compare(&source, &target, &[]);
    let took = begun.elapsed();
    let (found, last) = done.found();
    assert_eq!(found, expected);
    assert_eq!(last["keys"], strings + 8 * 4 * each);
    println!("{} differences among {} keys in {:.1} s", found.len(), last["keys"], took.as_secs_f64());

    let done = compare(&source, &target, &["--repair"]);
    done.assert_equal();
    assert_eq!(done.found().1["repaired"], expected.len() as u64);
    let options = oracle::Options { ttl_tolerance_ms: 1_000, ..oracle::Options::default() };
    oracle::compare(&source.url(), &target.url(), &options).unwrap().assert_equal();
}

#[test]
fn between_7_0() {
    finds_and_repairs(["redis-7.0", "redis-7.0"], 5_000, 20);
}

#[test]
fn from_7_4_to_5_0() {
    finds_and_repairs(["redis-7.4", "redis-5.0"], 5_000, 20);
}

/// By hand, as in `speed.rs`: `-E 'test(among_a_million)'`.
#[test]
#[ignore = "a measurement"]
fn among_a_million() {
    finds_and_repairs(["redis-7.0", "redis-7.0"], 1_000_000, 500);
    finds_and_repairs(["redis-7.4", "redis-5.0"], 1_000_000, 500);
}
