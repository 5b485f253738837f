//! How far the target is behind while the source is written to at a steady rate.
//!
//! Behind each group of writes the source gets a PUBLISH with the group's number. It takes the way of the writes, in
//! their order, and whoever has subscribed on the target is told when it arrives. No key has to be polled for.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use keyferry_testkit::{Rng, Server, wire::Wire};
use serde::Serialize;

use super::{STRING, largest, mark, median, pair, usage};
use crate::stop;

/// A group of writes is sent this often: 20 000 writes a second.
const TICK: Duration = Duration::from_millis(1);
const WRITES: u64 = 20;
/// The writes go round these.
const KEYS: u64 = 100_000;
const CHANNEL: &str = "delay";
/// Whoever hears nothing for so long has lost a message.
const SILENCE: Duration = Duration::from_secs(60);

/// One run, or the medians of all: milliseconds from the source's reply to a group until the target has it.
#[derive(Debug, Serialize)]
pub(super) struct Delay {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    /// The same from before the group is sent: the source's own work is in it, and no reply that was read late.
    pub(super) p99_from_send_ms: f64,
    /// As reached.
    pub(super) writes_per_second: f64,
}

/// Medians, and all runs.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) seconds: u64,
    pub(super) native: Delay,
    pub(super) ours: Delay,
    pub(super) cpu_seconds_per_million: f64,
    pub(super) peak_rss_mib: f64,
    /// Of all runs.
    pub(super) largest_rss_mib: f64,
    all_native: Vec<Delay>,
    all: Vec<Delay>,
    all_cpu_seconds: Vec<f64>,
    all_peak_rss_mib: Vec<f64>,
}

/// Follows a load of so many seconds, natively and with the product, so many times.
pub(super) fn measure(binary: &Path, runs: u32, seconds: u64) -> Result<Figures> {
    let groups = seconds * 1000;
    let (mut natives, mut ours, mut cpu, mut rss) = (vec![], vec![], vec![], vec![]);
    for run in 1..=runs {
        let (source, target) = pair()?;
        target.replicate(&source)?;
        natives.push(follow(&source, &target, groups)?);

        let (source, target) = pair()?;
        let (done, used) = usage::while_following(binary, &source, &target, || follow(&source, &target, groups))?;
        ours.push(done);
        cpu.push(used.cpu_seconds);
        rss.push(used.peak_rss_mib);
        for (name, delay) in [("native", &natives[natives.len() - 1]), ("ours", &ours[ours.len() - 1])] {
            println!(
                "delay {run}/{runs}: {name} p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms at {:.0} writes/s",
                delay.p50_ms, delay.p99_ms, delay.max_ms, delay.writes_per_second
            );
        }
    }
    Ok(Figures {
        seconds,
        native: medians(&natives),
        ours: medians(&ours),
        // The messages are commands too.
        cpu_seconds_per_million: median(&cpu) / (groups * (WRITES + 1)) as f64 * 1e6,
        peak_rss_mib: median(&rss),
        largest_rss_mib: largest(&rss),
        all_native: natives,
        all: ours,
        all_cpu_seconds: cpu,
        all_peak_rss_mib: rss,
    })
}

/// When a group was sent, and when its last reply was there.
struct Group {
    sent: Instant,
    acknowledged: Instant,
}

fn follow(source: &Server, target: &Server, groups: u64) -> Result<Delay> {
    // A source sends nothing to a replica before it has heard of it again behind the snapshot, up to a second later.
    mark::set(source, 1)?;
    mark::wait(target, 1)?;
    let mut conn = target.conn()?;
    let mut messages = conn.as_pubsub();
    messages.set_read_timeout(Some(SILENCE))?;
    messages.subscribe(CHANNEL)?;
    let (written, seen) = thread::scope(|scope| {
        let reader = scope.spawn(move || listen(&mut messages, groups));
        let written = write(source, groups)?;
        let seen = reader.join().map_err(|_| anyhow!("the reader of the messages has panicked"))??;
        anyhow::Ok((written, seen))
    })?;
    let ms = |from: fn(&Group) -> Instant| {
        let since = |(group, at): (&Group, &Instant)| at.saturating_duration_since(from(group)).as_secs_f64() * 1e3;
        let mut all: Vec<f64> = written.iter().zip(&seen).map(since).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (delays, from_send) = (ms(|group| group.acknowledged), ms(|group| group.sent));
    let elapsed = written[written.len() - 1].acknowledged - written[0].sent;
    Ok(Delay {
        p50_ms: percentile(&delays, 50),
        p99_ms: percentile(&delays, 99),
        max_ms: percentile(&delays, 100),
        p99_from_send_ms: percentile(&from_send, 99),
        writes_per_second: (groups * WRITES) as f64 / elapsed.as_secs_f64(),
    })
}

/// Writes all groups, each at its time, or as soon as the one before is answered when that has passed.
fn write(source: &Server, groups: u64) -> Result<Vec<Group>> {
    let mut wire = Wire::connect(&source.url())?;
    let mut rng = Rng::new(1);
    let mut written = Vec::with_capacity(groups as usize);
    let mut value = Vec::new();
    let mut next = Instant::now();
    for number in 0..groups {
        stop::check()?;
        for i in 0..WRITES {
            value.clear();
            rng.fill(&mut value, STRING);
            let key = format!("key:{:010}", (number * WRITES + i) % KEYS);
            wire.command(&[b"SET", key.as_bytes(), &value])?;
        }
        wire.command(&[b"PUBLISH", CHANNEL.as_bytes(), number.to_string().as_bytes()])?;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += TICK;
        let sent = Instant::now();
        wire.finish()?;
        written.push(Group { sent, acknowledged: Instant::now() });
    }
    Ok(written)
}

/// When each message came; every one, once, in order.
fn listen(messages: &mut redis::PubSub<'_>, groups: u64) -> Result<Vec<Instant>> {
    let mut seen = Vec::with_capacity(groups as usize);
    for expected in 0..groups {
        let message = messages.get_message().with_context(|| format!("wait for message {expected}"))?;
        seen.push(Instant::now());
        let number: u64 = message.get_payload()?;
        ensure!(number == expected, "message {number} came instead of {expected}");
    }
    Ok(seen)
}

/// The smallest value that so many percent do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

fn medians(runs: &[Delay]) -> Delay {
    let of = |pick: fn(&Delay) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
    Delay {
        p50_ms: of(|run| run.p50_ms),
        p99_ms: of(|run| run.p99_ms),
        max_ms: of(|run| run.max_ms),
        p99_from_send_ms: of(|run| run.p99_from_send_ms),
        writes_per_second: of(|run| run.writes_per_second),
    }
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), 100.0);
        assert_eq!(percentile(&values, 99), 198.0);
        assert_eq!(percentile(&values, 100), 200.0);
        assert_eq!(percentile(&[7.0], 50), 7.0);
    }
}
