//! Golden dumps of every version, with the key lists that the servers themselves made.

use std::{collections::BTreeMap, fs, path::PathBuf};

use keyferry_testkit::{Server, server::program};
use serde_json::Value;

use crate::{good, rdb};

/// What a server said of one key.
pub(crate) struct Key {
    pub(crate) group: String,
    pub(crate) expire_ms: Option<u64>,
}

/// A dump and its keys by database and key.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) keys: BTreeMap<(u64, Vec<u8>), Key>,
}

/// All golden dumps that can be read to their end.
pub(crate) fn readable() -> Vec<Golden> {
    let mut all: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "rdb"));
    // It has a value of a form that only the module itself can read.
    all.retain(|path| path.file_stem().unwrap() != "redis-4.0-hellotype");
    all.sort();
    assert!(all.len() >= 26);
    all.into_iter().map(load).collect()
}

/// Path of one golden dump.
pub(crate) fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.rdb"))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rdb/tests/golden")
}

fn load(path: PathBuf) -> Golden {
    let text = fs::read_to_string(path.with_extension("txt")).unwrap();
    let mut keys = BTreeMap::new();
    for line in text.lines().skip(1) {
        let [db, key, group, expiry, _] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let key = if key == "-" { Vec::new() } else { unhex(key) };
        keys.insert((db.parse().unwrap(), key), Key { group: group.into(), expire_ms: expiry.parse().ok() });
    }
    Golden { name: path.file_stem().unwrap().to_string_lossy().into_owned(), path, keys }
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

impl Golden {
    /// The server that made it, with the dump loaded; `None` where it has not been fetched.
    pub(crate) fn server(&self) -> Option<Server> {
        let mut parts = self.name.splitn(3, '-');
        let name = format!("{}-{}", parts.next()?, parts.next()?);
        program(&name, "redis-server").ok()?;
        let mut builder = Server::builder(&name).snapshot(&self.path);
        match parts.next() {
            Some("hellotype") => builder = builder.module("hellotype"),
            Some("stack") => {
                for module in ["redisearch", "rejson", "redisbloom", "redistimeseries"] {
                    builder = builder.module(module);
                }
            }
            _ => {}
        }
        Some(builder.start().unwrap())
    }
}

/// Bytes as the tool writes them: text where they are UTF-8, else in base64.
pub(crate) fn bytes_of(value: &Value) -> Vec<u8> {
    use base64::Engine as _;
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => base64::engine::general_purpose::STANDARD.decode(other["base64"].as_str().unwrap()).unwrap(),
    }
}

/// Database and key of a line.
pub(crate) fn name_of(line: &Value) -> (u64, Vec<u8>) {
    (line["db"].as_u64().unwrap(), bytes_of(&line["key"]))
}

/// Lines of JSON.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn keys_are_those_that_the_servers_list() {
    for golden in readable() {
        let path = golden.path.to_str().unwrap();
        let found = lines(&good(rdb(&["keys", path, "--output", "json"])));
        assert_eq!(found.len(), golden.keys.len(), "{}", golden.name);
        for line in &found {
            let key = &golden.keys[&name_of(line)];
            assert_eq!(line["type"], key.group.as_str(), "{} {line}", golden.name);
            assert_eq!(line["expire_ms"].as_u64(), key.expire_ms, "{} {line}", golden.name);
            assert!(line["bytes"].as_u64().unwrap() >= 3, "{} {line}", golden.name);
        }
        let text = good(rdb(&["keys", path]));
        assert_eq!(text.lines().count(), golden.keys.len());
        assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
    }
}

#[test]
fn info_counts_what_the_servers_list() {
    for golden in readable() {
        let path = golden.path.to_str().unwrap();
        let info: Value = serde_json::from_str(&good(rdb(&["info", path, "--output", "json"]))).unwrap();
        let (mut types, mut databases) = (BTreeMap::new(), BTreeMap::new());
        for ((db, _), key) in &golden.keys {
            *types.entry(key.group.clone()).or_insert(0_u64) += 1;
            *databases.entry(db.to_string()).or_insert(0_u64) += 1;
        }
        let counts = |part: &Value| -> BTreeMap<String, u64> {
            let part = part.as_object().unwrap();
            part.iter().map(|(name, sum)| (name.clone(), sum["keys"].as_u64().unwrap())).collect()
        };
        assert_eq!(counts(&info["types"]), types, "{}", golden.name);
        assert_eq!(counts(&info["databases"]), databases, "{}", golden.name);
        assert_eq!(info["keys"], golden.keys.len(), "{}", golden.name);
        let expiring = golden.keys.values().filter(|key| key.expire_ms.is_some()).count();
        assert_eq!(info["expiring"], expiring, "{}", golden.name);
        assert_eq!(info["expiry"]["later"], expiring, "{}", golden.name);
        assert_eq!(info["bytes"], std::fs::metadata(path).unwrap().len(), "{}", golden.name);
        let bytes: u64 = info["types"].as_object().unwrap().values().map(|sum| sum["bytes"].as_u64().unwrap()).sum();
        assert_eq!(info["key_bytes"], bytes);
        assert!(bytes < info["bytes"].as_u64().unwrap());
        let checksum = if golden.name.contains("nochecksum") { "disabled" } else { "ok" };
        assert_eq!(info["checksum"], checksum, "{}", golden.name);
    }
}

#[test]
fn every_dump_is_verified() {
    for golden in readable() {
        let output = rdb(&["verify", golden.path.to_str().unwrap()]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(good(output).is_empty());
        assert!(stderr.contains(&format!("is a good dump: {} keys", golden.keys.len())), "{stderr}");
    }
}
