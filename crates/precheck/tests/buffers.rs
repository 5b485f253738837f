//! source-log-buffer, source-output-buffer, largest-keys, spool-disk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use keyferry_precheck::{Item, Status};

use super::{fake::Answer, *};

/// Writes some hundred kilobytes a second until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Load {
    fn start(server: &Server) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (of_thread, mut conn) = (Arc::clone(&stop), server.conn().unwrap());
        let thread = thread::spawn(move || {
            while !of_thread.load(Relaxed) {
                cmd("SET").arg("k").arg(vec![b'x'; 4096]).exec(&mut conn).unwrap();
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

#[test]
fn backlog_of_the_source() {
    let (source, target) = pair("redis-7.0");
    let look = Ask::of(&source, &target);
    look.passes(Item::SourceLogBuffer);
    let load = Load::start(&source);
    // Without a replica it is estimated from the number of changes.
    let finding = look.look(Item::SourceLogBuffer);
    assert_eq!((finding.status, &finding.measured["write_rate_is_estimated"]), (Status::Warning, &true.into()));
    source.config_set("repl-backlog-size", "1gb").unwrap();
    look.passes(Item::SourceLogBuffer);
    source.config_set("repl-backlog-size", "1mb").unwrap();
    let replica = start("redis-7.0");
    replica.replicate(&source).unwrap();
    let finding = look.look(Item::SourceLogBuffer);
    assert_eq!((finding.status, &finding.measured["write_rate_is_estimated"]), (Status::Warning, &false.into()));
    let rate = finding.measured["write_bytes_per_second"].as_f64().unwrap();
    assert!((10_000.0..10e6).contains(&rate), "{rate}");
    drop(load);
    let hides =
        fake::start(&source, vec![fake::without("repl_backlog_size"), ("CONFIG", Answer::Say("-NOPERM no\r\n"))]);
    assert!(Ask::new(&hides, &target.url()).warns(Item::SourceLogBuffer).contains("does not tell"));
}

#[test]
fn output_buffer_of_the_source() {
    let (source, target) = pair("redis-7.0");
    let look = Ask::of(&source, &target);
    look.passes(Item::SourceOutputBuffer);
    let _load = Load::start(&source);
    look.passes(Item::SourceOutputBuffer);
    source.config_set("client-output-buffer-limit", "replica 20000 0 0").unwrap();
    let finding = look.look(Item::SourceOutputBuffer);
    assert_eq!((finding.status, &finding.measured["hard"]), (Status::Failed, &20_000.into()));
    source.config_set("client-output-buffer-limit", "replica 0 0 0").unwrap();
    look.passes(Item::SourceOutputBuffer);
    let hides = fake::start(&source, vec![("CONFIG", Answer::Say("-ERR unknown command 'CONFIG'\r\n"))]);
    Ask::new(&hides, &target.url()).warns(Item::SourceOutputBuffer);
    let odd = fake::start(&source, vec![("CONFIG", Answer::Say("*2\r\n$1\r\nx\r\n$7\r\nslave 1\r\n"))]);
    Ask::new(&odd, &target.url()).warns(Item::SourceOutputBuffer);
}

#[test]
fn largest_keys() {
    let (source, target) = pair("redis-7.0");
    let look = Ask::of(&source, &target);
    look.passes(Item::LargestKeys);
    let _: u64 = ask(&source, "RPUSH secret-list a b c");
    let _: u64 = ask(&source, "SETRANGE secret-string 99999 x");
    let finding = look.look(Item::LargestKeys);
    assert_eq!((finding.status, &finding.measured["largest_type"]), (Status::Passed, &"string".into()));
    assert!(finding.measured["largest_bytes"].as_u64().unwrap() >= 100_000);
    assert!(!finding.reason.contains("secret"));
    let large = || fake::start(&source, vec![("MEMORY USAGE", Answer::Say(":700000000\r\n"))]);
    // Of two of the same size it is the last one, whichever that is: so only one is there.
    let _: u64 = ask(&source, "DEL secret-string");
    Ask::new(&large(), &target.url()).warns(Item::LargestKeys);
    let _: u64 = ask(&source, "DEL secret-list");
    let () = ask(&source, "SET secret-string x");
    Ask::new(&large(), &target.url()).fails(Item::LargestKeys);
    let url = user(&source, "+ping +info");
    Ask::new(&url, &target.url()).warns(Item::LargestKeys);
    // A sample of many, and a server without MEMORY.
    keyferry_testkit::data::fill_mixed(&source.url(), 5000, 1).unwrap();
    let seen = look.look(Item::LargestKeys).measured["looked_at"].as_u64().unwrap();
    assert!((900..3000).contains(&seen), "{seen}");
    let old = start("redis-3.2");
    let _: u64 = ask(&old, "RPUSH list a b c");
    assert!(Ask::of(&old, &target).passes(Item::LargestKeys).contains("about 192 B"));
}

#[test]
fn disk_for_the_spool() {
    let (source, target) = pair("redis-7.0");
    let dir = tempfile::tempdir().unwrap();
    let with = |path: &str, limit| {
        let spool_dir = dir.path().join(path);
        Ask::of(&source, &target).with(|ask| (ask.spool_dir, ask.spool_limit) = (spool_dir, limit))
    };
    with("not/yet/there", Some(16 << 20)).passes(Item::SpoolDisk);
    with("not/yet/there", None).passes(Item::SpoolDisk);
    assert!(with("x", Some(1 << 60)).warns(Item::SpoolDisk).contains("full before"));
    let _: u64 = ask(&source, "SETRANGE big 19999999 x");
    assert!(with("x", Some(16 << 20)).warns(Item::SpoolDisk).contains("reading stops"));
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(with("file/x", None).fails(Item::SpoolDisk).contains("no directory"));
    // A file system without any room.
    with("/proc/keyferry", Some(16 << 20)).fails(Item::SpoolDisk);
}
