//! Against a scripted target on loopback.

use keyferry_net::Stream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;
use crate::{
    repair::Repaired,
    target::{Checkpoint, Guard},
};

async fn connected() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    (Stream::Plain(ours), theirs)
}

fn batch(commands: &[(What, &[u8])], applied: Option<u64>) -> Batch {
    let mut batch = Batch::default();
    for (i, (what, key)) in commands.iter().enumerate() {
        batch.command(*what, 100 + i as u64, &[b"SET", key, b"v"]);
    }
    batch.applied = applied;
    batch
}

/// Runs a lane over these batches against a target that answers with these bytes after it has read something: in one
/// piece, and in others, which has to make no difference.
async fn run(on_conflict: OnConflict, batches: impl Fn() -> Vec<Batch>, replies: &'static [u8]) -> (Result<()>, Stats) {
    let (whole, stats) = run_cut(on_conflict, batches(), replies, replies.len()).await;
    let text = |result: &Result<()>| format!("{result:?}");
    let counts = |s: &Stats| (s.keys.get(), s.commands.get(), s.kept(), s.applied.get(), s.broken.load(Relaxed));
    for size in [1, 5, 9, 14, QUEUED.len()] {
        let (cut, of_cut) = run_cut(on_conflict, batches(), replies, size).await;
        assert_eq!(text(&whole), text(&cut), "in pieces of {size}");
        assert_eq!(counts(&stats), counts(&of_cut), "in pieces of {size}");
    }
    (whole, stats)
}

async fn run_cut(on_conflict: OnConflict, batches: Vec<Batch>, replies: &[u8], cut: usize) -> (Result<()>, Stats) {
    let (stream, mut peer) = connected().await;
    let stats = Stats::default();
    let (spare, _spare) = mpsc::channel(1);
    let (to_lane, from_us) = mpsc::channel(8);
    for batch in batches {
        to_lane.send(batch).await.unwrap();
    }
    drop(to_lane);
    let target = async {
        let mut seen = [0; 4096];
        let _ = peer.read(&mut seen).await.unwrap();
        for piece in replies.chunks(cut) {
            peer.write_all(piece).await.unwrap();
        }
        peer
    };
    let (result, _peer) = tokio::join!(Lane::new(stream, &stats, on_conflict, spare).run(from_us), target);
    (result, stats)
}

#[tokio::test]
async fn replies_are_matched_and_move_the_offset() {
    let batches = || {
        vec![
            batch(&[(What::Select, b"a"), (What::Key, b"b")], None),
            batch(&[], Some(99)),
            batch(&[(What::Command, b"c"), (What::Command, b"d")], Some(200)),
        ]
    };
    let (result, stats) = run(OnConflict::Abort, batches, b"+OK\r\n+OK\r\n:1\r\n$-1\r\n").await;
    result.unwrap();
    assert_eq!((stats.keys.get(), stats.commands.get(), stats.applied.get()), (1, 2, 200));
}

#[tokio::test]
async fn the_offset_stays_before_a_refusal() {
    let batches = || vec![batch(&[(What::Command, b"a")], Some(50)), batch(&[(What::Command, b"secret")], Some(60))];
    let (result, stats) = run(OnConflict::Abort, batches, b"+OK\r\n-ERR no 'secret' here\r\n").await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandRefused);
    assert_eq!(error.to_string(), "write to the target: it answers SET at offset 100 with `ERR no`");
    assert_eq!(stats.applied.get(), 50);
}

#[tokio::test]
async fn a_key_that_is_there_is_kept_or_ends_the_task() {
    let keys = || vec![batch(&[(What::Key, b"a"), (What::Key, b"b"), (What::Key, b"c")], Some(7))];
    let replies = b"$-1\r\n-BUSYKEY Target key name already exists.\r\n+OK\r\n";
    let (result, stats) = run(OnConflict::Ignore, keys, replies).await;
    result.unwrap();
    assert_eq!((stats.keys.get(), stats.kept(), stats.applied.get()), (3, 2, 7));
    for replies in [b"$-1\r\n".as_slice(), b"-BUSYKEY Target key name already exists.\r\n"] {
        let (result, stats) = run(OnConflict::Abort, keys, replies).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::KeyExists);
        assert_eq!(stats.applied.get(), 0);
    }
}

/// A batch of two commands that says that 70 is applied: three replies in front, five commands queued, EXEC.
fn guarded() -> Batch {
    let checkpoint = Checkpoint { offset: 70, seq: 4, ..Checkpoint::BEGINNING };
    let mut guard = Guard::new("t", 0, &checkpoint);
    let mut batch = Batch::default();
    guard.open(&mut batch);
    batch.command(What::Command, 60, &[b"SET", b"a", b"v"]);
    batch.command(What::Deadline, 70, &[b"PEXPIREAT", b"a", b"5"]);
    guard.seal(&mut batch, Some(3), &checkpoint, None);
    batch.applied = Some(70);
    batch
}

const QUEUED: &str = "+OK\r\n:1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";

#[tokio::test]
async fn a_transaction_applies_as_a_whole_or_not_at_all() {
    let end = "*5\r\n+OK\r\n:1\r\n+OK\r\n:0\r\n:4\r\n";
    let twice = format!("{QUEUED}{end}{QUEUED}{end}").leak().as_bytes();
    let (result, stats) = run(OnConflict::Abort, || vec![guarded(), guarded()], twice).await;
    result.unwrap();
    assert_eq!((stats.commands.get(), stats.applied.get(), stats.broken.load(Relaxed)), (4, 70, false));
    let oom = "+OK\r\n:1\r\n+OK\r\n-OOM no\r\n";
    for (replies, kind, broken) in [
        // Somebody else has changed the checkpoint.
        (format!("{QUEUED}*-1\r\n"), ErrorKind::CheckpointChanged, false),
        // Nothing is written when a command is refused before the transaction runs.
        (oom.to_owned(), ErrorKind::TargetFull, false),
        ("-NOAUTH x\r\n:1\r\n+OK\r\n".to_owned(), ErrorKind::Auth(Side::Target), false),
        // Without its MULTI the rest runs as it is.
        ("-BUSY x\r\n-BUSY x\r\n-BUSY x\r\n".to_owned(), ErrorKind::Timeout(Side::Target), true),
        (format!("{QUEUED}-EXECABORT x\r\n"), ErrorKind::CommandRefused, false),
        // The rest is written when one is refused while it runs.
        (format!("{QUEUED}*5\r\n-WRONGTYPE x\r\n:1\r\n"), ErrorKind::CommandRefused, true),
        (format!("{QUEUED}*5\r\n-OOM x\r\n:1\r\n"), ErrorKind::TargetFull, true),
        (format!("{QUEUED}*5\r\n+OK\r\n:0\r\n"), ErrorKind::DeadlineMissed, true),
        // The batch before it did not apply.
        (format!("{QUEUED}*5\r\n+OK\r\n:1\r\n+OK\r\n:0\r\n:3\r\n"), ErrorKind::Broken, true),
    ] {
        let (result, stats) = run(OnConflict::Abort, || vec![guarded()], replies.clone().leak().as_bytes()).await;
        assert_eq!(result.unwrap_err().kind(), kind, "{replies:?}");
        assert_eq!((stats.applied.get(), stats.broken.load(Relaxed)), (0, broken), "{replies:?}");
    }
}

/// What the target refuses of a repair is a reason, and all else of the batch counts.
#[tokio::test]
async fn a_refused_repair_is_no_end() {
    let (said, mut reasons) = tokio::sync::oneshot::channel();
    let batch =
        |said| {
            let checkpoint = Checkpoint { offset: 70, seq: 4, ..Checkpoint::BEGINNING };
            let (mut guard, mut batch) = (Guard::new("t", 0, &checkpoint), Batch::default());
            guard.open(&mut batch);
            for place in 0..3 {
                batch.command(What::Command, 70, &[b"DEL", b"a"]);
                batch.try_last(place, place == 2);
            }
            assert!(batch.bytes.ends_with(
                b"$32\r\nreturn redis.pcall(unpack(ARGV))\r\n$1\r\n1\r\n$1\r\na\r\n$3\r\nDEL\r\n$1\r\na\r\n"
            ));
            guard.seal(&mut batch, Some(3), &checkpoint, None);
            (batch.applied, batch.repaired) = (Some(70), Some(Repaired { said, reasons: vec![None; 3] }));
            batch
        };
    let queued = "+OK\r\n:1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";
    let replies = format!("{queued}*6\r\n+OK\r\n-ERR DUMP payload 'x'\r\n:1\r\n+OK\r\n+OK\r\n:4\r\n");
    let (result, stats) = run_cut(OnConflict::Abort, vec![batch(said)], replies.as_bytes(), 5).await;
    result.unwrap();
    let refused = Some("the target answers `ERR DUMP payload`".to_owned());
    assert_eq!(reasons.try_recv().unwrap().unwrap(), [None, refused, None]);
    assert_eq!((stats.commands.get(), stats.applied.get(), stats.broken.load(Relaxed)), (2, 70, false));
}

#[tokio::test]
async fn a_deadline_of_a_key_that_is_gone_is_an_error() {
    let deadlines = || vec![batch(&[(What::Deadline, b"a"), (What::Deadline, b"b")], Some(7))];
    for replies in [b":1\r\n:0\r\n".as_slice(), b"*1\r\n:1\r\n*1\r\n:-2\r\n", b":1\r\n*2\r\n:-2\r\n:-2\r\n"] {
        let (result, stats) = run(OnConflict::Abort, deadlines, replies).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::DeadlineMissed);
        assert_eq!(stats.applied.get(), 0);
    }
    // A field that the source lacks, too; one without a deadline; one whose deadline is over.
    for replies in [b":1\r\n*2\r\n:-2\r\n:1\r\n".as_slice(), b"*1\r\n:-1\r\n*1\r\n:2\r\n"] {
        run(OnConflict::Abort, deadlines, replies).await.0.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_alive_and_a_silent_one_given_up() {
    let (stream, mut peer) = connected().await;
    let stats = Stats::default();
    let (spare, _spare) = mpsc::channel(1);
    let (_to_lane, from_us) = mpsc::channel(1);
    let lane = Lane::new(stream, &stats, OnConflict::Abort, spare).run(from_us);
    tokio::pin!(lane);
    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    let mut seen = [0; PING.len()];
    for _ in 0..3 {
        tokio::select! {
            ended = &mut lane => panic!("{ended:?}"),
            read = peer.read_exact(&mut seen) => assert_eq!(read.unwrap(), PING.len()),
        }
        assert_eq!(seen, PING);
        peer.write_all(b"+PONG\r\n").await.unwrap();
    }
    // The next PING has no answer.
    let error = timeout(SILENCE * 2, lane).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Side::Target));
}
