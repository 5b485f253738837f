//! Why single keys are not copied: all others are, and the task goes on.

use std::io::Read as _;

use super::*;

/// What the task cannot, or may not, copy is said for each key; the rest is copied, and the task goes on.
#[test]
fn what_the_task_does_not_copy_is_said() {
    some_is_not_copied("redis-7.0", "no more than 16 MiB go through a task");
    some_is_not_copied("redis-3.2", "its reply is too large"); // It does not tell sizes.
}

fn some_is_not_copied(source: &str, too_large: &str) {
    let (source, target) = (Server::start(source).unwrap(), Server::start("redis-7.0").unwrap());
    let state = tempfile::tempdir().unwrap();
    run(&source, 0, &["SET fine 1", "SET left-out:1 1"]);
    // No server makes it smaller.
    let mut noise = vec![0; 20_000_000];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    cmd("SET").arg("large").arg(noise).exec(&mut source.conn().unwrap()).unwrap();
    let sync = sync(&source, &target, state.path()).args(["--block-key-prefix", "left-out:"]).spawn().unwrap();
    sync.wait_for(LONG, |p| p.in_step).unwrap();
    run(&target, 0, &["DEL fine large"]);
    let done = repair(&source, &target, state.path(), &[]);
    assert_eq!((done.code, &done.found().1["repaired"]), (1, &Value::from(1)), "{done:?}");
    let detail = |key| done.lines().iter().find(|d| d["key"] == key).unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(detail("left-out:1").contains("not repaired: the rules of the task leave it out"), "{done:?}");
    assert!(detail("large").contains(too_large), "{done:?}");
    assert_eq!(ask::<Option<u64>>(&target, 0, "GET fine"), Some(1));
    run(&source, 0, &["INCR fine"]);
    wait_until("it goes on", LONG, || ask::<u64>(&target, 0, "GET fine") == 2).unwrap();
    assert_eq!(sync.status().unwrap(), None, "{}", sync.stderr());
}

/// What one of the sides refuses is said for that key; all others are repaired, and the task goes on.
#[test]
fn what_a_side_refuses_is_said() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let state = tempfile::tempdir().unwrap();
    run(
        &source,
        0,
        &["SET fine 1", "SET kept:1 1", "RPUSH kept:2 1", "SET last 1", "SET a-hidden 1", "SET z-hidden 1"],
    );
    let url = |server: &Server| {
        run(server, 0, &["ACL SETUSER mover on >secret ~* &* +@all"]);
        server.url().replace("redis://", "redis://mover:secret@")
    };
    let state_dir = state.path();
    let sync =
        Keyferry::sync(KEYFERRY, &url(&source), &url(&target)).arg("--state-dir").arg(state_dir).spawn().unwrap();
    sync.wait_for(LONG, |p| p.in_step).unwrap();
    run(&target, 0, &["DEL fine kept:1 kept:2 last a-hidden z-hidden", "SET kept:3 1"]);
    run(&source, 0, &["ACL SETUSER mover resetkeys ~fine* ~last* ~kept*"]);
    run(&target, 0, &["ACL SETUSER mover resetkeys ~__keyferry* ~fine* ~last*"]);
    let done = repair(&source, &target, state_dir, &[]);
    assert_eq!((done.code, &done.found().1["repaired"]), (1, &Value::from(2)), "{done:?}");
    let of_target = ["kept:1", "kept:2", "kept:3"].map(|key| (key, "not repaired: the target answers `"));
    let of_source = ["a-hidden", "z-hidden"].map(|key| (key, "with `NOPERM"));
    for (key, reason) in of_target.into_iter().chain(of_source) {
        let line = done.lines().into_iter().find(|d| d["key"] == key).unwrap();
        assert!(line["detail"].as_str().unwrap().contains(reason), "{done:?}");
    }
    run(&source, 0, &["INCR fine"]);
    wait_until("it goes on", LONG, || ask::<u64>(&target, 0, "GET fine") == 2).unwrap();
    assert_eq!(sync.status().unwrap(), None, "{}", sync.stderr());
}

/// Likewise of values that the target cannot read, and that are built there by commands.
#[test]
fn what_the_target_refuses_of_what_is_built_is_said() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-6.2").unwrap());
    let state = tempfile::tempdir().unwrap();
    run(&source, 0, &["RPUSH fine:1 a b", "HSET kept f v", "ZADD fine:2 1 a", "RPUSH fine:3 a"]);
    run(&target, 0, &["ACL SETUSER mover on >secret ~* &* +@all"]);
    let url = target.url().replace("redis://", "redis://mover:secret@");
    let sync = Keyferry::sync(KEYFERRY, &source.url(), &url).arg("--state-dir").arg(state.path()).spawn().unwrap();
    sync.wait_for(LONG, |p| p.in_step).unwrap();
    run(&target, 0, &["RPUSH fine:1 c", "HSET kept f other", "ZADD fine:2 2 a", "DEL fine:3"]);
    // A name, and a command.
    run(&target, 0, &["ACL SETUSER mover resetkeys ~__keyferry* ~fine* -zadd"]);
    let done = repair(&source, &target, state.path(), &[]);
    assert_eq!((done.code, &done.found().1["repaired"]), (1, &Value::from(2)), "{done:?}");
    for key in ["kept", "fine:2"] {
        let line = done.lines().into_iter().find(|d| d["key"] == key).unwrap();
        assert!(line["detail"].as_str().unwrap().contains("not repaired: the target answers `"), "{done:?}");
    }
    // Nothing of them is written, and nothing left over.
    assert_eq!(ask::<String>(&target, 0, "HGET kept f"), "other");
    assert_eq!(ask::<u64>(&target, 0, "ZSCORE fine:2 a"), 2);
    assert_eq!(ask::<Vec<String>>(&target, 0, "KEYS __keyferry_rebuild*"), Vec::<String>::new());
    run(&source, 0, &["RPUSH fine:3 b"]);
    wait_until("it goes on", LONG, || ask::<u64>(&target, 0, "LLEN fine:3") == 2).unwrap();
    assert_eq!(sync.status().unwrap(), None, "{}", sync.stderr());
}

/// Keys are read together. One that cannot be read is why it is not copied, and not why the others are not.
#[test]
fn one_of_many_that_cannot_be_read() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let state = tempfile::tempdir().unwrap();
    for key in ["a:1", "a:2", "m", "z:1", "z:2"] {
        run(&source, 0, &[&format!("SET {key} 1")]);
    }
    run(&source, 0, &["ACL SETUSER mover on >secret ~* &* +@all"]);
    let url = source.url().replace("redis://", "redis://mover:secret@");
    let sync = Keyferry::sync(KEYFERRY, &url, &target.url()).arg("--state-dir").arg(state.path()).spawn().unwrap();
    sync.wait_for(LONG, |p| p.in_step).unwrap();
    run(&target, 0, &["DEL a:1 a:2 m z:1 z:2"]);
    // Of all keys it may know the size: they are asked for together.
    cmd("ACL")
        .arg(&["SETUSER", "mover", "resetkeys", "~a:*", "~z:*", "(+memory|usage ~*)"])
        .exec(&mut source.conn().unwrap())
        .unwrap();
    let done = repair(&source, &target, state.path(), &[]);
    assert_eq!((done.code, &done.found().1["repaired"]), (1, &Value::from(4)), "{done:?}");
    assert_eq!(done.found().0, [(0, "m".to_owned(), "missing_on_target".to_owned())]);
    assert!(done.stdout.contains("not repaired: ") && done.stdout.contains("NOPERM"), "{done:?}");
    run(&source, 0, &["INCR a:1"]);
    wait_until("it goes on", LONG, || ask::<u64>(&target, 0, "GET a:1") == 2).unwrap();
    assert_eq!(sync.status().unwrap(), None, "{}", sync.stderr());
}
