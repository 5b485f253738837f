//! Reading a history, whatever a killed process has left of it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};

use super::{Line, files};

/// More than a history ever is.
const MAX: u64 = 64 << 20;

/// What a history says, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) lines: Vec<Line>,
    /// Lines that say nothing: torn, damaged, or of another version.
    pub(crate) unreadable: u64,
}

/// Errors: `NoHistory` when there is none; `ReportFile` when it cannot be read.
pub(crate) fn read(dir: &Path, task: &str) -> Result<Lines> {
    let [new, old] = files(dir, task);
    // The newer one may take the place of the older one at any time: opened first, it is not lost.
    let [first, second] = [open(&new)?, open(&old)?];
    if first.is_none() && second.is_none() {
        let what = format!("read the history of task `{task}`: there is no {}", new.display());
        return Err(Error::new(ErrorKind::NoHistory, what));
    }
    // It has just done so: what was older is gone.
    let second = second.filter(|(_, id)| first.as_ref().is_none_or(|(_, new)| new != id));
    let mut lines = Lines::default();
    for ((file, _), path) in second.map(|file| (file, &old)).into_iter().chain(first.map(|file| (file, &new))) {
        let mut bytes = Vec::new();
        file.take(MAX).read_to_end(&mut bytes).or_err(ErrorKind::ReportFile, || reading(path))?;
        lines.add(&bytes);
    }
    Ok(lines)
}

/// A file with its device and number, if it is there.
fn open(path: &Path) -> Result<Option<(File, (u64, u64))>> {
    let opened = File::open(path).and_then(|file| {
        let of = file.metadata()?;
        Ok((file, (of.dev(), of.ino())))
    });
    match opened {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).or_err(ErrorKind::ReportFile, || reading(path)),
    }
}

fn reading(path: &Path) -> String {
    format!("read the history in {}", path.display())
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        for line in bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(line) => self.lines.push(line),
                Err(_) => self.unreadable += 1,
            }
        }
    }
}

/// How many lines are numbered lower than the last one of their process, and not there.
pub(crate) fn missing<'a>(lines: impl Iterator<Item = &'a Line>) -> u64 {
    let mut runs: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for line in lines {
        let (count, last) = runs.entry(&line.run).or_default();
        *count += 1;
        *last = line.n.max(*last);
    }
    runs.values().map(|(count, last)| last.saturating_add(1).saturating_sub(*count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Entry, History};

    /// All of it is in the file.
    fn note(history: &History, entries: impl IntoIterator<Item = Entry>) {
        entries.into_iter().for_each(|entry| history.note(entry));
        history.finish();
    }

    fn copied(offset: u64) -> Entry {
        Entry::Copied { offset }
    }

    fn offsets(lines: &Lines) -> Vec<u64> {
        let offset = |line: &Line| match line.entry {
            Entry::Copied { offset } => offset,
            _ => panic!("{line:?}"),
        };
        lines.lines.iter().map(offset).collect()
    }

    #[test]
    fn a_torn_line_costs_nothing_but_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = &files(dir.path(), "t")[0];
        let history = History::open(dir.path(), "t");
        note(&history, (0..3).map(copied));
        let whole = std::fs::read(path).unwrap();
        let last = whole.len() - whole.iter().rev().skip(1).position(|&b| b == b'\n').unwrap() - 1;
        for cut in last..whole.len() {
            std::fs::write(path, &whole[..cut]).unwrap();
            let lines = read(dir.path(), "t").unwrap();
            // Only the end of line is missing from the longest one.
            let there = if cut == whole.len() - 1 { vec![0, 1, 2] } else { vec![0, 1] };
            assert_eq!(offsets(&lines), there, "cut at {cut}");
            assert_eq!(lines.unreadable, u64::from(cut > last && cut < whole.len() - 1));
            // The next process writes behind it.
            note(&History::open(dir.path(), "t"), [copied(9)]);
            let lines = read(dir.path(), "t").unwrap();
            assert_eq!(offsets(&lines), [&there[..], &[9]].concat(), "behind {cut}");
        }
    }

    #[test]
    fn what_is_missing_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = &files(dir.path(), "t")[0];
        let history = History::open(dir.path(), "t");
        note(&history, (0..4).map(copied));
        assert_eq!(missing(read(dir.path(), "t").unwrap().lines.iter()), 0);
        let text = std::fs::read_to_string(path).unwrap();
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains("\"n\":2,")).collect();
        std::fs::write(path, [b"\xff\0{}\n", kept.join("\n").as_bytes()].concat()).unwrap();
        let lines = read(dir.path(), "t").unwrap();
        assert_eq!((offsets(&lines), missing(lines.lines.iter()), lines.unreadable), (vec![0, 1, 3], 1, 1));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let [new, old] = files(dir.path(), "t");
        let history = History::open(dir.path(), "t");
        let rule = "x".repeat(1 << 20);
        let entry = || Entry::CutoverUndone { code: String::new(), error: rule.clone() };
        note(&history, (0..7).map(|_| entry()));
        let cut = |line: &Line| matches!(line.entry, Entry::Cut);
        assert!(!read(dir.path(), "t").unwrap().lines.iter().any(cut), "nothing is gone yet");
        note(&history, (0..5).map(|_| entry()));
        let len = |path| std::fs::metadata(path).unwrap().len();
        assert!(len(&new) < 6 << 20 && len(&old) < 6 << 20, "{} {}", len(&new), len(&old));
        let lines = read(dir.path(), "t").unwrap();
        assert!(lines.lines.iter().any(cut));
        let last = lines.lines.iter().map(|line| line.n).max().unwrap();
        assert_eq!(missing(lines.lines.iter()), last + 1 - lines.lines.len() as u64);
    }

    #[test]
    fn a_file_that_takes_the_place_of_the_older_one_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let [new, old] = files(dir.path(), "t");
        let history = History::open(dir.path(), "t");
        note(&history, (0..3).map(copied));
        std::fs::hard_link(new, old).unwrap();
        assert_eq!(offsets(&read(dir.path(), "t").unwrap()), [0, 1, 2]);
    }

    #[test]
    fn an_unknown_task_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), "t").unwrap_err().kind(), ErrorKind::NoHistory);
        assert_eq!(read(&dir.path().join("none"), "t").unwrap_err().kind(), ErrorKind::NoHistory);
    }
}
