//! Long strings and lists in chunks, and the expiries of hash fields.

use anyhow::{Context, Result};
use redis::{Value, cmd};

use super::{
    side::{Batch, Side, array, bytes, integer},
    value::{Content, FIRST, strings},
};

/// Bytes of a long string in one reply.
const STRING_CHUNK: usize = 4 << 20;
/// Elements of a long list, or fields of a hash, in one command.
const CHUNK: usize = 10_000;

/// Reads the rest of a string of which the first bytes are known.
pub(super) fn rest_of_string(side: &mut Side, key: &[u8], mut value: Vec<u8>) -> Result<Vec<u8>> {
    let mut full = value.len() == FIRST;
    while full {
        let (start, end) = (value.len(), value.len() + STRING_CHUNK);
        let more = bytes(side.ask(cmd("GETRANGE").arg(key).arg(start).arg(end - 1))?)?;
        full = more.len() == STRING_CHUNK;
        value.extend_from_slice(&more);
    }
    Ok(value)
}

/// Reads the rest of a list of which the first elements are known.
pub(super) fn rest_of_list(side: &mut Side, key: &[u8], mut items: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
    let mut full = items.len() == FIRST;
    while full {
        let (start, end) = (items.len(), items.len() + CHUNK);
        let more = strings(side.ask(cmd("LRANGE").arg(key).arg(start).arg(end - 1))?)?;
        full = more.len() == CHUNK;
        items.extend(more);
    }
    Ok(items)
}

/// Adds to each hash when its fields expire, where the server knows of that.
pub(super) fn add_field_expiries(side: &mut Side, keys: &[(&[u8], &str)], contents: &mut [Content]) -> Result<()> {
    if !side.has_field_expiry {
        return Ok(());
    }
    let mut batch = Batch::default();
    for ((key, _), content) in keys.iter().zip(contents.iter()) {
        let Content::Hash(fields) = content else { continue };
        let names: Vec<&[u8]> = fields.keys().map(|field| &field[..]).collect();
        for names in names.chunks(CHUNK) {
            batch.add(cmd("HPEXPIRETIME").arg(*key).arg("FIELDS").arg(names.len()).arg(names));
        }
    }
    let mut answers = side.run(&batch)?.into_iter();
    for content in contents {
        let Content::Hash(fields) = content else { continue };
        let mut times: Vec<i64> = Vec::with_capacity(fields.len());
        for _ in 0..fields.len().div_ceil(CHUNK) {
            match answers.next().context("fewer answers than questions")? {
                // The key was deleted, or has become another type, since its fields were read.
                Value::Nil | Value::ServerError(_) => {}
                answer => {
                    for time in array(answer)? {
                        times.push(integer(time)?);
                    }
                }
            }
        }
        for ((_, expires_at), time) in fields.values_mut().zip(times) {
            *expires_at = (time >= 0).then_some(time);
        }
    }
    Ok(())
}
