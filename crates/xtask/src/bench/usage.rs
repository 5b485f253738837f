//! What a child process has used.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use keyferry_testkit::{Keyferry, Server, process::Signal, wait};

use crate::stop;

/// CPU time and memory of one run.
pub(super) struct Usage {
    /// User and system time.
    pub(super) cpu_seconds: f64,
    /// The largest resident set that was seen.
    pub(super) peak_rss_mib: f64,
}

/// Waits for the end of a run and returns what it used. No other child may end meanwhile.
pub(super) fn until_exit(keyferry: &Keyferry, patience: Duration) -> Result<Usage> {
    let before = ended_children()?;
    let mut peak_kib = 0;
    let path = format!("/proc/{}/status", keyferry.pid());
    wait::poll("the end of keyferry", patience, || {
        stop::check()?;
        // The peak only grows and goes with the process: what grows in the last few milliseconds is not seen.
        if let Ok(status) = fs::read_to_string(&path) {
            peak_kib = peak_kib.max(peak(&status).unwrap_or(0));
        }
        Ok(keyferry.status()?.map(drop))
    })?;
    Ok(Usage { cpu_seconds: ended_children()? - before, peak_rss_mib: peak_kib as f64 / 1024.0 })
}

/// What a process that goes on has used so far.
pub(super) fn of(pid: u32) -> Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak_kib = peak(&status).context("the process has ended")?;
    // Its own times are the 14th and 15th field.
    let cpu_seconds = cpu_seconds(&format!("/proc/{pid}/stat"), 14)?;
    Ok(Usage { cpu_seconds, peak_rss_mib: peak_kib as f64 / 1024.0 })
}

/// Does the work while the product follows, from when both sides are in step; gives the result, what the product has used
/// meanwhile, and its peak of memory from its start on.
pub(super) fn while_following<T>(
    binary: &Path,
    source: &Server,
    target: &Server,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Usage)> {
    let state = tempfile::tempdir()?;
    let keyferry = Keyferry::sync(binary, &source.url(), &target.url())
        .args(["--log-level", "warn", "--state-dir"])
        .arg(state.path())
        .spawn()?;
    keyferry.wait_for(Duration::from_secs(60), |progress| progress.in_step)?;
    let before = of(keyferry.pid())?;
    let done = work()?;
    let after = of(keyferry.pid())?;
    keyferry.signal(Signal::TERM)?;
    let exit = keyferry.wait_exit(Duration::from_secs(10))?;
    ensure!(exit.code() == 130, "keyferry ended with {}: {}", exit.status, exit.stderr);
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    Ok((done, Usage { cpu_seconds, peak_rss_mib: after.peak_rss_mib }))
}

/// `VmHWM` of a process status, in KiB.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Seconds of CPU that all children used that have ended and were waited for.
fn ended_children() -> Result<f64> {
    // User and system time of children are the 16th and 17th field.
    cpu_seconds("/proc/self/stat", 16)
}

/// The sum of a field of a process's `stat`, counted from 1, and the one behind it: user and system time.
fn cpu_seconds(path: &str, field: usize) -> Result<f64> {
    let stat = fs::read_to_string(path)?;
    let what = || format!("read {path}");
    // The name is the second field; it stands in brackets and may hold spaces.
    let (_, fields) = stat.rsplit_once(')').with_context(what)?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |field: usize| -> Result<f64> { Ok(fields.get(field - 3).with_context(what)?.parse()?) };
    Ok((ticks(field)? + ticks(field + 1)?) / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, ended_children, peak};

    #[test]
    fn reads_proc() {
        assert_eq!(peak("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"), Some(2048));
        assert!(ended_children().unwrap() >= 0.0);
        assert!(cpu_seconds("/proc/self/stat", 14).unwrap() >= 0.0);
    }
}
