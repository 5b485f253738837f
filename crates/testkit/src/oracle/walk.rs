//! The walk over both sides, and the second look at what differed.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{BuildHasher, RandomState},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use redis::{Value, cmd};

use super::{
    Pair,
    judge::{self, Finding},
    keys::metas,
    report::{Difference, Kind, Report},
    side::{Batch, Side, array, bytes},
    value::contents,
};

/// Keys asked for in one turn of SCAN. Large enough that a turn costs little beside the values.
const SCAN_COUNT: u64 = 1000;
/// Keys whose values are held at the same time.
const VALUES: usize = 250;
/// Keys that get a second look; with more differences than this the result is clear anyway.
const CANDIDATES: usize = 100_000;
/// A deadline this close is waited for before the second look, in milliseconds.
const NEAR_MS: i64 = 2_000;

/// A key that differed at the first look.
struct Candidate {
    db: u32,
    key: Vec<u8>,
    findings: Vec<Finding>,
}

pub(super) fn run(pair: &mut Pair) -> Result<Report> {
    let mut report = Report::default();
    let mut candidates = Vec::new();
    let (ours, theirs) = pair.both(Side::databases)?;
    for db in ours.union(&theirs).copied() {
        pair.both(|side| side.select(db)).with_context(|| format!("select database {db}"))?;
        let seen = walk_source(pair, db, &mut report, &mut candidates)?;
        walk_target(pair, db, &seen, &mut candidates)?;
    }
    second_look(pair, candidates, &mut report)?;
    functions(pair, &mut report)?;
    Ok(report)
}

/// Compares keys of database 0 that the source chooses.
pub(super) fn sample(pair: &mut Pair, count: usize) -> Result<Report> {
    let mut batch = Batch::default();
    for _ in 0..count {
        batch.add(&cmd("RANDOMKEY"));
    }
    let answers = pair.source.run(&batch)?.into_iter().filter(|answer| *answer != Value::Nil);
    let keys: BTreeSet<Vec<u8>> = answers.map(bytes).collect::<Result<_>>()?;
    let keys: Vec<Vec<u8>> = keys.into_iter().collect();
    let (findings, looked) = look(pair, &keys)?;
    let mut report =
        Report { keys: keys.len() as u64, bytes: looked.bytes as u64, types: looked.types, ..Report::default() };
    let mut candidates = Vec::new();
    collect(0, keys, findings, &mut candidates);
    second_look(pair, candidates, &mut report)?;
    Ok(report)
}

/// The keys that a walk has met. Their hashes suffice: of a million keys two share one once in ten million walks.
#[derive(Default)]
struct Seen {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Seen {
    /// False when the key was there already: SCAN may return a key more than once.
    fn insert(&mut self, key: &[u8]) -> bool {
        self.hashes.insert(self.hasher.hash_one(key))
    }

    fn contains(&self, key: &[u8]) -> bool {
        self.hashes.contains(&self.hasher.hash_one(key))
    }
}

/// Compares every key of the source.
fn walk_source(pair: &mut Pair, db: u32, report: &mut Report, candidates: &mut Vec<Candidate>) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut cursor = 0;
    loop {
        let (next, mut keys) = pair.source.scan(cursor, SCAN_COUNT)?;
        keys.retain(|key| seen.insert(key));
        let (findings, looked) = look(pair, &keys)?;
        report.keys += keys.len() as u64;
        report.bytes += looked.bytes as u64;
        for (kind, count) in looked.types {
            *report.types.entry(kind).or_default() += count;
        }
        collect(db, keys, findings, candidates);
        cursor = next;
        if cursor == 0 {
            return Ok(seen);
        }
    }
}

/// Finds the keys of the target that the walk over the source has not met.
fn walk_target(pair: &mut Pair, db: u32, seen: &Seen, candidates: &mut Vec<Candidate>) -> Result<()> {
    let mut cursor = 0;
    loop {
        let (next, mut keys) = pair.target.scan(cursor, SCAN_COUNT)?;
        keys.retain(|key| {
            !seen.contains(key) && !pair.options.ignore_target_prefixes.iter().any(|prefix| key.starts_with(prefix))
        });
        let (findings, _) = look(pair, &keys)?;
        collect(db, keys, findings, candidates);
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

fn collect(db: u32, keys: Vec<Vec<u8>>, findings: Vec<Vec<Finding>>, candidates: &mut Vec<Candidate>) {
    let differing = keys.into_iter().zip(findings).filter(|(_, findings)| !findings.is_empty());
    candidates.extend(differing.map(|(key, findings)| Candidate { db, key, findings }));
}

/// What was looked at on the source.
#[derive(Default)]
struct Looked {
    /// Of keys and values.
    bytes: usize,
    /// Keys of each type.
    types: BTreeMap<String, u64>,
}

/// Compares keys of the selected database: what differs in each.
fn look(pair: &mut Pair, keys: &[Vec<u8>]) -> Result<(Vec<Vec<Finding>>, Looked)> {
    let mut findings = Vec::with_capacity(keys.len());
    let mut looked = Looked::default();
    for keys in keys.chunks(VALUES) {
        let (ours, theirs) = pair.both(|side| metas(side, keys))?;
        let grace = pair.options.ttl_grace_ms as i64;
        let mut same_type: Vec<(&[u8], &str)> = Vec::with_capacity(keys.len());
        let base = findings.len();
        for ((key, ours), theirs) in keys.iter().zip(&ours).zip(&theirs) {
            looked.bytes += key.len();
            if let Some(kind) = &ours.kind {
                *looked.types.entry(kind.clone()).or_default() += 1;
            }
            findings.push(match (&ours.kind, &theirs.kind) {
                (None, None) => Vec::new(),
                (Some(kind), None) => {
                    vec![Finding::new(Kind::MissingOnTarget, format!("a {kind}")).until(ours.expires_at)]
                }
                (None, Some(kind)) => {
                    let deadline = theirs.expires_at.map(|at| at - grace);
                    vec![Finding::new(Kind::MissingOnSource, format!("a {kind}")).until(deadline)]
                }
                (Some(ours), Some(theirs)) if ours != theirs => {
                    vec![Finding::new(Kind::Type, format!("{ours} / {theirs}"))]
                }
                (Some(kind), Some(_)) => {
                    same_type.push((key, kind));
                    let late = judge::expiry(ours.expires_at, theirs.expires_at, &pair.options);
                    late.map(|detail| Finding::new(Kind::Expiry, detail)).into_iter().collect()
                }
            });
        }
        let (our_values, their_values) = pair.both(|side| contents(side, &same_type))?;
        let mut values = our_values.iter().zip(&their_values);
        for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            if ours.kind.is_none() || ours.kind != theirs.kind {
                continue;
            }
            let (ours, theirs) = values.next().context("a value for each key of one type")?;
            looked.bytes += ours.size();
            findings[base + i].extend(judge::content(ours, theirs, &pair.options));
        }
    }
    Ok((findings, looked))
}

/// Looks again at what differed, after what was about to expire has done so, and reports what still differs.
fn second_look(pair: &mut Pair, mut candidates: Vec<Candidate>, report: &mut Report) -> Result<()> {
    let unchecked = candidates.split_off(candidates.len().min(CANDIDATES));
    let mut now = pair.source.now_ms()?;
    let near = candidates.iter().flat_map(|candidate| &candidate.findings).filter_map(|finding| finding.deadline);
    let latest = near.filter(|deadline| *deadline < now + NEAR_MS).max().unwrap_or(now);
    while now <= latest {
        thread::sleep(Duration::from_millis(10));
        now = pair.source.now_ms()?;
    }
    for group in candidates.chunk_by(|a, b| a.db == b.db) {
        let db = group[0].db;
        pair.both(|side| side.select(db))?;
        let keys: Vec<Vec<u8>> = group.iter().map(|candidate| candidate.key.clone()).collect();
        let (findings, _) = look(pair, &keys)?;
        let now = pair.source.now_ms()?;
        for (key, mut findings) in keys.into_iter().zip(findings) {
            let before = findings.len();
            findings.retain(|finding| finding.deadline.is_none_or(|deadline| deadline > now));
            report.expired += u64::from(before > findings.len() && findings.is_empty());
            add(pair, report, db, &key, findings);
        }
    }
    for candidate in unchecked {
        add(pair, report, candidate.db, &candidate.key, candidate.findings);
    }
    Ok(())
}

fn add(pair: &Pair, report: &mut Report, db: u32, key: &[u8], findings: Vec<Finding>) {
    for Finding { kind, detail, .. } in findings {
        report.add(Difference { db, key: key.to_vec(), kind, detail }, pair.options.max_listed);
    }
}

/// Compares the functions of two servers that both have them.
fn functions(pair: &mut Pair, report: &mut Report) -> Result<()> {
    if !pair.source.has_functions || !pair.target.has_functions {
        return Ok(());
    }
    let (ours, theirs) = pair.both(|side| {
        let mut libraries = Vec::new();
        for library in array(side.ask(cmd("FUNCTION").arg("LIST").arg("WITHCODE"))?)? {
            // Names and values of the library's fields; name and code come as strings, the functions as an array.
            let fields = array(library)?.into_iter().filter_map(|field| bytes(field).ok());
            libraries.push(fields.collect::<Vec<_>>());
        }
        libraries.sort_unstable();
        Ok(libraries)
    })?;
    if ours != theirs {
        let detail = format!("{} / {} libraries, not the same ones", ours.len(), theirs.len());
        let difference = Difference { db: 0, key: Vec::new(), kind: Kind::Functions, detail };
        report.add(difference, pair.options.max_listed);
    }
    Ok(())
}
