//! Files that end anywhere, and files with a damaged byte: a whole prefix or an error, never other bytes.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use keyferry_model::{ErrorKind, Result};
use keyferry_spool::{Limits, Note, create, open, remove};

use crate::sample::{append, files, head, read_all, replid, restore, small};

/// A log of several segments with notes; its end.
async fn sample(dir: &Path, limits: Limits) -> u64 {
    let mut spool = create(dir, head(), limits).unwrap();
    let mut end = 0;
    for len in [10, 300, 1, 700, 64, 500, 90, 800, 33] {
        append(&mut spool.writer, &mut end, len).await;
        if len == 64 {
            spool.writer.note(Note::StreamFrom(100));
        }
    }
    spool.writer.note(Note::Replid(replid(b'b')));
    append(&mut spool.writer, &mut end, 20).await;
    spool.writer.close().await.unwrap();
    end
}

/// Opens and reads everything. `None` when there is no log. Afterwards the log takes bytes and gives them back.
async fn reopen(dir: &Path, limits: Limits) -> Result<Option<u64>> {
    let Some(mut opened) = open(dir, limits)? else { return Ok(None) };
    let (end, _) = read_all(&mut opened.spool.reader, opened.start)?;
    assert_eq!(end, opened.end);
    let mut more = end;
    append(&mut opened.spool.writer, &mut more, 50).await;
    opened.spool.writer.close().await?;
    let mut opened = open(dir, limits)?.unwrap();
    assert_eq!((opened.end, opened.cut), (more, 0));
    assert_eq!(read_all(&mut opened.spool.reader, opened.start)?.0, more);
    opened.spool.writer.close().await?;
    Ok(Some(end))
}

#[tokio::test]
async fn a_log_is_found_as_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/yet/t.spool");
    let end = sample(&dir, small()).await;
    assert!(files(&dir).len() > 2);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert!(files(&dir).iter().all(|(path, _)| mode(path) == 0o600));
    let mut opened = open(&dir, small()).unwrap().unwrap();
    assert_eq!((opened.head, opened.replid, opened.stream_from), (head(), replid(b'b'), Some(100)));
    assert_eq!((opened.start, opened.end, opened.cut), (0, end, 0));
    let (_, notes) = read_all(&mut opened.spool.reader, 0).unwrap();
    assert_eq!(notes, [(1075, Note::StreamFrom(100)), (end - 20, Note::Replid(replid(b'b')))]);
    opened.spool.writer.close().await.unwrap();
    // What follows is another log, and nothing of the old one is left.
    let spool = create(&dir, head(), small()).unwrap();
    assert_eq!((spool.handle.end(), files(&dir).len()), (0, 1));
    spool.writer.close().await.unwrap();
    remove(&dir).unwrap();
    assert!(open(&dir, small()).unwrap().is_none());
    remove(&dir).unwrap();
}

#[tokio::test]
async fn the_last_file_may_end_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let end = sample(&dir, small()).await;
    let whole = files(&dir);
    let (path, bytes) = whole.last().unwrap();
    let mut last = 0;
    for len in 0..=bytes.len() {
        restore(&dir, &whole);
        fs::write(path, &bytes[..len]).unwrap();
        let found = reopen(&dir, small()).await.unwrap().unwrap();
        assert!(found >= last && found <= end, "{found} after {len} bytes");
        last = found;
    }
    assert_eq!(last, end);
}

#[tokio::test]
async fn the_only_file_may_end_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let limits = Limits { segment: 1 << 16, ..small() };
    let end = sample(&dir, limits).await;
    let whole = files(&dir);
    let (path, bytes) = &whole[0];
    let mut ends = std::collections::BTreeSet::new();
    for len in 0..=bytes.len() {
        restore(&dir, &whole);
        fs::write(path, &bytes[..len]).unwrap();
        ends.extend(reopen(&dir, limits).await.unwrap());
    }
    // One for each block, and the beginning.
    assert_eq!((ends.len(), ends.last()), (11, Some(&end)));
}

#[tokio::test]
async fn no_damaged_byte_is_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let end = sample(&dir, small()).await;
    let whole = files(&dir);
    let mut errors = 0;
    for (path, bytes) in &whole {
        for at in 0..bytes.len() {
            restore(&dir, &whole);
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(path, damaged).unwrap();
            match reopen(&dir, small()).await {
                Ok(found) => assert!(found.unwrap() < end, "byte {at} of {}", path.display()),
                Err(e) => {
                    assert!(matches!(e.kind(), ErrorKind::SpoolCorrupt | ErrorKind::SpoolVersion), "{e}");
                    assert!(e.to_string().contains(&path.display().to_string()) && e.to_string().contains("byte "));
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 0);
}

#[tokio::test]
async fn zeros_as_a_power_failure_leaves_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    sample(&dir, small()).await;
    let whole = files(&dir);
    let (path, bytes) = whole.last().unwrap();
    for from in 0..bytes.len() {
        restore(&dir, &whole);
        let mut damaged = bytes.clone();
        damaged[from..].fill(0);
        fs::write(path, damaged).unwrap();
        let found = reopen(&dir, small()).await;
        // Within the header of the segment: a piece of it has come, which no file system does.
        assert!(found.is_ok_and(|found| found.is_some()) || (1..216).contains(&from), "zeros from {from}");
    }
}

/// A log whose segments have all reached the disk but for the last.
async fn durable(dir: &Path) -> u64 {
    let mut spool = create(dir, head(), small()).unwrap();
    let mut end = 0;
    for _ in 0..10 {
        append(&mut spool.writer, &mut end, 900).await;
        spool.writer.flush().await.unwrap();
        // Each block is a segment of its own. The next one is created when the thread that syncs had its time.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    spool.writer.close().await.unwrap();
    end
}

#[tokio::test]
async fn a_missing_segment_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    durable(&dir).await;
    let whole = files(&dir);
    assert_eq!(whole.len(), 10);
    fs::remove_file(&whole[4].0).unwrap();
    let error = reopen(&dir, small()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SpoolCorrupt);
    assert!(error.to_string().contains("a segment is missing"), "{error}");
    // A cut one has no seal.
    restore(&dir, &whole);
    fs::write(&whole[4].0, &whole[4].1[..500]).unwrap();
    assert_eq!(reopen(&dir, small()).await.unwrap_err().kind(), ErrorKind::SpoolCorrupt);
    // The first ones may be missing: they were released.
    restore(&dir, &whole);
    fs::remove_file(&whole[0].0).unwrap();
    assert!(reopen(&dir, small()).await.unwrap().is_some());
    // Those of another log are none of this one's.
    restore(&dir, &whole);
    sample(&dir.with_file_name("other.spool"), small()).await;
    let other = files(&dir.with_file_name("other.spool"));
    fs::write(&whole[0].0, &other[0].1).unwrap();
    let error = reopen(&dir, small()).await.unwrap_err();
    assert!(error.to_string().contains("another log"), "{error}");
}

#[tokio::test]
async fn a_fault_in_a_trusted_segment_shows_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let end = durable(&dir).await;
    let whole = files(&dir);
    let mut damaged = whole[3].1.clone();
    damaged[600] ^= 1;
    fs::write(&whole[3].0, damaged).unwrap();
    let mut opened = open(&dir, small()).unwrap().unwrap();
    let error = read_all(&mut opened.spool.reader, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SpoolCorrupt);
    assert!(error.to_string().contains("byte 216: the checksum"), "{error}");
    // What lies behind it can be read.
    opened.spool.reader.seek(3601).unwrap();
    assert_eq!(read_all(&mut opened.spool.reader, 3601).unwrap().0, end);
    opened.spool.writer.close().await.unwrap();
}

#[tokio::test]
async fn an_interrupted_beginning_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("t.spool");
    sample(&real, small()).await;
    // Between the two renames.
    fs::rename(&real, dir.path().join("t.spool.old")).unwrap();
    fs::create_dir(dir.path().join("t.spool.new")).unwrap();
    assert!(open(&real, small()).unwrap().is_none());
    let end = sample(&real, small()).await;
    assert_eq!(reopen(&real, small()).await.unwrap(), Some(end));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
