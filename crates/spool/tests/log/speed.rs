//! Figures, run by hand: `cargo test --release -p keyferry-spool -- --ignored --nocapture speed`.

use std::time::Instant;

use bytes::Bytes;
use keyferry_spool::{Item, Limits, Spool, create, open};

use crate::sample::head;

const CHUNK: usize = 256 * 1024;
const TOTAL: u64 = 2 << 30;

fn say(what: &str, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what}: {:.0} MB/s", TOTAL as f64 / 1e6 / seconds);
}

#[tokio::test]
#[ignore = "a measurement"]
async fn speed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let Spool { mut writer, mut reader, handle } =
        create(&dir, head(), Limits::with_max_bytes(Limits::MAX_BYTES)).unwrap();
    let chunk = Bytes::from(vec![7; CHUNK]);
    let begun = Instant::now();
    let write = async {
        for _ in 0..TOTAL / CHUNK as u64 {
            writer.append(chunk.clone(), 1).await.unwrap();
        }
        writer.flush().await.unwrap();
        say("append until all is in the files", begun);
    };
    let read = async {
        let mut read = 0;
        while read < TOTAL {
            let Some(Item::Block(block)) = reader.next().await.unwrap() else { panic!("no block") };
            read += block.bytes.len() as u64;
        }
        say("append and read", begun);
    };
    tokio::join!(write, read);
    println!("{:?}", handle.counts());
    writer.close().await.unwrap();
    drop(reader);

    let begun = Instant::now();
    let mut opened = open(&dir, Limits::with_max_bytes(Limits::MAX_BYTES)).unwrap().unwrap();
    println!("open: {:?}", begun.elapsed());
    let begun = Instant::now();
    opened.spool.reader.seek(TOTAL - (40 << 20)).unwrap();
    println!("seek: {:?}", begun.elapsed());
    opened.spool.reader.seek(0).unwrap();
    let begun = Instant::now();
    let mut read = 0;
    while read < TOTAL {
        let Some(Item::Block(block)) = opened.spool.reader.next().await.unwrap() else { panic!("no block") };
        read += block.bytes.len() as u64;
    }
    say("read from files", begun);
}
