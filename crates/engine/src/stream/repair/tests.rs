//! What a repair writes lands at its offset and nowhere else, whatever the chunks; and what cannot be written leaves nothing.

use std::time::Duration;

use bytes::Bytes;
use keyferry_keyspace::{
    ReplId, ServerVersion,
    objects::{Objects, Rule},
};
use keyferry_model::{OnConflict, OnUnsupported};
use keyferry_resp::encode;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::*;
use crate::{
    Stats,
    repair::{Halt, Reasons},
    source::{Chunk, Framing, now_ms},
    stream::{Expiry, Older, Plan},
    target::{Checkpoint, Deadlines, Guard, Modules, Restore},
};

const START: u64 = 1000;
const HISTORY: &[u8] = b"0123456789012345678901234567890123456789";

type Said = Result<Reasons, String>;

fn line(args: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::command(&mut out, &args.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>());
    out
}

/// A string as a server of version 7.0 dumps it.
fn restore(key: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    keyferry_rdb::dump::write(&mut payload, keyferry_rdb::ValueType::STRING, b"\x01v", 10);
    let mut out = Vec::new();
    encode::command(&mut out, &[b"RESTORE", key.as_bytes(), b"0", &payload, b"REPLACE"]);
    out
}

/// The commands of a batch behind its frame, first word and key, and whether somebody waits for it.
fn commands(batch: &Batch) -> Vec<String> {
    let (mut rest, mut found) = (&batch.bytes[..], Vec::new());
    while let Some(request) = Scanner::new(Limits::default()).next(rest).unwrap() {
        let word = |i| String::from_utf8_lossy(request.arg(i).unwrap_or_default()).into_owned();
        match request.name() {
            b"MSET" => (1..request.argc()).step_by(2).for_each(|i| found.push(format!("SET {}", word(i)))),
            // What the target may refuse.
            b"EVAL" if word(1).contains("pcall") => found.push(format!("{} {}", word(3), word(4))),
            _ => found.push(format!("{} {}", word(0), word(1))),
        }
        rest = &rest[request.bytes().len()..];
    }
    let from = found.iter().position(|words| words == "MULTI ").unwrap() + 1;
    let to = found.iter().position(|words| words.starts_with("HMSET ")).unwrap();
    found[from..to].to_vec()
}

/// One repair within a stream.
struct Case {
    /// What has come before it is asked for, and behind.
    pieces: [Vec<Vec<u8>>; 2],
    at: u64,
    db: u32,
    commands: Vec<Vec<u8>>,
    objects: Objects,
    version: &'static str,
    history: &'static [u8],
    on_unsupported: OnUnsupported,
    /// Between two pieces.
    pause: Duration,
}

impl Case {
    fn new(before: &[u8], behind: &[u8], step: usize, at: usize) -> Self {
        let pieces = [before, behind].map(|bytes| bytes.chunks(step).map(<[u8]>::to_vec).collect());
        let (db, commands) = (0, vec![restore("r"), line(&["DEL", "gone"])]);
        let at = START + at as u64;
        Self {
            pieces,
            at,
            db,
            commands,
            objects: Objects::default(),
            version: "7.0.0",
            history: HISTORY,
            on_unsupported: OnUnsupported::Fail,
            pause: Duration::ZERO,
        }
    }

    /// All commands for the target, those of the batch with the repair, and what was said when all batches had been answered.
    async fn run(self) -> (Vec<String>, Vec<String>, Option<Said>) {
        let stats = Stats::default();
        let source = ServerVersion::from_info(b"redis_version:7.0.0\r\n").unwrap();
        let server = ServerVersion::from_info(format!("redis_version:{}\r\n", self.version).as_bytes()).unwrap();
        let restore = Restore {
            stats: &stats,
            server,
            modules: Modules::default(),
            on_conflict: OnConflict::Replace,
            on_unsupported: self.on_unsupported,
            place: b"place".to_vec(),
            deadlines: Deadlines::Held,
        };
        let plan = Plan {
            objects: &self.objects,
            expiry: Expiry::new(Duration::from_secs(8), &source, &server),
            older: Older::new(&source, &server, self.on_unsupported, b"place"),
            framing: Framing::Length(0),
            stream_from: Some(0),
            full_only: false,
            target_databases: 16,
        };
        let mut checkpoint = Checkpoint { offset: START, snapshot: None, ..Checkpoint::BEGINNING };
        checkpoint.log.start.0 = START;
        stats.resume(&checkpoint);
        *lock(&stats.replid) = ReplId::parse(HISTORY).ok();
        let guard = Guard::new("t", 0, &checkpoint);
        let mut apply = Apply::new(&stats, restore, plan, Some(guard), checkpoint);
        let (chunks_tx, chunks) = mpsc::channel(1);
        let (batches_tx, mut batches) = mpsc::channel(1000);
        let (_spare_tx, spare) = mpsc::channel(1);
        let (said, answer) = oneshot::channel();
        let [before, behind] = self.pieces;
        let (stats, values) = (&stats, self.commands);
        let chunk = |piece: Vec<u8>| Chunk { bytes: Bytes::from(piece), received_ms: now_ms() };
        let feed = async {
            for piece in before {
                chunks_tx.send(chunk(piece)).await.unwrap();
                sleep(self.pause).await;
            }
            let ((standing, stands), (give, halted)) = (oneshot::channel(), oneshot::channel());
            stats.control.repairs.halt(Halt { standing, values: halted });
            stats.hold_now.notify_one();
            let (offset, history) = (self.at, ReplId::parse(self.history).unwrap());
            assert!(stands.await.unwrap() <= offset);
            let values = Values { offset, history, db: self.db, read_ms: now_ms(), commands: values, said };
            assert!(give.send(values).is_ok());
            for piece in behind {
                chunks_tx.send(chunk(piece)).await.unwrap();
                sleep(self.pause).await;
            }
            drop(chunks_tx);
        };
        let (result, ()) = tokio::join!(apply.run(chunks, batches_tx, spare), feed);
        result.unwrap();
        assert!(stats.unsupported().is_empty(), "what was not written does not count");
        drop(apply);
        let (mut all, mut with) = (Vec::new(), Vec::new());
        while let Ok(Some(mut batch)) = timeout(Duration::ZERO, batches.recv()).await {
            if batch.guarded {
                let found = commands(&batch);
                if let Some(repaired) = batch.repaired.take() {
                    with.clone_from(&found);
                    repaired.say();
                }
                all.extend(found);
            }
        }
        (all, with, answer.await.ok())
    }
}

/// The writes, each with its database.
fn placed(all: &[String]) -> Vec<String> {
    // Each batch ends in the database in which the next one begins.
    let (mut db, mut found) = ("0", Vec::new());
    for words in all {
        match words.strip_prefix("SELECT ") {
            Some(selected) => db = selected,
            None => found.push(format!("{db} {words}")),
        }
    }
    found
}

fn joined(parts: &[&[&str]]) -> Vec<u8> {
    parts.iter().flat_map(|args| line(args)).collect()
}

/// At each end of a command, in any cutting: behind what is in front of it and before what is behind; in one batch.
#[tokio::test(start_paused = true)]
async fn at_its_offset_and_nowhere_else() {
    let parts: [&[&str]; 8] = [
        &["SELECT", "3"],
        &["SET", "a", "1"],
        &["SET", "b", "1"],
        &["MULTI"],
        &["INCR", "n"],
        &["RPUSH", "l", "1"],
        &["EXEC"],
        &["INCR", "m"],
    ];
    let stream = joined(&parts);
    // Right behind MULTI is the same as in front of it.
    let fronts = [Some(0), Some(0), Some(1), Some(2), Some(2), None, None, Some(4), Some(5)];
    for (count, front) in fronts.into_iter().enumerate() {
        let at = joined(&parts[..count]).len();
        for known in (0..=at).step_by(3).chain([at]) {
            // A loop that has all of it waits for the source; one that lacks some goes on up to it.
            for step in [1, 5, usize::MAX] {
                let mut case = Case::new(&stream[..known], &stream[known..], step, at);
                // Long enough for a checkpoint in front of a transaction that does not go on.
                case.pause = Duration::from_secs(if step == 5 { 2 } else { 0 });
                let (all, with, said) = case.run().await;
                let all = placed(&all);
                let own = all.iter().position(|words| words == "0 RESTORE r");
                let mut others = all.clone();
                others.retain(|words| words != "0 RESTORE r" && words != "0 DEL gone");
                assert_eq!(others, ["3 SET a", "3 SET b", "3 INCR n", "3 RPUSH l", "3 INCR m"]);
                assert_eq!(own, front, "{count} {known} {step}: {all:?}");
                let Some(front) = front else {
                    assert_eq!(all.len(), 5, "{all:?}");
                    assert!(said.unwrap().unwrap_err().contains("no command of the stream ends"));
                    continue;
                };
                assert_eq!((said, all.len()), (Some(Ok(vec![None, None])), 7), "{count} {known} {step}");
                assert_eq!(all[front + 1], "0 DEL gone");
                assert!(
                    ["RESTORE r", "DEL gone"].iter().all(|words| with.iter().any(|w| w == words)),
                    "one batch: {with:?}"
                );
            }
        }
    }
}

/// Within a command there is no such offset: all else goes on as ever.
#[tokio::test(start_paused = true)]
async fn an_offset_within_a_command_is_none() {
    let stream = joined(&[&["SET", "a", "1"], &["INCR", "n"], &["INCR", "m"]]);
    let first = line(&["SET", "a", "1"]).len();
    for at in first + 1..first + line(&["INCR", "n"]).len() {
        for step in [1, 7, usize::MAX] {
            let (all, _, said) = Case::new(&stream[..first], &stream[first..], step, at).run().await;
            assert_eq!(all.last().unwrap(), "INCR m", "{at}");
            assert!(all.iter().all(|words| !words.starts_with("RESTORE")));
            assert!(said.unwrap().is_err(), "{at}");
        }
    }
}

/// What is not reached before the stream ends was not written, and nobody says so.
#[tokio::test(start_paused = true)]
async fn an_offset_that_does_not_come_is_not_known() {
    let stream = joined(&[&["SET", "a", "1"]]);
    let (all, _, said) = Case::new(&stream, b"", usize::MAX, stream.len() + 1).run().await;
    assert_eq!((all, said), (vec!["SET a".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn of_another_history_nothing_is_written() {
    let stream = joined(&[&["SET", "a", "1"]]);
    let mut case = Case::new(&stream, b"", usize::MAX, stream.len());
    case.history = b"9999999999999999999999999999999999999999";
    let (all, _, said) = case.run().await;
    assert_eq!(all, ["SET a"]);
    assert!(said.unwrap().unwrap_err().contains("another history"));
}

/// The rest of the keys and of the stream is as it would be without them, and the task goes on.
#[tokio::test(start_paused = true)]
async fn what_would_end_the_task_is_a_reason() {
    let stream = joined(&[&["SET", "a", "1"], &["SET", "b", "1"]]);
    let at = line(&["SET", "a", "1"]).len();
    let case = |db, commands: Vec<Vec<u8>>| {
        let mut case = Case::new(&stream[..at], &stream[at..], usize::MAX, at);
        (case.db, case.commands) = (db, commands);
        case
    };
    // No such database.
    let (all, _, said) = case(16, vec![restore("r")]).run().await;
    assert_eq!(all, ["SET a", "SET b"]);
    assert_eq!(said.unwrap().unwrap()[0].as_deref(), Some("the target has no such database"));
    // Nothing that the target can build of it.
    let mut payload = Vec::new();
    keyferry_rdb::dump::write(
        &mut payload,
        keyferry_rdb::ValueType::from_byte(15, keyferry_rdb::Magic::Redis).unwrap(),
        b"\0\0\0\0\0",
        10,
    );
    let mut stream_value = Vec::new();
    encode::command(&mut stream_value, &[b"RESTORE", b"x", b"0", &payload, b"REPLACE"]);
    // Also where the user leaves such values out: what the target has under the key stays.
    for on_unsupported in [OnUnsupported::Fail, OnUnsupported::Drop] {
        let mut older = case(0, vec![restore("r"), stream_value.clone(), line(&["DEL", "gone"])]);
        (older.version, older.on_unsupported) = ("4.0.14", on_unsupported);
        let (all, _, said) = older.run().await;
        assert_eq!(all, ["SET a", "RESTORE r", "DEL gone", "SET b"]);
        let reasons = said.unwrap().unwrap();
        assert!(reasons[1].as_ref().unwrap().contains("cannot hold it"), "{reasons:?}");
        assert_eq!((&reasons[0], &reasons[2]), (&None, &None));
    }
}

/// A value is bounded as what it becomes, too: this one is compressed to a hundredth.
#[tokio::test(start_paused = true)]
async fn what_becomes_too_large_is_a_reason() {
    let stream = joined(&[&["SET", "a", "1"], &["SET", "b", "1"]]);
    let at = line(&["SET", "a", "1"]).len();
    // One byte, then again and again 264 times the one before.
    const TIMES: u32 = 4_000;
    let lzf = [&b"\0x"[..], &b"\xe0\xff\0".repeat(TIMES as usize)].concat();
    // A node of a list that is one element: versions before 7.0 do not read it.
    let mut node = b"\x01\xc3".to_vec();
    for len in [lzf.len() as u32, 1 + 264 * TIMES] {
        node.push(0x80);
        node.extend(len.to_be_bytes());
    }
    node.extend(lzf);
    for (nodes, fits) in [(1, true), (70, false)] {
        let (mut payload, mut command) = (Vec::new(), Vec::new());
        let list = keyferry_rdb::ValueType::from_byte(18, keyferry_rdb::Magic::Redis).unwrap();
        keyferry_rdb::dump::write(&mut payload, list, &[&[0x40, nodes][..], &node.repeat(nodes.into())].concat(), 10);
        encode::command(&mut command, &[b"RESTORE", b"l", b"0", &payload, b"REPLACE"]);
        let mut case = Case::new(&stream[..at], &stream[at..], usize::MAX, at);
        (case.commands, case.version) = (vec![restore("r"), command, line(&["DEL", "gone"])], "5.0.14");
        let (all, _, said) = case.run().await;
        let reasons = said.unwrap().unwrap();
        assert_eq!(reasons[1].as_deref(), if fits { None } else { Some("as commands it takes more than 64 MiB") });
        assert_eq!((&reasons[0], &reasons[2]), (&None, &None));
        if !fits {
            assert_eq!(all, ["SET a", "RESTORE r", "DEL gone", "SET b"]);
        }
    }
}

/// What the rules of the task do not choose is not written.
#[tokio::test(start_paused = true)]
async fn rules_are_kept() {
    let stream = joined(&[&["SET", "k:a", "1"]]);
    let mut case = Case::new(&stream, b"", usize::MAX, stream.len());
    case.objects = Objects::parse([(Rule::Prefix, "k:")]).unwrap();
    case.commands = vec![restore("k:r"), restore("other")];
    let (all, _, said) = case.run().await;
    assert_eq!(all, ["SET k:a", "RESTORE k:r"]);
    assert_eq!(said, Some(Ok(vec![None, Some("the rules of the task leave it out".into())])));
    // What may be the target's own is neither replaced nor removed.
    let mut case = Case::new(&stream, b"", usize::MAX, stream.len());
    case.objects = Objects::parse([(Rule::BlockTypes, "string")]).unwrap();
    let (all, _, said) = case.run().await;
    assert!(all.iter().all(|words| !words.starts_with("RESTORE") && words != "DEL gone"), "{all:?}");
    let reasons = said.unwrap().unwrap();
    assert!(reasons[0].as_ref().unwrap().contains("leave its type out") && reasons[1].is_some(), "{reasons:?}");
}

/// Deadlines on the target wait for the checkpoint that says so, and the values do not.
#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_while_deadlines_are_to_be_held() {
    let stats = Stats::default();
    let (standing, stands) = oneshot::channel();
    let (give, values) = oneshot::channel::<Values>();
    // Left over from when the loop was woken.
    stats.hold_now.notify_one();
    let stood = async { Halt { standing, values }.stand(START, &stats).await.is_none() };
    let holds = async {
        assert_eq!(stands.await, Ok(START));
        tokio::task::yield_now().await;
        assert!(!give.is_closed(), "nothing has to be said yet");
        stats.begin_holding(None);
    };
    let (gave_up, ()) = timeout(Duration::from_secs(1), async { tokio::join!(stood, holds) }).await.unwrap();
    assert!(gave_up && give.is_closed());
}
