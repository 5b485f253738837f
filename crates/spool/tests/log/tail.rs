//! From memory while the reader keeps up, from files when it does not, and back. Seeking.

use std::time::Duration;

use keyferry_model::ErrorKind;
use keyferry_spool::{Item, Limits, Next, Note, create, open};

use crate::sample::{append, bytes, head, read_all, replid, small};

#[tokio::test]
async fn a_reader_that_keeps_up_reads_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = create(&dir.path().join("t.spool"), head(), small()).unwrap();
    for i in 0..100_u64 {
        let sent = bytes(i * 1000, 1000);
        spool.writer.append(sent.clone(), 5).await.unwrap();
        let Some(Item::Block(block)) = spool.reader.next().await.unwrap() else { panic!("no block") };
        assert_eq!((block.position, block.received_ms), (i * 1000, 5));
        assert_eq!(block.bytes.as_ptr(), sent.as_ptr(), "no copy");
    }
    assert_eq!(spool.reader.try_next().unwrap(), Next::Empty);
    spool.writer.flush().await.unwrap();
    let counts = spool.handle.counts();
    assert_eq!((counts.memory_records, counts.disk_records), (100, 0));
    assert_eq!((spool.handle.memory_bytes(), spool.handle.written()), (0, 100_000));
    spool.writer.close().await.unwrap();
    assert_eq!(spool.reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_slow_reader_goes_to_the_files_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { tail: 4096, ..small() };
    let mut spool = create(&dir.path().join("t.spool"), head(), limits).unwrap();
    let (mut end, mut read) = (0, 0);
    // Begins in memory, so that it has to find its place in the files.
    append(&mut spool.writer, &mut end, 100).await;
    append(&mut spool.writer, &mut end, 100).await;
    let Next::Item(Item::Block(block)) = spool.reader.try_next().unwrap() else { panic!("no block") };
    read += block.bytes.len() as u64;
    for _ in 0..1000 {
        append(&mut spool.writer, &mut end, 100).await;
        assert!(spool.handle.memory_bytes() <= 4096 + 140);
    }
    spool.writer.flush().await.unwrap();
    assert!(spool.handle.memory_bytes() <= 4096);
    read = read_all(&mut spool.reader, read).unwrap().0;
    assert_eq!(read, end);
    let counts = spool.handle.counts();
    assert!(counts.disk_records > 900 && counts.memory_records > 20, "{counts:?}");
    assert_eq!(counts.disk_records + counts.memory_records, 1002);
    append(&mut spool.writer, &mut end, 100).await;
    assert_eq!(read_all(&mut spool.reader, read).unwrap().0, end);
    assert_eq!(spool.handle.counts().disk_records, counts.disk_records, "back in memory");
}

#[tokio::test]
async fn seeks_into_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let mut spool = create(&dir, head(), small()).unwrap();
    let mut end = 0;
    let ids = [(500, b'b'), (500, b'c'), (1500, b'd')];
    for _ in 0..25 {
        append(&mut spool.writer, &mut end, 100).await;
        for (_, id) in ids.iter().filter(|(at, _)| *at == end) {
            spool.writer.note(Note::Replid(replid(*id)));
        }
    }
    let check = |spool: &mut keyferry_spool::Spool| {
        for at in (0..=end).rev() {
            let id = spool.reader.seek(at).unwrap();
            let expected = ids.iter().rev().find(|(from, _)| *from < at).map_or(b'a', |(_, id)| *id);
            assert_eq!(id, replid(expected), "at {at}");
            let (read, notes) = read_all(&mut spool.reader, at).unwrap();
            assert_eq!((read, notes.len()), (end, ids.iter().filter(|(from, _)| *from >= at).count()));
        }
    };
    // From memory, from both, and from files.
    check(&mut spool);
    spool.writer.flush().await.unwrap();
    check(&mut spool);
    spool.writer.close().await.unwrap();
    let mut opened = open(&dir, small()).unwrap().unwrap();
    check(&mut opened.spool);
}

#[tokio::test]
async fn seeks_behind_the_end_skip_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = create(&dir.path().join("t.spool"), head(), small()).unwrap();
    let mut end = 0;
    append(&mut spool.writer, &mut end, 100).await;
    spool.reader.seek(250).unwrap();
    append(&mut spool.writer, &mut end, 100).await;
    spool.writer.note(Note::Replid(replid(b'b')));
    let Next::Item(Item::Note { position: 200, .. }) = spool.reader.try_next().unwrap() else { panic!("no note") };
    assert_eq!(spool.reader.try_next().unwrap(), Next::Empty);
    append(&mut spool.writer, &mut end, 100).await;
    assert_eq!(read_all(&mut spool.reader, 250).unwrap().0, 300);
}

#[tokio::test]
async fn released_segments_go_and_the_margin_stays() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let limits = Limits { margin: 3000, ..small() };
    let mut spool = create(&dir, head(), limits).unwrap();
    let mut end = 0;
    for _ in 0..100 {
        append(&mut spool.writer, &mut end, 200).await;
    }
    spool.writer.flush().await.unwrap();
    // Not what the reader has not passed.
    spool.handle.release(4500);
    assert_eq!(spool.handle.start(), 0);
    read_all(&mut spool.reader, 0).unwrap();
    for position in [5000, 12_345, end] {
        spool.handle.release(position);
        let (start, kept) = (spool.handle.start(), position.saturating_sub(3000));
        assert!(start <= kept && start + 1000 > kept, "{start} for {position}");
        assert_eq!(spool.reader.seek(start).unwrap(), replid(b'a'));
        assert_eq!(read_all(&mut spool.reader, start).unwrap().0, end);
    }
    let start = spool.handle.start();
    assert_eq!(spool.reader.seek(start - 1).unwrap_err().kind(), ErrorKind::SpoolDropped);
    let handle = spool.handle.clone();
    spool.writer.close().await.unwrap();
    let on_disk: u64 = crate::sample::files(&dir).iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert_eq!(handle.used_bytes(), on_disk);
    let opened = open(&dir, limits).unwrap().unwrap();
    assert_eq!((opened.start, opened.end, opened.spool.handle.used_bytes()), (start, end, on_disk));
}

#[tokio::test]
async fn notes_between_two_segments() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let mut spool = create(&dir, head(), small()).unwrap();
    let mut end = 0;
    // More notes than a segment holds, where one ends: both have the same position.
    append(&mut spool.writer, &mut end, 780).await;
    (0..30).for_each(|_| spool.writer.note(Note::Replid(replid(b'b'))));
    append(&mut spool.writer, &mut end, 780).await;
    spool.writer.close().await.unwrap();
    let mut opened = open(&dir, small()).unwrap().unwrap();
    let (read, notes) = read_all(&mut opened.spool.reader, 0).unwrap();
    assert_eq!((read, notes.len(), opened.cut), (end, 30, 0));
}

#[tokio::test]
async fn a_waiting_reader_is_woken() {
    let dir = tempfile::tempdir().unwrap();
    let keyferry_spool::Spool { mut writer, mut reader, .. } =
        create(&dir.path().join("t.spool"), head(), small()).unwrap();
    let write = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        writer.append(bytes(0, 10), 0).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        writer.close().await.unwrap();
    };
    let read = async {
        assert!(reader.next().await.unwrap().is_some());
        assert!(reader.next().await.unwrap().is_none());
    };
    tokio::join!(write, read);
}

#[tokio::test]
async fn a_writer_learns_that_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = create(&dir.path().join("t.spool"), head(), small()).unwrap();
    drop(spool.reader);
    assert!(!spool.writer.append(bytes(0, 10), 0).await.unwrap());
}
