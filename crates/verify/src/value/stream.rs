//! Streams: entries, the ids that count on, groups and their pending entries. Read piece by piece, whatever the size, with
//! the commands that every version has.
//!
//! Not compared, since replication does not carry it or not every version tells it: consumers without pending entries, when a
//! consumer was last seen, how many entries a group has read.

use std::collections::BTreeMap;

use keyferry_model::Result;
use keyferry_net::Value;
use keyferry_resp::{Limits, decode};

use super::{
    Diff, ON_SOURCE, ON_TARGET, OTHER, Verdict,
    pieces::{fewer, keep_last},
};
use crate::{
    asker::Answer,
    pair::{Half, Link, Pair},
    side::time,
    walk::Key,
};

/// Entries, or pending entries, in one piece.
const COUNT: u64 = 1_000;

type Id = (u64, u64);

/// Compares two streams.
pub(crate) async fn compare(pair: &Pair<'_>, link: &mut Link, key: Key<'_>) -> Result<Verdict> {
    let tolerance = i64::try_from(pair.spec.ttl_tolerance.as_millis()).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    match entries(link, key).await? {
        Some(diff) => found.extend(diff.detail()),
        None => return Ok(Verdict::moved()),
    }
    link.push(&[b"XINFO", b"STREAM"], key, &[]);
    link.push(&[b"XINFO", b"GROUPS"], key, &[]);
    link.ask().await?;
    let (Some(ours), Some(theirs)) = (about(&mut link.source), about(&mut link.target)) else {
        return Ok(Verdict::moved());
    };
    for name in ["last-generated-id", "entries-added", "max-deleted-entry-id"] {
        if let (Some(a), Some(b)) = (ours.0.get(name.as_bytes()), theirs.0.get(name.as_bytes()))
            && a != b
        {
            found.push(format!("{name} {} / {}", shown(a), shown(b)));
        }
    }
    let mut groups = Diff::new("group");
    let only = |one: &'_ Groups, other: &'_ Groups| -> Vec<Vec<u8>> {
        one.keys().filter(|name| !other.contains_key(*name)).cloned().collect()
    };
    only(&ours.1, &theirs.1).iter().for_each(|name| groups.note(name, ON_SOURCE));
    only(&theirs.1, &ours.1).iter().for_each(|name| groups.note(name, ON_TARGET));
    for (name, delivered) in &ours.1 {
        let Some(other) = theirs.1.get(name) else { continue };
        if delivered != other {
            groups.note(name, "its last delivered id differs");
        }
        match pending(link, key, name, tolerance).await? {
            Some(diff) => {
                if let Some(text) = diff.detail() {
                    groups.note(name, &text);
                }
            }
            None => return Ok(Verdict::moved()),
        }
    }
    found.extend(groups.detail());
    Ok(Verdict::value((!found.is_empty()).then(|| found.join("; "))))
}

/// Entries by XRANGE, from the same id on both sides. `None` when the key has changed its type.
async fn entries(link: &mut Link, key: Key<'_>) -> Result<Option<Diff>> {
    let mut diff = Diff::new("entry");
    let (mut from, mut count) = (Some((0, 0)), COUNT);
    while let Some(start) = from {
        link.push(&[b"XRANGE"], key, &[&text(start), b"+", b"COUNT", count.to_string().as_bytes()]);
        keep_last(link, count);
        link.ask().await?;
        let (ours, theirs) = match (link.source.answers.next(), link.target.answers.next()) {
            (Answer::Skipped(_), _) | (_, Answer::Skipped(_)) => {
                count = fewer(count);
                continue;
            }
            (Answer::Array(a), Answer::Array(b)) => (ids(a), ids(b)),
            _ => return Ok(None),
        };
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(None) };
        // A side that gave fewer has no more. Behind the last id of a side that gave all, the other is not looked at yet.
        let end = |all: &[(Id, Value)]| if (all.len() as u64) < count { None } else { all.last().map(|(id, _)| *id) };
        let last = match (end(&ours), end(&theirs)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let within = |all: Vec<(Id, Value)>| -> BTreeMap<Id, Value> {
            all.into_iter().filter(|(id, _)| last.is_none_or(|last| *id <= last)).collect()
        };
        compare_maps(&mut diff, &within(ours), &within(theirs), |a, b| a == b);
        from = last.and_then(next);
    }
    Ok(Some(diff))
}

fn ids(raw: &[u8]) -> Option<Vec<(Id, Value)>> {
    let one = |entry: Value| {
        let Value::Array(parts) = entry else { return None };
        let mut parts = parts.into_iter();
        Some((id(parts.next()?.as_bytes()?)?, parts.next()?))
    };
    list(raw)?.into_iter().map(one).collect()
}

/// An entry that was delivered and not acknowledged: to whom, when, how often.
type Pending = (Vec<u8>, i64, i64);

/// Pending entries by XPENDING, from the same id on both sides.
async fn pending(link: &mut Link, key: Key<'_>, group: &[u8], tolerance: i64) -> Result<Option<Diff>> {
    let mut diff = Diff::new("pending entry");
    let mut from = Some((0, 0));
    let count = COUNT.to_string();
    while let Some(start) = from {
        link.source.batch.push(&[b"TIME"]);
        link.target.batch.push(&[b"TIME"]);
        link.push(&[b"XPENDING"], key, &[group, &text(start), b"+", count.as_bytes()]);
        link.ask().await?;
        let (Some(ours), Some(theirs)) = (delivered(&mut link.source), delivered(&mut link.target)) else {
            return Ok(None);
        };
        let end = |all: &BTreeMap<Id, Pending>| {
            if (all.len() as u64) < COUNT { None } else { all.keys().next_back().copied() }
        };
        let last = match (end(&ours), end(&theirs)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let within = |mut all: BTreeMap<Id, Pending>| {
            all.retain(|id, _| last.is_none_or(|last| *id <= last));
            all
        };
        compare_maps(&mut diff, &within(ours), &within(theirs), |a, b| {
            a.0 == b.0 && a.2 == b.2 && (a.1 - b.1).abs() <= tolerance
        });
        from = last.and_then(next);
    }
    Ok(Some(diff))
}

fn delivered(half: &mut Half) -> Option<BTreeMap<Id, Pending>> {
    let Answer::Array(raw) = half.answers.next() else { return None };
    let now = time(raw)?;
    let Answer::Array(raw) = half.answers.next() else { return None };
    let one = |item: Value| {
        let Value::Array(parts) = item else { return None };
        match &parts[..] {
            [entry, Value::Bulk(consumer), Value::Int(idle), Value::Int(times)] => {
                Some((id(entry.as_bytes()?)?, (consumer.clone(), now.saturating_sub(*idle), *times)))
            }
            _ => None,
        }
    };
    list(raw)?.into_iter().map(one).collect()
}

fn compare_maps<V>(diff: &mut Diff, source: &BTreeMap<Id, V>, target: &BTreeMap<Id, V>, same: impl Fn(&V, &V) -> bool) {
    for (id, ours) in source {
        match target.get(id) {
            None => diff.note(&text(*id), ON_SOURCE),
            Some(theirs) if !same(ours, theirs) => diff.note(&text(*id), OTHER),
            Some(_) => {}
        }
    }
    target.keys().filter(|id| !source.contains_key(id)).for_each(|id| diff.note(&text(*id), ON_TARGET));
}

type Facts = BTreeMap<Vec<u8>, Value>;
/// Names of groups and their last delivered ids.
type Groups = BTreeMap<Vec<u8>, Value>;

/// What XINFO STREAM and XINFO GROUPS have answered.
fn about(half: &mut Half) -> Option<(Facts, Groups)> {
    let Answer::Array(raw) = half.answers.next() else { return None };
    let facts = facts(list(raw)?);
    let Answer::Array(raw) = half.answers.next() else { return None };
    let one = |group: Value| {
        let Value::Array(group) = group else { return None };
        let mut group = self::facts(group);
        let Value::Bulk(name) = group.remove(&b"name"[..])? else { return None };
        Some((name, group.remove(&b"last-delivered-id"[..])?))
    };
    Some((facts, list(raw)?.into_iter().map(one).collect::<Option<_>>()?))
}

fn facts(items: Vec<Value>) -> Facts {
    let mut items = items.into_iter();
    let mut facts = Facts::new();
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        if let Some(name) = name.as_bytes() {
            facts.insert(name.to_vec(), value);
        }
    }
    facts
}

fn list(raw: &[u8]) -> Option<Vec<Value>> {
    match decode(raw, Limits::default()) {
        Ok(Some((_, Value::Array(items)))) => Some(items),
        _ => None,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Int(n) => n.to_string(),
        other => crate::difference::readable(other.as_bytes().unwrap_or_default()),
    }
}

fn id(text: &[u8]) -> Option<Id> {
    let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}

fn text((ms, seq): Id) -> Vec<u8> {
    format!("{ms}-{seq}").into_bytes()
}

/// The smallest id behind `id`; none behind the largest.
fn next((ms, seq): Id) -> Option<Id> {
    match seq.checked_add(1) {
        Some(seq) => Some((ms, seq)),
        None => Some((ms.checked_add(1)?, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers() {
        assert_eq!(id(b"12-3"), Some((12, 3)));
        assert_eq!(id(b"12"), None);
        assert_eq!(text((12, 3)), b"12-3");
        assert_eq!(next((1, 2)), Some((1, 3)));
        assert_eq!(next((1, u64::MAX)), Some((2, 0)));
        assert_eq!(next((u64::MAX, u64::MAX)), None);
    }
}
