//! Which keys are looked at.

use std::collections::BTreeSet;

use keyferry_keyspace::glob;
use keyferry_testkit::{Rng, Server};
use redis::cmd;

use crate::{
    golden::{lines, name_of, path},
    good, rdb,
};

fn keys(name: &str, filters: &[&str]) -> BTreeSet<(u64, Vec<u8>)> {
    let path = path(name);
    let mut args = vec!["keys", path.to_str().unwrap(), "--output", "json"];
    args.extend(filters);
    lines(&good(rdb(&args))).iter().map(name_of).collect()
}

#[test]
fn by_database() {
    let all = keys("redis-7.2", &[]);
    let (three, nine) = (keys("redis-7.2", &["--db", "3"]), keys("redis-7.2", &["--db", "9"]));
    assert!(!three.is_empty() && three.iter().all(|(db, _)| *db == 3));
    assert!(!nine.is_empty() && nine.iter().all(|(db, _)| *db == 9));
    let both: BTreeSet<_> = three.union(&nine).cloned().collect();
    assert_eq!(keys("redis-7.2", &["--db", "3", "--db", "9"]), both);
    assert!(both.len() < all.len());
    assert!(keys("redis-7.2", &["--db", "77"]).is_empty());
}

#[test]
fn by_type_in_every_tool() {
    let path = path("redis-7.2");
    let path = path.to_str().unwrap();
    let listed = lines(&good(rdb(&["json", path, "--type", "zset", "--type", "list"])));
    assert!(listed.iter().any(|line| line["type"] == "zset") && listed.iter().any(|line| line["type"] == "list"));
    assert!(listed.iter().all(|line| line["type"] == "zset" || line["type"] == "list"));
    let info = &lines(&good(rdb(&["info", path, "--type", "zset", "--type", "list", "--output", "json"])))[0];
    assert_eq!(info["keys"], listed.len());
    let output = rdb(&["verify", path, "--type", "zset", "--type", "list"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("a good dump: {} keys", listed.len())));
}

#[test]
fn by_pattern() {
    let all = keys("redis-7.2", &[]);
    for (pattern, fits) in [
        ("*", (|_: &[u8]| true) as fn(&[u8]) -> bool),
        ("?", |key| key.len() == 1),
        ("[0-9]*", |key| key.first().is_some_and(u8::is_ascii_digit)),
        ("*a*", |key| key.contains(&b'a')),
    ] {
        let expected: BTreeSet<_> = all.iter().filter(|(_, key)| fits(key)).cloned().collect();
        assert_eq!(keys("redis-7.2", &["--key", pattern]), expected, "{pattern}");
    }
}

#[test]
fn wrong_filters_are_usage_errors() {
    let path = path("redis-7.2");
    for wrong in [["--type", "sets"], ["--db", "-1"], ["--db", "x"]] {
        let output = rdb(&["keys", path.to_str().unwrap(), wrong[0], wrong[1]]);
        assert_eq!(output.status.code(), Some(2));
    }
}

/// Patterns and keys of the characters that mean something: what matches is what `KEYS` of a real server answers. (Only of
/// the empty key servers think otherwise: it is matched by `*` and not by `**`.)
#[test]
fn patterns_mean_what_they_mean_to_servers() {
    let Ok(server) = Server::start("redis-7.0") else {
        eprintln!("redis-7.0 has not been fetched");
        return;
    };
    let mut conn = server.conn().unwrap();
    let mut rng = Rng::new(7);
    let mut word = |least: u64, most: u64| -> Vec<u8> {
        let len = rng.range(least, most + 1);
        (0..len).map(|_| b"aabc-^[]\\*?"[rng.range(0, 11) as usize]).collect()
    };
    let mut keys = BTreeSet::new();
    for _ in 0..300 {
        let key = word(1, 4);
        cmd("SET").arg(&key).arg(1).exec(&mut conn).unwrap();
        keys.insert(key);
    }
    for _ in 0..3000 {
        let pattern = word(1, 7);
        let said: BTreeSet<Vec<u8>> = cmd("KEYS").arg(&pattern).query(&mut conn).unwrap();
        let found: BTreeSet<_> = keys.iter().filter(|key| glob::matches(&pattern, key)).cloned().collect();
        assert!(found == said, "{}", pattern.escape_ascii());
    }
}
