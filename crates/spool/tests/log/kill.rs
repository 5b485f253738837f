//! A process that appends is killed, again and again. This test starts itself as that process.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use keyferry_spool::{Limits, Note, create, open};

use crate::sample::{append, head, read_all, replid};

const DIR: &str = "KEYFERRY_SPOOL_KILL_DIR";

fn limits() -> Limits {
    Limits { max_bytes: 64 << 20, margin: 1 << 20, segment: 1 << 20, tail: 1 << 20 }
}

/// The process that is killed. It says after each flush how far it has come.
#[tokio::test]
#[ignore = "started by the test below"]
async fn child() {
    let dir = PathBuf::from(env::var_os(DIR).expect("started by the test below"));
    let (mut spool, mut end) = match open(&dir, limits()).unwrap() {
        Some(opened) => (opened.spool, opened.end),
        None => (create(&dir, head(), limits()).unwrap(), 0),
    };
    let mut read = spool.handle.start();
    for i in 0.. {
        let len = 1 + (end % 30_000) as usize;
        append(&mut spool.writer, &mut end, len).await;
        if i % 50 == 0 {
            spool.writer.note(Note::Replid(replid(b'b')));
            spool.writer.flush().await.unwrap();
            println!("at {end}");
            read = read_all(&mut spool.reader, read).unwrap().0;
            spool.handle.release(read);
        }
    }
}

#[tokio::test]
async fn a_killed_process_leaves_a_whole_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let mut before = 0;
    for round in 0..20_u64 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env(DIR, &dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let at = |line: String| line.strip_prefix("at ").and_then(|at| at.parse::<u64>().ok());
        let mut flushed = lines.by_ref().find_map(|line| at(line.unwrap())).unwrap();
        std::thread::sleep(Duration::from_micros(round * 3137));
        child.kill().unwrap();
        child.wait().unwrap();
        flushed = lines.filter_map(|line| at(line.ok()?)).last().unwrap_or(flushed);
        let mut opened = open(&dir, limits()).unwrap().unwrap();
        assert!(opened.end >= flushed && flushed > before, "{} after {flushed}", opened.end);
        assert_eq!(opened.replid, replid(b'b'));
        assert_eq!(read_all(&mut opened.spool.reader, opened.start).unwrap().0, opened.end);
        before = opened.end;
        opened.spool.writer.close().await.unwrap();
    }
}
