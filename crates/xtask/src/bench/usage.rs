//! What a child process has used.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use keyferry_testkit::{Keyferry, wait};

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

/// `VmHWM` of a process status, in KiB.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Seconds of CPU that all children used that have ended and were waited for.
fn ended_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name stands in brackets and may hold spaces; user and system time of children are the 16th and 17th field.
    let (_, fields) = stat.rsplit_once(')').context("read /proc/self/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |i: usize| -> Result<f64> { Ok(fields.get(i).context("read /proc/self/stat")?.parse()?) };
    Ok((ticks(13)? + ticks(14)?) / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::{ended_children, peak};

    #[test]
    fn reads_proc() {
        assert_eq!(peak("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"), Some(2048));
        assert!(ended_children().unwrap() >= 0.0);
    }
}
