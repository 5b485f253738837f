use std::collections::BTreeSet;

use keyferry_testkit::{
    Server, data,
    oracle::{self, Options},
};
use redis::Connection;

fn scan_types(conn: &mut Connection) -> BTreeSet<String> {
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(conn).unwrap();
    let mut pipe = redis::pipe();
    for key in &keys {
        pipe.cmd("TYPE").arg(key).cmd("OBJECT").arg("ENCODING").arg(key);
    }
    let answers: Vec<Option<String>> = pipe.query(conn).unwrap();
    answers
        .chunks(2)
        .map(|pair| format!("{} {}", pair[0].as_deref().unwrap_or(""), pair[1].as_deref().unwrap_or("")))
        .collect()
}

#[test]
fn mixed_has_all_encodings_and_replicates_as_equal() {
    let source = Server::start("redis-7.0").unwrap();
    data::fill_mixed(&source.url(), 4_000, 7).unwrap();
    assert!(source.keys().unwrap() > 3_500);
    let found = scan_types(&mut source.conn().unwrap());
    for expected in [
        "hash hashtable",
        "hash listpack",
        "list quicklist",
        "set hashtable",
        "set intset",
        "stream stream",
        "string embstr",
        "string int",
        "string raw",
        "zset listpack",
        "zset skiplist",
    ] {
        assert!(found.contains(expected), "no {expected} in {found:?}");
    }
    let functions: Vec<redis::Value> = redis::cmd("FUNCTION").arg("LIST").query(&mut source.conn().unwrap()).unwrap();
    assert_eq!(functions.len(), 1);
    // The servers' own replication is the reference for what has to arrive.
    let replica = Server::start("redis-7.0").unwrap();
    replica.replicate(&source).unwrap();
    let report = oracle::compare(&source.url(), &replica.url(), &Options::default()).unwrap();
    assert!(report.is_equal() && report.keys > 3_500, "{report}");
}

#[test]
fn the_same_seed_writes_the_same_on_every_version() {
    let options = Options { ttl_tolerance_ms: 10_000, ..Options::default() };
    let (a, b) = (Server::start("redis-6.0").unwrap(), Server::start("redis-6.2").unwrap());
    for server in [&a, &b] {
        data::fill_strings(&server.url(), 2_000, 100, 3).unwrap();
        data::fill_bench_mixed(&server.url(), 200, 3).unwrap();
    }
    let report = oracle::compare(&a.url(), &b.url(), &options).unwrap();
    assert!(report.is_equal() && report.keys == 3_000, "{report}");
    let sample = oracle::compare_sample(&a.url(), &b.url(), 100, &options).unwrap();
    assert!(sample.is_equal() && (50..=100).contains(&sample.keys), "{sample}");
    redis::cmd("FLUSHALL").exec(&mut b.conn().unwrap()).unwrap();
    let sample = oracle::compare_sample(&a.url(), &b.url(), 100, &options).unwrap();
    assert_eq!(sample.total, sample.keys);
    for name in ["redis-2.8", "redis-5.0", "redis-8.0", "valkey-9.0"] {
        let server = Server::start(name).unwrap();
        data::fill_mixed(&server.url(), 500, 1).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
}
