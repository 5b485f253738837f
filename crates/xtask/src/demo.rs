//! A whole migration to look at: two real servers, data of all types, a write load, `keyferry sync`, and the proof.

use std::{
    path::Path,
    process::Command,
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
const TASK: &str = "demo";
/// A key that the demo writes to see how far the target is.
const MARK: &str = "demo:mark";
/// How long both sides are followed under load after the full copy.
const FOLLOW: Duration = Duration::from_secs(8);
/// What `--ttl-grace` is by default: the target's expiries are later by it, and the source's DEL removes keys on time.
const TTL_GRACE_MS: u64 = 30_000;
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
    let options = Options { ttl_grace_ms: TTL_GRACE_MS, exact_groups: false, ..Options::default() };
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
        .args(["--task", TASK, "--state-dir"])
        .arg(state.path())
        .inherit_output()
        .spawn()?;
    let mut link = Link { keyferry: &keyferry, source: source.conn()?, target: target.conn()? };

    wait::poll("the beginning of the full copy", PATIENCE, || Ok(link.info(snapshot_taken)?.then_some(())))?;
    // It is behind the snapshot, so the target gets it when the snapshot has been applied.
    link.send_mark("copied")?;
    let full_copy = started.elapsed();
    wait::poll("the first acknowledgement", PATIENCE, || Ok(link.info(delay)?.map(drop)))?;
    let follow_until = Instant::now() + FOLLOW;
    let mut largest_delay = 0;
    wait::poll("the time under load", 2 * FOLLOW, || {
        largest_delay = largest_delay.max(link.info(delay)?.unwrap_or(0));
        Ok((Instant::now() >= follow_until).then_some(()))
    })?;
    let stats = load.stop();
    if let Some(failure) = stats.failures.first() {
        bail!("the load failed: {failure}");
    }
    let stopped = Instant::now();
    link.send_mark("in step")?;
    let until_in_step = stopped.elapsed();
    // The source hears of it once a second, and goes on by itself: it removes what expires.
    wait::poll("the last acknowledgement", PATIENCE, || Ok((link.info(delay)? == Some(0)).then_some(())))?;
    // As it says itself: deadlines of the copied keys have been set right, too.
    wait::poll("keyferry to say that it is in step", PATIENCE, || {
        link.check()?;
        let mut status = Command::new(binary);
        status.args(["status", "--task", TASK, "--output", "json", "--state-dir"]).arg(state.path());
        let said = status.output().context("ask keyferry for its status")?;
        Ok(String::from_utf8_lossy(&said.stdout).contains("\"in_step\":true").then_some(()))
    })?;
    keyferry.signal(Signal::TERM)?;
    let exit = keyferry.wait_exit(Duration::from_secs(10))?;
    if exit.code() != 130 {
        bail!("keyferry ended with {} instead of 130 after SIGTERM", exit.status);
    }
    Ok(Seen { keys_at_start, full_copy, largest_delay, until_in_step, load: stats })
}

/// The link as both servers see it.
struct Link<'a> {
    keyferry: &'a Keyferry,
    source: redis::Connection,
    target: redis::Connection,
}

impl Link<'_> {
    /// What the source says of itself.
    fn info<T>(&mut self, read: fn(&str) -> T) -> Result<T> {
        self.check()?;
        let info: String = redis::cmd("INFO").query(&mut self.source).context("ask the source")?;
        Ok(read(&info))
    }

    /// Writes a mark on the source and waits until it is on the target. Commands keep their order, so all that was
    /// written before it is there too.
    fn send_mark(&mut self, text: &str) -> Result<()> {
        redis::cmd("SET").arg(MARK).arg(text).exec(&mut self.source)?;
        wait::poll("the mark on the target", PATIENCE, || {
            self.check()?;
            let mark: Option<String> = redis::cmd("GET").arg(MARK).query(&mut self.target)?;
            Ok((mark.as_deref() == Some(text)).then_some(()))
        })
    }

    fn check(&self) -> Result<()> {
        stop::check()?;
        match self.keyferry.status()? {
            Some(status) => bail!("keyferry ended early ({status})"),
            None => Ok(()),
        }
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Whether what is written now is behind the snapshot that the first replica gets.
fn snapshot_taken(info: &str) -> bool {
    let replica = field(info, "slave0").unwrap_or("");
    let saving = field(info, "rdb_bgsave_in_progress").is_some_and(|number| number.trim() == "1");
    replica.contains("state=online") || replica.contains("state=send_bulk") || (!replica.is_empty() && saving)
}

/// How far the first replica's acknowledged offset is behind, in bytes; None during the full copy.
fn delay(info: &str) -> Option<u64> {
    let newest: u64 = field(info, "master_repl_offset")?.parse().ok()?;
    let replica = field(info, "slave0").filter(|replica| replica.contains("state=online"))?;
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
        ("largest delay the source saw", format!("{} bytes", seen.largest_delay)),
        ("in step after the load's end", format!("{:.3} s", seen.until_in_step.as_secs_f64())),
        ("delay at the end", "0 bytes".into()),
        ("differences", report.total.to_string()),
    ] {
        println!("  {name:<30} {value}");
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::{delay, snapshot_taken};

    #[test]
    fn delay_from_info() {
        let info = |state: &str, offset: u64| {
            format!(
                "# Replication\r\nrole:master\r\nslave0:ip=127.0.0.1,port=1,state={state},offset={offset},lag=0\r\n\
                 master_repl_offset:120\r\n"
            )
        };
        assert!(snapshot_taken(&info("online", 0)) && !snapshot_taken(&info("wait_bgsave", 0)));
        assert!(snapshot_taken(&(info("wait_bgsave", 0) + "rdb_bgsave_in_progress:1\r\n")));
        assert_eq!(delay(&info("online", 100)), Some(20));
        assert_eq!(delay(&info("online", 120)), Some(0));
        assert_eq!(delay(&info("online", 0)), None);
        assert_eq!(delay(&info("wait_bgsave", 0)), None);
        assert_eq!(delay("role:master\r\nmaster_repl_offset:120\r\n"), None);
    }
}
