//! Files that are no good dumps.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::{bad, golden::path, good, rdb, rdb_with_input};

/// The number behind `at byte `, which is to be the last such in the first line.
fn offset(stderr: &str) -> u64 {
    let line = stderr.lines().next().unwrap();
    let (_, rest) = line.rsplit_once("byte ").unwrap();
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn what_is_no_dump() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, text) = (file("empty.rdb", b""), file("text.rdb", b"hello, this is not a dump"));
    let (newer, cut) = (file("newer.rdb", b"REDIS0099"), file("cut.rdb", b"REDIS00"));
    let missing = folder.path().join("missing.rdb");
    for tool in ["info", "json", "keys", "commands", "verify"] {
        let stderr = bad(rdb(&[tool, missing.to_str().unwrap()]), 2, "CFG-0007");
        assert!(stderr.contains("missing.rdb"), "{stderr}");
        bad(rdb(&[tool, folder.path().to_str().unwrap()]), 2, "CFG-0007");
        assert!(bad(rdb(&[tool, &empty]), 1, "RDB-0001").contains("it is empty, expected a dump at byte 0"));
        assert!(bad(rdb(&[tool, &text]), 1, "RDB-0001").contains("no RDB header at byte 0"));
        assert!(bad(rdb(&[tool, &newer]), 1, "RDB-0003").contains("at byte 5"));
        assert!(bad(rdb(&[tool, &cut]), 1, "RDB-0001").contains("it ends at byte 7"));
        bad(rdb_with_input(&[tool, "-"], b"VALKEY08"), 1, "RDB-0001");
    }
}

#[test]
fn values_that_nobody_can_read() {
    let stderr = bad(rdb(&["verify", path("redis-4.0-hellotype").to_str().unwrap()]), 1, "RDB-0002");
    assert!(stderr.contains("only the module that wrote it knows its length"), "{stderr}");
}

#[test]
fn a_truncated_dump_ends_where_it_says() {
    for name in ["redis-2.8", "redis-7.0", "redis-8.6", "valkey-9.1"] {
        let whole = fs::read(path(name)).unwrap();
        for len in (1..whole.len()).step_by(whole.len() / 40) {
            let stderr = bad(rdb_with_input(&["verify", "-"], &whole[..len]), 1, "RDB-0001");
            assert!(stderr.contains(&format!("it ends at byte {len}, inside")), "{name} {stderr}");
        }
    }
}

#[test]
fn a_flipped_byte_is_found() {
    let whole = fs::read(path("redis-7.2")).unwrap();
    let mut structure = 0;
    for at in (9..whole.len()).step_by(whole.len() / 150) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let output = rdb_with_input(&["verify", "-"], &bytes);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "byte {at}: {stderr}");
        assert!(stderr.contains("error RDB-000"), "{stderr}");
        assert!(offset(&stderr) <= whole.len() as u64, "{stderr}");
        structure += u32::from(!stderr.contains("checksum mismatch"));
    }
    assert!(structure > 0);
}

#[test]
fn a_wrong_byte_in_a_value_is_named_with_its_offset() {
    // A list of one listpack node whose first element has a length that the node does not hold.
    let node: &[u8] = b"\x0b\x00\x00\x00\x01\x00\x85ab\x03\xff";
    let mut bytes = b"REDIS0010\xfe\x02\x12\x01k\x01\x02".to_vec();
    bytes.push(u8::try_from(node.len()).unwrap());
    let start = bytes.len();
    bytes.extend_from_slice(node);
    bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let stderr = bad(rdb_with_input(&["verify", "-"], &bytes), 1, "RDB-0001");
    assert!(stderr.contains("database 2, value of type list-quicklist-2 at byte 14"), "{stderr}");
    assert!((start..start + node.len()).contains(&(offset(&stderr) as usize)), "{stderr}");
    // Who does not look into values does not see it.
    assert_eq!(good(rdb_with_input(&["keys", "-"], &bytes)), "k\n");
}

#[test]
fn bytes_behind_the_end_are_told() {
    let mut bytes = fs::read(path("redis-7.0")).unwrap();
    bytes.extend_from_slice(b"*1\r\n");
    let output = rdb_with_input(&["verify", "-"], &bytes);
    assert!(String::from_utf8_lossy(&output.stderr).contains("4 bytes follow it"));
    assert!(output.status.success());
    assert!(good(rdb_with_input(&["info", "-"], &bytes)).contains("behind it  4 bytes"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut bytes = b"REDIS0003\xfe\0".to_vec();
    for i in 0..200_000 {
        bytes.extend_from_slice(format!("\0\x0bkey:{i:07}\x02ab").as_bytes());
    }
    bytes.push(0xff);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.rdb");
    fs::write(&path, bytes).unwrap();
    for tool in ["keys", "json", "commands"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
        command.arg("rdb").arg(tool).arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
