//! What goes wrong has an exit code, a stable code, a reason and a remedy.

use std::{fs, net::TcpListener, thread};

use keyferry_testkit::{data, keyferry::Exit};

use super::{fake_source::FakeSource, *};

fn run(source: &str, target: &str, args: &[&str]) -> Exit {
    sync(source, target).args(args).spawn().unwrap().wait_exit(LONG).unwrap()
}

/// A snapshot as a real server writes it.
fn snapshot() -> Vec<u8> {
    let server = Server::start("redis-7.0").unwrap();
    data::fill_mixed(&server.url(), 500, 3).unwrap();
    let () = ask(&server, 0, "SAVE");
    fs::read(server.dir().join("dump.rdb")).unwrap()
}

fn with_length(rdb: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", rdb.len()).as_bytes(), rdb].concat()
}

const MARK: [u8; 40] = *b"0123456789012345678901234567890123456789";

fn with_mark(rdb: &[u8], mark: &[u8]) -> Vec<u8> {
    [b"\n\n$EOF:", MARK.as_slice(), b"\r\n", rdb, mark].concat()
}

#[test]
fn usage() {
    let (url, other) = ("redis://127.0.0.1:1", "redis://127.0.0.1:2");
    for (source, code) in [("http://127.0.0.1:1", "CFG-0001"), ("redis-cluster://127.0.0.1:1", "CFG-0002")] {
        assert_fails(&run(source, url, &[]), 2, code);
    }
    for args in [["--on-conflict", "merge"], ["--task", "../x"], ["--retry-window", "soon"], ["--progress", "loud"]] {
        assert_eq!(run(url, other, &args).code(), 2);
    }
    assert_eq!(run(url, other, &["--full-only", "--stop-when-synced"]).code(), 2);
    let (source, target) = pair("redis-7.0");
    assert_fails(&run(&source.url(), &format!("{}/1", target.url()), &[]), 2, "CFG-0001");
}

#[test]
fn wrong_and_missing_passwords() {
    let locked = Server::builder("redis-7.0").password("right").start().unwrap();
    let old = Server::builder("redis-5.0").password("right").start().unwrap();
    let open = Server::start("redis-7.0").unwrap();
    for server in [&locked, &old] {
        let url = |password: &str| format!("redis://{password}127.0.0.1:{}", server.port());
        for password in ["", ":wrong@"] {
            assert_fails(&run(&url(password), &open.url(), &[]), 1, "SRC-0004");
            assert_fails(&run(&open.url(), &url(password), &[]), 1, "TGT-0004");
        }
    }
}

#[test]
fn no_such_host_and_nobody_there() {
    let open = Server::start("redis-7.0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("redis://127.0.0.1:{nobody}");
    let nowhere = "redis://no-such-host.invalid:6379";
    assert_fails(&run(nowhere, &open.url(), &[]), 1, "SRC-0001");
    assert_fails(&run(&open.url(), nowhere, &[]), 1, "TGT-0001");
    assert_fails(&run(&nobody, &open.url(), &[]), 1, "SRC-0002");
    assert_fails(&run(&open.url(), &nobody, &[]), 1, "TGT-0002");
}

#[test]
fn not_a_redis_server() {
    let open = Server::start("redis-7.0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            use std::io::Write as _;
            let _ = (&stream).write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    });
    assert_fails(&run(&url, &open.url(), &[]), 1, "SRC-0005");
    assert_fails(&run(&open.url(), &url, &[]), 1, "TGT-0005");
}

#[test]
fn the_same_server_on_both_sides() {
    let server = Server::start("redis-7.0").unwrap();
    assert_fails(&run(&server.url(), &format!("redis://localhost:{}", server.port()), &[]), 3, "CFG-0006");
}

#[test]
fn the_target_is_the_primary_of_the_source() {
    for version in ["redis-7.0", "redis-3.2"] {
        let (source, target) = pair(version);
        source.replicate(&target).unwrap();
        assert_fails(&run(&source.url(), &target.url(), &["--on-conflict", "clear"]), 3, "CFG-0006");
    }
}

#[test]
fn a_password_is_not_shown_by_a_server_without_auth() {
    let open = Server::start("redis-7.0").unwrap();
    let strange = Server::builder("redis-7.0").arg("rename-command AUTH LOGIN").start().unwrap();
    let url = format!("redis://:topsecret@127.0.0.1:{}", strange.port());
    let exit = run(&url, &open.url(), &["--log-level", "trace"]);
    assert_fails(&exit, 1, "SRC-0004");
    assert!(!exit.stderr.contains("topsecret"), "{}", exit.stderr);
}

#[test]
fn the_target_is_a_replica() {
    let (source, target) = pair("redis-7.0");
    let primary = Server::start("redis-7.0").unwrap();
    target.replicate(&primary).unwrap();
    assert_fails(&run(&source.url(), &target.url(), &["--on-conflict", "clear"]), 3, "TGT-0013");
}

#[test]
fn cluster_nodes_are_refused() {
    let open = Server::start("redis-7.0").unwrap();
    let node = Server::builder("redis-7.0").arg("cluster-enabled yes").start().unwrap();
    assert_fails(&run(&node.url(), &open.url(), &[]), 3, "SRC-0010");
    assert_fails(&run(&open.url(), &node.url(), &[]), 3, "TGT-0010");
}

#[test]
fn too_few_databases() {
    let source = Server::start("redis-7.0").unwrap();
    let target = Server::builder("redis-7.0").arg("databases 4").start().unwrap();
    let () = ask(&source, 7, "SET a 1");
    let () = ask(&source, 0, "SET a 1");
    assert_fails(&run(&source.url(), &target.url(), &[]), 1, "TGT-0019");
    assert_eq!(target.keys().unwrap(), 0, "it is found before anything is written");
}

#[test]
fn the_source_is_loading() {
    let filler = Server::start("redis-7.0").unwrap();
    data::fill_strings(&filler.url(), 50_000, 10, 1).unwrap();
    let () = ask(&filler, 0, "SAVE");
    let target = Server::start("redis-7.0").unwrap();
    let loading = || {
        // A key in 100 us: 5 s, in which the server answers every few keys.
        let server = Server::builder("redis-7.0").arg("key-load-delay 100");
        let server = server.arg("loading-process-events-interval-bytes 1024").snapshot(filler.dir().join("dump.rdb"));
        server.ready_when_loading().start().unwrap()
    };
    let source = loading();
    assert_fails(&run(&source.url(), &target.url(), &["--retry-window", "1s"]), 1, "SRC-0006");
    // Without a limit it waits until the source is there.
    let source = loading();
    let exit = run(&source.url(), &target.url(), &["--stop-when-synced"]);
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert_eq!(target.keys().unwrap(), 50_000);
}

#[test]
fn the_source_has_no_link_to_its_primary() {
    let (primary, target) = pair("redis-7.0");
    let mut source = Server::start("redis-7.0").unwrap();
    source.replicate(&primary).unwrap();
    drop(primary);
    keyferry_testkit::wait_until("the link is down", LONG, || {
        source.info("replication").is_ok_and(|i| i.get("master_link_status").is_some_and(|s| s == "down"))
    })
    .unwrap();
    assert_fails(&run(&source.url(), &target.url(), &["--retry-window", "1s"]), 1, "SRC-0012");
    source.kill_9();
}

#[test]
fn the_target_is_full() {
    let source = Server::start("redis-7.0").unwrap();
    let target = Server::builder("redis-7.0").arg("maxmemory 8mb").arg("maxmemory-policy noeviction").start().unwrap();
    data::fill_strings(&source.url(), 100_000, 100, 1).unwrap();
    let exit = run(&source.url(), &target.url(), &["--retry-window", "2s"]);
    assert_fails(&exit, 1, "TGT-0015");
    // With room it goes on where it was.
    target.config_set("maxmemory", "0").unwrap();
    let exit = run(&source.url(), &target.url(), &["--stop-when-synced"]);
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    differences(&source, &target).assert_equal();
    assert_eq!(source.info("stats").unwrap()["sync_full"], "1");
}

#[test]
fn the_target_is_demoted_while_following() {
    let (source, target) = pair("redis-7.0");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    // An address where nobody is: the target turns read-only and keeps its connections.
    let () = ask(&target, 0, "REPLICAOF 127.0.0.1 1");
    let () = ask(&source, 0, "SET a 1");
    run.wait_for(LONG, |p| p.phase == "retrying" && p.last_error.as_deref().is_some_and(|e| e.starts_with("TGT-0020")))
        .unwrap();
    let () = ask(&target, 0, "REPLICAOF NO ONE");
    let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    differences_with_grace(&source, &target).assert_equal();
}

#[test]
fn a_refused_command_is_never_dropped() {
    let (source, target) = pair("redis-7.0");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let () = ask(&target, 0, "SET secret-key text");
    let _: u64 = ask(&source, 0, "RPUSH secret-key secret-value");
    let exit = run.wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "TGT-0018");
    assert!(exit.stderr.contains("RPUSH") && exit.stderr.contains("offset"), "{}", exit.stderr);
    assert!(!exit.stderr.contains("secret-"), "{}", exit.stderr);
}

#[test]
fn a_refused_command_within_a_transaction_is_never_dropped() {
    let (source, target) = pair("redis-7.0");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let () = ask(&target, 0, "SET k text");
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("SET").arg("a").arg(1).ignore().cmd("RPUSH").arg("k").arg(1).ignore();
    let () = pipe.query(&mut source.conn().unwrap()).unwrap();
    assert_fails(&run.wait_exit(LONG).unwrap(), 1, "TGT-0018");
}

#[test]
fn a_snapshot_by_mark_and_by_length() {
    let rdb = snapshot();
    for payload in [with_length(&rdb), with_mark(&rdb, &MARK)] {
        let target = Server::start("redis-7.0").unwrap();
        let exit = run(&FakeSource::start(payload).url(), &target.url(), &["--full-only"]);
        assert_eq!(exit.code(), 0, "{}", exit.stderr);
        assert!(target.keys().unwrap() > 300);
    }
}

#[test]
fn a_truncated_snapshot() {
    let rdb = snapshot();
    let target = Server::start("redis-7.0").unwrap();
    let args = ["--full-only", "--on-conflict", "replace"];
    for len in [9, rdb.len() / 2, rdb.len() - 8, rdb.len() - 1] {
        let exit = run(&FakeSource::start(with_length(&rdb[..len])).url(), &target.url(), &args);
        assert_fails(&exit, 1, "RDB-0001");
    }
    let longer = with_length(&[&rdb[..], b"x"].concat());
    assert_fails(&run(&FakeSource::start(longer).url(), &target.url(), &args), 1, "RDB-0001");
    let other_mark = with_mark(&rdb, &[b'x'; 40]);
    assert_fails(&run(&FakeSource::start(other_mark).url(), &target.url(), &args), 1, "RDB-0001");
}

#[test]
fn a_corrupt_snapshot() {
    let rdb = snapshot();
    let target = Server::start("redis-7.0").unwrap();
    let args = ["--full-only", "--on-conflict", "replace"];
    let flipped = |at: usize, to: u8| {
        let mut bad = rdb.clone();
        bad[at] = to;
        run(&FakeSource::start(with_length(&bad)).url(), &target.url(), &args)
    };
    assert_fails(&flipped(0, b'X'), 1, "RDB-0001");
    // The version: `REDIS0010` becomes `REDIS0910`.
    assert_fails(&flipped(6, b'9'), 1, "RDB-0003");
    let last = rdb.len() - 1;
    assert_fails(&flipped(last, rdb[last] ^ 1), 1, "RDB-0001");
}

#[test]
fn a_value_of_an_unknown_type() {
    // A header, SELECTDB 3, then type 200 with the key `secret-key`.
    let rdb = [&b"REDIS0010\xfe\x03\xc8\x0asecret-key"[..], &[0; 30]].concat();
    let target = Server::start("redis-7.0").unwrap();
    let exit = run(&FakeSource::start(with_length(&rdb)).url(), &target.url(), &["--full-only"]);
    assert_fails(&exit, 1, "RDB-0002");
    for part in ["200", "database 3", "11"] {
        assert!(exit.stderr.contains(part), "no {part} in {}", exit.stderr);
    }
    assert!(!exit.stderr.contains("secret-key"), "{}", exit.stderr);
}
