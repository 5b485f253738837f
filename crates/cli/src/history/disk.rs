//! The thread that writes lines: a slow disk holds up nobody who notes something.
//!
//! Invariants:
//! - Lines are written in the order in which they were given. What is not taken, or cannot be written, is gone: its number is
//!   missing then.
//! - Nobody waits for the disk, but for as long as [`Disk::wait`] is told to. The lock is never held while something is written.

use std::{
    collections::VecDeque,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// A file with more than this is full.
const FULL: u64 = 4 << 20;
/// Lines that may wait. Some hundred bytes each, and a few of some kilobytes.
const WAITING: usize = 256;

/// The end at which lines come in. Dropped, what waits is still written, while the process lives.
pub(super) struct Disk(Arc<Shared>);

struct Shared {
    files: [PathBuf; 2],
    queue: Mutex<Queue>,
    /// Something came, was written, or is over.
    changed: Condvar,
    /// It was said that something is lost.
    said: AtomicBool,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// One that was taken out is being written.
    writing: bool,
    /// It was waited for in vain.
    stuck: bool,
    over: bool,
}

impl Disk {
    /// Of these files, the newer one first. `cut` makes the line that says that older ones are gone.
    pub(super) fn open(files: [PathBuf; 2], cut: impl Fn() -> io::Result<Vec<u8>> + Send + 'static) -> Self {
        let shared =
            Arc::new(Shared { files, queue: Mutex::default(), changed: Condvar::new(), said: AtomicBool::new(false) });
        let writer = Arc::clone(&shared);
        if let Err(e) = thread::Builder::new().name("history".into()).spawn(move || writer.run(&cut)) {
            shared.queue().over = true;
            shared.say(&e);
        }
        Self(shared)
    }

    /// Takes a line, ends of lines included. What hinders that is said once in the log.
    pub(super) fn write(&self, line: Vec<u8>) {
        let mut queue = self.0.queue();
        if queue.over || queue.lines.len() >= WAITING {
            drop(queue);
            return self.0.say(&io::Error::other("the disk is too slow"));
        }
        queue.lines.push_back(line);
        drop(queue);
        self.0.changed.notify_all();
    }

    /// It was waited for in vain, and has not caught up since.
    pub(super) fn is_stuck(&self) -> bool {
        self.0.queue().stuck
    }

    /// Waits until all that was taken is in the file, or was tried, but no longer than this.
    pub(super) fn wait(&self, limit: Duration) {
        let waited = self.0.changed.wait_timeout_while(self.0.queue(), limit, |queue| queue.is_behind());
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.stuck = queue.is_behind();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.0.queue().over = true;
        self.0.changed.notify_all();
    }
}

impl Queue {
    fn is_behind(&self) -> bool {
        self.writing || !self.lines.is_empty()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, cut: &impl Fn() -> io::Result<Vec<u8>>) {
        while let Some(line) = self.next() {
            if let Err(e) = self.append(line, cut) {
                self.say(&e);
            }
        }
    }

    /// The next line; `None` when there is none and none will come.
    fn next(&self) -> Option<Vec<u8>> {
        let mut queue = self.queue();
        queue.writing = false;
        queue.stuck &= !queue.lines.is_empty();
        self.changed.notify_all();
        let idle = |queue: &mut Queue| queue.lines.is_empty() && !queue.over;
        let mut queue = self.changed.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
        let line = queue.lines.pop_front();
        queue.writing = line.is_some();
        line
    }

    fn append(&self, mut bytes: Vec<u8>, cut: &impl Fn() -> io::Result<Vec<u8>>) -> io::Result<()> {
        let [new, old] = &self.files;
        if fs::metadata(new).is_ok_and(|file| file.len() > FULL) {
            if old.exists() {
                bytes.extend(cut()?);
            }
            fs::rename(new, old)?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(new)?.write_all(&bytes)
    }

    fn say(&self, error: &io::Error) {
        if !self.said.swap(true, Relaxed) {
            let path = self.files[0].display();
            tracing::warn!(%error, %path, "the history of the task, of which keyferry report is made, cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::Command,
        time::Instant,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A pipe that nobody reads takes what it holds, and then nothing until somebody does.
    #[test]
    fn a_disk_that_stands_still_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("t.history");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Both ends at once, so that opening it waits for nobody.
        let mut ends = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        let disk = Disk::open([pipe, dir.path().join("old")], || Ok(Vec::new()));
        let begun = Instant::now();
        // Far more than the pipe holds, and than may wait.
        (0..1000).for_each(|n| disk.write(format!("{n:>9999}\n").into_bytes()));
        disk.wait(Duration::from_millis(10));
        assert!(begun.elapsed() < LONG / 2 && disk.is_stuck());
        assert!(disk.0.said.load(Relaxed));
        // What was taken comes, in order, and all of it.
        let lines = BufReader::new(ends.try_clone().unwrap()).lines();
        let reader = thread::spawn(|| lines.map(Result::unwrap).take_while(|line| line != "end").collect::<Vec<_>>());
        disk.wait(LONG);
        assert!(!disk.is_stuck() && !disk.0.queue().is_behind());
        ends.write_all(b"end\n").unwrap();
        let lines: Vec<usize> = reader.join().unwrap().iter().map(|line| line.trim().parse().unwrap()).collect();
        assert!((WAITING..1000).contains(&lines.len()), "{}", lines.len());
        assert!(lines.iter().copied().eq(0..lines.len()), "{lines:?}");
    }

    #[test]
    fn what_waits_is_written_behind_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["new", "old"].map(|name| dir.path().join(name));
        let disk = Disk::open(files.clone(), || Ok(Vec::new()));
        (0..100).for_each(|n| disk.write(format!("{n}\n").into_bytes()));
        let shared = Arc::clone(&disk.0);
        drop(disk);
        let queue = shared.queue();
        let _ = shared.changed.wait_timeout_while(queue, LONG, |queue| queue.is_behind()).unwrap();
        let written: Vec<usize> = fs::read_to_string(&files[0]).unwrap().lines().map(|n| n.parse().unwrap()).collect();
        assert!(written.into_iter().eq(0..100));
    }
}
