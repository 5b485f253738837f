//! Values that are read in pieces.

use serde_json::Value;

use crate::{bad, good, rdb_with_input};

/// A plain number as a length.
fn length(bytes: &mut Vec<u8>, n: usize) {
    bytes.push(0x80);
    bytes.extend_from_slice(&u32::try_from(n).unwrap().to_be_bytes());
}

fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    length(bytes, text.len());
    bytes.extend_from_slice(text);
}

/// A list, a set, a hash and a string of 5 to 12 MB each, and a small string behind them.
fn dump() -> Vec<u8> {
    let mut bytes = b"REDIS0003\xfe\x01".to_vec();
    for (kind, name, parts) in [(1, "list", 1), (2, "set", 1), (4, "hash", 2)] {
        bytes.push(kind);
        string(&mut bytes, name.as_bytes());
        length(&mut bytes, 100_000);
        for i in 0..100_000 {
            for part in 0..parts {
                // Falling, so that sorting has something to do.
                string(&mut bytes, format!("{part}:{:09}:{}", 999_999_999 - i, "x".repeat(40)).as_bytes());
            }
        }
    }
    bytes.push(0);
    string(&mut bytes, b"string");
    string(&mut bytes, &vec![b's'; 9 << 20]);
    bytes.extend_from_slice(b"\0\x05small\x01x\xff");
    bytes
}

#[test]
fn large_values_are_the_same_in_pieces() {
    let bytes = dump();
    assert_eq!(good(rdb_with_input(&["keys", "-"], &bytes)), "list\nset\nhash\nstring\nsmall\n");
    let json = good(rdb_with_input(&["json", "-"], &bytes));
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    let [list, set, hash] = [0, 1, 2].map(|i| lines[i]["value"].as_array().unwrap());
    assert_eq!((list.len(), set.len(), hash.len()), (100_000, 100_000, 100_000));
    assert!(list[0].as_str().unwrap().starts_with("0:999999999:"));
    assert!(set[0].as_str().unwrap().starts_with("0:999900000:"));
    assert!(set.iter().rev().eq(list));
    assert!(hash[99_999]["value"].as_str().unwrap().starts_with("1:999999999:"));
    assert_eq!(lines[3]["value"].as_str().unwrap().len(), 9 << 20);
    assert_eq!(lines[4]["value"], "x");
    let output = rdb_with_input(&["verify", "-"], &bytes);
    assert!(String::from_utf8_lossy(&output.stderr).contains("5 keys, 300,002 elements"));
    let info: Value = serde_json::from_str(&good(rdb_with_input(&["info", "-", "--output", "json"], &bytes))).unwrap();
    assert_eq!(info["top"][0]["key"], "hash");
    assert_eq!(info["key_bytes"], bytes.len() - 12);
    let commands = rdb_with_input(&["commands", "-"], &bytes);
    assert!(commands.status.success());
    assert!(commands.stdout.ends_with(b"\r\n$5\r\nsmall\r\n$1\r\nx\r\n"));
}

#[test]
fn what_is_too_large_to_be_sorted_is_named() {
    let bytes = dump();
    let stderr = bad(rdb_with_input(&["json", "-", "--max-value", "5MiB"], &bytes), 1, "RDB-0004");
    assert!(stderr.contains("database 1, value of type set at byte "), "{stderr}");
    assert!(stderr.contains("--max-value"), "{stderr}");
    // A list needs no sorting.
    let args = ["json", "-", "--max-value", "1KiB", "--key", "list", "--key", "small"];
    assert_eq!(good(rdb_with_input(&args, &bytes)).lines().count(), 2);
}
