//! What counts as a difference between two values of one key.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Options, hyperloglog,
    report::Kind,
    stream::{Group, Stream},
    value::Content,
};

/// Something that differs in one key.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) detail: String,
    /// The deadline of what one side has and the other has not: it may only have run out, see [`super::walk`].
    pub(super) deadline: Option<i64>,
}

impl Finding {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), deadline: None }
    }

    pub(super) fn until(self, deadline: Option<i64>) -> Self {
        Self { deadline, ..self }
    }
}

/// Compares two expiries; `None` when they are the same within what is tolerated.
pub(super) fn expiry(source: Option<i64>, target: Option<i64>, options: &Options) -> Option<String> {
    let same = match (source, target) {
        (None, None) => true,
        (Some(source), Some(target)) => {
            let tolerance = options.ttl_tolerance_ms as i64;
            (-tolerance..=tolerance + options.ttl_grace_ms as i64).contains(&(target - source))
        }
        _ => false,
    };
    let show = |at: Option<i64>| at.map_or_else(|| "never".into(), |at| at.to_string());
    (!same).then(|| format!("source expires at {}, target at {}", show(source), show(target)))
}

/// Compares two values of the same type.
pub(super) fn content(source: &Content, target: &Content, options: &Options) -> Vec<Finding> {
    match (source, target) {
        (Content::String(source), Content::String(target)) if hyperloglog::same(source, target) => Vec::new(),
        (Content::String(source), Content::String(target)) => bytes(source, target),
        (Content::Module(source), Content::Module(target)) => bytes(source, target),
        (Content::List(source), Content::List(target)) => items("element", source, target),
        (Content::Set(source), Content::Set(target)) => items("member", source, target),
        (Content::Hash(source), Content::Hash(target)) => hashes(source, target, options),
        (Content::Zset(source), Content::Zset(target)) => {
            maps("member", source, target, |a, b| (a != b).then(|| format!("score {} / {}", float(*a), float(*b))))
        }
        (Content::Vectors(a, _), Content::Vectors(b, _)) if a != b => {
            vec![Finding::new(Kind::Value, format!("{a} / {b}"))]
        }
        (Content::Vectors(_, source), Content::Vectors(_, target)) => {
            maps("element", source, target, |a, b| (a != b).then(|| format!("{a} / {b}")))
        }
        (Content::Stream(source), Content::Stream(target)) => streams(source, target, options),
        (Content::Gone, Content::Gone) => Vec::new(),
        _ => vec![Finding::new(Kind::Value, "changed while it was read")],
    }
}

fn bytes(source: &[u8], target: &[u8]) -> Vec<Finding> {
    if source == target {
        return Vec::new();
    }
    let at = source.iter().zip(target).take_while(|(a, b)| a == b).count();
    let detail = format!("{} / {} bytes, first difference at {at}", source.len(), target.len());
    vec![Finding::new(Kind::Value, detail)]
}

fn items(what: &str, source: &[Vec<u8>], target: &[Vec<u8>]) -> Vec<Finding> {
    if source == target {
        return Vec::new();
    }
    let at = source.iter().zip(target).take_while(|(a, b)| a == b).count();
    let detail = format!("{} / {} {what}s, first difference at {at}", source.len(), target.len());
    vec![Finding::new(Kind::Value, detail)]
}

/// Compares what is under the same name; `differ` says how two such values differ. At most one finding.
fn maps<K: Ord + AsRef<[u8]>, V>(
    what: &str,
    source: &BTreeMap<K, V>,
    target: &BTreeMap<K, V>,
    differ: impl Fn(&V, &V) -> Option<String>,
) -> Vec<Finding> {
    let named = |name: &K, detail: &str| {
        let name = name.as_ref().escape_ascii().to_string();
        vec![Finding::new(Kind::Value, format!("{what} {name:?}: {detail}"))]
    };
    for (name, value) in source {
        match target.get(name) {
            None => return named(name, "missing on the target"),
            Some(theirs) => {
                if let Some(detail) = differ(value, theirs) {
                    return named(name, &detail);
                }
            }
        }
    }
    match target.keys().find(|name| !source.contains_key(name)) {
        Some(name) => named(name, "missing on the source"),
        None => Vec::new(),
    }
}

type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn hashes(source: &Fields, target: &Fields, options: &Options) -> Vec<Finding> {
    // Fields that expire may be gone on one side only: each is a finding of its own, with its deadline.
    let mut findings = Vec::new();
    let mut shared = (BTreeMap::new(), BTreeMap::new());
    for (field, (value, at)) in source {
        match target.get(field) {
            None if at.is_some() => {
                findings.push(Finding::new(Kind::Value, "an expiring field is missing on the target").until(*at));
            }
            _ => drop(shared.0.insert(field, value)),
        }
    }
    for (field, (value, at)) in target {
        match source.get(field) {
            None if at.is_some() => {
                let deadline = at.map(|at| at - options.ttl_grace_ms as i64);
                findings.push(Finding::new(Kind::Value, "an expiring field is missing on the source").until(deadline));
            }
            _ => drop(shared.1.insert(field, value)),
        }
    }
    let differ = |a: &&Vec<u8>, b: &&Vec<u8>| (a != b).then(|| format!("{} / {} bytes", a.len(), b.len()));
    findings.extend(maps("field", &shared.0, &shared.1, differ));
    let late = source.iter().find_map(|(field, (_, ours))| expiry(*ours, target.get(field)?.1, options));
    findings.extend(late.map(|detail| Finding::new(Kind::FieldExpiry, detail)));
    findings
}

fn streams(source: &Stream, target: &Stream, options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    if source.entries != target.entries {
        let at = source.entries.iter().zip(&target.entries).take_while(|(a, b)| a == b).count();
        let (ours, theirs) = (source.entries.len(), target.entries.len());
        findings.push(Finding::new(Kind::Value, format!("{ours} / {theirs} entries, first difference at {at}")));
    }
    let mut meta = |name: &str, ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug, same: bool| {
        if !same {
            findings.push(Finding::new(Kind::StreamMeta, format!("{name} {ours:?} / {theirs:?}")));
        }
    };
    meta("last id", &source.last_id, &target.last_id, source.last_id == target.last_id);
    let (ours, theirs) = (&source.entries_added, &target.entries_added);
    meta("entries added", ours, theirs, same_where_told(ours, theirs));
    let (ours, theirs) = (&source.max_deleted_id, &target.max_deleted_id);
    meta("largest deleted id", ours, theirs, same_where_told(ours, theirs));
    let groups = maps("group", &source.groups, &target.groups, |a, b| group(a, b, options));
    findings.extend(groups.into_iter().map(|finding| Finding { kind: Kind::StreamGroup, ..finding }));
    findings
}

fn same_where_told<T: PartialEq>(source: &Option<T>, target: &Option<T>) -> bool {
    source.is_none() || target.is_none() || source == target
}

fn group(source: &Group, target: &Group, options: &Options) -> Option<String> {
    if source.last_delivered != target.last_delivered {
        return Some(format!("last delivered {} / {}", source.last_delivered, target.last_delivered));
    }
    if options.exact_groups && source.tells_read && target.tells_read && source.entries_read != target.entries_read {
        return Some(format!("entries read {:?} / {:?}", source.entries_read, target.entries_read));
    }
    let idle = |name: &Vec<u8>| source.pending.values().all(|p| p.consumer != *name);
    let mut lacks = source.consumers.difference(&target.consumers);
    let only_idle = !options.exact_groups && target.consumers.is_subset(&source.consumers) && lacks.all(idle);
    if source.consumers != target.consumers && !only_idle {
        let show = |names: &BTreeSet<Vec<u8>>| -> Vec<String> {
            names.iter().map(|name| name.escape_ascii().to_string()).take(5).collect()
        };
        return Some(format!("consumers {:?} / {:?}", show(&source.consumers), show(&target.consumers)));
    }
    let (ours, theirs) = (&source.pending, &target.pending);
    if !ours.keys().eq(theirs.keys()) {
        return Some(format!("{} / {} pending entries, not the same ones", ours.len(), theirs.len()));
    }
    ours.iter().zip(theirs.values()).find_map(|((id, ours), theirs)| {
        if ours.consumer != theirs.consumer {
            Some(format!("pending {id} belongs to another consumer"))
        } else if ours.count != theirs.count {
            Some(format!("pending {id} was delivered {} / {} times", ours.count, theirs.count))
        } else if ours.delivered_at.abs_diff(theirs.delivered_at) > options.ttl_tolerance_ms {
            Some(format!("pending {id} was delivered at {} / {}", ours.delivered_at, theirs.delivered_at))
        } else {
            None
        }
    })
}

fn float(bits: u64) -> f64 {
    f64::from_bits(bits)
}
