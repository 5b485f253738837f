//! The limit is reached; the disk is full; the disk fails.

use std::{path::Path, process::Command, time::Duration};

use keyferry_model::ErrorKind;
use keyferry_spool::{Limits, Reason, State, create, open};
use tokio::time::{sleep, timeout};

use crate::sample::{append, bytes, files, head, read_all, small};

#[tokio::test]
async fn at_the_limit_the_writer_waits_for_a_release() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let limits = Limits { max_bytes: 20_000, margin: 2000, ..small() };
    let mut spool = create(&dir, head(), limits).unwrap();
    let (mut end, mut read) = (0, 0);
    for _ in 0..5 {
        while let Ok(ready) = timeout(Duration::from_millis(200), spool.writer.ready(300)).await {
            assert!(ready.unwrap());
            spool.writer.push(bytes(end, 300), 0);
            end += 300;
            assert!(spool.handle.used_bytes() <= 20_000);
        }
        let State::Full { reason: Reason::Limit, .. } = spool.handle.state() else { panic!("not full") };
        assert!(spool.handle.used_bytes() > 18_000);
        // Reading alone makes no room.
        read = read_all(&mut spool.reader, read).unwrap().0;
        assert_eq!(read, end);
        timeout(Duration::from_millis(50), spool.writer.ready(300)).await.unwrap_err();
        let handle = spool.handle.clone();
        let release = async {
            sleep(Duration::from_millis(50)).await;
            handle.release(read);
        };
        let (ready, ()) = tokio::join!(timeout(Duration::from_secs(5), spool.writer.ready(300)), release);
        assert!(ready.unwrap().unwrap());
        assert_eq!(spool.handle.state(), State::Flowing);
    }
    assert!(end > 40_000);
    spool.writer.close().await.unwrap();
    assert!(files(&dir).iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= 20_000);
}

#[tokio::test]
async fn tiny_blocks_do_not_fill_the_log_with_margin() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { max_bytes: 20_000, margin: 5000, segment: 1000, tail: 1 << 20 };
    let mut spool = create(&dir.path().join("t.spool"), head(), limits).unwrap();
    let mut end = 0;
    for _ in 0..2000 {
        timeout(Duration::from_secs(5), append(&mut spool.writer, &mut end, 1)).await.unwrap();
        read_all(&mut spool.reader, end - 1).unwrap();
        spool.handle.release(end);
    }
}

/// A file system of one MiB, as long as this lives. `None` where this user may not mount one.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(at: &'a Path) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at).output();
        mount.is_ok_and(|out| out.status.success()).then_some(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.0).status();
    }
}

#[tokio::test]
async fn on_a_full_disk_the_writer_waits_for_room() {
    let mount = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(mount.path()) else {
        eprintln!("not tested: this user may not mount a file system");
        return;
    };
    let dir = mount.path().join("t.spool");
    let limits = Limits { max_bytes: 1 << 30, margin: 0, segment: 100_000, tail: 100_000 };
    let mut spool = create(&dir, head(), limits).unwrap();
    let (mut end, mut read) = (0, 0);
    // Each time the room comes from elsewhere: a file that somebody deletes, then a release.
    let foreign = mount.path().join("foreign");
    std::fs::write(&foreign, vec![0; 300_000]).unwrap();
    for round in 0..4 {
        while timeout(Duration::from_millis(300), spool.writer.ready(3000)).await.is_ok() {
            spool.writer.push(bytes(end, 3000), 0);
            end += 3000;
        }
        let State::Full { reason: Reason::Disk(why), .. } = spool.handle.state() else { panic!("not full") };
        assert!(why.contains("No space left"), "{why}");
        assert!(spool.handle.written() < spool.handle.end());
        read = read_all(&mut spool.reader, read).unwrap().0;
        assert_eq!(read, end);
        match round {
            0 => std::fs::remove_file(&foreign).unwrap(),
            _ => spool.handle.release(spool.handle.written()),
        }
        timeout(Duration::from_secs(5), spool.writer.ready(3000)).await.unwrap().unwrap();
    }
    timeout(Duration::from_secs(5), spool.writer.flush()).await.unwrap().unwrap();
    assert_eq!(spool.handle.state(), State::Flowing);
    // Full once more, and ended there: what did not fit is missing at the end, and said to be.
    while timeout(Duration::from_millis(300), spool.writer.ready(3000)).await.is_ok() {
        spool.writer.push(bytes(end, 3000), 0);
        end += 3000;
    }
    let written = spool.handle.written();
    let error = timeout(Duration::from_secs(5), spool.writer.close()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SpoolDisk);
    let mut opened = open(&dir, limits).unwrap().unwrap();
    assert!(opened.end >= written && opened.end < end);
    assert_eq!(read_all(&mut opened.spool.reader, opened.start).unwrap().0, opened.end);
}

#[tokio::test]
async fn a_failing_disk_is_an_error_of_the_next_append() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let mut spool = create(&dir, head(), small()).unwrap();
    // The next segment has no place.
    std::fs::rename(&dir, dir.with_file_name("elsewhere")).unwrap();
    let error = loop {
        if let Err(e) = spool.writer.append(bytes(0, 400), 0).await {
            break e;
        }
    };
    assert_eq!(error.kind(), ErrorKind::SpoolDisk);
    assert!(error.to_string().contains("t.spool"), "{error}");
    assert!(spool.writer.flush().await.is_err());
    assert!(spool.writer.close().await.is_err());
}
