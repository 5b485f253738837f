//! Against a peer on loopback, in paused time: it advances as soon as nothing else can happen.

use keyferry_keyspace::ServerVersion;
use keyferry_model::Side;
use keyferry_net::Stream;
use keyferry_spool::{Head, Item, Limits, Spool, create};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::source::handshake::Framing;

async fn link() -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    let link = Link { stream: Stream::Plain(ours), first: b"first".to_vec(), start: Start::Continue { replid: None } };
    (link, theirs)
}

/// A spool of so many bytes for a snapshot that is longer than anything here.
fn spool(dir: &tempfile::TempDir, max_bytes: u64) -> Spool {
    let source = ServerVersion::from_info(b"redis_version:7.0.15").unwrap();
    let framing = keyferry_spool::Framing::Length(1 << 30);
    let head = Head { replid: ReplId::NONE, offset: ReplOffset(0), framing, source };
    create(&dir.path().join("t.spool"), head, Limits::with_max_bytes(max_bytes).fitting()).unwrap()
}

/// Runs a receiver over one link within a snapshot, where a lost link is the end.
async fn receive(link: Link, writer: Writer, spool: Handle, stats: &Stats) -> Result<()> {
    let endpoint = Endpoint::parse(Side::Source, "redis://127.0.0.1:1").unwrap();
    let stop = CancellationToken::new();
    let receiver = Receiver {
        endpoint: &endpoint,
        stats,
        writer,
        spool,
        end: Some(SnapshotEnd::new(Framing::Length(1 << 30))),
        replid: ReplId::NONE,
        retry_window: None,
        stop: &stop,
    };
    receiver.run(Ok(link)).await.map(|back| assert!(!back))
}

#[tokio::test(start_paused = true)]
async fn a_silent_source_is_noticed_while_it_is_acknowledged() {
    let (link, mut peer) = link().await;
    let dir = tempfile::tempdir().unwrap();
    let Spool { writer, mut reader, handle } = spool(&dir, 1 << 30);
    let stats = Stats::default();
    let begun = Timer::now();
    let error = receive(link, writer, handle, &stats).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Side::Source));
    assert_eq!(begun.elapsed(), SILENCE);
    let Some(Item::Block(block)) = reader.next().await.unwrap() else { panic!("no bytes") };
    assert_eq!(&block.bytes[..], b"first");
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).await.unwrap();
    // Whole empty lines: of a bare LF, sources up to 4.0 take the byte behind it along.
    let lines = heard.chunks(2);
    assert!(lines.len() >= 59 && lines.clone().all(|line| line == b"\r\n"), "a sign of life every second: {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_waits_for_us_is_not_silent() {
    let (link, peer) = link().await;
    // The first bytes fit and no chunk behind them: nothing is read any more.
    let dir = tempfile::tempdir().unwrap();
    let Spool { writer, reader: _reader, handle } = spool(&dir, CHUNK as u64);
    let stats = Stats::default();
    let waited = timeout(SILENCE * 10, receive(link, writer, handle, &stats)).await;
    assert!(waited.is_err(), "it must go on waiting for room");
    drop(peer);
}
