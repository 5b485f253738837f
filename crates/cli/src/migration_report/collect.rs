//! From the lines of a history to a report.

use std::collections::{BTreeMap, BTreeSet};

use keyferry_keyspace::Kind;
use keyferry_verify as verify;
use serde_json::Value;

use super::{
    content::{Comparison, Cutover, CutoverUndone, FORMAT, FullCopy, History, OfDatabase, OfType, Process, Report},
    date::utc,
};
use crate::history::{Entry, Line, Lines, Moved, missing};

/// The report of the last migration of `task`. `now`: in Unix milliseconds.
pub(super) fn report(task: &str, history: &Lines, now: u64) -> Report {
    let (first, refused) = last_migration(&history.lines);
    let lines = history.lines[first..].iter().filter(|line| !refused.contains(line.run.as_str()));
    let mut collected = Collected::default();
    lines.clone().for_each(|line| collected.add(line));
    let mut report = collected.finish();
    report.format = FORMAT;
    report.task = task.into();
    report.written = utc(now);
    report.written_by = env!("CARGO_PKG_VERSION").into();
    report.history = History {
        lines: lines.clone().count() as u64,
        unreadable: history.unreadable,
        missing: missing(lines.clone()),
        from_the_beginning: matches!(lines.clone().next(), Some(Line { entry: Entry::Started(_), .. }))
            && (first > 0 || !is_cut(&history.lines)),
    };
    // What is missing may have counted.
    let History { unreadable, missing, from_the_beginning, .. } = report.history;
    report.full_copy.complete &= unreadable == 0 && missing == 0 && from_the_beginning;
    report
}

/// Where the last migration begins: a task of the same name may have been used for several. The processes behind its end that
/// have not got as far as to begin another one belong to none.
fn last_migration(lines: &[Line]) -> (usize, BTreeSet<&str>) {
    let (mut first, mut over, mut next, mut refused) = (0, false, None, BTreeSet::new());
    for (i, line) in lines.iter().enumerate() {
        match &line.entry {
            Entry::Started(settings) => {
                next = (over || settings.restart).then_some(i);
                if over {
                    refused.insert(line.run.as_str());
                }
            }
            Entry::Begun { .. } => {
                if let Some(next) = next.take() {
                    (first, over) = (next, false);
                    refused.clear();
                }
            }
            Entry::CutOver { .. } => over = true,
            Entry::Ended(ended) => over |= matches!(state(&ended.state), "copied" | "synced" | "cut_over"),
            _ => {}
        }
    }
    (first, refused)
}

/// Whether lines in front of these may be gone.
fn is_cut(lines: &[Line]) -> bool {
    lines.iter().any(|line| matches!(line.entry, Entry::Cut))
}

fn state(text: &str) -> &'static str {
    ["copied", "synced", "cut_over", "interrupted"].into_iter().find(|known| *known == text).unwrap_or("failed")
}

/// What has been read so far.
#[derive(Default)]
struct Collected {
    report: Report,
    /// The place of each process in the list.
    processes: BTreeMap<String, usize>,
    /// The last full copy: its name, what has come of it, and how many keys that should be.
    copy: Option<u64>,
    databases: BTreeMap<u32, Moved>,
    keys: Option<u64>,
    /// When the last full copy was decided on, and when it was on the target; in Unix milliseconds.
    begun: Option<u64>,
    done: Option<u64>,
    /// Something of the full copy was counted by nobody who is known here.
    uncounted: bool,
}

impl Collected {
    fn add(&mut self, line: &Line) {
        let at = || Some(utc(line.at));
        let report = &mut self.report;
        match &line.entry {
            Entry::Started(settings) => {
                self.processes.insert(line.run.clone(), report.processes.list.len());
                report.processes.list.push(Process {
                    begun: utc(line.at),
                    state: "not_ended",
                    keyferry: settings.keyferry.clone(),
                    ..Process::default()
                });
                report.state = "not_ended";
                report.times.begun.get_or_insert_with(|| utc(line.at));
                report.times.ended = None;
                (report.source.url, report.target.url) = (settings.source.clone(), settings.target.clone());
                report.settings.rules.clone_from(&settings.rules);
                report.settings.on_conflict.clone_from(&settings.on_conflict);
                report.settings.on_unsupported.clone_from(&settings.on_unsupported);
            }
            Entry::Precheck { report: found } => report.precheck = Some(found.clone()),
            Entry::Begun { copy, source, target, offset, resumed, copied, counted } => {
                let seen = |versions: &mut Vec<String>, version: &String| {
                    if versions.last() != Some(version) {
                        versions.push(version.clone());
                    }
                };
                source.iter().for_each(|version| seen(&mut report.source.versions, version));
                seen(&mut report.target.versions, target);
                // A copy that goes on and is not known here was begun elsewhere.
                let known = self.copy.replace(*copy) == Some(*copy);
                if !*resumed || !known {
                    self.databases.clear();
                    (self.keys, self.begun, self.uncounted) = (None, None, *resumed);
                    (report.full_copy.kept, report.offsets.full_copy) = (0, None);
                    report.full_copy.unsupported.clear();
                    fell_back(report, &mut self.done);
                }
                self.uncounted |= !counted;
                if *resumed {
                    report.processes.resumes += 1;
                } else {
                    report.processes.full_copies += 1;
                    self.begun = Some(line.at);
                    report.offsets.full_copy = Some(*offset);
                }
                if *copied {
                    self.done.get_or_insert(line.at);
                    report.offsets.applied = Some(*offset);
                } else {
                    fell_back(report, &mut self.done);
                }
            }
            Entry::ReadAll { keys } => self.keys = Some(*keys),
            Entry::FellBack => fell_back(report, &mut self.done),
            Entry::Database(moved) => {
                self.databases.insert(moved.database, moved.clone());
            }
            Entry::Copied { offset } => {
                self.done = Some(line.at);
                report.offsets.applied = Some(*offset);
            }
            Entry::InStep { offset } => {
                report.offsets.applied = Some(*offset);
                report.times.in_step.get_or_insert_with(|| utc(line.at));
            }
            Entry::Cut => {}
            Entry::Retrying { .. } => {
                if let Some(process) = self.process(line) {
                    process.retries += 1;
                }
            }
            Entry::CutOver { write_pause_ms, offset, late_writes, source_changed, target_replicas } => {
                report.times.cut_over = at();
                (report.offsets.cut_over, report.offsets.applied) = (Some(*offset), Some(*offset));
                report.cutover = Some(Cutover {
                    at: utc(line.at),
                    write_pause_ms: *write_pause_ms,
                    offset: *offset,
                    late_writes: *late_writes,
                    source_changed: source_changed.clone(),
                    target_replicas: *target_replicas,
                });
                report.state = "cut_over";
            }
            Entry::CutoverUndone { code, error } => {
                let (code, error) = (code.clone(), error.clone());
                report.cutovers_undone.push(CutoverUndone { at: utc(line.at), code, error });
            }
            Entry::Compared { begun, source, target, options, rules, result } => {
                let comparison = Comparison {
                    source: source.clone(),
                    target: target.clone(),
                    options: [&options[..], rules].concat(),
                    ..compared(utc(line.at), result)
                };
                let differences = &mut report.differences;
                differences.repaired += comparison.repaired;
                // It says nothing of the migration when it has looked elsewhere, at something else, or too early.
                let data = report.settings.rules.iter().filter(|rule| !rule.starts_with("--block-command "));
                let sides = (&report.source.url, &report.target.url) == (source, target);
                if sides && data.eq(rules) && self.done.is_some_and(|done| done <= *begun) {
                    differences.equal = result.get("equal").and_then(Value::as_bool);
                    differences.left = comparison.left;
                }
                report.comparisons.push(comparison);
            }
            Entry::Ended(ended) => {
                report.state = state(&ended.state);
                report.times.ended = at();
                // A process that did not get as far as the stream has none.
                if self.done.is_some() && ended.offset > 0 {
                    report.offsets.applied = Some(ended.offset);
                }
                report.processes.received_bytes += ended.received_bytes;
                report.full_copy.kept += ended.kept;
                for (what, n) in &ended.unsupported {
                    *report.full_copy.unsupported.entry(what.clone()).or_default() += n;
                }
                if let Some(process) = self.process(line) {
                    process.ended = at();
                    process.state = state(&ended.state);
                    process.retries = ended.retries;
                    process.offset = Some(ended.offset);
                    (process.code, process.error) = (ended.code.clone(), ended.error.clone());
                }
            }
        }
    }

    fn process(&mut self, line: &Line) -> Option<&mut Process> {
        let at = self.processes.get(&line.run)?;
        self.report.processes.list.get_mut(*at)
    }

    fn finish(self) -> Report {
        let Self { mut report, databases, keys: expected, begun, done, uncounted, .. } = self;
        let mut all = BTreeMap::new();
        for (name, (keys, bytes)) in databases.values().flat_map(|moved| &moved.types) {
            let (sum, size) = all.entry(name.clone()).or_insert((0, 0));
            *sum += keys;
            *size += bytes;
        }
        let FullCopy { kept, unsupported, .. } = report.full_copy;
        let (keys, bytes) = sums(&all);
        report.full_copy = FullCopy {
            complete: done.is_some() && !uncounted && expected == Some(keys),
            keys,
            bytes,
            by_type: by_type(&all),
            by_database: databases.into_values().map(of_database).collect(),
            kept,
            unsupported,
        };
        report.times.full_copy_begun = begun.map(utc);
        report.times.full_copy_done = done.map(utc);
        let seconds = |(begun, done): (u64, u64)| done.saturating_sub(begun) as f64 / 1000.0;
        report.times.full_copy_seconds = begun.zip(done).map(seconds);
        let stream = report.offsets.full_copy.zip(report.offsets.applied);
        report.offsets.stream_bytes = stream.map(|(from, to)| to.saturating_sub(from));
        report.processes.restarts = (report.processes.list.len() as u64).saturating_sub(1);
        report.processes.retries = report.processes.list.iter().map(|process| process.retries).sum();
        report
    }
}

/// The snapshot is not on the target, or no longer: what was so behind it does not hold.
fn fell_back(report: &mut Report, done: &mut Option<u64>) {
    *done = None;
    report.times.in_step = None;
    report.offsets.applied = None;
    (report.differences.equal, report.differences.left) = (None, 0);
}

fn sums(types: &BTreeMap<String, (u64, u64)>) -> (u64, u64) {
    types.values().fold((0, 0), |sum, (keys, bytes)| (sum.0 + keys, sum.1 + bytes))
}

fn of_database(moved: Moved) -> OfDatabase {
    let Moved { database, target_database, types } = moved;
    let (keys, bytes) = sums(&types);
    OfDatabase { database, target_database, keys, bytes, by_type: by_type(&types) }
}

fn by_type(types: &BTreeMap<String, (u64, u64)>) -> Vec<OfType> {
    let of = |kind: Kind| {
        let (keys, bytes) = *types.get(kind.name())?;
        Some(OfType { r#type: kind.name().into(), keys, bytes })
    };
    Kind::ALL.into_iter().filter_map(of).collect()
}

fn compared(at: String, result: &Value) -> Comparison {
    let number = |name: &str| result.get(name).and_then(Value::as_u64).unwrap_or(0);
    let left = verify::Kind::ALL.iter().map(|kind| number(kind.name())).sum();
    let repaired = number("repaired");
    Comparison { at, found: left + repaired, repaired, left, result: result.clone(), ..Comparison::default() }
}

#[cfg(test)]
mod tests;
