//! Reads the streams of a child in threads, so that it never blocks on a full pipe.

use std::{
    io::{BufRead, BufReader, Read},
    process::{ChildStderr, ChildStdout},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use super::Progress;

#[derive(Debug, Default)]
struct State {
    progress: Vec<Progress>,
    /// The first line of stdout that was not progress.
    stray: Option<String>,
    stderr: Vec<u8>,
    /// Streams that are still open.
    open: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `done` holds; false when it does not within `timeout`.
    fn wait(&self, timeout: Duration, done: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while !done(&state) {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return false;
            };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        true
    }
}

/// What a child has said so far.
#[derive(Debug)]
pub(super) struct Output(Arc<Shared>);

impl Output {
    /// Starts reading. Lines of stdout are progress when `json` is set, and dropped otherwise.
    pub(super) fn read(stdout: Option<ChildStdout>, stderr: Option<ChildStderr>, json: bool) -> Self {
        let shared = Arc::new(Shared::default());
        shared.lock().open = usize::from(stdout.is_some()) + usize::from(stderr.is_some());
        if let Some(stdout) = stdout {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    match serde_json::from_str(&line) {
                        _ if !json => {}
                        Ok(progress) => shared.change(|state| state.progress.push(progress)),
                        Err(error) => shared.change(|state| {
                            state.stray.get_or_insert_with(|| format!("{line} ({error})"));
                        }),
                    }
                }
                shared.change(|state| state.open -= 1);
            });
        }
        if let Some(mut stderr) = stderr {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(len @ 1..) = stderr.read(&mut buffer) {
                    shared.change(|state| state.stderr.extend_from_slice(&buffer[..len]));
                }
                shared.change(|state| state.open -= 1);
            });
        }
        Self(shared)
    }

    /// The progress lines after the first `seen` ones.
    pub(super) fn since(&self, seen: usize) -> Vec<Progress> {
        self.0.lock().progress.iter().skip(seen).cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().progress.len()
    }

    pub(super) fn last(&self) -> Option<Progress> {
        self.0.lock().progress.last().cloned()
    }

    pub(super) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().stderr).into_owned()
    }

    pub(super) fn stray(&self) -> Option<String> {
        self.0.lock().stray.clone()
    }

    /// Waits until there are more than `seen` lines or all streams have been closed; true when they have.
    pub(super) fn wait_more(&self, seen: usize, timeout: Duration) -> bool {
        self.0.wait(timeout, |state| state.open == 0 || state.progress.len() > seen || state.stray.is_some());
        self.0.lock().open == 0
    }

    /// Waits until all streams have been closed.
    pub(super) fn wait_closed(&self, timeout: Duration) {
        self.0.wait(timeout, |state| state.open == 0);
    }
}
