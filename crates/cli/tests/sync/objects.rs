//! Databases, keys, types and commands that are chosen, and new names.

use keyferry_testkit::{
    contents::Contents,
    families::{FAMILIES, Form, Runner},
    process::Signal,
};

use super::*;

fn contents(server: &Server) -> Contents {
    keyferry_testkit::contents::contents(server).unwrap()
}

fn write(server: &Server, commands: &[(u32, &str)]) {
    for (db, words) in commands {
        let _: redis::Value = ask(server, *db, words);
    }
}

/// What is in database 0 of the source is on the target.
fn arrives(source: &Server, run: &Keyferry) {
    let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|offset| offset >= goal)).unwrap();
}

#[test]
fn what_is_chosen_is_copied_and_followed() {
    let (source, target) = pair("redis-7.0");
    let mut data = Vec::new();
    for db in [0, 1, 3] {
        data.extend([
            (db, "MSET a:1 one a:2 two b:1 three other 4 a:tmp 5 n:x 6"),
            (db, "RPUSH a:list 1 2 3"),
            (db, "HSET a:hash f v"),
            (db, "SADD b:set m n"),
            (db, "ZADD other:zset 1 a"),
            (db, "SET a:ttl 1 EX 1000"),
        ]);
    }
    write(&source, &data);
    let rules = ["--db", "0,3:5", "--key", "a:*", "--key-prefix", "b:", "--block-key", "*:tmp"];
    let names = ["--rename-prefix", "a:=n:", "--block-type", "list"];
    let run = sync(&source.url(), &target.url()).args(rules).args(names).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let expected = || {
        let chosen = |key: &str| (key.starts_with("a:") || key.starts_with("b:")) && !key.ends_with(":tmp");
        let place = |db| match db {
            0 => Some(0),
            3 => Some(5),
            _ => None,
        };
        let all = contents(&source).into_iter().filter(|((_, key), (kind, _))| chosen(key) && kind != "list");
        all.filter_map(|((db, key), value)| {
            let name = key.strip_prefix("a:").map_or(key.clone(), |rest| format!("n:{rest}"));
            Some(((place(db)?, name), value))
        })
        .collect::<Contents>()
    };
    assert_eq!(contents(&target), expected());
    assert_eq!(contents(&target).len(), 12);
    write(
        &source,
        &[
            (3, "DEL a:1 other b:1"),
            (0, "MSET a:3 new other new a:tmp new b:3 new"),
            (0, "EXPIRE a:list 1000"),
            (0, "EXPIRE a:hash 1000"),
            (0, "PERSIST a:ttl"),
            (0, "RENAME a:2 a:4"),
            (0, "RENAME a:4 gone"),
            // What was there is replaced by what is left out, and the other way round.
            (0, "RENAME a:list b:1"),
            (0, "DEL a:hash"),
            (0, "RPUSH a:hash x"),
            (3, "SET a:list text"),
            (3, "COPY a:hash a:copy"),
            (3, "COPY a:hash b:set REPLACE"),
            (0, "COPY a:3 a:there DB 3"),
            (0, "MOVE a:ttl 1"),
            (0, "SMOVE b:set other:set m"),
            (0, "SMOVE other:set b:more m"),
            (1, "SWAPDB 1 2"),
            (1, "SET a:1 not"),
            (0, "PUBLISH a:1 message"),
            (0, "EVAL return(redis.call('set',KEYS[1],'1')) 1 a:script"),
            (3, "SUNIONSTORE b:union b:more b:more2"),
            (3, "SET a:end 1"),
        ],
    );
    arrives(&source, &run);
    assert_eq!(contents(&target), expected());
    assert!((970..=1031).contains(&ask::<i64>(&target, 5, "TTL n:ttl")));
    // A database that is not chosen may be emptied, another one may hold what others have written to the target.
    write(&source, &[(1, "FLUSHDB")]);
    arrives(&source, &run);
    let there = contents(&target);
    write(&source, &[(3, "FLUSHDB")]);
    assert_fails(&run.wait_exit(LONG).unwrap(), 1, "SRC-0015");
    assert_eq!(contents(&target), there);
}

/// The position lies in one of the chosen databases: with others chosen, it is looked for.
#[test]
fn other_databases_are_another_task() {
    let (source, target) = pair("redis-7.0");
    write(&source, &[(0, "INCR n"), (3, "INCR n")]);
    let start = |databases: &str, more: &[&str]| {
        let rules = ["--task", "t", "--db", databases];
        sync(&source.url(), &target.url()).args(rules).args(more).spawn().unwrap()
    };
    let run = start("0,3", &[]);
    run.wait_for(LONG, |p| p.in_step).unwrap();
    run.signal(keyferry_testkit::process::Signal::TERM).unwrap();
    run.wait_exit(LONG).unwrap();
    for databases in ["3", "3:5"] {
        assert_fails(&start(databases, &["--on-conflict", "replace"]).wait_exit(LONG).unwrap(), 3, "TGT-0022");
    }
    let run = start("3", &["--on-conflict", "replace", "--restart"]);
    run.wait_for(LONG, |p| p.in_step).unwrap();
    write(&source, &[(3, "INCR n")]);
    arrives(&source, &run);
    assert_eq!(ask::<u64>(&target, 3, "GET n"), 2);
    assert_eq!(ask::<u64>(&target, 0, "EXISTS __keyferry_checkpoint:t"), 0);
}

#[test]
fn only_chosen_databases_are_emptied() {
    let (source, target) = pair("redis-7.0");
    write(&source, &[(0, "SET a 1"), (2, "SET b 1"), (4, "SET no 1")]);
    write(&target, &[(0, "SET own 1"), (1, "SET gone 1"), (3, "SET gone 1"), (4, "SET own 1")]);
    let rules = ["--db", "2:3,0:1"];
    let start = |more: &[&str]| sync(&source.url(), &target.url()).args(rules).args(more).spawn().unwrap();
    assert_fails(&start(&[]).wait_exit(LONG).unwrap(), 3, "TGT-0012");
    let run = start(&["--on-conflict", "clear"]);
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let names = |db| contents(&target).into_keys().filter(|(of, _)| *of == db).map(|(_, key)| key).collect::<Vec<_>>();
    assert_eq!([0, 1, 3, 4].map(names), [["own"], ["a"], ["b"], ["own"]]);
    write(&source, &[(0, "SWAPDB 0 2"), (4, "SWAPDB 4 5"), (0, "SET late 1"), (0, "MOVE late 2")]);
    arrives(&source, &run);
    assert_eq!([0, 1, 3].map(names), [vec!["own"], vec!["b"], vec!["a", "late"]]);
    write(&source, &[(4, "FLUSHALL ASYNC"), (2, "SET after 1")]);
    arrives(&source, &run);
    assert_eq!([0, 1, 3, 4].map(names), [vec!["own"], vec![], vec!["after"], vec!["own"]]);
    // The position has stayed through all of it.
    run.kill_9();
    drop(run);
    write(&source, &[(0, "INCR number")]);
    let run = start(&[]);
    arrives(&source, &run);
    assert_eq!(ask::<u64>(&target, 1, "GET number"), 1);
    // The source has forgotten everything: what it has not any more goes, and nothing else.
    run.kill_9();
    drop(run);
    write(&source, &[(2, "DEL after"), (0, "SET new 1"), (0, "CONFIG SET repl-backlog-size 16384")]);
    write(&source, &[(0, &format!("SET new {}", "x".repeat(100_000))), (0, "SET new 2")]);
    let run = start(&[]);
    arrives(&source, &run);
    assert_eq!([0, 1, 3, 4].map(names), [vec!["own"], vec!["new", "number"], vec![], vec!["own"]]);
}

#[test]
fn deadlines_end_up_as_they_are_at_the_source() {
    let (source, target) = pair("redis-7.4");
    for (key, time) in [("a", "1000"), ("b", "2000"), ("c", "3000")] {
        write(&source, &[(3, &format!("SET {key}:1 1 EX {time}")), (3, &format!("HSET {key}:hash f v"))]);
        write(&source, &[(3, &format!("HEXPIRE {key}:hash {time} FIELDS 1 f"))]);
    }
    let rules = ["--db", "3:1", "--rename-prefix", "a:=b:", "--rename-prefix", "b:=a:", "--block-key", "c*"];
    let exit = sync(&source.url(), &target.url()).args(rules).arg("--stop-when-synced").spawn().unwrap();
    let exit = exit.wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    for (ours, theirs) in [("b", "a"), ("a", "b")] {
        let at = |server, db, key| ask::<u64>(server, db, &format!("PEXPIRETIME {key}:1"));
        assert_eq!(at(&target, 1, ours), at(&source, 3, theirs));
        let at = |server, db, key| ask::<Vec<u64>>(server, db, &format!("HPEXPIRETIME {key}:hash FIELDS 1 f"));
        assert_eq!(at(&target, 1, ours), at(&source, 3, theirs));
    }
    assert_eq!(contents(&target).len(), 4);
}

#[test]
fn of_a_dump_file_too() {
    let (source, target) = pair("redis-7.0");
    write(&source, &[(0, "MSET a:1 1 b:1 2"), (3, "MSET a:1 3 b:1 4"), (3, "RPUSH a:list 1")]);
    let () = ask(&source, 0, "SAVE");
    let dir: Vec<String> = ask(&source, 0, "CONFIG GET dir");
    let rules = ["--db", "3:0", "--key", "a*", "--rename-prefix", "a:=", "--type", "string"];
    let run = sync(&format!("file:{}/dump.rdb", dir[1]), &target.url()).args(rules).spawn().unwrap();
    assert_eq!(run.wait_exit(LONG).unwrap().code(), 0);
    assert_eq!(contents(&target).into_keys().collect::<Vec<_>>(), [(0, "1".to_owned())]);
    assert_eq!(ask::<String>(&target, 0, "GET 1"), "3");
}

/// Each write command there is, with a new name for each of its keys.
#[test]
fn every_command_gets_the_new_names() {
    for version in ["redis-5.0", "redis-7.2", "valkey-8.1"] {
        let (source, target) = pair(version);
        let families = || FAMILIES.iter().filter(|family| family.name != "databases");
        let mut runner = Runner::connect(&source, "before", Form::Plain).unwrap();
        families().for_each(|family| runner.family(family).unwrap());
        let rules = ["--rename-prefix", "=new:"];
        let run = sync(&source.url(), &target.url()).args(rules).spawn().unwrap();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        for form in [Form::Plain, Form::Transactions, Form::Scripts] {
            let name = format!("{form:?}").to_lowercase();
            // What it looks up has other names on the target.
            let patterns = ["BY weight_".to_owned()];
            let mut runner = Runner::connect(&source, &name, form).unwrap().without(&patterns);
            families().for_each(|family| runner.family(family).unwrap());
        }
        arrives(&source, &run);
        let expected = contents(&source).into_iter().map(|((db, key), value)| ((db, format!("new:{key}")), value));
        let (expected, found) = (expected.collect::<Contents>(), contents(&target));
        assert!(expected.len() > 200, "{version}: {}", expected.len());
        for (key, value) in &expected {
            assert_eq!(found.get(key), Some(value), "{version}: {key:?}");
        }
        assert_eq!(found.len(), expected.len(), "{version}");
    }
}

#[test]
fn what_cannot_be_followed_ends_the_task() {
    for (own, command) in [
        (false, "RENAME other i:1"),
        (false, "SUNIONSTORE i:1 i:2 o:1"),
        (false, "RPOPLPUSH list i:list"),
        (false, "SWAPDB 0 1"),
        (true, "FLUSHALL"),
        (false, "FLUSHALL"),
    ] {
        let (source, target) = pair("redis-7.0");
        if own {
            let () = ask(&target, 0, "SET own 1");
        }
        write(&source, &[(0, "MSET i:0 1 other 2"), (0, "RPUSH list 1"), (0, "SADD o:1 a")]);
        let rules = ["--key", "i:*", "--on-conflict", "replace"];
        let run = sync(&source.url(), &target.url()).args(rules).spawn().unwrap();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        let before = contents(&target);
        let _: redis::Value = ask(&source, 0, command);
        let exit = run.wait_exit(LONG).unwrap();
        assert_fails(&exit, 1, "SRC-0015");
        assert!(exit.stderr.contains(command.split(' ').next().unwrap()), "{}", exit.stderr);
        assert_eq!(contents(&target), before, "{command}");
    }
    // A key that has the name of another one, in the snapshot.
    let (source, target) = pair("redis-7.0");
    write(&source, &[(0, "SET new:1 1")]);
    let run = sync(&source.url(), &target.url()).args(["--rename-prefix", "old:=new:"]).spawn().unwrap();
    assert_fails(&run.wait_exit(LONG).unwrap(), 1, "SRC-0015");
}

#[test]
fn blocked_commands_are_left_out() {
    let (source, target) = pair("redis-7.0");
    write(&source, &[(0, "SET a 1")]);
    let rules = ["--block-command", "FLUSHALL,@hash"];
    let run = sync(&source.url(), &target.url()).args(rules).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    write(&source, &[(0, "HSET h f v"), (0, "EXPIRE h 1000"), (0, "RENAME h g"), (0, "FLUSHALL"), (0, "SET b 1")]);
    arrives(&source, &run);
    assert_eq!(contents(&target).into_keys().map(|(_, key)| key).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn rules_stay_what_they_were() {
    let (source, target) = pair("redis-7.0");
    write(&source, &[(0, "MSET a 1 b 2")]);
    let start = |rules: &[&str]| sync(&source.url(), &target.url()).args(rules).spawn().unwrap();
    let run = start(&["--key", "a*", "--block-key", "ab*"]);
    run.wait_for(LONG, |p| p.in_step).unwrap();
    run.signal(Signal::INT).unwrap();
    assert_eq!(run.wait_exit(LONG).unwrap().code(), 130);
    assert_fails(&start(&["--key", "a*"]).wait_exit(LONG).unwrap(), 3, "TGT-0022");
    let run = start(&["--block-key", "ab*", "--key", "a*"]);
    run.wait_for(LONG, |p| p.in_step).unwrap();
    for (rules, part) in [
        (&["--db", "0:1,2:1"][..], "would both go into 1"),
        (&["--rename-prefix", "x"], "write old:=new:"),
        (&["--key", "a*", "--on-conflict", "clear"], "clear the target"),
    ] {
        let exit = start(rules).wait_exit(LONG).unwrap();
        assert_fails(&exit, 2, "CFG-0008");
        assert!(exit.stderr.contains(part), "{}", exit.stderr);
    }
}
