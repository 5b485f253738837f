//! The table of key positions in `keyferry-keyspace`, held to what real servers say of their commands.

use std::collections::HashMap;

use keyferry_keyspace::{
    keys::{Access, NoKeys, keys},
    objects::{Objects, Rule},
};
use keyferry_testkit::{
    Server,
    families::{COMMANDS, EMPTYING, FAMILIES, Known},
    server::faults_on_each,
};
use redis::{Connection, RedisResult, Value, cmd, from_redis_value_ref};

/// Where servers say less than they do, with the last version that does: the keys of these are known from their code.
const UNDERSTATED: [(&str, (u32, u32)); 4] =
    [("brpop", (4, 0)), ("pfdebug", (6, 0)), ("georadius", (4, 0)), ("georadiusbymember", (4, 0))];

#[test]
fn every_write_command_is_in_the_table_with_its_keys() {
    let faults = faults_on_each(faults_of);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn faults_of(server: &Server) -> Vec<String> {
    let known = Known::of(server).unwrap();
    let version = server.version();
    let mut conn = server.conn().unwrap();
    let mut faults = Vec::new();
    for command in known.writes() {
        let name = command.split('|').next().unwrap();
        let listed = COMMANDS.iter().any(|(listed, _)| *listed == command);
        if !listed && found(&[name]) == Err(NoKeys::Unknown) {
            faults.push(format!("{version}: {command} is not in the table"));
        }
    }
    // 2.8 says where no keys are.
    if !version.has(3, 0) {
        return faults;
    }
    let mut compared = 0;
    for call in FAMILIES.iter().chain([&EMPTYING]).flat_map(|family| family.calls) {
        let words = call.words("run");
        let Some(name) = known.name(&words).filter(|_| call.known_to(version)) else { continue };
        let understated =
            UNDERSTATED.iter().any(|(of, (major, minor))| *of == name && !version.has(*major, *minor + 1));
        if name == "select" || understated {
            continue;
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // Up to 6.2 the key that ZUNIONSTORE writes is named last.
        let ours = found(&words).map(|mut keys| {
            keys.sort();
            keys
        });
        let theirs = said(&mut conn, &words, known.has("command|getkeysandflags"));
        let agree = match (&ours, &theirs) {
            (Ok(ours), Some(Said::Keys(theirs))) => ours.iter().map(|(key, _)| key).eq(theirs),
            // What a group has delivered counts to servers as no write of its stream.
            (Ok(ours), Some(Said::WithAccess(theirs))) if name == "xreadgroup" => ours.len() == theirs.len(),
            (Ok(ours), Some(Said::WithAccess(theirs))) => ours == theirs,
            (Ok(ours), None) => ours.is_empty(),
            (Err(_), _) => false,
        };
        compared += 1;
        if !agree {
            faults.push(format!("{version}: {}: {ours:?}, and the server says {theirs:?}", call.text()));
        }
    }
    assert!(compared > 100, "{version}: {compared} calls");
    faults
}

/// Modules that come with servers of 7.4.
#[test]
fn write_commands_of_usual_modules_are_in_the_table() {
    for (module, least) in [("rejson", 15), ("redisbloom", 24), ("redistimeseries", 9)] {
        let server = Server::builder("redis-7.4").module(module).start().unwrap();
        let known = Known::of(&server).unwrap();
        let writes: Vec<&str> = known.writes().into_iter().filter(|name| name.contains('.')).collect();
        assert!(writes.len() >= least, "{module}: {writes:?}");
        let mut conn = server.conn().unwrap();
        for name in writes {
            assert_ne!(found(&[name]), Err(NoKeys::Unknown), "{module}: {name}");
            // These name the first of their keys only.
            if ["cms.merge", "tdigest.merge", "ts.createrule", "ts.deleterule"].contains(&name) {
                continue;
            }
            let words = [name, "a", "1", "2", "b", "1", "2"];
            let Some(Said::WithAccess(theirs)) = said(&mut conn, &words, true) else { panic!("{name}") };
            assert_eq!(found(&words), Ok(theirs), "{module}: {name}");
        }
    }
}

/// A group that is blocked is the one that servers mean.
#[test]
fn groups_are_those_of_the_servers() {
    for name in ["redis-7.0", "redis-8.6", "valkey-9.1"] {
        let server = Server::start(name).unwrap();
        let known = Known::of(&server).unwrap();
        let mut conn = server.conn().unwrap();
        for command in known.writes() {
            let command = command.split('|').next().unwrap();
            if COMMANDS.iter().any(|(listed, _)| listed.split('|').next() == Some(command)) {
                continue;
            }
            let docs: Vec<(String, HashMap<String, Value>)> =
                cmd("COMMAND").arg("DOCS").arg(command).query(&mut conn).unwrap();
            let group: String = from_redis_value_ref(&docs[0].1["group"]).unwrap();
            let blocked = Objects::parse([(Rule::BlockCommands, format!("@{group}").as_str())]).unwrap();
            assert!(!blocked.command(command.as_bytes()), "{name}: {command} is in {group}");
        }
    }
}

/// What the table says: each key, and whether it is written.
fn found(words: &[&str]) -> Result<Vec<(String, bool)>, NoKeys> {
    let keys = keys(words.iter().map(|word| word.as_bytes()))?;
    Ok(keys.map(|key| (String::from_utf8_lossy(key.name).into_owned(), key.access == Access::Write)).collect())
}

#[derive(Debug)]
enum Said {
    Keys(Vec<String>),
    WithAccess(Vec<(String, bool)>),
}

/// What the server says; an error stands for no keys.
fn said(conn: &mut Connection, words: &[&str], with_access: bool) -> Option<Said> {
    if with_access {
        let keys: RedisResult<Vec<(String, Vec<String>)>> =
            cmd("COMMAND").arg("GETKEYSANDFLAGS").arg(words).query(conn);
        let keys = keys.ok()?.into_iter().map(|(key, flags)| (key, !flags.iter().any(|flag| flag == "RO")));
        let mut keys: Vec<_> = keys.collect();
        keys.sort();
        return Some(Said::WithAccess(keys));
    }
    let mut keys: Vec<String> = cmd("COMMAND").arg("GETKEYS").arg(words).query(conn).ok()?;
    keys.sort();
    Some(Said::Keys(keys))
}
