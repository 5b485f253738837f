//! Values as both sides tell them, in a form that can be compared.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use redis::{Cmd, Value, cmd};

use super::{
    collection,
    side::{Batch, Side, array, bytes},
    stream::{self, Stream},
    vectors,
};

/// Of strings and lists the first so many bytes or elements are asked for with all others; longer ones one by one.
pub(super) const FIRST: usize = 4096;

/// A value of one key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// The key was gone, or has another type by now.
    Gone,
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    /// Sorted.
    Set(Vec<Vec<u8>>),
    /// Field to value and, where the field expires, when.
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>),
    /// Member to the bits of its score.
    Zset(BTreeMap<Vec<u8>, u64>),
    Stream(Box<Stream>),
    /// What is told of the whole, and of each element: its vector and attributes.
    Vectors(String, BTreeMap<Vec<u8>, String>),
    /// A type of a module: its DUMP without version and checksum.
    Module(Vec<u8>),
}

impl Content {
    /// Bytes of the elements.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Gone => 0,
            Self::String(bytes) | Self::Module(bytes) => bytes.len(),
            Self::List(items) | Self::Set(items) => items.iter().map(Vec::len).sum(),
            Self::Hash(fields) => fields.iter().map(|(field, (value, _))| field.len() + value.len()).sum(),
            Self::Zset(members) => members.keys().map(|member| member.len() + 8).sum(),
            Self::Stream(stream) => stream.size(),
            Self::Vectors(_, elements) => elements.iter().map(|(name, said)| name.len() + said.len()).sum(),
        }
    }
}

/// The values of keys whose types are known, in the selected database.
pub(super) fn contents(side: &mut Side, keys: &[(&[u8], &str)]) -> Result<Vec<Content>> {
    let mut batch = Batch::default();
    for (key, kind) in keys {
        if let Some(command) = question(key, kind) {
            batch.add(&command);
        }
    }
    let mut answers = side.run(&batch)?.into_iter();
    let mut contents = Vec::with_capacity(keys.len());
    for (key, kind) in keys {
        let answer = match question(key, kind) {
            Some(_) => answers.next().context("fewer answers than questions")?,
            None => Value::Nil,
        };
        contents.push(
            content(side, key, kind, answer)
                .with_context(|| format!("read the {kind} {:?}", key.escape_ascii().to_string()))?,
        );
    }
    collection::add_field_expiries(side, keys, &mut contents)?;
    Ok(contents)
}

/// What is asked for all keys at once. None for those that are read one by one.
fn question(key: &[u8], kind: &str) -> Option<Cmd> {
    Some(match kind {
        "string" => cmd("GETRANGE").arg(key).arg(0).arg(FIRST - 1).take(),
        "list" => cmd("LRANGE").arg(key).arg(0).arg(FIRST - 1).take(),
        "set" => cmd("SMEMBERS").arg(key).take(),
        "hash" => cmd("HGETALL").arg(key).take(),
        "zset" => cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES").take(),
        "stream" | "vectorset" => return None,
        _ => cmd("DUMP").arg(key).take(),
    })
}

fn content(side: &mut Side, key: &[u8], kind: &str, answer: Value) -> Result<Content> {
    if let Value::ServerError(error) = &answer {
        if error.code() == "WRONGTYPE" {
            return Ok(Content::Gone);
        }
        bail!("the server refused to read it: {error}");
    }
    Ok(match kind {
        "string" => Content::String(collection::rest_of_string(side, key, bytes(answer)?)?),
        "list" => Content::List(collection::rest_of_list(side, key, strings(answer)?)?),
        "set" => {
            let mut members = strings(answer)?;
            members.sort_unstable();
            Content::Set(members)
        }
        "hash" => Content::Hash(pairs(answer)?.into_iter().map(|(field, value)| (field, (value, None))).collect()),
        "zset" => {
            let members = pairs(answer)?.into_iter().map(|(member, score)| Ok((member, score_bits(&score)?)));
            Content::Zset(members.collect::<Result<_>>()?)
        }
        "stream" => stream::read(side, key)?.map_or(Content::Gone, |stream| Content::Stream(Box::new(stream))),
        "vectorset" => vectors::read(side, key)?,
        _ => match answer {
            Value::Nil => Content::Gone,
            answer => {
                let mut dump = bytes(answer)?;
                // Two bytes of RDB version and eight of checksum, which differ between versions.
                dump.truncate(dump.len().saturating_sub(10));
                Content::Module(dump)
            }
        },
    })
}

/// The exact score; `-0` and `0` are one.
fn score_bits(text: &[u8]) -> Result<u64> {
    let score: f64 = std::str::from_utf8(text)?.parse()?;
    Ok(if score == 0.0 { 0 } else { score.to_bits() })
}

pub(super) fn strings(value: Value) -> Result<Vec<Vec<u8>>> {
    array(value)?.into_iter().map(bytes).collect()
}

fn pairs(value: Value) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut items = strings(value)?.into_iter();
    let mut pairs = Vec::with_capacity(items.len() / 2);
    while let Some(first) = items.next() {
        pairs.push((first, items.next().context("an odd number of elements")?));
    }
    Ok(pairs)
}
