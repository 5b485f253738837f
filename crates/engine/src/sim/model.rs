//! The data of a server, and what the commands of the simulation do to it.

use std::collections::BTreeMap;

/// A database and a name.
pub(super) type Key = (u32, Vec<u8>);
pub(super) type Args = Vec<Vec<u8>>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) deadline: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) keys: BTreeMap<Key, Entry>,
}

/// What a name stands for among the commands that write.
pub(super) fn is_write(name: &[u8]) -> bool {
    needs_memory(name) || matches!(name, b"DEL" | b"PEXPIREAT")
}

/// Refused by a target without memory.
pub(super) fn needs_memory(name: &[u8]) -> bool {
    matches!(name, b"SET" | b"MSET" | b"MSETNX" | b"INCR" | b"APPEND" | b"RPUSH" | b"HSET" | b"HMSET" | b"HINCRBY")
}

pub(super) fn int(n: i64) -> Vec<u8> {
    format!(":{n}\r\n").into_bytes()
}

pub(super) fn bulk(bytes: Option<&[u8]>) -> Vec<u8> {
    match bytes {
        Some(bytes) => [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
        None => b"$-1\r\n".to_vec(),
    }
}

pub(super) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [format!("*{}\r\n", items.len()).into_bytes(), items.concat()].concat()
}

pub(super) fn number(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

impl Model {
    /// A field of a hash.
    pub(super) fn field(&self, key: &Key, field: &[u8]) -> Option<&[u8]> {
        match &self.keys.get(key)?.value {
            Value::Hash(hash) => hash.get(field).map(Vec::as_slice),
            _ => None,
        }
    }

    /// Runs a command that writes; gives its reply.
    pub(super) fn write(&mut self, db: u32, args: &[Vec<u8>]) -> Vec<u8> {
        let wrong = || b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n".to_vec();
        let [name, name_of_key, rest @ ..] = args else { return b"-ERR wrong number of arguments\r\n".to_vec() };
        let key = (db, name_of_key.clone());
        match name.as_slice() {
            b"SET" => self.set(key, rest),
            b"MSET" | b"MSETNX" => {
                let keys = || args[1..].chunks(2).map(|pair| (db, pair[0].clone()));
                if name == b"MSETNX" && keys().any(|key| self.keys.contains_key(&key)) {
                    return int(0);
                }
                for (key, pair) in keys().zip(args[1..].chunks(2)) {
                    self.set(key, &pair[1..]);
                }
                if name == b"MSET" { b"+OK\r\n".to_vec() } else { int(1) }
            }
            b"DEL" => int(i64::from(self.keys.remove(&key).is_some())),
            b"PEXPIREAT" => match self.keys.get_mut(&key) {
                Some(entry) => {
                    entry.deadline = number(&rest[0]);
                    int(1)
                }
                None => int(0),
            },
            b"INCR" | b"APPEND" => {
                let entry = self.entry(key, || Value::String(Vec::new()));
                let Value::String(text) = &mut entry.value else { return wrong() };
                if name == b"APPEND" {
                    text.extend_from_slice(&rest[0]);
                    return int(text.len() as i64);
                }
                let n = if text.is_empty() { Some(0) } else { number(text) };
                let Some(n) = n else { return b"-ERR value is not an integer or out of range\r\n".to_vec() };
                *text = (n + 1).to_string().into_bytes();
                int(n + 1)
            }
            b"RPUSH" => {
                let entry = self.entry(key, || Value::List(Vec::new()));
                let Value::List(list) = &mut entry.value else { return wrong() };
                list.extend_from_slice(rest);
                int(list.len() as i64)
            }
            b"HSET" | b"HMSET" | b"HINCRBY" => {
                let entry = self.entry(key, || Value::Hash(BTreeMap::new()));
                let Value::Hash(hash) = &mut entry.value else { return wrong() };
                if name == b"HINCRBY" {
                    let Some(n) = hash.get(&rest[0]).map_or(Some(0), |n| number(n)) else {
                        return b"-ERR hash value is not an integer\r\n".to_vec();
                    };
                    let n = n + number(&rest[1]).unwrap_or_default();
                    hash.insert(rest[0].clone(), n.to_string().into_bytes());
                    return int(n);
                }
                let mut new = 0;
                for pair in rest.chunks(2) {
                    new += i64::from(hash.insert(pair[0].clone(), pair[1].clone()).is_none());
                }
                if name == b"HSET" { int(new) } else { b"+OK\r\n".to_vec() }
            }
            _ => b"-ERR unknown command\r\n".to_vec(),
        }
    }

    fn set(&mut self, key: Key, rest: &[Vec<u8>]) -> Vec<u8> {
        let (mut deadline, mut nx) = (None, false);
        let mut options = rest[1..].iter();
        while let Some(option) = options.next() {
            match option.as_slice() {
                b"NX" => nx = true,
                b"PXAT" => deadline = options.next().and_then(|at| number(at)),
                _ => return b"-ERR syntax error\r\n".to_vec(),
            }
        }
        if nx && self.keys.contains_key(&key) {
            return bulk(None);
        }
        self.keys.insert(key, Entry { value: Value::String(rest[0].clone()), deadline });
        b"+OK\r\n".to_vec()
    }

    fn entry(&mut self, key: Key, empty: impl FnOnce() -> Value) -> &mut Entry {
        self.keys.entry(key).or_insert_with(|| Entry { value: empty(), deadline: None })
    }
}
