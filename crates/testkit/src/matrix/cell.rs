//! One source, one target, and the process between them.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Losses, PATIENCE};
use crate::{
    Keyferry, Server,
    families::Trail,
    oracle::{self, Options},
    process::Signal,
};

/// What the product adds to deadlines unless told otherwise.
const GRACE_MS: u64 = 30_000;
/// Absolute deadlines are exact; the oracle reads some of them as what is left.
const ABSOLUTE_MS: u64 = 50;
/// Before 7.0 deadlines come as they were typed, and count from when they are received: later on a busy machine. The
/// calls that move a deadline move it by five seconds or more. Targets before 6.2 are told what is left, and count from
/// when they are.
const RELATIVE_MS: u64 = 2_000;
/// How long it may take until what has run out on the source is gone from the target too.
const SETTLES: Duration = Duration::from_secs(15);
/// What is left to compare must be more than this: a cell in which next to nothing is compared says nothing.
const LEAST_KEYS: u64 = 300;

/// A cell that went well.
#[derive(Debug, Clone, Default)]
pub struct Passed {
    /// Keys that were compared and equal.
    pub keys: u64,
    /// Keys that differ because the target cannot hold them, or all of them.
    pub lost: u64,
    /// What the product has listed as left out or lessened, with counts.
    pub listed: BTreeMap<String, u64>,
}

/// A migration from one server to another.
#[derive(Debug)]
pub struct Cell {
    /// The source's name.
    pub source: String,
    /// The target's name.
    pub target: String,
    /// How it went; an error with all that is known otherwise.
    pub outcome: Result<Passed, String>,
    /// How long the row took.
    pub took: Duration,
    losses: Losses,
    /// Whether the source replicates what scripts do.
    effects: bool,
    /// How far deadlines may be apart, apart from the grace, in milliseconds.
    tolerance_ms: u64,
    server: Server,
    run: Option<Keyferry>,
}

impl Cell {
    pub(super) fn start(binary: &Path, state: &Path, source: &Server, target: Server) -> Result<Self> {
        let run = Keyferry::sync(binary, &source.url(), &target.url())
            .args(["--on-unsupported", "degrade", "--state-dir"])
            .arg(state)
            .spawn()?;
        let absolute = source.version().has(7, 0) && target.version().has(6, 2);
        Ok(Self {
            source: source.version().name().into(),
            target: target.version().name().into(),
            outcome: Ok(Passed::default()),
            took: Duration::ZERO,
            losses: Losses::between(source.version(), target.version()),
            effects: source.version().has(5, 0),
            tolerance_ms: if absolute { ABSOLUTE_MS } else { RELATIVE_MS },
            server: target,
            run: Some(run),
        })
    }

    /// Does the next piece of work, unless the cell has failed. A failed one lets go of the source.
    pub(super) fn attempt(&mut self, work: impl Fn(&mut Self) -> Result<()>) {
        if self.outcome.is_ok()
            && let Err(error) = work(self)
        {
            // What the product says of its own end is more than that it has ended.
            let stderr = self.run.take().map(|run| run.stderr()).unwrap_or_default();
            let said: Vec<&str> = stderr.lines().filter(|line| line.starts_with("keyferry: error")).collect();
            let context = error.to_string();
            self.outcome =
                Err(if said.is_empty() { format!("{error:#}") } else { format!("{context}: {}", said.join(" ")) });
        }
    }

    /// Adds to an error that names an offset the call that wrote there.
    pub(super) fn explain(&mut self, trail: &Trail) {
        let Err(error) = &mut self.outcome else { return };
        let digits = error.split("at offset ").nth(1).and_then(|rest| rest.split(' ').next());
        if let Some(call) = digits.and_then(|digits| digits.parse().ok()).and_then(|offset| trail.at(offset)) {
            error.push_str(&format!("\n  sent as: {call}"));
        }
    }

    /// Waits until the snapshot is on the target.
    pub(super) fn copied(&mut self) -> Result<()> {
        self.run()?.wait_for(PATIENCE, |progress| progress.phase == "incremental").context("full copy").map(drop)
    }

    /// Waits until the target has everything, and compares all of it.
    pub(super) fn judge(&mut self, source: &Server) -> Result<()> {
        self.follow(source).context("every family of commands")?;
        let (keys, lost) = self.compare(source)?;
        if keys < LEAST_KEYS + lost {
            bail!("{keys} keys, of which {lost} are lost, are too few to say anything");
        }
        self.outcome = Ok(Passed { keys: keys - lost, lost, ..Passed::default() });
        Ok(())
    }

    /// The same after the source has been emptied.
    pub(super) fn judge_emptied(&mut self, source: &Server) -> Result<()> {
        self.follow(source).context("emptying the server")?;
        let (keys, lost) = self.compare(source).context("after the server was emptied")?;
        match (keys, lost) {
            (1.., 0) => Ok(()),
            _ => bail!("{keys} keys after the server was emptied, {lost} lost"),
        }
    }

    /// Ends the process and looks at what it has said. Where not all calls were made, not all that gets lost was there.
    pub(super) fn stop(&mut self, all_calls: bool) -> Result<()> {
        let run = self.run.take().context("the process is there")?;
        run.signal(Signal::TERM)?;
        let exit = run.wait_exit(PATIENCE)?;
        if exit.code() != 130 {
            bail!("ended with {} after SIGTERM:\n{}", exit.status, exit.stderr);
        }
        let listed = listed(&exit.stderr);
        self.losses.judge_listed(&listed, all_calls)?;
        // Before 5.0 a script comes as it was called, and that is said.
        let said = |line: &str| !self.effects && line.contains("scripts as they were called");
        let alarming =
            |line: &&str| line.contains("ERROR") || self.losses.none() && line.contains("WARN") && !said(line);
        if let Some(line) = exit.stderr.lines().find(alarming) {
            bail!("an alarm without a reason: {line}");
        }
        if let Ok(passed) = &mut self.outcome {
            passed.listed = listed;
        }
        Ok(())
    }

    fn run(&self) -> Result<&Keyferry> {
        self.run.as_ref().context("the process has ended before")
    }

    /// Waits until the target has all that the source has written by now.
    fn follow(&self, source: &Server) -> Result<()> {
        let goal = source.info("replication")?;
        let goal: u64 = goal.get("master_repl_offset").context("no offset")?.parse()?;
        let there = |offset: Option<u64>| offset.is_some_and(|offset| offset >= goal);
        self.run()?.wait_for(PATIENCE, |progress| progress.in_step && there(progress.applied_offset)).map(drop)
    }

    /// Keys that were looked at, and those that differ as they must.
    fn compare(&self, source: &Server) -> Result<(u64, u64)> {
        let options = Options {
            ttl_tolerance_ms: self.tolerance_ms,
            ttl_grace_ms: GRACE_MS,
            exact_groups: false,
            max_listed: usize::MAX,
            ..Options::default()
        };
        let deadline = Instant::now() + SETTLES;
        loop {
            let report = oracle::compare(&source.url(), &self.server.url(), &options)?;
            match self.losses.judge(&report) {
                Ok(lost) => return Ok((report.keys, lost)),
                // Keys and fields that have run out on the source are removed from the target a moment later.
                Err(_) if Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What the last lines of the product count as left out: `; <what> dropped: <n>` and `; <what> degraded: <n>`.
fn listed(stderr: &str) -> BTreeMap<String, u64> {
    let parts = stderr.split([';', ',', '\n']).filter_map(|part| {
        let (what, count) = part.trim().rsplit_once(": ")?;
        let count = count.replace([',', '_'], "").parse().ok()?;
        (what.ends_with(" dropped") || what.ends_with(" degraded")).then(|| (what.to_owned(), count))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_listed() {
        let line = "stopped: everything up to the offset below is on the target; 7 keys; hash field deadline degraded: \
                    12; stream dropped: 3, 5 B received, offset 9, 1.0 s";
        let expected = [("hash field deadline degraded".to_owned(), 12), ("stream dropped".to_owned(), 3)];
        assert_eq!(super::listed(line), expected.into());
        assert!(super::listed("3 keys; nothing").is_empty());
    }
}
