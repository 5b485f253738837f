//! The product as a process: started, watched through its JSON progress, signalled, judged by its exit.

mod builder;
mod output;
mod progress;

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
pub use builder::Builder;
use output::Output;
pub use progress::Progress;

use crate::{
    process::{Signal, Supervised},
    wait,
};

/// A running `keyferry`. It is killed on drop, and dies with the process that started it.
#[derive(Debug)]
pub struct Keyferry {
    process: Supervised,
    output: Output,
}

/// How a `keyferry` ended.
#[derive(Debug)]
pub struct Exit {
    /// The exit status.
    pub status: ExitStatus,
    /// All of its stderr.
    pub stderr: String,
    /// All progress lines, oldest first.
    pub progress: Vec<Progress>,
}

impl Exit {
    /// The exit code; -1 when a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
}

impl Keyferry {
    /// Builds `keyferry sync SOURCE TARGET`, run from the binary at a path (in the product's own tests
    /// `env!("CARGO_BIN_EXE_keyferry")`), with `--progress json` unless told otherwise.
    pub fn sync(binary: impl AsRef<std::path::Path>, source: &str, target: &str) -> Builder {
        Builder::new(binary.as_ref(), source, target)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The newest progress line.
    pub fn progress(&self) -> Option<Progress> {
        self.output.last()
    }

    /// How many progress lines there have been.
    pub fn lines(&self) -> usize {
        self.output.count()
    }

    /// What stderr holds by now.
    pub fn stderr(&self) -> String {
        self.output.stderr()
    }

    /// Waits for a progress line, past or coming, that meets a condition, and returns it. Fails when the process ends
    /// without one, prints something that is not a progress line, or `timeout` passes.
    pub fn wait_for(&self, timeout: Duration, condition: impl Fn(&Progress) -> bool) -> Result<Progress> {
        let deadline = Instant::now() + timeout;
        let mut seen = 0;
        loop {
            // Asked before the lines are read: what was printed before the end is still looked at.
            let ended = self.process.status()?;
            let closed = self.output.wait_more(seen, Duration::from_millis(100));
            let lines = self.output.since(seen);
            seen += lines.len();
            if let Some(found) = lines.into_iter().find(&condition) {
                return Ok(found);
            }
            if let Some(stray) = self.output.stray() {
                bail!("keyferry printed a line that is not progress: {stray:?}");
            }
            if let (Some(status), true) = (ended, closed) {
                bail!("keyferry ended ({status}) before the condition held; {}", self.state());
            }
            if Instant::now() >= deadline {
                bail!("the condition did not hold within {:.1} s; {}", timeout.as_secs_f64(), self.state());
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Ends it as a crash would.
    pub fn kill_9(&self) {
        self.process.kill();
    }

    /// The exit status when it has ended.
    pub fn status(&self) -> Result<Option<ExitStatus>> {
        self.process.status()
    }

    /// Waits until it has ended by itself, and returns all it said.
    pub fn wait_exit(&self, timeout: Duration) -> Result<Exit> {
        let status = self.process.wait(timeout).with_context(|| self.state())?;
        self.output.wait_closed(Duration::from_secs(5));
        Ok(Exit { status, stderr: self.output.stderr(), progress: self.output.since(0) })
    }

    /// Waits until it has ended by itself; returns also the most memory that it was seen to hold at once, in bytes (its
    /// resident set; what grows in the last few milliseconds is not seen).
    pub fn wait_exit_measured(&self, timeout: Duration) -> Result<(Exit, u64)> {
        let path = format!("/proc/{}/status", self.pid());
        let mut peak = 0;
        wait::poll("the end of keyferry", timeout, || {
            if let Ok(status) = std::fs::read_to_string(&path) {
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kib: Option<u64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
                peak = peak.max(kib.unwrap_or(0) * 1024);
            }
            Ok(self.process.status()?.map(drop))
        })
        .with_context(|| self.state())?;
        Ok((self.wait_exit(Duration::from_secs(5))?, peak))
    }

    fn state(&self) -> String {
        let progress = self.progress().map_or_else(|| "none".into(), |progress| format!("{progress:?}"));
        format!("last progress: {progress}; stderr:\n{}", self.stderr())
    }
}
