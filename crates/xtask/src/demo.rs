//! A whole migration to look at: two real servers, data of all types, a write load, `keyferry sync`, and the proof.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use keyferry_testkit::{
    Keyferry, Server, data,
    load::{Load, LoadSpec, LoadStats},
    oracle::{self, Options, Report},
    process::Signal,
    wait,
};

use crate::{product, servers, stop};

const SOURCE: &str = "redis-7.0";
const TARGET: &str = "redis-8.0";
const SEED: u64 = 42;
/// How long both sides are followed under load after the full copy.
const FOLLOW: Duration = Duration::from_secs(8);
/// Bounds each wait; the whole takes less than a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the demo saw.
struct Seen {
    keys_at_start: u64,
    full_copy: Duration,
    largest_delay: u64,
    until_in_step: Duration,
    load: LoadStats,
}

/// Runs the demo with so many keys and so many commands a second; fails when both sides differ.
pub(crate) fn run(keys: u64, rate: u64) -> Result<()> {
    let binary = product::build()?;
    servers::require(&["setpriv"])?;
    servers::fetch(&[SOURCE.into(), TARGET.into()])?;
    stop::listen()?;
    let source = Server::start(SOURCE)?;
    let target = Server::start(TARGET)?;
    println!("\nsource: {SOURCE} at {}\ntarget: {TARGET} at {}", source.address(), target.address());
    println!("writing {keys} keys of all types to the source ...");
    data::fill_mixed(&source.url(), keys, SEED)?;
    stop::check()?;
    let seen = migrate(&binary, &source, &target, rate)?;
    println!("comparing both sides, key by key ...");
    // What XREADGROUP makes of `entries-read` is not replicated by Redis 7.0, not to its own replicas either.
    let options = Options { entries_read: false, ..Options::default() };
    let report = oracle::compare(&source.url(), &target.url(), &options)?;
    table(&seen, &report);
    if report.is_equal() { Ok(()) } else { bail!("the two sides differ: {report}") }
}

fn migrate(binary: &Path, source: &Server, target: &Server, rate: u64) -> Result<Seen> {
    println!("starting a load of {rate} commands/s on the source, and:");
    println!("  keyferry sync {} {} --progress bar\n", source.url(), target.url());
    let load = Load::start(&source.url(), LoadSpec { rate: Some(rate), seed: SEED, ..LoadSpec::default() })?;
    let keys_at_start = source.keys()?;
    let state = tempfile::tempdir()?;
    let started = Instant::now();
    let keyferry = Keyferry::sync(binary, &source.url(), &target.url())
        .progress("bar")
        .arg("--state-dir")
        .arg(state.path())
        .inherit_output()
        .spawn()?;
    let mut link = Link { source, keyferry: &keyferry, conn: source.conn()? };

    wait::poll("the end of the full copy", PATIENCE, || Ok(link.delay()?.map(drop)))?;
    let full_copy = started.elapsed();
    let follow_until = Instant::now() + FOLLOW;
    let mut largest_delay = 0;
    wait::poll("the time under load", 2 * FOLLOW, || {
        // Lost links have no delay; then the source's whole stream is outstanding, and the end shows it.
        largest_delay = largest_delay.max(link.delay()?.unwrap_or(0));
        Ok((Instant::now() >= follow_until).then_some(()))
    })?;
    let stats = load.stop();
    if let Some(failure) = stats.failures.first() {
        bail!("the load failed: {failure}");
    }
    // The source goes on by itself: it removes what expires. In step is when all that was there at the end of the load
    // has been applied, and the source's newest offset has been met.
    let stopped = Instant::now();
    wait::poll("both sides in step", PATIENCE, || Ok((link.delay()? == Some(0)).then_some(())))?;
    let until_in_step = stopped.elapsed();
    keyferry.signal(Signal::TERM)?;
    let exit = keyferry.wait_exit(Duration::from_secs(10))?;
    if exit.code() != 130 {
        bail!("keyferry ended with {} instead of 130 after SIGTERM", exit.status);
    }
    Ok(Seen { keys_at_start, full_copy, largest_delay, until_in_step, load: stats })
}

/// The link as the source sees it.
struct Link<'a> {
    source: &'a Server,
    keyferry: &'a Keyferry,
    conn: redis::Connection,
}

impl Link<'_> {
    /// Bytes that the source has sent or will send and that are not yet applied; None during the full copy.
    fn delay(&mut self) -> Result<Option<u64>> {
        stop::check()?;
        if let Some(status) = self.keyferry.status()? {
            bail!("keyferry ended early ({status})");
        }
        let info: String = redis::cmd("INFO")
            .arg("replication")
            .query(&mut self.conn)
            .with_context(|| format!("ask the source at {}", self.source.address()))?;
        Ok(delay(&info))
    }
}

/// From the section `replication` of INFO: how far the first replica's acknowledged offset is behind.
fn delay(info: &str) -> Option<u64> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let newest: u64 = field("master_repl_offset")?.parse().ok()?;
    let replica = field("slave0").filter(|replica| replica.contains("state=online"))?;
    let applied: u64 = replica.split(',').find_map(|part| part.strip_prefix("offset=")?.parse().ok())?;
    // 0 until the first acknowledgement after the snapshot.
    (applied > 0).then(|| newest.saturating_sub(applied))
}

fn table(seen: &Seen, report: &Report) {
    let seconds = seen.full_copy.as_secs_f64();
    let megabytes = report.bytes as f64 / 1e6;
    println!();
    for (name, value) in [
        ("keys compared", report.keys.to_string()),
        ("bytes compared", format!("{megabytes:.1} MB")),
        ("full copy", format!("{seconds:.1} s ({:.0} keys/s)", seen.keys_at_start as f64 / seconds)),
        ("write load", format!("{} commands, {:.0}/s", seen.load.commands, seen.load.rate())),
        ("largest delay under load", format!("{} bytes", seen.largest_delay)),
        ("in step after the load's end", format!("{:.1} s", seen.until_in_step.as_secs_f64())),
        ("delay at the end", "0 bytes".into()),
        ("differences", report.total.to_string()),
    ] {
        println!("  {name:<30} {value}");
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::delay;

    #[test]
    fn delay_from_info() {
        let info = |state: &str, offset: u64| {
            format!(
                "# Replication\r\nrole:master\r\nslave0:ip=127.0.0.1,port=1,state={state},offset={offset},lag=0\r\n\
                 master_repl_offset:120\r\n"
            )
        };
        assert_eq!(delay(&info("online", 100)), Some(20));
        assert_eq!(delay(&info("online", 120)), Some(0));
        assert_eq!(delay(&info("online", 0)), None);
        assert_eq!(delay(&info("wait_bgsave", 0)), None);
        assert_eq!(delay("role:master\r\nmaster_repl_offset:120\r\n"), None);
    }
}
