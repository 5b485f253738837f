//! Keys with deadlines: none is lost to time, and the deadlines are right when the task says that it is in step.

mod delay;
mod late;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use keyferry_testkit::{
    Proxy, data,
    load::{Load, LoadSpec},
    process::Signal,
    wait_until,
};

use super::*;

/// Longer than any deadline that is not held lives.
const HELD_SECONDS: i64 = 30_000_000_000;

fn goal(source: &Server) -> u64 {
    source.info("replication").unwrap()["master_repl_offset"].parse().unwrap()
}

/// A key that is renewed each time before it expires is there at the end, however far the target was behind.
#[test]
fn a_key_that_is_renewed_in_time_is_never_lost() {
    let (source, target) = pair("redis-7.0");
    source.config_set("rdb-key-save-delay", "500").unwrap();
    data::fill_strings(&source.url(), 6000, 10, 1).unwrap();
    let mut conn = source.conn().unwrap();
    cmd("SET").arg(&["renewed", "0", "PX", "3000"]).exec(&mut conn).unwrap();
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    let renew = |conn: &mut redis::Connection, times: u32| {
        for _ in 0..times {
            assert_eq!(
                cmd("PEXPIRE").arg(&["renewed", "3000"]).query::<u64>(conn).unwrap(),
                1,
                "the test was too slow"
            );
            // The time between renewals is what this test is about.
            std::thread::sleep(Duration::from_millis(500));
        }
    };
    renew(&mut conn, 8);
    run.wait_for(LONG, |p| p.phase == "incremental").unwrap();
    target.stop_signal().unwrap();
    renew(&mut conn, 8);
    target.cont_signal().unwrap();
    cmd("PERSIST").arg("renewed").exec(&mut conn).unwrap();
    let goal = goal(&source);
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    assert_eq!(ask::<i64>(&target, 0, "PTTL renewed"), -1);
    differences_with_grace(&source, &target).assert_equal();
}

/// With the end of the task the grace goes: deadlines are what they are at the source, wherever they came from.
#[test]
fn the_grace_is_taken_off_at_the_end() {
    for (from, to) in [("redis-7.0", "valkey-8.1"), ("redis-6.2", "redis-7.0"), ("redis-7.0", "redis-4.0")] {
        let (source, target) = (Server::start(from).unwrap(), Server::start(to).unwrap());
        let mut conn = source.conn().unwrap();
        let set = |conn: &mut redis::Connection, prefix: &str| {
            for i in 0..1500 {
                cmd("SET").arg(format!("{prefix}:{i}")).arg(i).arg("PX").arg(1_000_000 + i * 1000).exec(conn).unwrap();
            }
            cmd("SET").arg(format!("{prefix}:stays")).arg(1).exec(conn).unwrap();
        };
        set(&mut conn, "copied");
        let task =
            |args: &[&str]| sync(&source.url(), &target.url()).args(["--task", "grace"]).args(args).spawn().unwrap();
        let run = task(&[]);
        run.wait_for(LONG, |p| p.in_step).unwrap();
        set(&mut conn, "followed");
        cmd("SELECT").arg(3).exec(&mut conn).unwrap();
        set(&mut conn, "elsewhere");
        // What the target shows while it follows, and that a stop leaves it so.
        let goal = goal(&source);
        run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
        run.signal(Signal::TERM).unwrap();
        run.wait_exit(LONG).unwrap();
        let late = |key: &str, db| {
            let ask = |server| ask::<i64>(server, db, &format!("PTTL {key}"));
            ask(&target) - ask(&source)
        };
        for (key, db) in [("copied:7", 0), ("followed:1499", 0), ("elsewhere:0", 3)] {
            assert!((29_000..=31_000).contains(&late(key, db)), "{from} to {to}, {key}: {}", late(key, db));
        }
        let ended = task(&["--stop-when-synced"]).wait_exit(LONG).unwrap();
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        for (key, db) in [("copied:7", 0), ("copied:1499", 0), ("followed:1499", 0), ("elsewhere:0", 3)] {
            assert!(late(key, db).abs() <= 500, "{from} to {to}, {key}: {}", late(key, db));
        }
        assert_eq!(late("copied:stays", 0), 0);
        // No deadline of the source is later than 500 ms: the oracle's judgement without a grace.
        let options = Options { ttl_grace_ms: 0, ttl_tolerance_ms: 500, ..Options::default() };
        compare(&source.url(), &target.url(), &options).unwrap().assert_equal();
    }
}

/// A copy that takes much longer than the grace, under writes with short deadlines: the stream renews keys long after
/// their first deadline.
#[test]
fn a_copy_may_take_longer_than_the_grace() {
    let (source, target) = pair("redis-7.0");
    source.config_set("client-output-buffer-limit", "slave 0 0 0").unwrap();
    source.config_set("rdb-key-save-delay", "500").unwrap();
    data::fill_mixed(&source.url(), 25_000, 11).unwrap();
    let load = Load::start(&source.url(), LoadSpec { rate: Some(10_000), ..LoadSpec::default() }).unwrap();
    wait_until("keys with deadlines are there", LONG, || load.commands() > 20_000).unwrap();
    let begun = std::time::Instant::now();
    let run = sync(&source.url(), &target.url()).args(["--ttl-grace", "4s"]).spawn().unwrap();
    run.wait_for(LONG, |p| p.phase == "incremental").unwrap();
    assert!(begun.elapsed() > Duration::from_secs(8), "the copy was too short: {:?}", begun.elapsed());
    let stats = load.stop();
    assert!(stats.failures.is_empty(), "{stats:?}");
    let goal = goal(&source);
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    let options = Options { ttl_grace_ms: 4000, exact_groups: false, ..Options::default() };
    compare(&source.url(), &target.url(), &options).unwrap().assert_equal();
}

/// What was written while the copy ran may take longer than the grace to be applied.
#[test]
fn a_backlog_may_take_longer_than_the_grace() {
    let (source, target) = pair("redis-7.0");
    let proxy = Proxy::start(&target.address()).unwrap();
    source.config_set("client-output-buffer-limit", "slave 0 0 0").unwrap();
    source.config_set("rdb-key-save-delay", "1000").unwrap();
    data::fill_strings(&source.url(), 6000, 10, 1).unwrap();
    let () = ask(&source, 0, "SET renewed v PX 9000");
    let run = sync(&source.url(), &proxy.url()).args(["--ttl-grace", "2s"]).spawn().unwrap();
    run.wait_for(LONG, |p| p.phase == "full_sync" && p.keys > 0).unwrap();
    let mut conn = source.conn().unwrap();
    for _ in 0..100 {
        cmd("SET").arg("filler").arg(vec![b'x'; 400_000]).exec(&mut conn).unwrap();
    }
    assert_eq!(ask::<u64>(&source, 0, "PEXPIRE renewed 600000"), 1, "the test was too slow");
    let goal = goal(&source);
    proxy.limit(3_000_000);
    run.wait_for(LONG, |p| p.phase == "incremental" && !p.in_step && p.delay_bytes > Some(10_000_000)).unwrap();
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    assert_eq!(ask::<u64>(&target, 0, "EXISTS renewed"), 1);
    let options = Options { ttl_grace_ms: 2000, ..Options::default() };
    compare(&source.url(), &target.url(), &options).unwrap().assert_equal();
}

/// A key that is never twice in the same place is found too.
#[test]
fn a_held_deadline_does_not_escape_by_being_renamed() {
    let (source, target) = pair("redis-7.0");
    data::fill_strings(&source.url(), 100_000, 10, 1).unwrap();
    for n in 0..3 {
        let () = ask(&source, n, "SET at:0 v PX 900000");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut conns: Vec<_> = (0..3).map(|_| source.conn().unwrap()).collect();
            for (db, conn) in conns.iter_mut().enumerate() {
                cmd("SELECT").arg(db).exec(conn).unwrap();
            }
            let mut n = 0;
            while !done.load(SeqCst) {
                let (from, to) = (format!("at:{n}"), format!("at:{}", n + 1));
                cmd("RENAME").arg(&[&from, &to]).exec(&mut conns[0]).unwrap();
                let mut copy = redis::pipe();
                copy.atomic().cmd("COPY").arg(&[&from, &to]).cmd("DEL").arg(&from).exec(&mut conns[1]).unwrap();
                // To another database and back under another name.
                let mut walk = redis::pipe();
                walk.cmd("MOVE").arg(&[&from, "9"]).cmd("SELECT").arg(9).cmd("RENAME").arg(&[&from, &to]);
                walk.cmd("MOVE").arg(&[&to, "2"]).cmd("SELECT").arg(2).exec(&mut conns[2]).unwrap();
                n += 1;
            }
        });
        let run = sync(&source.url(), &target.url()).spawn().unwrap();
        let in_step = run.wait_for(LONG, |p| p.in_step);
        done.store(true, SeqCst);
        in_step.unwrap();
        let goal = goal(&source);
        run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    });
    differences_with_grace(&source, &target).assert_equal();
}

/// While the copy runs, keys and fields whose deadlines are held on the target are renamed, moved, copied, renewed under
/// conditions, and freed from their deadline.
fn held_deadlines_are_found_wherever_they_went(version: &str, fields: bool) {
    let (source, target) = pair(version);
    source.config_set("rdb-key-save-delay", "1000").unwrap();
    data::fill_strings(&source.url(), 5000, 10, 1).unwrap();
    for n in 0..1500 {
        let () = ask(&source, 3, &format!("SET key:{n} v PX {}", 600_000 + n));
    }
    for (db, words) in [
        (0, "SET soon v PX 1500"),
        (0, "SET far v PXAT 40000000000000"),
        (1, "SET swapped v PX 700000"),
        (1, "RPUSH list a b"),
        (1, "PEXPIRE list 700000"),
    ] {
        let _: redis::Value = ask(&source, db, words);
    }
    if fields {
        for n in 0..3000 {
            let () = ask(&source, 4, &format!("HSET large f{n} v"));
        }
        for words in ["HSET small a 1 b 2 c 3 d 4", "HPEXPIRE small 500000 FIELDS 3 a b c"] {
            let _: redis::Value = ask(&source, 4, words);
        }
        let names: Vec<String> = (0..2000).map(|n| format!("f{n}")).collect();
        let _: redis::Value = ask(&source, 4, &format!("HPEXPIRE large 900000 FIELDS 2000 {}", names.join(" ")));
    }
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.phase == "full_sync" && p.keys > 0).unwrap();
    for (db, words) in [
        (3, "RENAME key:0 renamed"),
        (3, "MOVE key:1 5"),
        (3, "COPY key:2 copied"),
        (3, "COPY key:3 copied DB 6"),
        (3, "PERSIST key:4"),
        (3, "PEXPIRE key:5 650000 GT"),
        (3, "PEXPIRE key:6 550000 LT"),
        (3, "APPEND key:7 w"),
        (3, "SET key:8 w KEEPTTL"),
        (3, "SET key:9 w"),
        (1, "LPOP list"),
        (0, "SWAPDB 1 2"),
    ] {
        let _: redis::Value = ask(&source, db, words);
    }
    if fields {
        for words in [
            "HPEXPIRE small 600000 GT FIELDS 1 a",
            "HPEXPIRE small 400000 LT FIELDS 1 b",
            "HPEXPIRE small 400000 GT FIELDS 2 b c",
            "HPEXPIRE large 100000 GT FIELDS 2 f0 f1",
            "HPEXPIRE large 100000 LT FIELDS 2 f2 f2999",
            "HPERSIST large FIELDS 1 f3",
            "HDEL large f4",
            "HSET large f5 w",
            "RENAME small renamed",
        ] {
            let _: redis::Value = ask(&source, 4, words);
        }
    }
    assert_eq!(run.progress().unwrap().phase, "full_sync", "the test was too slow");
    let goal = goal(&source);
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    assert!(ask::<i64>(&target, 3, "TTL key:10") < HELD_SECONDS);
    assert!(ask::<u64>(&target, 0, "EXISTS far") == 1);
    differences_with_grace(&source, &target).assert_equal();
}

#[test]
fn held_deadlines_are_found_on_7_0() {
    held_deadlines_are_found_wherever_they_went("redis-7.0", false);
}

#[test]
fn held_deadlines_are_found_on_7_4() {
    held_deadlines_are_found_wherever_they_went("redis-7.4", true);
}

#[test]
fn held_deadlines_are_found_on_valkey_9_1() {
    held_deadlines_are_found_wherever_they_went("valkey-9.1", true);
}

/// Every target that there is takes held deadlines and gives them back.
#[test]
fn deadlines_are_right_on_every_target() {
    let source = Server::start("redis-3.0").unwrap();
    data::fill_mixed(&source.url(), 3000, 5).unwrap();
    for version in
        ["redis-3.0", "redis-3.2", "redis-4.0", "redis-5.0", "redis-6.0", "redis-6.2", "redis-8.6", "redict-7.3"]
    {
        let target = Server::start(version).unwrap();
        let run = sync(&source.url(), &target.url()).spawn().unwrap();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        differences_with_grace(&source, &target).assert_equal();
    }
}

#[test]
fn without_a_grace_deadlines_are_the_same() {
    let (source, target) = pair("redis-7.0");
    data::fill_mixed(&source.url(), 3000, 5).unwrap();
    let run = sync(&source.url(), &target.url()).args(["--ttl-grace", "0s", "--stop-when-synced"]).spawn().unwrap();
    let exit = run.wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    differences(&source, &target).assert_equal();
}

/// A command that finds none of its fields has been told of one at least by the source; others may never have been there.
#[test]
fn a_field_that_the_target_has_lost_is_noticed() {
    std::thread::scope(|scope| {
        let cases = [
            ("redis-7.4", "HPEXPIRE h 900000 FIELDS 2 a nosuch"),
            ("redis-8.6", "HGETEX h PX 900000 FIELDS 2 a nosuch"),
            ("valkey-9.0", "HPEXPIRE h 900000 GT FIELDS 2 a nosuch"),
            ("valkey-9.0", "HPERSIST h FIELDS 2 a nosuch"),
        ];
        for (version, words) in cases {
            scope.spawn(move || lost_field(version, words));
        }
    });
}

fn lost_field(version: &str, words: &str) {
    let (source, target) = pair(version);
    let _: u64 = ask(&source, 0, "HSET h a 1 b 2");
    let _: redis::Value = ask(&source, 0, "HPEXPIRE h 600000 FIELDS 2 a b");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    for found in ["HPEXPIRE h 700000 FIELDS 2 b nosuch", &words.replace(" a ", " b "), "HPERSIST h FIELDS 2 b nosuch"] {
        let _: redis::Value = ask(&source, 0, found);
    }
    let goal = goal(&source);
    run.wait_for(LONG, |p| p.in_step && p.applied_offset >= Some(goal)).unwrap();
    let _: u64 = ask(&target, 0, "HDEL h a");
    let _: redis::Value = ask(&source, 0, words);
    assert_fails(&run.wait_exit(LONG).unwrap(), 1, "TGT-0021");
}
