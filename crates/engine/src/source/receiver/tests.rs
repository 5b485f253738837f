//! Against a peer on loopback, in paused time: it advances as soon as nothing else can happen.

use keyferry_model::Side;
use keyferry_net::Stream;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};

use super::*;

async fn link() -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    let link = Link { stream: Stream::Plain(ours), first: b"first".to_vec(), start: Start::Continue { replid: None } };
    (link, theirs)
}

/// Runs a receiver over one link within a snapshot, where a lost link is the end.
async fn receive(link: Link, chunks: mpsc::Sender<Chunk>, stats: &Stats) -> Result<()> {
    let endpoint = Endpoint::parse(Side::Source, "redis://127.0.0.1:1").unwrap();
    let (decoded_tx, decoded) = watch::channel(Decoded::default());
    let stop = CancellationToken::new();
    let receiver = Receiver {
        endpoint: &endpoint,
        stats,
        decoded,
        chunks,
        replid: ReplId::parse(&[b'a'; 40]).unwrap(),
        start: ReplOffset(0),
        retry_window: None,
        stop: &stop,
    };
    // What was handed on counts as decoded at once.
    decoded_tx.send_replace(Decoded { bytes: 5, stream_from: None });
    receiver.run(link).await
}

#[tokio::test(start_paused = true)]
async fn a_silent_source_is_noticed_while_it_is_acknowledged() {
    let (link, mut peer) = link().await;
    let (chunks_tx, mut chunks) = mpsc::channel(2);
    let stats = Stats::default();
    let begun = Timer::now();
    let error = receive(link, chunks_tx, &stats).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Side::Source));
    assert_eq!(begun.elapsed(), SILENCE);
    assert_eq!(&chunks.recv().await.unwrap().bytes[..], b"first");
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).await.unwrap();
    // Whole empty lines: of a bare LF, sources up to 4.0 take the byte behind it along.
    let lines = heard.chunks(2);
    assert!(lines.len() >= 59 && lines.clone().all(|line| line == b"\r\n"), "a sign of life every second: {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_waits_for_us_is_not_silent() {
    let (link, peer) = link().await;
    // One place, which the first bytes take and nobody empties: nothing is read any more.
    let (chunks_tx, _chunks) = mpsc::channel(1);
    let stats = Stats::default();
    let waited = timeout(SILENCE * 10, receive(link, chunks_tx, &stats)).await;
    assert!(waited.is_err(), "it must go on waiting for room");
    drop(peer);
}
