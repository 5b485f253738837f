//! version-pair, modules, same-instance, cyclic-replication, cluster, clock-skew.

use keyferry_precheck::{Item, Status};

use super::{fake::Answer, *};

#[test]
fn versions() {
    let (new, middle) = (start("redis-7.4"), start("redis-4.0"));
    Ask::of(&middle, &new).passes(Item::VersionPair);
    let finding = Ask::of(&new, &middle).look(Item::VersionPair);
    assert_eq!(finding.status, Status::Warning);
    assert!(finding.reason.contains("streams") && finding.reason.contains("Redis 4.0"), "{}", finding.reason);
    assert_eq!(finding.measured["cannot_be_held"].as_array().unwrap().len(), 3);
    let old = start("redis-2.8");
    Ask::of(&old, &new).passes(Item::VersionPair);
    assert!(Ask::of(&new, &old).fails(Item::VersionPair).contains("2.8"));
    let other = fake::start(&new, vec![fake::with("dragonfly_version", "df-v1.30.1")]);
    Ask::new(&new.url(), &other).warns(Item::VersionPair);
}

#[test]
fn modules() {
    let with = |version: &str| Server::builder(version).module("hellotype").start().unwrap();
    let (source, bare) = (with("redis-7.0"), start("redis-7.0"));
    let look = Ask::of(&source, &bare);
    Ask::of(&bare, &source).passes(Item::Modules);
    assert!(look.warns(Item::Modules).contains("hellotype"));
    let hides = fake::start(&bare, vec![("MODULE", Answer::Say("-ERR unknown command 'MODULE'\r\n"))]);
    Ask::new(&source.url(), &hides).warns(Item::Modules);
    Ask::new(&hides, &source.url()).warns(Item::Modules);
    let _: i64 = ask(&source, "HELLOTYPE.INSERT key 5");
    assert!(look.fails(Item::Modules).contains("hellotype"));
    look.with(|ask| ask.on_unsupported = OnUnsupported::Drop).warns(Item::Modules);
    Ask::of(&source, &with("redis-7.0")).passes(Item::Modules);
    // This one names what runs its scripts, too.
    Ask::of(&start("valkey-9.1"), &start("valkey-9.0")).passes(Item::Modules);
    // Older ones have the module, and cannot be given its values.
    assert!(Ask::of(&source, &with("redis-5.0")).fails(Item::Modules).contains("too old"));
}

#[test]
fn one_server_or_two() {
    let (source, target) = pair("redis-7.0");
    Ask::of(&source, &target).passes(Item::SameInstance);
    Ask::new(&source.url(), &format!("redis://localhost:{}", source.port())).fails(Item::SameInstance);
    let hides = fake::start(&target, vec![fake::without("run_id")]);
    Ask::new(&source.url(), &hides).warns(Item::SameInstance);
    Ask::new(&hides, &hides).fails(Item::SameInstance);
}

#[test]
fn circles() {
    let (source, target) = pair("redis-7.0");
    let look = Ask::of(&source, &target);
    look.passes(Item::CyclicReplication);
    // Another task copies to the source; then one from this target.
    let mut position = vec![0; 176];
    position[..4].copy_from_slice(b"KFC1");
    position[88..128].copy_from_slice(&[b'a'; 40]);
    let mut conn = source.conn().unwrap();
    let mut put = |position: &[u8]| {
        let mut command = cmd("HSET");
        command.arg("__keyferry_checkpoint:elsewhere").arg("v").arg(position).exec(&mut conn).unwrap();
    };
    put(&position);
    assert!(look.warns(Item::CyclicReplication).contains("1 other"));
    position[88..128].copy_from_slice(target.info("replication").unwrap()["master_replid"].as_bytes());
    put(&position);
    assert!(look.fails(Item::CyclicReplication).contains("from this target"));
    // Too short to be one.
    put(b"KFC1");
    look.warns(Item::CyclicReplication);
    let () = ask(&source, "FLUSHALL");
    let _: u64 = ask(&source, "DEL x");
    let () = ask(&source, "SET k v");
    let url = user(&source, "+ping +info");
    Ask::new(&url, &target.url()).warns(Item::CyclicReplication);
    // Either one follows the other.
    target.replicate(&source).unwrap();
    look.fails(Item::CyclicReplication);
    Ask::of(&target, &source).fails(Item::CyclicReplication);
    let (old, older) = pair("redis-3.2");
    older.replicate(&old).unwrap();
    Ask::of(&old, &older).fails(Item::CyclicReplication);
    Ask::of(&older, &old).fails(Item::CyclicReplication);
}

#[test]
fn clusters() {
    let (source, target) = pair("redis-7.0");
    Ask::of(&source, &target).passes(Item::Cluster);
    Ask::of(&start("redis-2.8"), &target).passes(Item::Cluster);
    let node = Server::builder("redis-7.0").arg("cluster-enabled yes").start().unwrap();
    Ask::of(&node, &target).fails(Item::Cluster);
    Ask::of(&source, &node).fails(Item::Cluster);
    let () = redis::pipe().cmd("SELECT").arg(3).cmd("SET").arg("k").arg(1).exec(&mut source.conn().unwrap()).unwrap();
    assert!(Ask::of(&source, &node).fails(Item::Cluster).contains("uses several"));
    let sentinel = fake::start(&target, vec![fake::with("redis_mode", "sentinel")]);
    Ask::new(&source.url(), &sentinel).fails(Item::Cluster);
    let silent = fake::start(&target, vec![fake::without("redis_mode"), fake::without("cluster_enabled")]);
    Ask::new(&source.url(), &silent).warns(Item::Cluster);
}

#[test]
fn clocks() {
    let (source, target) = pair("redis-7.0");
    let look = Ask::of(&source, &target);
    look.passes(Item::ClockSkew);
    let ahead = |seconds: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + seconds;
        let (now, len) = (now.to_string(), now.to_string().len());
        let reply = format!("*2\r\n${len}\r\n{now}\r\n$1\r\n0\r\n");
        fake::start(&target, vec![("TIME", Answer::Say(Box::leak(reply.into_boxed_str())))])
    };
    let (little, far) = (ahead(10), ahead(3600));
    Ask::new(&source.url(), &little).warns(Item::ClockSkew);
    Ask::new(&source.url(), &little).with(|ask| ask.ttl_grace = Duration::ZERO).fails(Item::ClockSkew);
    Ask::new(&source.url(), &far).fails(Item::ClockSkew);
    // Both servers agree, and the clock here does not: it counts for sources before 7.0.
    Ask::new(&far, &far).warns(Item::ClockSkew);
    let old = start("redis-6.2");
    Ask::of(&old, &target).passes(Item::ClockSkew);
    let odd = fake::start(&target, vec![("TIME", Answer::Say("*2\r\n$1\r\nx\r\n$-1\r\n"))]);
    Ask::new(&source.url(), &odd).warns(Item::ClockSkew);
}
