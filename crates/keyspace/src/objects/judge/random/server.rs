//! As much of a server as the random tests need.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

type Bytes = Vec<u8>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    String(Bytes),
    List(VecDeque<Bytes>),
    Set(BTreeSet<Bytes>),
}

#[derive(Default)]
pub(super) struct Server(BTreeMap<(u32, Bytes), Value>, bool);

impl Server {
    /// RENAME comes to it as a target is told that lacks some of the keys: without its key the new name goes too.
    pub(super) fn that_lacks_keys() -> Self {
        Self(BTreeMap::new(), true)
    }

    pub(super) fn all(&self) -> &BTreeMap<(u32, Bytes), Value> {
        &self.0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&(u32, Bytes), &Value)> {
        self.0.iter()
    }

    pub(super) fn put(&mut self, db: u32, key: &[u8], value: Value) {
        self.0.insert((db, key.to_vec()), value);
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(u32, &[u8]) -> bool) {
        self.0.retain(|(db, key), _| keep(*db, key));
    }

    /// Whether anything has changed. A command that does not fit what is there changes nothing.
    pub(super) fn run(&mut self, db: u32, args: &[&[u8]]) -> bool {
        let before = self.0.clone();
        self.apply(db, args);
        self.0.retain(|_, value| match value {
            Value::String(_) => true,
            Value::List(list) => !list.is_empty(),
            Value::Set(set) => !set.is_empty(),
        });
        self.0 != before
    }

    fn apply(&mut self, db: u32, args: &[&[u8]]) -> Option<()> {
        let number = |arg: &[u8]| std::str::from_utf8(arg).unwrap().parse::<u32>().unwrap();
        let at = |key: &[u8]| (db, key.to_vec());
        match args {
            [b"SET", key, value] => self.put(db, key, Value::String(value.to_vec())),
            [b"APPEND", key, more] => match self.0.entry(at(key)).or_insert(Value::String(Bytes::new())) {
                Value::String(text) => text.extend_from_slice(more),
                _ => return None,
            },
            [b"MSETNX", pairs @ ..] => {
                let taken = pairs.chunks(2).any(|pair| self.0.contains_key(&at(pair[0])));
                (!taken).then_some(())?;
                pairs.chunks(2).for_each(|pair| self.put(db, pair[0], Value::String(pair[1].to_vec())));
            }
            [b"MSET", pairs @ ..] => {
                pairs.chunks(2).for_each(|pair| self.put(db, pair[0], Value::String(pair[1].to_vec())));
            }
            [b"DEL" | b"UNLINK", keys @ ..] => keys.iter().for_each(|key| drop(self.0.remove(&at(key)))),
            [b"RENAME", from, to] => match self.0.remove(&at(from)) {
                Some(value) => self.put(db, to, value),
                None if self.1 => drop(self.0.remove(&at(to))),
                None => return None,
            },
            [b"RENAMENX", from, to] => {
                (!self.0.contains_key(&at(to))).then_some(())?;
                let value = self.0.remove(&at(from))?;
                self.put(db, to, value);
            }
            [b"COPY", from, to, options @ ..] => {
                let other = options.iter().position(|word| *word == b"DB").map_or(db, |i| number(options[i + 1]));
                let free = !self.0.contains_key(&(other, to.to_vec())) || options.contains(&b"REPLACE".as_slice());
                (free && (other, from) != (db, to)).then_some(())?;
                let value = self.0.get(&at(from))?.clone();
                self.put(other, to, value);
            }
            [b"MOVE", key, other] => {
                let other = number(other);
                (other != db && !self.0.contains_key(&(other, key.to_vec()))).then_some(())?;
                let value = self.0.remove(&at(key))?;
                self.put(other, key, value);
            }
            [b"RPUSH", key, elements @ ..] => self.list(db, key)?.extend(elements.iter().map(|e| e.to_vec())),
            [b"LPUSH", key, element] => self.list(db, key)?.push_front(element.to_vec()),
            [b"LPOP", key] => drop(self.list(db, key)?.pop_front()),
            [b"RPOP", key] => drop(self.list(db, key)?.pop_back()),
            [b"LMOVE", from, to, b"LEFT", b"RIGHT"] => {
                self.list(db, to)?;
                let element = self.list(db, from)?.pop_front()?;
                self.list(db, to)?.push_back(element);
            }
            [b"RPOPLPUSH", from, to] => {
                self.list(db, to)?;
                let element = self.list(db, from)?.pop_back()?;
                self.list(db, to)?.push_front(element);
            }
            [b"SADD", key, members @ ..] => self.set(db, key)?.extend(members.iter().map(|member| member.to_vec())),
            [b"SREM", key, member] => drop(self.set(db, key)?.remove(*member)),
            [b"SMOVE", from, to, member] => {
                self.set(db, to)?;
                self.set(db, from)?.remove(*member).then_some(())?;
                self.set(db, to)?.insert(member.to_vec());
            }
            [b"SUNIONSTORE", to, from @ ..] => {
                let sets: Option<Vec<_>> = from.iter().map(|key| self.set(db, key).cloned()).collect();
                self.put(db, to, Value::Set(sets?.into_iter().flatten().collect()));
            }
            [b"RESTORE", key, _, [kind, value @ ..], ..] => {
                let value = value.to_vec();
                self.put(db, key, if *kind == b's' { Value::String(value) } else { Value::List([value].into()) });
            }
            [b"FLUSHDB"] => self.0.retain(|(of, _), _| *of != db),
            [b"FLUSHALL"] => self.0.clear(),
            [b"SWAPDB", a, b] => {
                let (a, b) = (number(a), number(b));
                let swapped = |db| {
                    if db == a {
                        b
                    } else if db == b {
                        a
                    } else {
                        db
                    }
                };
                let all = std::mem::take(&mut self.0);
                self.0 = all.into_iter().map(|((db, key), value)| ((swapped(db), key), value)).collect();
            }
            other => panic!("{other:?}"),
        }
        Some(())
    }

    fn list(&mut self, db: u32, key: &[u8]) -> Option<&mut VecDeque<Bytes>> {
        match self.0.entry((db, key.to_vec())).or_insert(Value::List(VecDeque::new())) {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    fn set(&mut self, db: u32, key: &[u8]) -> Option<&mut BTreeSet<Bytes>> {
        match self.0.entry((db, key.to_vec())).or_insert(Value::Set(BTreeSet::new())) {
            Value::Set(set) => Some(set),
            _ => None,
        }
    }
}
