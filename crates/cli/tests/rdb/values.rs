//! `keyferry rdb json` shows what the servers themselves say.

use std::collections::BTreeMap;

use redis::{Connection, FromRedisValue, RedisResult, ToRedisArgs, Value as Answer, cmd};
use serde_json::Value;

use crate::{
    golden::{bytes_of, lines, name_of, readable},
    good, rdb,
};

type Bytes = Vec<u8>;

#[test]
fn json_is_what_servers_say() {
    let mut servers = 0;
    for golden in readable() {
        let Some(server) = golden.server() else {
            eprintln!("{}: its server has not been fetched", golden.name);
            continue;
        };
        servers += 1;
        let mut conn = server.conn().unwrap();
        let found = lines(&good(rdb(&["json", golden.path.to_str().unwrap()])));
        assert_eq!(found.len(), golden.keys.len(), "{}", golden.name);
        for line in &found {
            let (db, key) = name_of(line);
            cmd("SELECT").arg(db).exec(&mut conn).unwrap();
            assert_eq!(line["expire_ms"].as_u64(), golden.keys[&(db, key.clone())].expire_ms);
            check(&mut conn, &key, line["type"].as_str().unwrap(), &line["value"])
                .unwrap_or_else(|e| panic!("{} {line}: {e}", golden.name));
        }
    }
    assert!(servers > 0, "no server has been fetched: cargo xtask servers");
}

fn ask<T: FromRedisValue>(conn: &mut Connection, name: &str, args: &[&[u8]]) -> RedisResult<T> {
    cmd(name).arg(args).query(conn)
}

/// Compares one value with the answers of the server.
fn check(conn: &mut Connection, key: &[u8], group: &str, value: &Value) -> RedisResult<()> {
    match group {
        "string" => assert_eq!(bytes_of(value), ask::<Bytes>(conn, "GET", &[key])?),
        "list" => assert_eq!(all(value), ask::<Vec<Bytes>>(conn, "LRANGE", &[key, b"0", b"-1"])?),
        "set" => {
            let mut members: Vec<Bytes> = ask(conn, "SMEMBERS", &[key])?;
            members.sort();
            assert_eq!(all(value), members);
        }
        "zset" => {
            let flat: Vec<Bytes> = ask(conn, "ZRANGE", &[key, b"0", b"-1", b"WITHSCORES"])?;
            let expected = flat.chunks(2).map(|pair| (pair[0].clone(), number(&pair[1])));
            let score = |score: &Value| score.as_f64().unwrap_or_else(|| number(score.as_str().unwrap().as_bytes()));
            let found = value.as_array().unwrap().iter().map(|pair| (bytes_of(&pair[0]), score(&pair[1])));
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
        "hash" => check_hash(conn, key, value)?,
        "stream" => check_stream(conn, key, value)?,
        "module" => {
            let dump: Bytes = ask(conn, "DUMP", &[key])?;
            let raw = bytes_of(&value["raw"]);
            // Behind the type, in front of version and checksum.
            assert_eq!(raw, dump[1..dump.len() - 10]);
            assert_eq!(value["module"].as_str().unwrap().len(), 9);
        }
        other => panic!("a type {other}"),
    }
    Ok(())
}

fn check_hash(conn: &mut Connection, key: &[u8], value: &Value) -> RedisResult<()> {
    let flat: Vec<Bytes> = ask(conn, "HGETALL", &[key])?;
    let mut expected: Vec<_> = flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone(), None)).collect();
    expected.sort();
    for (field, _, expire_ms) in &mut expected {
        // Servers without expiries of fields do not know the command.
        let times: RedisResult<Vec<i64>> = ask(conn, "HPEXPIRETIME", &[key, b"FIELDS", b"1", field]);
        *expire_ms = times.ok().and_then(|times| u64::try_from(times[0]).ok());
    }
    let found = value.as_array().unwrap().iter();
    let found = found.map(|one| (bytes_of(&one["field"]), bytes_of(&one["value"]), one["expire_ms"].as_u64()));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    Ok(())
}

fn check_stream(conn: &mut Connection, key: &[u8], value: &Value) -> RedisResult<()> {
    let entries: Vec<(String, Vec<Bytes>)> = ask(conn, "XRANGE", &[key, b"-", b"+"])?;
    let found = value["entries"].as_array().unwrap().iter().map(|entry| {
        let fields = entry["fields"].as_array().unwrap().iter();
        (text(&entry["id"]), fields.flat_map(|pair| [bytes_of(&pair[0]), bytes_of(&pair[1])]).collect())
    });
    assert_eq!(found.collect::<Vec<(String, Vec<Bytes>)>>(), entries);
    let info = info(conn, &[&b"STREAM"[..], key])?;
    assert_eq!(text(&value["last_id"]), string(&info, "last-generated-id"));
    assert_eq!(value["length"], int(&info, "length"));
    if value.get("entries_added").is_some() {
        assert_eq!(value["entries_added"], int(&info, "entries-added"));
        assert_eq!(text(&value["max_deleted_id"]), string(&info, "max-deleted-entry-id"));
    }
    let delivered = delivery_times(conn, key)?;
    let groups = value["groups"].as_array().unwrap();
    let listed: Vec<BTreeMap<String, Answer>> = ask(conn, "XINFO", &[b"GROUPS", key])?;
    assert_eq!(groups.len(), listed.len());
    for group in groups {
        let name = bytes_of(&group["name"]);
        let said = listed.iter().find(|said| bytes(said, "name") == name).unwrap();
        assert_eq!(text(&group["last_id"]), string(said, "last-delivered-id"));
        if let Some(Answer::Int(read)) = said.get("entries-read") {
            assert_eq!(group["entries_read"], *read);
        } else {
            assert!(group.get("entries_read").is_none());
        }
        let consumers = group["consumers"].as_array().unwrap();
        let said: Vec<BTreeMap<String, Answer>> = ask(conn, "XINFO", &[b"CONSUMERS", key, &name])?;
        let mut names: Vec<_> = said.iter().map(|consumer| bytes(consumer, "name")).collect();
        names.sort();
        assert_eq!(consumers.iter().map(|consumer| bytes_of(&consumer["name"])).collect::<Vec<_>>(), names);
        let said: Vec<(String, Bytes, i64, i64)> = ask(conn, "XPENDING", &[key, &name, b"-", b"+", b"1000000"])?;
        let mut said: Vec<_> = said.into_iter().map(|(id, consumer, _, times)| (id, consumer, times)).collect();
        let mut found = Vec::new();
        for consumer in consumers {
            for pending in consumer["pending"].as_array().unwrap() {
                let id = text(&pending["id"]);
                if let Some(times) = &delivered {
                    assert_eq!(pending["delivered_ms"], times[&(name.clone(), id.clone())]);
                }
                found.push((id, bytes_of(&consumer["name"]), pending["deliveries"].as_i64().unwrap()));
            }
        }
        found.sort();
        said.sort();
        assert_eq!(found, said);
    }
    Ok(())
}

/// When pending entries were delivered, by group and ID; `None` where the server does not tell (5.0).
fn delivery_times(conn: &mut Connection, key: &[u8]) -> RedisResult<Option<BTreeMap<(Bytes, String), i64>>> {
    let full: RedisResult<BTreeMap<String, Answer>> = ask(conn, "XINFO", &[b"STREAM", key, b"FULL", b"COUNT", b"0"]);
    let Ok(full) = full else { return Ok(None) };
    let groups: Vec<BTreeMap<String, Answer>> = redis::from_redis_value(full["groups"].clone())?;
    let mut times = BTreeMap::new();
    for group in groups {
        let pending: Vec<(String, Bytes, i64, i64)> = redis::from_redis_value(group["pending"].clone())?;
        times.extend(pending.into_iter().map(|(id, _, at, _)| ((bytes(&group, "name"), id), at)));
    }
    Ok(Some(times))
}

fn info(conn: &mut Connection, args: &[impl ToRedisArgs]) -> RedisResult<BTreeMap<String, Answer>> {
    cmd("XINFO").arg(args).query(conn)
}

fn all(value: &Value) -> Vec<Bytes> {
    value.as_array().unwrap().iter().map(bytes_of).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().into()
}

fn number(text: &[u8]) -> f64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

fn bytes(info: &BTreeMap<String, Answer>, name: &str) -> Bytes {
    redis::from_redis_value(info[name].clone()).unwrap()
}

fn string(info: &BTreeMap<String, Answer>, name: &str) -> String {
    String::from_utf8(bytes(info, name)).unwrap()
}

fn int(info: &BTreeMap<String, Answer>, name: &str) -> i64 {
    redis::from_redis_value(info[name].clone()).unwrap()
}
