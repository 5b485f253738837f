//! What `keyferry rdb info` says beyond counts.

use serde_json::Value;

use crate::{golden::path, good, rdb, rdb_with_input};

/// A dump of version 3 with one string for each expiry in milliseconds, 0 for none.
fn dump(expiries: &[i64]) -> Vec<u8> {
    let mut bytes = b"REDIS0003\xfe\0".to_vec();
    for (i, ms) in expiries.iter().enumerate() {
        if *ms != 0 {
            bytes.push(0xfc);
            bytes.extend_from_slice(&ms.to_le_bytes());
        }
        let key = format!("key \"{i}\"");
        bytes.extend_from_slice(&[0, u8::try_from(key.len()).unwrap()]);
        bytes.extend_from_slice(key.as_bytes());
        bytes.push(u8::try_from(i + 1).unwrap());
        bytes.resize(bytes.len() + i + 1, b'v');
    }
    bytes.push(0xff);
    bytes
}

#[test]
fn expiries_count_from_the_time_that_is_given() {
    let now = 1_700_000_000_000;
    let bytes =
        dump(&[0, now - 1, now, now + 1, now + 60_000, now + 3_600_000, now + 6 * 86_400_000, now + 86_400_000 * 400]);
    let args = ["info", "-", "--output", "json", "--top", "2", "--now", &now.to_string()];
    let info: Value = serde_json::from_str(&good(rdb_with_input(&args, &bytes))).unwrap();
    let expected = serde_json::json!({
        "none": 1, "expired": 2, "within_1m": 1, "within_1h": 1, "within_1d": 1, "within_7d": 1, "within_30d": 0, "later": 1
    });
    assert_eq!(info["expiry"], expected);
    let top = info["top"].as_array().unwrap();
    assert_eq!(top.len(), 2);
    assert_eq!((&top[0]["key"], &top[0]["bytes"]), (&"key \"7\"".into(), &27.into()));
    assert_eq!(top[1]["key"], "key \"6\"");
    assert_eq!((&info["version"], &info["checksum"]), (&3.into(), &"absent".into()));
    let text = good(rdb_with_input(&["info", "-", "--top", "1"], &bytes));
    assert!(text.contains("\"key \\\"7\\\"\"\n"), "{text}");
}

#[test]
fn functions_modules_and_aux_fields_are_named() {
    let info = |name: &str| -> Value {
        serde_json::from_str(&good(rdb(&["info", path(name).to_str().unwrap(), "--output", "json"]))).unwrap()
    };
    let redis = info("redis-7.2");
    assert!(redis["aux"]["redis-ver"].as_str().unwrap().starts_with("7.2"));
    assert!(redis["function_count"].as_u64().unwrap() > 0 && redis["functions"][0] != "?");
    let stack = info("redis-7.4-stack");
    assert!(stack["module_values"]["ReJSON-RL"]["keys"].as_u64().unwrap() > 0, "{stack}");
    assert!(!stack["module_aux"].as_array().unwrap().is_empty());
    let cluster = info("valkey-8.1-cluster");
    assert!(cluster["slots"].as_u64().unwrap() > 0);
    assert_eq!(info("valkey-9.0")["magic"], "VALKEY");
    let text = good(rdb(&["info", path("redis-7.4-stack").to_str().unwrap()]));
    for part in ["REDIS version 12", "the checksum is right", "ReJSON-RL", "largest keys", "database"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
