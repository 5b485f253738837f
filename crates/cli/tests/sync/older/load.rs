//! A load of many kinds of commands, followed by an older target.

use keyferry_testkit::{
    data,
    load::{Load, LoadSpec},
};

use super::*;

/// Mixed writes while the copy runs and behind it.
fn follows_a_load(source: &str, target: &str) {
    let (source, target) = (Server::start(source).unwrap(), Server::start(target).unwrap());
    source.config_set("client-output-buffer-limit", "slave 0 0 0").unwrap();
    data::fill_mixed(&source.url(), 10_000, 11).unwrap();
    let load = Load::start(&source.url(), LoadSpec { rate: Some(5_000), ..LoadSpec::default() }).unwrap();
    let run = sync(&source.url(), &target.url()).args(["--on-unsupported", "degrade"]).spawn().unwrap();
    run.wait_for(LONG, |p| p.phase == "incremental").unwrap();
    let copied = load.commands();
    keyferry_testkit::wait_until("the load goes on", LONG, || load.commands() > copied + 15_000).unwrap();
    let stats = load.stop();
    assert!(stats.failures.is_empty(), "{stats:?}");
    let following = Following { source, target, run };
    following.assert_equal_but(|d| d.kind == Kind::FieldExpiry || d.kind == Kind::Functions);
    following.stop();
}

#[test]
fn from_7_4_to_6_2() {
    follows_a_load("redis-7.4", "redis-6.2");
}

#[test]
fn from_7_0_to_6_0() {
    follows_a_load("redis-7.0", "redis-6.0");
}

#[test]
fn from_7_4_to_5_0() {
    follows_a_load("redis-7.4", "redis-5.0");
}

#[test]
fn from_8_6_to_valkey_8_1() {
    follows_a_load("redis-8.6", "valkey-8.1");
}
