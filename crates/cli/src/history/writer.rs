//! Who writes a history: the process that runs the task, and comparisons.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use clap::Args;
use keyferry_engine::{Event, Outcome, Stats};
use keyferry_keyspace::Kind;
use keyferry_model::{Error, ErrorKind, Result};
use keyferry_net::Endpoint;
use serde_json::Value;
use tokio::time::sleep;

use super::{Entry, Line, Moved, disk::Disk, entry::Ended, files};
use crate::{args::running_task, sync::default_task, task_lock::state_dir};

/// Lost connections of one process that are told one by one; all are counted.
const RETRIES: u64 = 1000;
/// Characters of the words of an error, or of what was seen.
const TEXT: usize = 1000;
/// For how long the stream waits, at most, until a line is in the file by which keys are counted. A disk that is in order takes
/// it in far less than a millisecond.
const COUNTED: Duration = Duration::from_millis(100);
/// For how long the end of a process waits until all lines are in the file.
const LAST: Duration = Duration::from_secs(5);
/// How often it is looked whether both sides are in step.
const LOOK: Duration = Duration::from_millis(200);

/// Writes lines of one process.
pub(crate) struct History {
    numbers: Arc<Numbers>,
    disk: Disk,
    /// In Unix milliseconds.
    opened: u64,
    retries: AtomicU64,
    in_step: AtomicBool,
}

/// Numbers the lines of one process.
struct Numbers {
    run: String,
    next: AtomicU64,
}

impl Numbers {
    /// The bytes of the next line.
    fn line(&self, entry: Entry) -> io::Result<Vec<u8>> {
        let line = Line { at: now(), run: self.run.clone(), n: self.next.fetch_add(1, Relaxed), entry };
        let mut bytes = vec![b'\n'];
        serde_json::to_writer(&mut bytes, &line)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl History {
    /// Of a task, in its state directory, which has to be there.
    pub(crate) fn open(dir: &Path, task: &str) -> Self {
        let run = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let numbers = Arc::new(Numbers { run, next: AtomicU64::new(0) });
        let cut = {
            let numbers = Arc::clone(&numbers);
            move || numbers.line(Entry::Cut)
        };
        Self {
            numbers,
            disk: Disk::open(files(dir, task), cut),
            opened: now(),
            retries: AtomicU64::new(0),
            in_step: AtomicBool::new(false),
        }
    }

    /// Adds a line, which is written later. What hinders it is said once in the log, and shows in the numbers of the lines.
    pub(crate) fn note(&self, entry: Entry) {
        // All entries can be written as JSON; one that could not would be missing.
        if let Ok(line) = self.numbers.line(entry) {
            self.disk.write(line);
        }
    }

    /// Waits until what was noted is in the file, for a few seconds at most: the process is about to end.
    pub(crate) fn finish(&self) {
        self.disk.wait(LAST);
    }

    /// Takes what the engine tells.
    pub(crate) fn on_event(&self, event: Event<'_>) {
        if matches!(event, Event::Begun(begun) if !begun.copied) || matches!(event, Event::FellBack) {
            self.in_step.store(false, Relaxed);
        }
        // A position behind what these count may be on its way as soon as they are told: of a process that is killed then, they
        // have to be there. A disk that stands still holds up the first one only.
        let counted = matches!(
            event,
            Event::Begun(_) | Event::Read { .. } | Event::ReadAll { .. } | Event::Copied { .. } | Event::FellBack
        );
        self.note(match event {
            Event::Begun(begun) => Entry::Begun {
                copy: begun.copy,
                source: begun.source.map(|version| version.to_string()),
                target: begun.target.to_string(),
                offset: begun.offset,
                resumed: begun.resumed,
                copied: begun.copied,
                counted: begun.counted,
            },
            Event::Read { db, to, counts } => {
                let types = Kind::ALL.map(|kind| (kind.name().to_owned(), counts.of(kind)));
                let types = types.into_iter().filter(|(_, (keys, _))| *keys > 0).collect();
                Entry::Database(Moved { database: db, target_database: to, types })
            }
            Event::ReadAll { keys } => Entry::ReadAll { keys },
            Event::Copied { offset } => Entry::Copied { offset },
            Event::FellBack => Entry::FellBack,
            Event::Lost(side) => return self.retrying(Some(side.name().into()), None),
            Event::Waiting(error) => return self.retrying(None, Some(text(error))),
            Event::CutOver(report) => Entry::CutOver {
                write_pause_ms: report.write_pause.as_millis() as u64,
                offset: report.offset,
                late_writes: report.late_writes,
                source_changed: report.source_changed.as_deref().map(bounded),
                target_replicas: report.replicas.map(Into::into),
            },
            Event::CutoverUndone(error) => {
                Entry::CutoverUndone { code: error.kind().policy().code.into(), error: text(error) }
            }
        });
        if counted && !self.disk.is_stuck() {
            self.disk.wait(COUNTED);
        }
    }

    fn retrying(&self, side: Option<String>, error: Option<String>) {
        if self.retries.fetch_add(1, Relaxed) < RETRIES {
            self.note(Entry::Retrying { side, error });
        }
    }

    /// Waits until both sides are in step and notes that. Never ends.
    pub(crate) async fn watch(&self, stats: &Stats) {
        let since = stats.mark();
        loop {
            let progress = stats.progress(&since);
            if progress.in_step && !self.in_step.swap(true, Relaxed) {
                self.note(Entry::InStep { offset: progress.applied_offset });
            }
            sleep(LOOK).await;
        }
    }

    /// The last line of the process that runs the task; waits until it is in the file.
    pub(crate) fn ended(&self, result: &Result<Outcome>, stats: &Stats) {
        let progress = stats.progress(&stats.mark());
        let offset = progress.applied_offset;
        if matches!(result, Ok(Outcome::Synced)) && !self.in_step.load(Relaxed) {
            self.note(Entry::InStep { offset });
        }
        let state = match result {
            Ok(Outcome::Copied) => "copied",
            Ok(Outcome::Synced) => "synced",
            Ok(Outcome::CutOver | Outcome::TurnedRound) => "cut_over",
            Ok(Outcome::Interrupted) => "interrupted",
            Err(_) => "failed",
        };
        let error = result.as_ref().err();
        self.note(Entry::Ended(Ended {
            state: state.into(),
            code: error.map(|e| e.kind().policy().code.into()),
            error: error.map(text),
            offset,
            kept: stats.kept(),
            received_bytes: progress.bytes,
            retries: self.retries.load(Relaxed),
            unsupported: stats.unsupported().into_iter().collect::<BTreeMap<_, _>>(),
        }));
        self.finish();
    }

    /// Keeps what a comparison has found, which began when this was opened. `options`: how deep it has looked; `rules`: at
    /// what; `result`: the JSON of its last line.
    pub(crate) fn compared(&self, sides: [&Endpoint; 2], options: Vec<String>, rules: Vec<String>, result: &str) {
        let result = serde_json::from_str(result).unwrap_or(Value::Null);
        let [source, target] = sides.map(ToString::to_string);
        self.note(Entry::Compared { begun: self.opened, source, target, options, rules, result });
        self.finish();
    }
}

/// This machine's time in Unix milliseconds.
fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64
}

fn text(error: &Error) -> String {
    bounded(&error.to_string())
}

fn bounded(words: &str) -> String {
    words.chars().take(TEXT).collect()
}

/// The task to whose history a comparison belongs.
#[derive(Args)]
pub(crate) struct OfComparison {
    /// Task of which this is a comparison: `keyferry report` shows its result [default: the task of both addresses, if
    /// there is one].
    #[arg(long, value_name = "NAME", value_parser = running_task)]
    task: Option<String>,
    /// The state directory of that task [default: $XDG_STATE_HOME/keyferry or ~/.local/state/keyferry].
    #[arg(long, value_name = "DIR", env = "KEYFERRY_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

impl OfComparison {
    /// Its state directory and its name, or those that it would have.
    pub(crate) fn task(&self, source: &Endpoint, target: &Endpoint) -> Result<Option<(PathBuf, String)>> {
        let dir = match state_dir(self.state_dir.as_deref()) {
            Err(_) if self.task.is_none() => return Ok(None),
            dir => dir?,
        };
        Ok(Some((dir, self.task.clone().unwrap_or_else(|| default_task(Some(source), target)))))
    }

    /// Its history, if there is one.
    ///
    /// Errors: `NoHistory` when a task was named that has none.
    pub(crate) fn find(&self, source: &Endpoint, target: &Endpoint) -> Result<Option<History>> {
        let Some((dir, task)) = self.task(source, target)? else { return Ok(None) };
        let [new, old] = files(&dir, &task);
        if new.exists() || old.exists() {
            return Ok(Some(History::open(&dir, &task)));
        }
        match &self.task {
            None => Ok(None),
            Some(task) => {
                let what = format!("find the history of task `{task}`: there is no {}", new.display());
                Err(Error::new(ErrorKind::NoHistory, what))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Instant};

    use keyferry_engine::Begun;
    use keyferry_keyspace::ServerVersion;

    use super::*;
    use crate::history::read;

    /// Nobody reads what is written, so that no line ever comes to its end.
    #[test]
    fn a_disk_that_stands_still_is_waited_for_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Command::new("mkfifo").arg(dir.path().join("t.history")).status().unwrap().success());
        let history = History::open(dir.path(), "t");
        let begun = Instant::now();
        (0..200).for_each(|offset| history.on_event(Event::Copied { offset }));
        assert!(begun.elapsed() >= COUNTED && begun.elapsed() < COUNTED * 100, "{:?}", begun.elapsed());
        assert!(history.disk.is_stuck());
    }

    #[test]
    fn both_sides_are_in_step_again_behind_each_copy() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), "t");
        let target = ServerVersion::from_info(b"redis_version:7.2.4\r\n").unwrap();
        let begun = |copied| {
            Event::Begun(Begun { copy: 1, source: None, target, offset: 1, resumed: true, copied, counted: true })
        };
        let noted = |event| {
            history.in_step.store(true, Relaxed);
            history.on_event(event);
            history.finish();
            let before = read(dir.path(), "t").unwrap().lines.len();
            history.ended(&Ok(Outcome::Synced), &Stats::default());
            let lines = read(dir.path(), "t").unwrap().lines;
            lines[before..].iter().any(|line| matches!(line.entry, Entry::InStep { .. }))
        };
        assert!(!noted(begun(true)));
        assert!(noted(begun(false)));
        assert!(noted(Event::FellBack));
    }
}
