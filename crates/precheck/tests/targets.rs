//! target-data, target-role, target-eviction, memory-headroom, databases.

use keyferry_precheck::{Item, Status};

use super::{fake::Answer, *};

#[test]
fn data_on_the_target() {
    let (source, target) = pair("redis-7.0");
    let with = |on_conflict| Ask::of(&source, &target).with(|ask| ask.on_conflict = on_conflict);
    with(OnConflict::Abort).passes(Item::TargetData);
    let mut conn = target.conn().unwrap();
    let code = "#!lua name=l\nredis.register_function('f', function() return 1 end)";
    cmd("FUNCTION").arg("LOAD").arg(code).exec(&mut conn).unwrap();
    assert!(with(OnConflict::Abort).fails(Item::TargetData).contains("1 function"));
    let () = ask(&target, "FUNCTION FLUSH");
    let () = ask(&target, "SET secret-key value");
    let reason = with(OnConflict::Abort).fails(Item::TargetData);
    assert!(reason.contains("1 keys") && !reason.contains("secret"), "{reason}");
    for on_conflict in [OnConflict::Ignore, OnConflict::Replace, OnConflict::Clear] {
        with(on_conflict).warns(Item::TargetData);
    }
    // Another database is chosen.
    let one = |db| Ask::new(&format!("{}/0", source.url()), &format!("{}/{db}", target.url()));
    one(3).passes(Item::TargetData);
    one(0).fails(Item::TargetData);
    // The task is there already.
    let _: u64 = ask(&target, "HSET __keyferry_checkpoint:task v x");
    assert!(with(OnConflict::Abort).passes(Item::TargetData).contains("goes on"));
}

#[test]
fn role_of_the_target() {
    let (source, target) = pair("redis-7.0");
    let look = Ask::of(&source, &target);
    look.passes(Item::TargetRole);
    target.config_set("min-replicas-to-write", "1").unwrap();
    assert!(look.warns(Item::TargetRole).contains("NOREPLICAS"));
    target.config_set("min-replicas-to-write", "0").unwrap();
    let silent = fake::start(&target, vec![fake::without("role")]);
    Ask::new(&source.url(), &silent).warns(Item::TargetRole);
    let () = ask(&target, "REPLICAOF 127.0.0.1 1");
    look.fails(Item::TargetRole);
    // A replica that says it were a primary.
    let lying = fake::start(&target, vec![fake::with("role", "master")]);
    assert!(Ask::new(&source.url(), &lying).fails(Item::TargetRole).contains("READONLY"));
    assert_eq!(target.keys().unwrap(), 0);
}

#[test]
fn eviction_on_the_target() {
    let (source, target) = pair("redis-7.0");
    let look = Ask::of(&source, &target);
    look.passes(Item::TargetEviction);
    target.config_set("maxmemory-policy", "allkeys-lru").unwrap();
    look.passes(Item::TargetEviction);
    target.config_set("maxmemory", "100mb").unwrap();
    let finding = look.look(Item::TargetEviction);
    assert_eq!(finding.status, Status::Warning);
    assert_eq!(
        (&finding.measured["maxmemory"], &finding.measured["policy"]),
        (&(100 << 20).into(), &"allkeys-lru".into())
    );
    target.config_set("maxmemory-policy", "noeviction").unwrap();
    look.passes(Item::TargetEviction);
    // 3.0 says it in its settings only, and a service may hide them.
    let old = Server::builder("redis-3.0").arg("maxmemory 10mb").arg("maxmemory-policy volatile-lru").start().unwrap();
    Ask::of(&source, &old).warns(Item::TargetEviction);
    let hides = fake::start(&old, vec![("CONFIG", Answer::Say("-ERR unknown command 'CONFIG'\r\n"))]);
    assert!(Ask::new(&source.url(), &hides).warns(Item::TargetEviction).contains("does not tell"));
}

#[test]
fn memory_of_the_target() {
    let (source, target) = pair("redis-7.0");
    let look = Ask::of(&source, &target);
    look.passes(Item::MemoryHeadroom);
    let _: u64 = ask(&source, "SETRANGE big 19999999 x");
    look.passes(Item::MemoryHeadroom);
    for (limit, status) in [("8mb", Status::Failed), ("24mb", Status::Warning), ("100mb", Status::Passed)] {
        target.config_set("maxmemory", limit).unwrap();
        look.finds(Item::MemoryHeadroom, status);
    }
    // What the target holds counts, unless it goes first.
    let _: u64 = ask(&target, "SETRANGE other 69999999 x");
    target.config_set("maxmemory", "80mb").unwrap();
    look.fails(Item::MemoryHeadroom);
    let with = |on_conflict| Ask::of(&source, &target).with(|ask| ask.on_conflict = on_conflict);
    with(OnConflict::Replace).warns(Item::MemoryHeadroom);
    with(OnConflict::Clear).passes(Item::MemoryHeadroom);
    // A database without keys takes nothing.
    Ask::new(&format!("{}/5", source.url()), &target.url()).passes(Item::MemoryHeadroom);
    // A machine without room, and a server that does not tell.
    target.config_set("maxmemory", "0").unwrap();
    let small = fake::start(&target, vec![fake::with("total_system_memory", "80000000")]);
    Ask::new(&source.url(), &small).warns(Item::MemoryHeadroom);
    let silent = fake::start(&source, vec![fake::without("used_memory")]);
    Ask::new(&silent, &target.url()).warns(Item::MemoryHeadroom);
}

#[test]
fn databases_of_the_target() {
    let source = Server::builder("redis-7.0").arg("databases 32").start().unwrap();
    let target = start("redis-7.0");
    let look = Ask::of(&source, &target);
    assert!(look.warns(Item::Databases).contains("32"));
    Ask::of(&target, &source).passes(Item::Databases);
    let one = |from: u32, to: u32| Ask::new(&format!("{}/{from}", source.url()), &format!("{}/{to}", target.url()));
    one(20, 3).passes(Item::Databases);
    one(3, 20).fails(Item::Databases);
    let mut conn = source.conn().unwrap();
    redis::pipe().cmd("SELECT").arg(20).cmd("SET").arg("k").arg(1).exec(&mut conn).unwrap();
    let finding = look.look(Item::Databases);
    assert_eq!((finding.status, &finding.measured["highest_used"]), (Status::Failed, &20.into()));
    // With rules, what is chosen counts, and where it goes.
    look.with(|ask| ask.databases = Some("20:4,3:15")).passes(Item::Databases);
    Ask::of(&source, &target).with(|ask| ask.databases = Some("3:15,0:16")).fails(Item::Databases);
    // The setting is hidden, and SELECT not allowed.
    let hides = fake::start(&target, vec![("CONFIG", Answer::Say("-NOPERM no\r\n"))]);
    Ask::new(&format!("{}/3", source.url()), &hides).passes(Item::Databases);
    let refuses = fake::start(&target, vec![("SELECT", Answer::Say("-NOPERM no\r\n"))]);
    Ask::new(&source.url(), &refuses).warns(Item::Databases);
}

/// Of a dump file only its size is known.
#[test]
fn a_dump_file_as_the_source() {
    let of_source = [
        Item::SourceConnection,
        Item::SourcePermission,
        Item::Modules,
        Item::SameInstance,
        Item::CyclicReplication,
        Item::Databases,
        Item::ClockSkew,
        Item::LargestKeys,
        Item::SpoolDisk,
        Item::SourceLogBuffer,
        Item::SourceOutputBuffer,
    ];
    let look = |target: &str, bytes| Ask::new("redis://127.0.0.1:1", target).with(|ask| ask.file = Some(bytes));
    for version in ["redis-3.0", "redis-7.0", "valkey-9.1"] {
        let target = start(version);
        for finding in look(&target.url(), 1000).report(&[]).items {
            let of_source = of_source.contains(&finding.item);
            let expected = if of_source { Status::Skipped } else { Status::Passed };
            assert_eq!(finding.status, expected, "{version}: {finding:?}");
            assert!(!of_source || finding.reason.contains("dump file"), "{finding:?}");
        }
    }
    let target = start("redis-7.0");
    target.config_set("maxmemory", "100mb").unwrap();
    look(&target.url(), 50 << 20).passes(Item::MemoryHeadroom);
    look(&target.url(), 90 << 20).warns(Item::MemoryHeadroom);
    look(&target.url(), 100 << 20).fails(Item::MemoryHeadroom);
    target.config_set("maxmemory-policy", "allkeys-lru").unwrap();
    look(&target.url(), 1).warns(Item::TargetEviction);
    // What loading a file needs, and no more.
    let rights = "~* +ping +info +select +eval +set +mset +msetnx +del +restore +pexpireat +multi +discard +append +rpush \
                  +sadd +zadd +hmset +xadd";
    look(&user(&target, rights), 1).passes(Item::TargetPermission);
    assert!(look(&user(&target, &format!("{rights} -restore")), 1).fails(Item::TargetPermission).contains("RESTORE"));
    assert!(look(&user(&target, &format!("{rights} -xadd")), 1).warns(Item::TargetPermission).contains("XADD"));
    // A position of a task of the same name is nothing to go on with.
    let _: u64 = ask(&target, "HSET __keyferry_checkpoint:task v x");
    look(&target.url(), 1).fails(Item::TargetData);
    let () = ask(&target, "REPLICAOF 127.0.0.1 1");
    look(&target.url(), 1).fails(Item::TargetRole);
    let real = start("redis-7.0");
    let old = fake::start(&real, vec![fake::with("redis_version", "2.8.0")]);
    look(&old, 1).fails(Item::VersionPair);
    let node = Server::builder("redis-7.0").arg("cluster-enabled yes").start().unwrap();
    look(&node.url(), 1).fails(Item::Cluster);
    let without = Server::builder("redis-5.0").arg("rename-command RESTORE \"\"").start().unwrap();
    assert!(look(&without.url(), 1).fails(Item::Commands).contains("RESTORE"));
    look("redis://127.0.0.1:1", 1).fails(Item::TargetConnection);
}
