//! The target is behind by far more than the grace, again and again, and no key is lost.

use keyferry_testkit::proxy::Way;

use super::*;

/// Longer in milliseconds than any deadline here that is not held.
const HELD_MS: i64 = 1_000_000_000_000;
/// Keys that are renewed before they expire at the source.
const RENEWED: usize = 50;
const GRACE: [&str; 2] = ["--ttl-grace", "2s"];

/// Ends the renewals also where the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Renews all keys each time before they expire, until it is told to stop: as servers pass it on, in several ways.
fn keep_alive(source: &Server, done: &AtomicBool) {
    let mut conn = source.conn().unwrap();
    while !done.load(SeqCst) {
        let mut pipe = redis::pipe();
        for n in 0..RENEWED {
            pipe.cmd("PEXPIRE").arg(format!("renewed:{n}")).arg(3000);
        }
        let renewed: Vec<u64> = pipe.query(&mut conn).unwrap();
        assert!(renewed.iter().all(|&n| n == 1), "the test was too slow");
        // The time between renewals is what this test is about.
        std::thread::sleep(Duration::from_millis(700));
    }
}

/// Does the work while keys are renewed. It gives the process that follows in the end, which then gets all of them without
/// a deadline.
fn while_renewed(source: &Server, work: impl FnOnce() -> Keyferry) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let renewing = scope.spawn(|| keep_alive(source, &done));
        let ends = Ends(&done);
        let run = work();
        drop(ends);
        renewing.join().unwrap();
        persist(source, &run);
    });
}

fn fill(source: &Server) {
    let mut conn = source.conn().unwrap();
    let mut pipe = redis::pipe();
    for n in 0..RENEWED {
        pipe.cmd("SET").arg(format!("renewed:{n}")).arg(n).arg("PX").arg(3000);
    }
    for n in 0..2000 {
        pipe.cmd("SET").arg(format!("long:{n}")).arg(n).arg("PX").arg(600_000 + n);
        pipe.cmd("SET").arg(format!("stays:{n}")).arg(n);
    }
    pipe.exec(&mut conn).unwrap();
}

/// More than a slow link passes on in many times the grace.
fn flood(source: &Server) {
    let mut conn = source.conn().unwrap();
    for _ in 0..150 {
        cmd("SET").arg("filler").arg(vec![b'x'; 400_000]).exec(&mut conn).unwrap();
    }
}

fn is_held(target: &Server, key: &str) -> bool {
    ask::<i64>(target, 0, &format!("PTTL {key}")) > HELD_MS
}

/// Deadlines are held: those that nobody touches, and those that are renewed.
fn wait_until_held(target: &Server) {
    wait_until("deadlines are held", LONG, || is_held(target, "long:7") && is_held(target, "renewed:7")).unwrap();
}

/// Nothing is missing, nothing is held, and all deadlines are what they are to be. The keys no longer expire.
fn assert_right(source: &Server, target: &Server) {
    for n in 0..RENEWED {
        assert_eq!(ask::<u64>(target, 0, &format!("EXISTS renewed:{n}")), 1);
    }
    for n in 0..2000 {
        assert!(!is_held(target, &format!("long:{n}")), "long:{n}");
    }
    let options = Options { ttl_grace_ms: 2000, exact_groups: false, ..Options::default() };
    compare(&source.url(), &target.url(), &options).unwrap().assert_equal();
}

/// Ends the renewals, in a way that shows a key that is gone, and waits until all is there.
fn persist(source: &Server, run: &keyferry_testkit::Keyferry) {
    let mut conn = source.conn().unwrap();
    for n in 0..RENEWED {
        assert_eq!(cmd("PERSIST").arg(format!("renewed:{n}")).query::<u64>(&mut conn).unwrap(), 1);
    }
    let goal = goal(source);
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
}

/// A slow target: what is renewed in time at the source is there in the end.
fn a_slow_target_loses_no_key(from: &str, to: &str) {
    let (source, target) = (Server::start(from).unwrap(), Server::start(to).unwrap());
    source.config_set("client-output-buffer-limit", "slave 0 0 0").unwrap();
    let proxy = Proxy::start(&target.address()).unwrap();
    fill(&source);
    while_renewed(&source, || {
        let run = sync(&source.url(), &proxy.url()).args(GRACE).spawn().unwrap();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        proxy.limit(5_000_000);
        flood(&source);
        run.wait_for(LONG, |p| p.delay_seconds > Some(6.0)).unwrap();
        assert!(is_held(&target, "long:7"), "what was there before is held, too");
        // Another connection finds that deadlines are held.
        proxy.cut();
        run.wait_for(LONG, |p| p.last_error.as_ref().is_some_and(|e| e.starts_with("TGT-0009"))).unwrap();
        proxy.limit(0);
        run.wait_for(LONG, |p| p.in_step).unwrap();
        run
    });
    assert_right(&source, &target);
}

#[test]
fn a_slow_target_loses_no_key_of_7_0() {
    a_slow_target_loses_no_key("redis-7.0", "redis-7.0");
}

#[test]
fn a_slow_target_before_6_2_loses_no_key() {
    a_slow_target_loses_no_key("redis-6.2", "redis-5.0");
}

#[test]
fn a_slow_target_of_3_0_loses_no_key() {
    a_slow_target_loses_no_key("redis-6.2", "redis-3.0");
}

/// The source link is cut for three times the grace, within a transaction.
#[test]
fn a_cut_source_link_loses_no_key() {
    let (source, target) = pair("redis-7.0");
    let proxy = Proxy::start(&source.address()).unwrap();
    fill(&source);
    while_renewed(&source, || {
        let run = sync(&proxy.url(), &target.url()).args(GRACE).spawn().unwrap();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        proxy.refuse(true);
        proxy.cut_after_way(Way::ToClient, Some(1_000_000));
        let mut pipe = redis::pipe();
        pipe.atomic();
        for n in 0..40 {
            pipe.cmd("SET").arg(format!("large:{n}")).arg(vec![b'x'; 50_000]);
        }
        pipe.exec(&mut source.conn().unwrap()).unwrap();
        wait_until_held(&target);
        assert_eq!(ask::<u64>(&target, 0, "EXISTS large:0"), 0, "a part of a transaction");
        run.wait_for(LONG, |p| p.phase == "retrying").unwrap();
        run.wait_for(LONG, |p| p.delay_seconds > Some(6.0)).unwrap();
        proxy.heal();
        run.wait_for(LONG, |p| p.phase == "incremental" && p.in_step).unwrap();
        run
    });
    assert_right(&source, &target);
}

fn field_deadlines(server: &Server, words: &str) -> Vec<i64> {
    ask(server, 0, words)
}

/// Fields of hashes are renewed while the link is cut, also under conditions that are judged on the target.
fn a_cut_source_link_loses_no_field(version: &str) {
    let (source, target) = pair(version);
    let proxy = Proxy::start(&source.address()).unwrap();
    let names: Vec<String> = (0..2000).map(|n| format!("f{n}")).collect();
    let names = names.join(" ");
    for words in [
        format!("HSET large {}", names.replace(' ', " v ") + " v"),
        format!("HPEXPIRE large 600000 FIELDS 2000 {names}"),
        "HSET small a 1 b 2 c 3 d 4".to_owned(),
        "HPEXPIRE small 600000 FIELDS 3 a b c".to_owned(),
        "HSET renewed a 1 b 2 c 3".to_owned(),
        "HPEXPIRE renewed 3000 FIELDS 2 a b".to_owned(),
    ] {
        let _: redis::Value = ask(&source, 0, &words);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let renewing = scope.spawn(|| {
            while !done.load(SeqCst) {
                assert_eq!(
                    field_deadlines(&source, "HPEXPIRE renewed 3000 FIELDS 2 a b"),
                    [1, 1],
                    "the test was too slow"
                );
                // The time between renewals is what this test is about.
                std::thread::sleep(Duration::from_millis(700));
            }
        });
        let ends = Ends(&done);
        let run = sync(&proxy.url(), &target.url()).args(GRACE).spawn().unwrap();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        proxy.refuse(true);
        proxy.cut();
        run.wait_for(LONG, |p| p.phase == "retrying").unwrap();
        wait_until("fields are held", LONG, || {
            field_deadlines(&target, "HPTTL large FIELDS 2 f0 f1999").iter().all(|&left| left > HELD_MS)
                && field_deadlines(&target, "HPTTL small FIELDS 1 a")[0] > HELD_MS
        })
        .unwrap();
        for words in [
            "HPEXPIRE small 900000 GT FIELDS 1 a",
            "HPEXPIRE small 300000 GT FIELDS 1 b",
            "HPEXPIRE small 300000 LT FIELDS 1 c",
            "HPEXPIRE large 900000 LT FIELDS 1 f0",
            "HPEXPIRE large 300000 LT FIELDS 2 f1 f2",
            "HPERSIST large FIELDS 1 f3",
        ] {
            let _: redis::Value = ask(&source, 0, words);
        }
        run.wait_for(LONG, |p| p.delay_seconds > Some(6.0)).unwrap();
        proxy.heal();
        run.wait_for(LONG, |p| p.phase == "incremental" && p.in_step).unwrap();
        drop(ends);
        renewing.join().unwrap();
        assert_eq!(field_deadlines(&source, "HPERSIST renewed FIELDS 2 a b"), [1, 1]);
        let goal = goal(&source);
        run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    });
    let left = field_deadlines(&target, &format!("HPTTL large FIELDS 2000 {names}"));
    assert!(left.iter().all(|&left| left < HELD_MS));
    let options = Options { ttl_grace_ms: 2000, exact_groups: false, ..Options::default() };
    compare(&source.url(), &target.url(), &options).unwrap().assert_equal();
}

#[test]
fn a_cut_source_link_loses_no_field_of_7_4() {
    a_cut_source_link_loses_no_field("redis-7.4");
}

#[test]
fn a_cut_source_link_loses_no_field_of_valkey_9_1() {
    a_cut_source_link_loses_no_field("valkey-9.1");
}

/// A process that begins without the source knows of no delay.
#[test]
fn a_start_without_the_source_loses_no_key() {
    let (source, target) = pair("redis-7.0");
    let proxy = Proxy::start(&source.address()).unwrap();
    fill(&source);
    let task = || {
        let task = format!("without-{}", source.port());
        sync(&proxy.url(), &target.url()).args(GRACE).args(["--task", &task]).spawn().unwrap()
    };
    while_renewed(&source, || {
        let run = task();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        run.kill_9();
        run.wait_exit(LONG).unwrap();
        proxy.refuse(true);
        let run = task();
        wait_until_held(&target);
        // The time without the source is what this test is about.
        std::thread::sleep(Duration::from_secs(6));
        proxy.heal();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        run
    });
    assert_right(&source, &target);
}

/// The time for which there was no process counts as a delay from the first moment on.
#[test]
fn a_process_that_was_away_for_long_holds_from_the_start() {
    let (source, target) = pair("redis-7.0");
    let proxy = Proxy::start(&source.address()).unwrap();
    let name = format!("away-{}", source.port());
    let task = || sync(&proxy.url(), &target.url()).args(["--ttl-grace", "2m", "--task", &name]).spawn().unwrap();
    let () = ask(&source, 0, "SET long:7 v PX 600000");
    let in_step = |run: &Keyferry| {
        let () = ask(&source, 0, "SET another v");
        let goal = goal(&source);
        run.wait_for(LONG, |p| p.in_step && p.applied_offset >= Some(goal)).unwrap();
    };
    let run = task();
    in_step(&run);
    run.signal(Signal::TERM).unwrap();
    run.wait_exit(LONG).unwrap();
    // Not for long.
    let run = task();
    in_step(&run);
    assert!(!is_held(&target, "long:7"));
    run.kill_9();
    let stderr = run.wait_exit(LONG).unwrap().stderr;
    assert!(!stderr.contains("deadlines are held"), "{stderr}");
    // A minute, of which a quarter of the grace is less, and half of it more.
    let _: u64 = ask(&target, 0, &format!("HINCRBY __keyferry_checkpoint:{name} t -40000"));
    proxy.limit_way(Way::ToClient, 300_000);
    let value = vec![b'x'; 1_000_000];
    cmd("SET").arg("filler").arg(value).exec(&mut source.conn().unwrap()).unwrap();
    let run = task();
    wait_until("deadlines are held", LONG, || is_held(&target, "long:7")).unwrap();
    proxy.limit_way(Way::ToClient, 0);
    in_step(&run);
    assert!(!is_held(&target, "long:7"));
}

/// A process that dies while deadlines are held: the next one knows that some are.
#[test]
fn a_process_that_dies_while_holding_leaves_nothing_held() {
    let (source, target) = pair("redis-7.0");
    let proxy = Proxy::start(&source.address()).unwrap();
    fill(&source);
    let task = || {
        let task = format!("holding-{}", source.port());
        sync(&proxy.url(), &target.url()).args(GRACE).args(["--task", &task]).spawn().unwrap()
    };
    while_renewed(&source, || {
        let run = task();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        proxy.refuse(true);
        proxy.cut();
        wait_until_held(&target);
        run.kill_9();
        proxy.heal();
        let run = task();
        run.wait_for(LONG, |p| p.in_step).unwrap();
        run
    });
    assert_right(&source, &target);
}

/// A process that stands still in the middle of holding what is there, and is taken over meanwhile, holds nothing more: nobody
/// would settle it.
#[test]
fn a_process_that_was_taken_over_holds_nothing() {
    const KEYS: usize = 20_000;
    let (source, target) = pair("redis-7.0");
    let (from, to) = (Proxy::start(&source.address()).unwrap(), Proxy::start(&target.address()).unwrap());
    let mut pipe = redis::pipe();
    for n in 0..KEYS {
        pipe.cmd("SET").arg(n).arg(n).arg("PX").arg(3_600_000);
    }
    pipe.exec(&mut source.conn().unwrap()).unwrap();
    let held = || {
        let mut pipe = redis::pipe();
        for n in 0..KEYS {
            pipe.cmd("PTTL").arg(n);
        }
        let left: Vec<i64> = pipe.query(&mut target.conn().unwrap()).unwrap();
        left.into_iter().filter(|&left| left > HELD_MS).count()
    };
    let in_dir = |dir: &str, source: &str, target: &str| {
        let name = format!("taken-{}", from.url().rsplit(':').next().unwrap());
        let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{dir}"));
        Keyferry::sync(env!("CARGO_BIN_EXE_keyferry"), source, target)
            .args(GRACE)
            .args(["--task", &name, "--state-dir", dir.to_str().unwrap()])
            .spawn()
            .unwrap()
    };
    let older = in_dir("a", &from.url(), &to.url());
    older.wait_for(LONG, |p| p.in_step).unwrap();
    // So a pass takes its time.
    to.limit(100_000);
    from.refuse(true);
    from.cut();
    wait_until("some are held", LONG, || held() > 0).unwrap();
    older.signal(Signal::STOP).unwrap();
    assert!(held() < KEYS, "the test was too slow");
    let newer = in_dir("b", &source.url(), &target.url());
    newer.wait_for(LONG, |p| p.in_step).unwrap();
    older.signal(Signal::CONT).unwrap();
    // The time for which it does not know.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(held(), 0);
    from.heal();
    to.heal();
    let () = ask(&source, 0, "SET a 1");
    assert_fails(&older.wait_exit(LONG).unwrap(), 1, "TGT-0024");
    newer.wait_for(LONG, |p| p.in_step).unwrap();
    assert_eq!(held(), 0);
}
