//! Checkpoints in front of a transaction of the source that has not ended; what comes out does not depend on where the
//! source stops for a while.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use keyferry_keyspace::{ServerVersion, objects::Objects};
use keyferry_model::{OnConflict, OnUnsupported, Result};
use keyferry_resp::{Limits, encode, request::Scanner};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::KEPT;
use crate::{
    Stats,
    holding::Bounds,
    source::{Chunk, Framing, now_ms},
    stream::{Apply, Expiry, Older, Plan},
    target::{Batch, Checkpoint, Deadlines, Guard, Modules, Restore},
};

const START: u64 = 1000;
const GRACE: Duration = Duration::from_secs(8);
/// Far away, and with nothing but the grace or the distance of a held one on top.
const AT: u64 = 4_000_000_000_000;

type Words = Vec<String>;

/// What the target gets with one batch, without the frame.
#[derive(Debug, PartialEq)]
struct Got {
    commands: Vec<Words>,
    offset: u64,
    held: bool,
}

fn got(batch: &Batch) -> Got {
    let mut words: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut rest = &batch.bytes[..];
    while let Some(request) = Scanner::new(Limits::default()).next(rest).unwrap() {
        words.push(request.args().map(<[u8]>::to_vec).collect());
        rest = &rest[request.bytes().len()..];
    }
    let v = words.iter().find(|words| words[0] == b"HMSET").unwrap()[3].clone();
    let offset = u64::from_le_bytes(v[128..136].try_into().unwrap());
    let in_front = words.iter().position(|words| words[0] == b"MULTI").unwrap();
    let mut commands: Vec<Words> = Vec::new();
    for words in &words[in_front + 1..] {
        let words: Words = words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        match words[0].as_str() {
            "HMSET" => break,
            "MSET" => commands
                .extend(words[1..].chunks(2).map(|pair| vec!["SET".to_owned(), pair[0].clone(), pair[1].clone()])),
            _ => commands.push(words),
        }
    }
    Got { commands, offset, held: v[28] & 2 != 0 }
}

fn line(args: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::command(&mut out, &args.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>());
    out
}

/// Sends `pieces` with pauses of two seconds between them. `hold`: behind how many of them holding begins.
async fn run(pieces: &[&[u8]], hold: Option<usize>) -> Result<Vec<Got>> {
    let stats = Stats::default();
    let server = ServerVersion::from_info(b"redis_version:7.0.0\r\n").unwrap();
    let restore = Restore {
        stats: &stats,
        server,
        modules: Modules::default(),
        on_conflict: OnConflict::Replace,
        on_unsupported: OnUnsupported::Fail,
        place: b"place".to_vec(),
        deadlines: Deadlines::Held,
    };
    let objects = Objects::default();
    let plan = Plan {
        objects: &objects,
        expiry: Expiry::new(GRACE, &server, &server).held_from(Some(Bounds::of(GRACE))),
        older: Older::new(&server, &server, restore.on_unsupported, b"place"),
        framing: Framing::Length(0),
        stream_from: Some(0),
        full_only: false,
        target_databases: 16,
    };
    let mut checkpoint = Checkpoint { offset: START, snapshot: None, ..Checkpoint::BEGINNING };
    checkpoint.log.start.0 = START;
    stats.resume(&checkpoint);
    stats.control.lower.store(false, Relaxed);
    let guard = Guard::new("t", 0, &checkpoint);
    let mut apply = Apply::new(&stats, restore, plan, Some(guard), checkpoint);
    let (chunks_tx, chunks) = mpsc::channel(1);
    let (batches_tx, mut batches) = mpsc::channel(100);
    let (_spare_tx, spare) = mpsc::channel(1);
    let feed = async {
        for (i, piece) in pieces.iter().enumerate() {
            if hold == Some(i) {
                stats.begin_holding(None);
                sleep(Duration::from_millis(10)).await;
            }
            let chunk = Chunk { bytes: Bytes::copy_from_slice(piece), received_ms: now_ms() };
            chunks_tx.send(chunk).await.unwrap();
            sleep(Duration::from_secs(2)).await;
        }
        drop(chunks_tx);
    };
    let (result, ()) = tokio::join!(apply.run(chunks, batches_tx, spare), feed);
    result?;
    let mut all = Vec::new();
    while let Ok(Some(batch)) = timeout(Duration::ZERO, batches.recv()).await {
        if batch.guarded {
            all.push(got(&batch));
        }
    }
    Ok(all)
}

/// With a SELECT within the transaction, and SETs that would be joined across its beginning.
fn stream() -> (Vec<u8>, u64, u64) {
    let (at, front) = (AT.to_string(), [line(&["SELECT", "3"]), line(&["SET", "a", "1"])].concat());
    let transaction = [
        line(&["MULTI"]),
        line(&["SET", "b", "1"]),
        line(&["PEXPIREAT", "b", &at]),
        line(&["SELECT", "4"]),
        line(&["INCR", "n"]),
        line(&["SELECT", "5"]),
        line(&["EXEC"]),
    ]
    .concat();
    let begin = front.len() as u64;
    let end = begin + transaction.len() as u64;
    ([front, transaction, line(&["INCR", "m"])].concat(), begin, end)
}

fn joined(all: &[Got]) -> Vec<Words> {
    // Each batch begins in the database of the checkpoint.
    let (mut db, mut found) = ("0".to_owned(), Vec::new());
    for words in all.iter().flat_map(|got| &got.commands) {
        match words[0].as_str() {
            "SELECT" => db.clone_from(&words[1]),
            _ => found.push([vec![db.clone()], words.clone()].concat()),
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn what_comes_out_does_not_depend_on_where_the_source_stops() {
    let (stream, begin, end) = stream();
    let whole = run(&[&stream], None).await.unwrap();
    let expected = joined(&whole);
    assert_eq!(expected.len(), 5, "{expected:?}");
    for cut in 1..stream.len() {
        let all = run(&[&stream[..cut], &stream[cut..]], None).await.unwrap();
        assert_eq!(joined(&all), expected, "cut at {cut}");
        let offsets: Vec<u64> = all.iter().map(|got| got.offset - START).collect();
        assert!(offsets.is_sorted() && offsets.iter().all(|at| *at <= begin || *at >= end), "{offsets:?}");
        let within = (begin..end).contains(&(cut as u64));
        assert!(!within || offsets.contains(&begin), "cut at {cut}: no checkpoint in front, {offsets:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn holding_begins_within_a_transaction() {
    let (stream, begin, end) = stream();
    let deadline = |got: &Got| {
        let command = got.commands.iter().find(|words| words[0] == "PEXPIREAT")?;
        command[2].parse::<u64>().ok()
    };
    for cut in begin..end {
        let all = run(&[&stream[..cut as usize], &stream[cut as usize..]], Some(1)).await.unwrap();
        let first = all.iter().position(|got| got.held).unwrap();
        assert_eq!(all[first].offset, START + begin, "cut at {cut}: {all:?}");
        assert_eq!(all[..=first].iter().find_map(deadline), None);
        // What had come of the transaction is held, too.
        assert_eq!(all[first..].iter().find_map(deadline), Some(AT + (1 << 52)), "cut at {cut}: {all:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_too_large_to_be_kept_goes_out_as_a_whole() {
    let value = "x".repeat(KEPT / 4);
    let mut pieces = vec![[line(&["SET", "a", "1"]), line(&["MULTI"])].concat()];
    pieces.extend((0..6).map(|n| line(&["SET", &format!("k{n}"), &value])));
    pieces.push(line(&["EXEC"]));
    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    let all = run(&pieces, Some(6)).await.unwrap();
    let sizes: Vec<usize> = all.iter().map(|got| got.commands.len()).collect();
    assert_eq!(sizes, [1, 6], "nothing twice, and the transaction in one batch");
    assert!(all[1].held && !all[0].held);
}
