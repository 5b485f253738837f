//! The product under chaos: killed, frozen, stopped, and started again.

use std::{
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{Keyferry, Progress, keyferry::Builder, process::Signal};

/// Longer than a clean stop takes on a busy machine.
const STOP: Duration = Duration::from_secs(15);
/// Errors with which it may end at its start, since a server was not there, or its link broke: it says so to the user
/// instead of waiting.
const NOT_THERE: [&str; 14] = [
    "SRC-0001", "SRC-0002", "SRC-0005", "SRC-0006", "SRC-0008", "SRC-0009", "SRC-0012", "TGT-0001", "TGT-0002",
    "TGT-0005", "TGT-0006", "TGT-0008", "TGT-0009", "TGT-0020",
];
/// Runs whose last words are kept.
const KEPT: usize = 4;
/// Lines of each of them.
const LINES: usize = 40;

/// The product, always running.
pub(super) struct Product {
    builder: Builder,
    run: Keyferry,
    /// Not started before this time.
    wait_until: Option<Instant>,
    /// What the last runs said at their end.
    said: VecDeque<String>,
    /// Starts that found a server missing.
    pub(super) not_there: u64,
    /// Snapshots that were read to their end.
    pub(super) full_syncs: u64,
    /// Runs that went on where another had been.
    pub(super) resumed: u64,
}

impl Product {
    pub(super) fn start(binary: &PathBuf, source: &str, target: &str, args: &[String]) -> Result<Self> {
        let builder = Keyferry::sync(binary, source, target).args(args);
        let run = builder.clone().spawn()?;
        Ok(Self { builder, run, wait_until: None, said: VecDeque::new(), not_there: 0, full_syncs: 0, resumed: 0 })
    }

    fn start_again(&mut self, why: &str) -> Result<()> {
        let text = self.run.stderr();
        self.full_syncs += text.matches("the snapshot has been read").count() as u64;
        self.resumed += text.matches("going on from the").count() as u64;
        self.said.push_back(format!("--- {why}:\n{}", tail(&text)));
        if self.said.len() > KEPT {
            self.said.pop_front();
        }
        self.run = self.builder.clone().spawn()?;
        Ok(())
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        self.run.kill_9();
        // All its words are wanted.
        self.run.wait_exit(STOP)?;
        self.start_again("killed")
    }

    pub(super) fn stop_and_start(&mut self) -> Result<()> {
        // What has ended already is looked at elsewhere.
        if self.run.signal(Signal::CONT).is_err() {
            return Ok(());
        }
        self.stop()?;
        self.start_again("stopped")
    }

    /// Asks it to end, which it does with 130.
    pub(super) fn stop(&self) -> Result<()> {
        if self.run.status()?.is_some() {
            return Ok(());
        }
        let _ = self.run.signal(Signal::TERM);
        let exit = self.run.wait_exit(STOP)?;
        match exit.code() {
            130 => Ok(()),
            // Before it listens to signals, it has said nothing.
            _ if exit.stderr.is_empty() || may_end(&exit.stderr) => Ok(()),
            _ => bail!("keyferry ended with {} instead of 130 after SIGTERM", exit.status),
        }
    }

    /// Stops its execution; the process id is for [`Self::go_on`].
    pub(super) fn freeze(&self) -> Result<u32> {
        // It may just have ended.
        let _ = self.run.signal(Signal::STOP);
        Ok(self.run.pid())
    }

    pub(super) fn go_on(&self, pid: u32) {
        if self.run.pid() == pid {
            let _ = self.run.signal(Signal::CONT);
        }
    }

    /// Starts it again when it has ended at its start, since a server was not there. Any other end is a failure.
    pub(super) fn check(&mut self) -> Result<()> {
        let Some(status) = self.run.status()? else { return Ok(()) };
        match self.wait_until {
            None => {
                let exit = self.run.wait_exit(STOP)?;
                if !may_end(&exit.stderr) {
                    bail!("keyferry ended by itself ({status})");
                }
                self.not_there += 1;
                self.wait_until = Some(Instant::now() + Duration::from_millis(100));
            }
            Some(at) if at <= Instant::now() => {
                self.wait_until = None;
                self.start_again("found a server missing")?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    pub(super) fn pid(&self) -> u32 {
        self.run.pid()
    }

    /// The newest progress, and how many there were of this process.
    pub(super) fn progress(&self) -> (usize, Option<Progress>) {
        (self.run.lines(), self.run.progress())
    }

    /// Snapshots that were read to their end, and resumed runs, the running process included.
    pub(super) fn counts(&self) -> (u64, u64) {
        let text = self.run.stderr();
        let count = |part: &str| text.matches(part).count() as u64;
        (self.full_syncs + count("the snapshot has been read"), self.resumed + count("going on from the"))
    }

    /// The last words of the last runs.
    pub(super) fn words(&self) -> String {
        let before: Vec<&str> = self.said.iter().map(String::as_str).collect();
        let last = self.run.progress();
        format!("{}\n--- now:\n{}\nlast progress: {last:?}", before.join("\n"), tail(&self.run.stderr()))
    }
}

/// Whether a run has only found that a server was missing when it began.
fn may_end(stderr: &str) -> bool {
    let began = ["full_sync", "incremental"].iter().any(|phase| stderr.contains(&format!("phase=\"{phase}\"")));
    !began && NOT_THERE.iter().any(|code| stderr.contains(&format!("error {code}: ")))
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
