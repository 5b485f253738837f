//! Only what is chosen is compared, under the names which it has on the target.

use super::*;

const RULES: &[&str] = &[
    "--db=0,3:5",
    "--key=a:*",
    "--key-prefix=b:",
    "--block-key=*:tmp",
    "--rename-prefix=a:=n:",
    "--rename-prefix=a:long:=l:",
    "--block-type=list",
];

/// Two servers of which one holds what the rules choose of the other.
fn copied(versions: [&str; 2]) -> (Server, Server) {
    let [source, target] = versions.map(|version| Server::start(version).unwrap());
    for db in [0, 1, 3] {
        run(
            &source,
            db,
            &[
                "MSET a:1 one a:2 two b:1 three other 4 a:tmp 5 n:x 6 a:long:1 7",
                "RPUSH a:list 1 2 3",
                "HSET a:hash f v g w",
                "SADD a:set m n",
                "ZADD a:zset 1.5 a 2 b",
                "XADD a:stream 1-1 f v",
                "XGROUP CREATE a:stream g 0",
                "XREADGROUP GROUP g c STREAMS a:stream >",
                "SET a:ttl 1 EX 1000",
                "ZADD other:zset 1 a",
            ],
        );
    }
    copy(&source, &target, RULES);
    (source, target)
}

/// The sets of chosen keys of both databases.
const CHOSEN: u64 = 2 * 9;

#[test]
fn what_is_chosen_under_its_new_names() {
    let (source, target) = copied(["redis-7.0", "redis-6.2"]);
    // What the target has of its own is none of it: names that no chosen key gets, and types that are left out.
    run(&target, 0, &["SET own 1", "SET a:1 own", "SET n:y:tmp own", "RPUSH n:new own", "SET n:long:1 own"]);
    run(&target, 3, &["SET n:1 own"]);
    let modes = [&[][..], &["--big-key-limit=1"], &["--mode=quick"], &["--mode=lengths"], &["--mode=keys"]];
    for args in modes {
        let done = compare(&source, &target, &[RULES, args].concat());
        done.assert_equal();
        let keys = done.found().1["keys"].as_u64().unwrap();
        assert_eq!(keys, CHOSEN, "{args:?}");
    }
    let changes = [
        "SET n:1 eno",
        "DEL n:2",
        "SET n:extra 1",
        "HSET n:hash f x",
        "SADD n:set o",
        "ZADD n:zset 2 a",
        "XACK n:stream g 1-1",
        "PERSIST n:ttl",
        "DEL l:1",
        "SADD l:1 m",
        // A string where the source has a list, which is left out: the target is to have nothing.
        "SET n:list 1",
        "SET b:1 eerht",
    ];
    run(&target, 5, &changes);
    let expected = [
        ("a:1", "value"),
        ("a:2", "missing_on_target"),
        ("a:extra", "missing_on_source"),
        ("a:hash", "value"),
        ("a:list", "missing_on_source"),
        ("a:long:1", "type"),
        ("a:set", "value"),
        ("a:stream", "value"),
        ("a:ttl", "ttl"),
        ("a:zset", "value"),
        ("b:1", "value"),
    ];
    let expected = expected.map(|(key, kind)| (3, key.to_owned(), kind.to_owned()));
    for args in &modes[..2] {
        let done = compare(&source, &target, &[RULES, args].concat());
        assert_eq!(done.found().0, expected, "{args:?}");
    }
    let missing: Vec<_> = expected.iter().filter(|(.., kind)| kind.starts_with("missing")).cloned().collect();
    assert_eq!(compare(&source, &target, &[RULES, &["--mode=keys"]].concat()).found().0, missing);

    let before: String = source.info("persistence").unwrap()["rdb_changes_since_last_save"].clone();
    let done = compare(&source, &target, &[RULES, &["--repair"]].concat());
    done.assert_equal();
    assert_eq!(done.found().1["repaired"], 11);
    assert_eq!(source.info("persistence").unwrap()["rdb_changes_since_last_save"], before);
    let text = |db, words: &str| ask::<Option<String>>(&target, db, words);
    for (words, value) in [
        ("GET n:1", Some("one")),
        ("GET n:2", Some("two")),
        ("GET n:extra", None),
        ("GET n:list", None),
        ("GET l:1", Some("7")),
        ("GET b:1", Some("three")),
        ("GET a:1", None),
        ("HGET n:hash f", Some("v")),
        ("ZSCORE n:zset a", Some("1.5")),
    ] {
        assert_eq!(text(5, words).as_deref(), value, "{words}");
    }
    assert_eq!(ask::<Vec<String>>(&target, 5, "SMEMBERS n:set").len(), 2);
    assert!((900..=1_000).contains(&ask::<i64>(&target, 5, "TTL n:ttl")));
    // What is the target's own is still there.
    let own = [(0, "own", "1"), (0, "a:1", "own"), (0, "n:y:tmp", "own"), (0, "n:long:1", "own"), (3, "n:1", "own")];
    for (db, key, value) in own {
        assert_eq!(text(db, &format!("GET {key}")).as_deref(), Some(value), "{key}");
    }
    assert_eq!(ask::<i64>(&target, 0, "LLEN n:new"), 1);
}

/// Payloads say nothing between such versions: values are read as they are, under both names.
#[test]
fn new_names_between_versions() {
    let (source, target) = copied(["redis-7.2", "redis-5.0"]);
    compare(&source, &target, RULES).assert_equal();
    compare(&source, &target, &[RULES, &["--big-key-limit=1"]].concat()).assert_equal();
    run(&target, 5, &["ZADD n:zset 1.5000000000000002 a", "XDEL n:stream 1-1", "RPUSH n:hash2 1"]);
    let found = compare(&source, &target, RULES).found().0;
    assert_eq!(found, ["a:stream", "a:zset"].map(|key| (3, key.to_owned(), "value".to_owned())));
    // The whole target is walked when only types are chosen.
    run(&target, 7, &["SET only-here 1", "RPUSH of-another-type 1"]);
    let found = compare(&source, &target, &["--db=7", "--type=string"]).found().0;
    assert_eq!(found, [(7, "only-here".to_owned(), "missing_on_source".to_owned())]);
}

/// It is told before a repair writes one key over another.
#[test]
fn a_name_that_another_key_gets_is_an_error() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    run(&source, 0, &["SET old:1 v", "SET new:1 w"]);
    compare(&source, &target, &["--rename-prefix=old:=new:", "--repair"]).assert_error("SRC-0015");
    assert_eq!(ask::<i64>(&target, 0, "DBSIZE"), 0);
    compare(&source, &target, &["--rename-prefix=old:=new:", "--block-key-prefix=new:", "--repair"]).assert_equal();
    assert_eq!(ask::<Option<String>>(&target, 0, "GET new:1"), Some("v".to_owned()));
    let mut command = command(&format!("{}/0", source.url()), &target.url());
    command.arg("--db=0");
    done(command).assert_error("CFG-0008");
}
