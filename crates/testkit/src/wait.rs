//! Waiting for a condition, bounded in time.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at. Short against every time that a test asserts, long against one look.
const INTERVAL: Duration = Duration::from_millis(5);

/// Returns as soon as `condition` holds; fails with `what` when it still does not after `timeout`.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    poll(what, timeout, || Ok(condition().then_some(())))
}

/// Returns the first value that `look` gives; fails at once when `look` fails, and with `what` after `timeout`.
pub fn poll<T>(what: &str, timeout: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {:.1} s in vain: {what}", timeout.as_secs_f64());
        }
        thread::sleep(INTERVAL);
    }
}
