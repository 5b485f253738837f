//! The same bytes, cut in every way, become the same commands; and no batch claims what is not whole.

use bytes::Bytes;
use keyferry_keyspace::ServerVersion;
use keyferry_model::{OnConflict, OnUnsupported};
use keyferry_resp::encode;

use super::*;
use crate::target::{Deadlines, Modules};

const MARK: [u8; 40] = *b"0123456789012345678901234567890123456789";
/// A dump of a real server with values of every kind.
const DUMP: &[u8] = include_bytes!("../../../../rdb/tests/golden/redis-7.0.rdb");
const START: u64 = 1000;

fn stream() -> Vec<u8> {
    let mut out = Vec::new();
    for args in [
        &[b"PING".as_slice()][..],
        &[b"SELECT", b"3"],
        &[b"SET", b"a", b"\r\n$1\r\n"],
        &[b"MULTI"],
        &[b"INCR", b"n"],
        &[b"SELECT", b"4"],
        &[b"PEXPIREAT", b"n", b"1"],
        &[b"EXEC"],
        &[b"REPLCONF", b"GETACK", b"*"],
        &[b"SET", b"b", &[b'x'; 300]],
    ] {
        encode::command(&mut out, args);
    }
    out
}

/// What was joined, in pieces again: how much is joined depends on what comes together.
fn one_by_one(mut commands: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !commands.is_empty() {
        let request = request::Scanner::new(Limits::default()).next(commands).unwrap().unwrap();
        let args: Vec<&[u8]> = request.args().collect();
        match request.name() {
            b"MSET" => args[1..].chunks(2).for_each(|pair| encode::command(&mut out, &[b"SET", pair[0], pair[1]])),
            _ => out.extend_from_slice(request.bytes()),
        }
        commands = &commands[request.bytes().len()..];
    }
    out
}

/// What goes to the target, the offsets that were claimed, and where the stream began.
async fn apply(payload: &[u8], framing: Framing, step: usize) -> Result<(Vec<u8>, Vec<u64>, Option<u64>)> {
    let stats = Stats::default();
    let restore = Restore {
        stats: &stats,
        server: ServerVersion::from_info(b"redis_version:6.0.0\r\n").unwrap(),
        modules: Modules::default(),
        on_conflict: OnConflict::Replace,
        on_unsupported: OnUnsupported::Degrade,
        place: b"place".to_vec(),
        deadlines: Deadlines::Exact,
    };
    let expiry = Expiry::new(std::time::Duration::ZERO, &restore.server, &restore.server);
    let older = Older::new(&restore.server, &restore.server, restore.on_unsupported, b"place");
    let objects = keyferry_keyspace::objects::Objects::default();
    let plan =
        Plan { objects: &objects, expiry, older, framing, stream_from: None, full_only: false, target_databases: 16 };
    let mut apply = Apply::new(&stats, restore, plan, None, Checkpoint { offset: START, ..Checkpoint::BEGINNING });
    let (chunks_tx, chunks) = mpsc::channel(1);
    let (batches_tx, mut batches) = mpsc::channel(1);
    let (_spare_tx, spare) = mpsc::channel(1);
    let feed = async {
        for piece in payload.chunks(step) {
            let chunk = Chunk { bytes: Bytes::copy_from_slice(piece), received_ms: 5 };
            if chunks_tx.send(chunk).await.is_err() {
                break;
            }
        }
        drop(chunks_tx);
    };
    let (mut bytes, mut applied) = (Vec::new(), Vec::new());
    let collect = async {
        while let Some(batch) = batches.recv().await {
            let batch: Batch = batch;
            assert!(batch.expects.iter().all(|e| e.at < batch.bytes.len()));
            bytes.extend(one_by_one(&batch.bytes));
            applied.extend(batch.applied);
        }
    };
    let (result, (), ()) = tokio::join!(apply.run(chunks, batches_tx, spare), feed, collect);
    result.map(|()| (bytes, applied, apply.stream_from))
}

#[tokio::test]
async fn any_cut_gives_the_same_commands() {
    let stream = stream();
    let by_mark = [DUMP, &MARK, &stream].concat();
    let by_length = [DUMP, stream.as_slice()].concat();
    let (whole, _, from) = apply(&by_mark, Framing::Mark(MARK), usize::MAX).await.unwrap();
    assert_eq!(from, Some(DUMP.len() as u64 + 40));
    assert!(!whole.windows(4).any(|w| w == b"EXEC"), "a transaction stays within one batch");
    let end = START + stream.len() as u64;
    let transaction = {
        let at = |word: &[u8]| stream.windows(word.len()).position(|w| w == word).unwrap() as u64;
        START + at(b"*1\r\n$5\r\nMULTI")..START + at(b"EXEC\r\n") + 6
    };
    for step in [1, 2, 3, 7, 39, 40, 41, 1000, 4096] {
        for (payload, framing) in [(&by_mark, Framing::Mark(MARK)), (&by_length, Framing::Length(DUMP.len() as u64))] {
            let (bytes, applied, from) = apply(payload, framing, step).await.unwrap();
            assert!(bytes == whole, "step {step} {framing:?}");
            assert_eq!(from, Some(payload.len() as u64 - stream.len() as u64));
            // A batch may hold the end of the snapshot and commands behind it.
            assert!(applied.first() >= Some(&START), "step {step}");
            assert_eq!(applied.last(), Some(&end), "step {step}");
            assert!(applied.is_sorted());
            let within = |offset: &&u64| **offset > transaction.start && **offset < transaction.end;
            assert_eq!(applied.iter().find(within), None, "an offset within a transaction, step {step}");
        }
    }
}

/// Redis up to 6.0 sends some without their MULTI.
#[tokio::test]
async fn what_ends_no_transaction_is_not_passed_on() {
    let mut stream = Vec::new();
    for args in [&[&b"SET"[..], b"a", b"1"][..], &[b"EXEC"], &[b"discard"], &[b"SET", b"b", b"2"]] {
        encode::command(&mut stream, args);
    }
    let payload = [DUMP, stream.as_slice()].concat();
    let (bytes, applied, _) = apply(&payload, Framing::Length(DUMP.len() as u64), usize::MAX).await.unwrap();
    let has = |word: &[u8]| bytes.windows(word.len()).any(|w| w == word);
    assert!(has(b"$1\r\nb\r\n") && !has(b"EXEC") && !has(b"discard"));
    assert_eq!(applied.last(), Some(&(START + stream.len() as u64)), "its bytes count");
}

#[tokio::test]
async fn a_snapshot_that_ends_elsewhere_is_an_error() {
    let len = DUMP.len() as u64;
    let other_mark = [DUMP, &[b'x'; 40]].concat();
    for (payload, framing) in [
        (other_mark.as_slice(), Framing::Mark(MARK)),
        (DUMP, Framing::Length(len - 1)),
        (&[DUMP, b"x"].concat(), Framing::Length(len + 1)),
    ] {
        for step in [1, 100, usize::MAX] {
            let error = apply(payload, framing, step).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::RdbCorrupt, "{framing:?}");
        }
    }
}
