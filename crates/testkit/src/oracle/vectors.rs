//! Vector sets. Their DUMP says how the elements are linked, which is left to chance and differs between two servers that
//! were told the same; so the elements are compared one by one.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use redis::{Value, cmd};

use super::{
    side::{Batch, Side, bytes, integer},
    value::{Content, strings},
};

/// What VINFO says of the whole set that replication carries.
const CARRIED: [&str; 6] = ["quant-type", "hnsw-m", "vector-dim", "projection-input-dim", "size", "attributes-count"];

/// Reads a vector set; [`Content::Gone`] where there is none any more.
pub(super) fn read(side: &mut Side, key: &[u8]) -> Result<Content> {
    let count = integer(side.ask(cmd("VCARD").arg(key))?)?;
    if count == 0 {
        return Ok(Content::Gone);
    }
    let Value::Array(info) = side.ask(cmd("VINFO").arg(key))? else { return Ok(Content::Gone) };
    let mut info = info.into_iter();
    let mut told = BTreeMap::new();
    while let (Some(name), Some(value)) = (info.next(), info.next()) {
        told.insert(String::from_utf8(bytes(name)?)?, format!("{value:?}"));
    }
    told.retain(|name, _| CARRIED.contains(&name.as_str()));
    let names = strings(side.ask(cmd("VRANDMEMBER").arg(key).arg(count))?)?;
    let mut batch = Batch::default();
    for name in &names {
        batch.add(cmd("VEMB").arg(key).arg(name));
        batch.add(cmd("VGETATTR").arg(key).arg(name));
    }
    let answers = side.run(&batch)?;
    let told_of = |pair: &[Value]| pair.iter().map(|value| format!("{value:?} ")).collect();
    let elements: BTreeMap<_, String> = names.into_iter().zip(answers.chunks(2).map(told_of)).collect();
    if elements.len() as i64 != count {
        bail!("{} different elements of {count}", elements.len());
    }
    Ok(Content::Vectors(format!("{told:?}"), elements))
}
