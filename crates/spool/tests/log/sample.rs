//! What the tests share: heads, limits, contents that say where they belong, and reading a log to its end.

use std::{fs, path::Path};

use bytes::Bytes;
use keyferry_keyspace::{ReplId, ReplOffset, ServerVersion};
use keyferry_model::Result;
use keyferry_spool::{Framing, Head, Item, Limits, Next, Note, Reader, Writer};

pub(crate) fn replid(c: u8) -> ReplId {
    ReplId::parse(&[c; 40]).unwrap()
}

pub(crate) fn head() -> Head {
    let source = ServerVersion::from_info(b"redis_version:7.0.15").unwrap();
    Head { replid: replid(b'a'), offset: ReplOffset(1000), framing: Framing::Length(100), source }
}

/// Small segments, so that there are many.
pub(crate) fn small() -> Limits {
    Limits { max_bytes: 1 << 20, margin: 0, segment: 1024, tail: 1 << 20 }
}

/// Bytes that differ from place to place.
pub(crate) fn bytes(position: u64, len: usize) -> Bytes {
    (position..).take(len).map(byte).collect()
}

pub(crate) fn byte(position: u64) -> u8 {
    (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

pub(crate) async fn append(writer: &mut Writer, position: &mut u64, len: usize) {
    assert!(writer.append(bytes(*position, len), *position + 7).await.unwrap());
    *position += len as u64;
}

/// Reads what is there. Checks each byte, and gives the end and the notes.
pub(crate) fn read_all(reader: &mut Reader, mut position: u64) -> Result<(u64, Vec<(u64, Note)>)> {
    let mut notes = Vec::new();
    loop {
        match reader.try_next()? {
            Next::Item(Item::Block(block)) => {
                assert_eq!(block.position, position);
                assert_eq!(block.bytes, bytes(position, block.bytes.len()), "at {position}");
                position += block.bytes.len() as u64;
            }
            Next::Item(Item::Note { position: at, note }) => {
                assert_eq!(at, position);
                notes.push((at, note));
            }
            Next::Empty | Next::Ended => return Ok((position, notes)),
        }
    }
}

/// The files of a log with their contents, in the order of their names.
pub(crate) fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Puts a log back as it was.
pub(crate) fn restore(dir: &Path, files: &[(std::path::PathBuf, Vec<u8>)]) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
}
