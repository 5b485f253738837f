//! Golden dumps for the tests of this crate, made by real servers with `tests/golden/make.py`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::{Error, Item, Limits, Reader};

/// What a server said of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) group: String,
    pub(crate) expire_ms: Option<u64>,
    /// Checksum of its DUMP payload.
    pub(crate) crc: u64,
}

/// A dump and what its server said of it.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// RDB version in the footers of the server's DUMP payloads.
    pub(crate) version: u16,
    /// By database and key.
    pub(crate) keys: BTreeMap<(u32, Vec<u8>), Key>,
}

/// All golden dumps, or those with `part` in the name.
pub(crate) fn all(part: &str) -> Vec<Golden> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|ext| ext == "rdb"));
    names.retain(|path| path.to_string_lossy().contains(part));
    names.sort();
    assert!(!names.is_empty());
    names.into_iter().map(|path| load(&path)).collect()
}

fn load(path: &std::path::Path) -> Golden {
    let text = fs::read_to_string(path.with_extension("txt")).unwrap();
    let mut lines = text.lines();
    let version = lines.next().unwrap().strip_prefix("version ").unwrap().parse().unwrap();
    let mut keys = BTreeMap::new();
    for line in lines {
        let [db, key, group, expiry, crc] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let key = if key == "-" { Vec::new() } else { unhex(key) };
        let expire_ms = (expiry != "-").then(|| expiry.parse().unwrap());
        let crc = u64::from_str_radix(crc, 16).unwrap();
        keys.insert((db.parse().unwrap(), key), Key { group: group.to_owned(), expire_ms, crc });
    }
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    Golden { name, bytes: fs::read(path).unwrap(), version, keys }
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// Reads `bytes` as they arrive in pieces of the lengths that `cut` gives; calls `see` for each item. Gives the reader as it
/// was left, and the error that ended it.
pub(crate) fn read(
    bytes: &[u8],
    limits: Limits,
    mut cut: impl FnMut() -> usize,
    mut see: impl FnMut(&Item<'_>),
) -> (Reader, Option<Error>) {
    let mut reader = Reader::new(limits);
    let (mut start, mut end) = (0, 0);
    loop {
        match reader.next(&bytes[start..end]) {
            Ok(Some((used, item))) => {
                see(&item);
                start += used;
                assert!(start <= end);
            }
            Ok(None) if end == bytes.len() => break,
            Ok(None) => end = bytes.len().min(end + cut().max(1)),
            Err(error) => return (reader, Some(error)),
        }
        assert_eq!(reader.offset(), start as u64);
        if reader.is_finished() {
            break;
        }
    }
    (reader, None)
}

/// The items of a dump as text with all they hold, and the error that ended it.
pub(crate) fn items(bytes: &[u8], cut: impl FnMut() -> usize) -> (Vec<String>, Option<Error>) {
    let mut items = Vec::new();
    let (_, error) = read(bytes, Limits::default(), cut, |item| {
        let held = if let Item::Entry(entry) = item {
            format!(" {:?}", (entry.key, entry.raw, entry.meta))
        } else {
            String::new()
        };
        items.push(format!("{item:?}{held}"));
    });
    (items, error)
}
