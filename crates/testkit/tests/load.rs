use std::time::Duration;

use keyferry_testkit::{
    Server,
    load::{Load, LoadSpec},
    oracle::{self, Options},
    wait_until,
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a load on a server and returns errors per thousand commands.
fn refused(name: &str, commands: u64) -> f64 {
    let server = Server::start(name).unwrap();
    let load = Load::start(&server.url(), LoadSpec { threads: 2, ..LoadSpec::default() }).unwrap();
    wait_until("commands of the load", TIMEOUT, || load.commands() > commands).unwrap();
    let stats = load.stop();
    assert!(stats.failures.is_empty(), "{stats:?}");
    println!("{name}: {stats:?}");
    1000.0 * stats.error_count() as f64 / stats.commands as f64
}

#[test]
fn commands_succeed_on_old_and_new_servers() {
    for name in ["redis-2.8", "redis-5.0", "redis-6.2", "redis-8.0", "valkey-9.0"] {
        let refused = refused(name, 20_000);
        assert!(refused < 5.0, "{name} refused {refused} of 1000 commands");
    }
}

#[test]
fn a_replica_follows_the_load() {
    let source = Server::start("redis-7.0").unwrap();
    let replica = Server::start("redis-7.0").unwrap();
    replica.replicate(&source).unwrap();
    let load = Load::start(&source.url(), LoadSpec::default()).unwrap();
    wait_until("commands of the load", TIMEOUT, || load.commands() > 50_000).unwrap();
    let stats = load.stop();
    let options = Options { exact_groups: false, ..Options::default() };
    let (source, replica) = (source.url(), replica.url());
    let report = oracle::compare_until_equal(&source, &replica, &options, Duration::from_secs(10)).unwrap();
    assert!(report.is_equal() && report.keys > 1_000, "{stats:?} {report}");
}

#[test]
fn the_rate_is_kept_and_a_lost_server_is_told() {
    let mut server = Server::start("redis-7.0").unwrap();
    let load = Load::start(&server.url(), LoadSpec { rate: Some(2_000), ..LoadSpec::default() }).unwrap();
    wait_until("commands of the load", TIMEOUT, || load.commands() > 1_000).unwrap();
    server.kill_9();
    let stats = load.stop();
    assert!(stats.rate() < 4_000.0, "{stats:?}");
    assert_eq!(stats.failures.len(), 1, "{stats:?}");
}
