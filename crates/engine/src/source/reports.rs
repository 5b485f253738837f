//! What the source says of its own offset, and what follows from it: the delay and the state "in step".
//!
//! A report is the source's `master_repl_offset` and when it was asked for. It counts only when it speaks of the history
//! that is followed. A report is *applied* when the target has answered everything up to it. The delay in seconds is
//! the age of the oldest report that is not applied. Both sides are *in step* while the newest report is fresh and was
//! applied before the next one was due.

use std::{
    collections::VecDeque,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use keyferry_keyspace::{ReplId, ServerVersion, info};
use keyferry_model::{Error, ErrorKind, Result, Side};
use keyferry_net::{Connection, Endpoint};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    Stats,
    stats::{Standing, lock},
};

/// Four a second cost the source nothing that can be measured, and keep "in step" younger than a blink.
const EVERY: Duration = Duration::from_millis(250);
/// Enough for four minutes of delay; beyond it only the oldest counts, which is kept.
const MAX_OPEN: usize = 1024;

/// Reports that are not applied, oldest first.
#[derive(Default)]
struct Reports {
    open: VecDeque<(Instant, u64)>,
    newest: Option<Instant>,
    /// When the newest one was asked for that has been applied.
    applied: Option<Instant>,
    /// Since when there could have been one.
    since: Option<Instant>,
}

impl Reports {
    fn settle(&mut self, applied: u64) {
        while let Some((asked, _)) = self.open.pop_front_if(|&mut (_, offset)| offset <= applied) {
            self.applied = Some(asked);
        }
    }

    fn add(&mut self, asked: Instant, offset: u64) {
        self.newest = Some(asked);
        if self.open.len() == MAX_OPEN {
            self.open.pop_back();
        }
        self.open.push_back((asked, offset));
    }

    fn standing(&self) -> Standing {
        Standing {
            behind_since: self.open.front().map(|&(asked, _)| asked),
            reported: self.newest,
            applied: self.applied,
            since: self.since,
        }
    }
}

/// Asks the source for its offset until `stop`. With `end_in_step`, cancels `stop` as soon as a report has been
/// applied: everything that the source had written when it was asked is then on the target.
pub(crate) async fn follow_reports(
    endpoint: &Endpoint,
    version: &ServerVersion,
    stats: &Stats,
    end_in_step: bool,
    stop: &CancellationToken,
) -> Result<bool> {
    let section = if version.redis >= (4, 0, 0) { "replication" } else { "default" };
    let mut reports = Reports::default();
    let mut generation = stats.generation.get();
    let mut conn: Option<Connection> = None;
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            // 1: the end wins over everything.
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        let copied = stats.copied.load(Relaxed);
        // The target may have fallen back behind what was applied before.
        if stats.generation.get() != generation {
            generation = stats.generation.get();
            reports.applied = None;
        }
        if copied && reports.since.is_none() {
            reports.since = Some(Instant::now());
        }
        reports.settle(stats.applied.get());
        *lock(&stats.standing) = reports.standing();
        if end_in_step && stats.is_in_step() {
            stats.ending.store(true, Relaxed);
            stop.cancel();
            return Ok(true);
        }
        let asked = Instant::now();
        let report = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            report = ask(&mut conn, endpoint, section) => report,
        };
        let report = match report {
            Ok(report) => report,
            Err(e) => {
                // The receiver decides what a lost source means; here it only makes the reports stale.
                tracing::debug!(error = %e, "no report from the source");
                conn = None;
                continue;
            }
        };
        // Another history may be behind the same address after a fail-over: its offsets mean nothing here.
        if report.history.is_some() && report.history == *lock(&stats.replid) {
            stats.source_offset.set(report.offset);
            if copied {
                reports.add(asked, report.offset);
            }
        } else {
            tracing::debug!("the source speaks of another history");
            conn = None;
        }
    }
    Ok(false)
}

/// What the source says of itself.
pub(crate) struct Report {
    pub(crate) history: Option<ReplId>,
    pub(crate) offset: u64,
}

/// Asks the source, over a connection that is opened where there is none.
pub(crate) async fn ask(conn: &mut Option<Connection>, endpoint: &Endpoint, section: &str) -> Result<Report> {
    let conn = match conn {
        Some(conn) => conn,
        None => conn.insert(Connection::open(endpoint).await?),
    };
    let text = conn.info(section).await?;
    let field = |name| info::field(text.as_bytes(), name);
    // Before 4.0 a history is named by the server that wrote it.
    let history = field("master_replid").or(field("run_id")).and_then(|id| ReplId::parse(id.as_bytes()).ok());
    match field("master_repl_offset").and_then(|n| n.parse().ok()) {
        Some(offset) => Ok(Report { history, offset }),
        None => {
            let what = format!("read INFO of the source {endpoint}: it does not tell its replication offset");
            Err(Error::new(ErrorKind::Protocol(Side::Source), what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_is_the_age_of_the_oldest_open_report() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut r = Reports::default();
        assert!(!r.standing().in_step(t0), "nothing has been reported");
        r.add(at(0), 100);
        r.add(at(250), 200);
        r.settle(99);
        assert_eq!(r.standing().delay(at(500)), Duration::from_millis(500));
        assert!(!r.standing().in_step(at(500)));
        r.settle(100);
        assert_eq!(r.standing().delay(at(500)), Duration::from_millis(250));
        r.settle(200);
        assert_eq!(r.standing().delay(at(500)), Duration::ZERO);
        assert!(r.standing().in_step(at(500)));
    }

    #[test]
    fn in_step_is_left_when_reports_stop_or_stay_open() {
        let t0 = Instant::now();
        let mut r = Reports::default();
        r.add(t0, 5);
        r.settle(5);
        assert!(r.standing().in_step(t0 + Duration::from_secs(2)));
        assert!(!r.standing().in_step(t0 + Duration::from_millis(2001)), "a stale report proves nothing");
        assert_eq!(r.standing().delay(t0 + Duration::from_secs(9)), Duration::from_secs(9), "nothing newer is known");
        r.add(t0 + Duration::from_secs(2), 6);
        r.settle(5);
        assert!(!r.standing().in_step(t0 + Duration::from_secs(2)));
    }

    #[test]
    fn the_oldest_report_is_never_forgotten() {
        let t0 = Instant::now();
        let mut r = Reports::default();
        for n in 0..5000 {
            r.add(t0 + Duration::from_millis(n), 10 + n);
        }
        r.settle(9);
        assert_eq!(r.open.len(), MAX_OPEN);
        assert_eq!(r.standing().delay(t0 + Duration::from_secs(9)), Duration::from_secs(9));
        r.settle(10 + 4999);
        assert!(r.standing().in_step(t0 + Duration::from_secs(5)));
    }
}
