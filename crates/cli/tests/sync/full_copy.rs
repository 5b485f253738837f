//! Everything that the source holds arrives.

use keyferry_testkit::{
    Server, data,
    oracle::{Difference, Kind},
};

use super::*;

fn copies_everything(source: &str, target: &str) {
    let (source, target) = (Server::start(source).unwrap(), Server::start(target).unwrap());
    data::fill_mixed(&source.url(), 4000, 7).unwrap();
    let exit = sync(&source.url(), &target.url()).arg("--full-only").spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    let report = differences(&source, &target);
    report.assert_equal();
    assert!(report.keys > 3000, "{report:?}");
    let last = exit.progress.last().unwrap();
    assert_eq!((last.phase.as_str(), last.percent), ("stopped", Some(100.0)));
}

macro_rules! pairs {
    ($($name:ident: $source:literal -> $target:literal;)*) => {
        $(#[test] fn $name() { copies_everything($source, $target); })*
    };
}

pairs! {
    from_3_0_to_3_2: "redis-3.0" -> "redis-3.2";
    from_3_2_to_7_0: "redis-3.2" -> "redis-7.0";
    from_4_0_to_4_0: "redis-4.0" -> "redis-4.0";
    from_5_0_to_6_2: "redis-5.0" -> "redis-6.2";
    from_6_0_to_7_0: "redis-6.0" -> "redis-7.0";
    from_7_0_to_7_0: "redis-7.0" -> "redis-7.0";
    from_7_0_to_valkey_8_1: "redis-7.0" -> "valkey-8.1";
    from_7_2_to_valkey_9_1: "redis-7.2" -> "valkey-9.1";
    from_7_4_to_8_0: "redis-7.4" -> "redis-8.0";
    from_valkey_8_0_to_8_1: "valkey-8.0" -> "valkey-8.1";
}

#[test]
fn an_empty_source_is_copied_too() {
    let (source, target) = pair("redis-7.0");
    let exit = sync(&source.url(), &target.url()).arg("--stop-when-synced").spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert_eq!(target.keys().unwrap(), 0);
}

#[test]
fn a_value_of_many_chunks_arrives() {
    let (source, target) = pair("redis-7.0");
    let mut conn = source.conn().unwrap();
    // Not compressible, 40 times the size of a chunk.
    let big: Vec<u8> = keyferry_testkit::Rng::new(3).bytes(10 << 20);
    cmd("SET").arg("big").arg(&big).exec(&mut conn).unwrap();
    let exit = sync(&source.url(), &target.url()).arg("--full-only").spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    differences(&source, &target).assert_equal();
}

/// A field that runs out at the source stays on a target without deadlines of fields: here it stays at the source, too.
fn keep_near_fields(source: &Server) {
    let mut conn = source.conn().unwrap();
    for db in 0..16 {
        cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let hashes = cmd("SCAN").cursor_arg(0).arg(&["COUNT", "1000", "TYPE", "hash"]).clone().iter(&mut conn);
        let hashes: Vec<Vec<u8>> = hashes.unwrap().map(Result::unwrap).collect();
        for key in hashes {
            cmd("HPERSIST").arg(key).arg(&["FIELDS", "1", "f1"]).exec(&mut conn).unwrap();
        }
    }
}

/// What the older server can hold is rebuilt with commands; what it cannot hold is named, and left out on request.
fn copies_downwards(source: &str, target: &str, left_out: &[&str]) {
    let (source, target) = (Server::start(source).unwrap(), Server::start(target).unwrap());
    data::fill_mixed(&source.url(), 4000, 7).unwrap();
    if left_out.contains(&"hash field deadline degraded") {
        keep_near_fields(&source);
    }
    let run = |policy| {
        let args = ["--full-only", "--on-conflict", "clear", "--on-unsupported", policy];
        sync(&source.url(), &target.url()).args(args).spawn().unwrap().wait_exit(LONG).unwrap()
    };
    if !left_out.is_empty() {
        assert_fails(&run("fail"), 1, "TGT-0017");
    }
    let exit = run("degrade");
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    for what in left_out {
        assert!(exit.stderr.contains(what), "{}", exit.stderr);
    }
    let options = Options { max_listed: usize::MAX, ..Options::default() };
    let report = compare(&source.url(), &target.url(), &options).unwrap();
    let expected = |d: &Difference| match d.kind {
        Kind::FieldExpiry => left_out.contains(&"hash field deadline degraded"),
        Kind::MissingOnTarget => left_out.contains(&"stream dropped") && d.detail == "a stream",
        _ => false,
    };
    let unexpected: Vec<String> = report.differences.iter().filter(|d| !expected(d)).map(ToString::to_string).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    let found: Vec<String> = ask(&target, 0, "KEYS __keyferry*");
    assert!(found.is_empty(), "{found:?}");
}

macro_rules! downwards {
    ($($name:ident: $source:literal -> $target:literal, $left_out:expr;)*) => {
        $(#[test] fn $name() { copies_downwards($source, $target, $left_out); })*
    };
}

downwards! {
    down_from_7_0_to_6_0: "redis-7.0" -> "redis-6.0", &["function library dropped"];
    down_from_7_4_to_5_0: "redis-7.4" -> "redis-5.0", &["hash field deadline degraded", "function library dropped"];
    down_from_8_0_to_7_0: "redis-8.0" -> "redis-7.0", &["hash field deadline degraded"];
    down_from_7_4_to_valkey_8_1: "redis-7.4" -> "valkey-8.1", &["hash field deadline degraded"];
    down_from_6_2_to_3_2: "redis-6.2" -> "redis-3.2", &["stream dropped"];
    across_from_7_4_to_valkey_9_0: "redis-7.4" -> "valkey-9.0", &[];
    across_from_valkey_9_1_to_7_4: "valkey-9.1" -> "redis-7.4", &[];
}

#[test]
fn values_larger_than_what_is_held_in_memory_are_streamed() {
    let (source, target) = pair("redis-7.0");
    let mut rng = keyferry_testkit::Rng::new(3);
    for (command, key) in [("HSET", "hash"), ("SADD", "set"), ("RPUSH", "list")] {
        for _ in 0..40 {
            let mut pipe = redis::pipe();
            let mut add = cmd(command);
            add.arg(key);
            (0..10_000).for_each(|_| {
                add.arg(rng.bytes(32));
            });
            let () = pipe.add_command(add).ignore().query(&mut source.conn().unwrap()).unwrap();
        }
    }
    let () = ask(&source, 0, "PEXPIREAT set 4000000000000");
    for policy in ["abort", "replace", "ignore"] {
        let args = ["--full-only", "--on-conflict", policy];
        let exit = sync(&source.url(), &target.url()).args(args).spawn().unwrap().wait_exit(LONG).unwrap();
        assert_eq!(exit.code(), 0, "{}", exit.stderr);
        differences(&source, &target).assert_equal();
        assert_eq!(target.keys().unwrap(), 3, "nothing is left of the building");
    }
    let () = ask(&target, 0, "SET hash mine");
    let args = ["--full-only", "--on-conflict", "ignore"];
    let exit = sync(&source.url(), &target.url()).args(args).spawn().unwrap().wait_exit(LONG).unwrap();
    assert!(exit.stderr.contains("3 of them kept"), "{}", exit.stderr);
    assert_eq!(ask::<String>(&target, 0, "GET hash"), "mine");
}

/// A list that is streamed: 30 MB, not compressible.
fn fill_list(server: &Server, key: &str, seed: u64) {
    let mut rng = keyferry_testkit::Rng::new(seed);
    let mut conn = server.conn().unwrap();
    for _ in 0..30 {
        let mut push = cmd("RPUSH");
        push.arg(key);
        (0..1000).for_each(|_| {
            push.arg(rng.bytes(1000));
        });
        push.exec(&mut conn).unwrap();
    }
}

#[test]
fn two_sources_do_not_mix_what_they_rebuild() {
    let (one, two) = pair("redis-7.0");
    let target = Server::start("redis-7.0").unwrap();
    fill_list(&one, "one", 1);
    fill_list(&two, "two", 2);
    let start = |source: &Server| {
        let args = ["--full-only", "--on-conflict", "replace"];
        sync(&source.url(), &target.url()).args(args).spawn().unwrap()
    };
    for run in [start(&one), start(&two)] {
        let exit = run.wait_exit(LONG).unwrap();
        assert_eq!(exit.code(), 0, "{}", exit.stderr);
    }
    for (source, key) in [(&one, "one"), (&two, "two")] {
        let list = |server: &Server| ask::<Vec<Vec<u8>>>(server, 0, &format!("LRANGE {key} 0 -1"));
        assert!(list(source) == list(&target), "{key} differs");
    }
    assert_eq!(target.keys().unwrap(), 2);
}

#[test]
fn what_a_killed_run_has_built_goes_with_the_next() {
    let (source, target) = pair("redis-7.0");
    fill_list(&source, "list", 1);
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    let built = || !ask::<Vec<String>>(&target, 0, "KEYS __keyferry*").is_empty();
    let caught = keyferry_testkit::wait_until("a part is there", LONG, || built() || target.keys().unwrap() > 0);
    run.kill_9();
    caught.unwrap();
    let () = ask(&source, 0, "SET another 1");
    let args = ["--full-only", "--on-conflict", "replace"];
    let exit = sync(&source.url(), &target.url()).args(args).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    differences(&source, &target).assert_equal();
}

#[test]
fn a_large_module_value_is_restored_where_the_module_is() {
    let start = || Server::builder("redis-7.0").module("hellotype").start().unwrap();
    let (source, target) = (start(), start());
    let mut conn = source.conn().unwrap();
    for _ in 0..20 {
        let mut pipe = redis::pipe();
        (0..50_000).for_each(|_| {
            pipe.cmd("HELLOTYPE.INSERT").arg("m").arg(i64::MAX).ignore();
        });
        let () = pipe.query(&mut conn).unwrap();
    }
    let exit = sync(&source.url(), &target.url()).arg("--full-only").spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    differences(&source, &target).assert_equal();
    let without = Server::start("redis-7.0").unwrap();
    let exit = sync(&source.url(), &without.url()).arg("--full-only").spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "TGT-0017");
}

#[test]
fn a_dump_file_is_a_source_too() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-6.2").unwrap());
    data::fill_mixed(&source.url(), 4000, 7).unwrap();
    let () = ask(&source, 0, "FUNCTION FLUSH");
    let () = ask(&source, 0, "SAVE");
    let file = source.dir().join("dump.rdb");
    let url = format!("file:{}", file.display());
    let run = |url: &str, args: &[&str]| sync(url, &target.url()).args(args).spawn().unwrap().wait_exit(LONG).unwrap();
    let exit = run(&url, &[]);
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    differences(&source, &target).assert_equal();
    assert_fails(&run(&url, &[]), 3, "TGT-0012");
    assert_fails(&run(&url, &["--stop-when-synced"]), 2, "CFG-0001");
    assert_fails(&run("file:/no/such/file", &["--on-conflict", "replace"]), 2, "CFG-0007");
    let whole = std::fs::read(&file).unwrap();
    let cut = source.dir().join("cut.rdb");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let url = format!("file:{}", cut.display());
    assert_fails(&run(&url, &["--on-conflict", "replace"]), 1, "RDB-0001");
}

#[test]
fn one_database_goes_where_the_url_says() {
    let (source, target) = pair("redis-7.0");
    for db in [0, 3, 5] {
        let () = ask(&source, db, &format!("SET in{db} {db}"));
    }
    let () = ask(&target, 0, "SET stays 1");
    let run = sync(&format!("{}/3", source.url()), &format!("{}/5", target.url())).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let () = ask(&source, 5, "SET other 1");
    let () = ask(&source, 3, "SET late 1");
    let () = ask(&source, 0, "FLUSHDB");
    keyferry_testkit::wait_until("the write arrives", LONG, || ask::<u64>(&target, 5, "EXISTS late") == 1).unwrap();
    assert_eq!(ask::<Vec<String>>(&target, 0, "KEYS *"), ["stays"]);
    assert_eq!(keys(&target, 5), 2);
    assert_eq!(ask::<u64>(&target, 3, "DBSIZE"), 0);
    // Everything else of the target is left alone also when the source is emptied.
    let () = ask(&source, 0, "FLUSHALL");
    keyferry_testkit::wait_until("the flush arrives", LONG, || keys(&target, 5) == 0).unwrap();
    assert_eq!(ask::<u64>(&target, 0, "DBSIZE"), 1);
    // What concerns other databases of the source touches none of the target; a copy stays where it belongs.
    let () = ask(&target, 1, "SET one 1");
    let () = ask(&source, 3, "SET from 1");
    let () = ask(&source, 3, "SWAPDB 1 2");
    let _: u64 = ask(&source, 3, "COPY from to DB 3");
    keyferry_testkit::wait_until("the copy arrives", LONG, || ask::<u64>(&target, 5, "EXISTS to") == 1).unwrap();
    assert_eq!((ask::<u64>(&target, 1, "DBSIZE"), ask::<u64>(&target, 3, "DBSIZE")), (1, 0));
    // What is moved out of the chosen database is gone from it.
    let () = ask(&source, 3, "SET gone 1");
    let _: u64 = ask(&source, 3, "MOVE gone 4");
    let () = ask(&source, 3, "SET moved 1");
    keyferry_testkit::wait_until("the move arrives", LONG, || ask::<u64>(&target, 5, "EXISTS moved") == 1).unwrap();
    assert_eq!(ask::<u64>(&target, 5, "EXISTS gone"), 0);
    // What is moved in cannot be followed, and is never half-applied silently.
    let _: u64 = ask(&source, 4, "MOVE gone 3");
    assert_fails(&run.wait_exit(LONG).unwrap(), 1, "SRC-0015");
}

#[test]
fn functions_and_scripts_go_along() {
    let (source, target) = (Server::start("redis-6.2").unwrap(), Server::start("redis-7.0").unwrap());
    let sha: String = ask(&source, 0, "SCRIPT LOAD return(42)");
    let exit = sync(&source.url(), &target.url()).arg("--full-only").spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert_eq!(ask::<u64>(&target, 0, &format!("EVALSHA {sha} 0")), 42);
}
