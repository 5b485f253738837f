//! Deadlines of fields of hashes lose the grace at the end, too.

use super::*;

/// More fields than are looked at in one step.
const MANY: i64 = 1200;

#[test]
fn fields_lose_the_grace_at_the_end() {
    for (from, to) in [("redis-7.4", "valkey-9.0"), ("valkey-9.1", "redis-8.0"), ("redis-7.4", "redis-7.4")] {
        let (source, target) = (Server::start(from).unwrap(), Server::start(to).unwrap());
        let mut conn = source.conn().unwrap();
        let set = |conn: &mut redis::Connection, prefix: &str| {
            let hash = format!("{prefix}:large");
            let fields: Vec<(String, i64)> = (0..MANY).map(|i| (format!("f{i}"), i)).collect();
            cmd("HSET").arg(&hash).arg(&fields).exec(conn).unwrap();
            for i in 0..MANY {
                cmd("HPEXPIRE")
                    .arg(&hash)
                    .arg(900_000 + i * 1000)
                    .arg(&["FIELDS", "1"])
                    .arg(format!("f{i}"))
                    .exec(conn)
                    .unwrap();
            }
            let small = format!("{prefix}:small");
            cmd("HSET").arg(&[&small, "goes", "1", "stays", "2"]).exec(conn).unwrap();
            cmd("HPEXPIRE").arg(&[&small, "800000", "FIELDS", "1", "goes"]).exec(conn).unwrap();
            cmd("HSET").arg(&[&format!("{prefix}:none"), "a", "1"]).exec(conn).unwrap();
        };
        set(&mut conn, "copied");
        let task =
            |args: &[&str]| sync(&source.url(), &target.url()).args(["--task", "fields"]).args(args).spawn().unwrap();
        let run = task(&[]);
        run.wait_for(LONG, |p| p.in_step).unwrap();
        cmd("SELECT").arg(2).exec(&mut conn).unwrap();
        set(&mut conn, "followed");
        let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
        run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
        run.signal(keyferry_testkit::process::Signal::TERM).unwrap();
        run.wait_exit(LONG).unwrap();
        let late = |hash: &str, field: &str, db| {
            let at = |server| ask::<Vec<i64>>(server, db, &format!("HPEXPIRETIME {hash} FIELDS 1 {field}"))[0];
            at(&target) - at(&source)
        };
        let all = [("copied:large", "f7", 0), ("copied:small", "goes", 0), ("followed:large", "f1199", 2)];
        for (hash, field, db) in all {
            let late = late(hash, field, db);
            assert!((29_000..=31_000).contains(&late), "{from} to {to}, {hash}: {late}");
        }
        let ended = task(&["--stop-when-synced"]).wait_exit(LONG).unwrap();
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        for (hash, field, db) in all {
            assert_eq!(late(hash, field, db), 0, "{from} to {to}, {hash}");
        }
        assert_eq!(late("copied:small", "stays", 0), 0);
        let options = Options { ttl_grace_ms: 0, ttl_tolerance_ms: 50, ..Options::default() };
        compare(&source.url(), &target.url(), &options).unwrap().assert_equal();
    }
}
