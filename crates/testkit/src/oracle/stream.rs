//! Streams: entries, ids and counters, groups, consumers and pending entries.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use redis::{Value, cmd};

use super::side::{Side, array, bytes, integer};

/// Entries in one reply of XRANGE or XPENDING.
const CHUNK: usize = 10_000;

/// An id as the server writes it.
pub(super) type Id = String;

/// A stream as a client sees it. What a version does not tell is None, and is then not compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Stream {
    pub(super) entries: Vec<(Id, Vec<Vec<u8>>)>,
    pub(super) last_id: Id,
    pub(super) entries_added: Option<i64>,
    pub(super) max_deleted_id: Option<Id>,
    pub(super) groups: BTreeMap<Vec<u8>, Group>,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Group {
    pub(super) last_delivered: Id,
    /// None also where the server does not know it.
    pub(super) entries_read: Option<i64>,
    /// Whether this version tells `entries_read` at all.
    pub(super) tells_read: bool,
    pub(super) consumers: BTreeSet<Vec<u8>>,
    pub(super) pending: BTreeMap<Id, Pending>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pending {
    pub(super) consumer: Vec<u8>,
    /// Milliseconds since 1970.
    pub(super) delivered_at: i64,
    pub(super) count: i64,
}

impl Stream {
    /// Bytes of the entries.
    pub(super) fn size(&self) -> usize {
        self.entries.iter().map(|(_, fields)| 16 + fields.iter().map(Vec::len).sum::<usize>()).sum()
    }
}

/// Reads a stream; None when it is gone.
pub(super) fn read(side: &mut Side, key: &[u8]) -> Result<Option<Stream>> {
    let mut command = cmd("XINFO");
    command.arg("STREAM").arg(key);
    if side.has_stream_full {
        // 0 stands for all entries and all pending ones.
        command.arg("FULL").arg("COUNT").arg(0);
    }
    let answer = match side.ask(&command) {
        Ok(answer) => answer,
        Err(error) if ["no such key", "WRONGTYPE"].iter().any(|gone| error.to_string().contains(gone)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut info = fields(answer)?;
    let mut stream = Stream { last_id: id(take(&mut info, "last-generated-id")?)?, ..Stream::default() };
    stream.entries_added = info.remove("entries-added").map(integer).transpose()?;
    stream.max_deleted_id = info.remove("max-deleted-entry-id").map(id).transpose()?;
    if side.has_stream_full {
        stream.entries = array(take(&mut info, "entries")?)?.into_iter().map(entry).collect::<Result<_>>()?;
        for group in array(take(&mut info, "groups")?)? {
            let mut group = fields(group)?;
            let name = bytes(take(&mut group, "name")?)?;
            stream.groups.insert(name, full_group(group)?);
        }
    } else {
        stream.entries = entries(side, key)?;
        for group in array(side.ask(cmd("XINFO").arg("GROUPS").arg(key))?)? {
            let mut group = fields(group)?;
            let name = bytes(take(&mut group, "name")?)?;
            let group = old_group(side, key, &name, group)?;
            stream.groups.insert(name, group);
        }
    }
    Ok(Some(stream))
}

/// A group of XINFO STREAM FULL.
fn full_group(mut info: BTreeMap<String, Value>) -> Result<Group> {
    let mut group = head(&mut info)?;
    for consumer in array(take(&mut info, "consumers")?)? {
        group.consumers.insert(bytes(take(&mut fields(consumer)?, "name")?)?);
    }
    let pending = info.remove("pending").or_else(|| info.remove("pel")).context("a group has no pending entries")?;
    for item in array(pending)? {
        let [entry, consumer, delivered_at, count] = four(item)?;
        let (delivered_at, count) = (integer(delivered_at)?, integer(count)?);
        group.pending.insert(id(entry)?, Pending { consumer: bytes(consumer)?, delivered_at, count });
    }
    Ok(group)
}

/// A group of a server before 6.0, which tells delivery times as how long ago they were.
fn old_group(side: &mut Side, key: &[u8], name: &[u8], mut info: BTreeMap<String, Value>) -> Result<Group> {
    let mut group = head(&mut info)?;
    for consumer in array(side.ask(cmd("XINFO").arg("CONSUMERS").arg(key).arg(name))?)? {
        group.consumers.insert(bytes(take(&mut fields(consumer)?, "name")?)?);
    }
    let mut start = String::from("-");
    loop {
        let now = side.now_ms()?;
        let items = array(side.ask(cmd("XPENDING").arg(key).arg(name).arg(&start).arg("+").arg(CHUNK))?)?;
        let full = items.len() == CHUNK;
        for item in items {
            let [entry, consumer, idle, count] = four(item)?;
            let (entry, idle) = (id(entry)?, integer(idle)?);
            start.clone_from(&entry);
            let pending = Pending { consumer: bytes(consumer)?, delivered_at: now - idle, count: integer(count)? };
            group.pending.insert(entry, pending);
        }
        // The last one is read again as the first of the next chunk, since a range includes its start.
        if !full {
            return Ok(group);
        }
    }
}

fn head(info: &mut BTreeMap<String, Value>) -> Result<Group> {
    let read = info.remove("entries-read");
    Ok(Group {
        last_delivered: id(take(info, "last-delivered-id")?)?,
        tells_read: read.is_some(),
        entries_read: read.filter(|read| *read != Value::Nil).map(integer).transpose()?,
        ..Group::default()
    })
}

/// All entries, by XRANGE.
fn entries(side: &mut Side, key: &[u8]) -> Result<Vec<(Id, Vec<Vec<u8>>)>> {
    let mut entries: Vec<(Id, Vec<Vec<u8>>)> = Vec::new();
    loop {
        let start = entries.pop().map_or_else(|| "-".to_owned(), |(id, _)| id);
        let chunk = array(side.ask(cmd("XRANGE").arg(key).arg(start).arg("+").arg("COUNT").arg(CHUNK))?)?;
        let full = chunk.len() == CHUNK;
        for item in chunk {
            entries.push(entry(item)?);
        }
        if !full {
            return Ok(entries);
        }
    }
}

fn entry(value: Value) -> Result<(Id, Vec<Vec<u8>>)> {
    let mut parts = array(value)?.into_iter();
    let (id_part, fields) = parts.next().zip(parts.next()).context("an entry has an id and fields")?;
    Ok((id(id_part)?, array(fields)?.into_iter().map(bytes).collect::<Result<_>>()?))
}

fn id(value: Value) -> Result<Id> {
    Ok(String::from_utf8(bytes(value)?)?)
}

fn four(value: Value) -> Result<[Value; 4]> {
    array(value)?.try_into().ok().context("a pending entry has four parts")
}

fn fields(value: Value) -> Result<BTreeMap<String, Value>> {
    let mut items = array(value)?.into_iter();
    let mut fields = BTreeMap::new();
    while let Some(name) = items.next() {
        let Some(value) = items.next() else { bail!("an odd number of elements") };
        fields.insert(id(name)?, value);
    }
    Ok(fields)
}

fn take(fields: &mut BTreeMap<String, Value>, name: &str) -> Result<Value> {
    fields.remove(name).with_context(|| format!("the reply has no {name}"))
}
