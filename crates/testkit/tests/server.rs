use std::{process::Command, time::Duration};

use keyferry_testkit::{Server, wait_until};

fn alive(pid: u32) -> bool {
    // A zombie has ended, it only waits to be reaped.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn starts_answers_and_stops() {
    let server = Server::start("redis-7.0").unwrap();
    let (pid, dir) = (server.pid(), server.dir().to_owned());
    let info = server.info("server").unwrap();
    assert_eq!(info["process_id"], pid.to_string());
    assert!(info["redis_version"].starts_with("7.0."));
    server.config_set("maxmemory", "100mb").unwrap();
    drop(server);
    assert!(!alive(pid) && !dir.exists());
}

#[test]
fn restarts_on_the_same_port_with_its_data() {
    let mut server = Server::builder("redis-7.0").arg("--appendonly yes").password("secret").start().unwrap();
    let (port, pid) = (server.port(), server.pid());
    redis::cmd("SET").arg("a").arg("b").exec(&mut server.conn().unwrap()).unwrap();
    server.shutdown().unwrap();
    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    let value: String = redis::cmd("GET").arg("a").query(&mut server.conn().unwrap()).unwrap();
    assert_eq!(value, "b");
    assert_eq!(server.keys().unwrap(), 1);
}

#[test]
fn stopped_server_goes_on() {
    let server = Server::start("redis-6.2").unwrap();
    let mut conn = server.conn().unwrap();
    conn.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    server.stop_signal().unwrap();
    assert!(redis::cmd("PING").exec(&mut conn).is_err());
    server.cont_signal().unwrap();
    redis::cmd("PING").exec(&mut server.conn().unwrap()).unwrap();
}

#[test]
fn replica_follows() {
    let primary = Server::builder("redis-7.0").user("someone", "secret").start().unwrap();
    let replica = Server::start("redis-7.0").unwrap();
    redis::cmd("SET").arg("a").arg("b").exec(&mut primary.conn().unwrap()).unwrap();
    replica.replicate(&primary).unwrap();
    assert_eq!(replica.keys().unwrap(), 1);
}

#[test]
fn a_missing_server_says_how_to_fetch_it() {
    let error = Server::start("redis-1.0").unwrap_err();
    assert!(error.to_string().contains("cargo xtask servers redis-1.0"), "{error}");
}

#[test]
fn trouble_shows_the_log() {
    let error = Server::builder("redis-7.0").arg("no-such-directive 1").start().unwrap_err();
    assert!(format!("{error:?}").contains("no-such-directive"), "{error:?}");
}

/// Starts this very test binary with only [`starts_and_aborts`] in it, which leaves without unwinding.
#[test]
fn server_dies_with_a_killed_owner() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::starts_and_aborts", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let stdout = String::from_utf8(output.stdout).unwrap();
    let pid: u32 = stdout.split("pid=").nth(1).and_then(|rest| rest.lines().next()).unwrap().parse().unwrap();
    wait_until("the server's end", Duration::from_secs(5), || !alive(pid)).unwrap();
}

#[test]
#[ignore = "only as the child of server_dies_with_a_killed_owner"]
fn starts_and_aborts() {
    let server = Server::start("redis-7.0").unwrap();
    println!("\npid={}", server.pid());
    std::process::abort();
}
