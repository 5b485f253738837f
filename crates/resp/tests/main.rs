//! Traffic of real servers, from the corpus of the fuzz targets: all of it is understood, to the last byte.

#![allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

use std::path::Path;

use keyferry_resp::{Limits, decode, reply, request};

/// The files whose names end in `suffix`, without the four bytes that only the fuzz target reads.
fn traffic(suffix: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/resp");
    let files = std::fs::read_dir(dir).expect("the corpus").map(|file| file.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let files = files.filter(|path| name(path).ends_with(suffix));
    let found: Vec<_> = files.map(|path| (name(&path), std::fs::read(&path).unwrap().split_off(4))).collect();
    assert!(found.len() >= 4, "{suffix}");
    found
}

#[test]
fn replication_streams() {
    for (name, stream) in traffic("-stream") {
        let mut scanner = request::Scanner::new(Limits::default());
        let mut rest = stream.as_slice();
        let mut names = Vec::new();
        while let Some(request) = scanner.next(rest).unwrap_or_else(|e| panic!("{name}: {e}")) {
            names.push(request.name().to_ascii_uppercase());
            rest = &rest[request.bytes().len()..];
        }
        assert!(rest.is_empty(), "{name}");
        for expected in ["SELECT", "SET", "XADD", "MULTI", "EXEC", "MSET", "DEL", "FLUSHDB"] {
            let is_stream_of_old = expected == "XADD" && (name.starts_with("redis-2") || name.starts_with("redis-3"));
            assert!(is_stream_of_old || names.iter().any(|n| n == expected.as_bytes()), "{name}: {expected}");
        }
    }
}

#[test]
fn replies() {
    for (name, replies) in traffic("-replies").into_iter().chain(traffic("-resp3")) {
        let mut scanner = reply::Scanner::new();
        let mut at = 0;
        let (mut errors, mut nested) = (Vec::new(), 0);
        while at < replies.len() {
            let (used, summary) = scanner.feed(&replies[at..]).unwrap_or_else(|e| panic!("{name}: {e}"));
            let summary = summary.unwrap_or_else(|| panic!("{name}: a reply is cut off"));
            nested += usize::from(summary.nested_error);
            if summary.kind == reply::Kind::Error {
                errors.push(String::from_utf8_lossy(scanner.error_text()).into_owned());
            }
            if name.ends_with("-replies") {
                let (len, _) = decode(&replies[at..], Limits::default()).unwrap().unwrap();
                assert_eq!(len, used, "{name}");
            }
            at += used;
        }
        assert!(errors.iter().any(|e| e.starts_with("WRONGTYPE ")), "{name}: {errors:?}");
        assert!(errors.iter().any(|e| e.starts_with("ERR unknown command")), "{name}: {errors:?}");
        // EXEC with a command of the wrong type in it, and a script that returns an error among other things.
        assert!(nested >= 1, "{name}");
    }
}
