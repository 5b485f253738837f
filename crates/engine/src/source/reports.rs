//! What the source says of its own offset, and what follows from it: the delay and the state "in step".
//!
//! A report is the source's `master_repl_offset` and when it was asked for. A report is *applied* when the target has
//! answered everything up to it. The delay in seconds is the age of the oldest report that is not applied. Both
//! sides are *in step* while the newest report is fresh and was applied before the next one was due.

use std::{
    collections::VecDeque,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use keyferry_keyspace::info;
use keyferry_model::{Phase, Result};
use keyferry_net::{Connection, Endpoint};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Stats;

/// Four a second cost the source nothing that can be measured, and keep "in step" younger than a blink.
const EVERY: Duration = Duration::from_millis(250);
/// A report older than this says nothing about now.
const FRESH: Duration = Duration::from_secs(2);
/// Enough for four minutes of delay; beyond it only the oldest counts, which is kept.
const MAX_OPEN: usize = 1024;

/// Reports that are not applied, oldest first.
#[derive(Default)]
struct Reports {
    open: VecDeque<(Instant, u64)>,
    newest: Option<Instant>,
}

impl Reports {
    fn settle(&mut self, applied: u64) {
        while self.open.front().is_some_and(|&(_, offset)| offset <= applied) {
            self.open.pop_front();
        }
    }

    fn add(&mut self, asked: Instant, offset: u64) {
        self.newest = Some(asked);
        if self.open.len() == MAX_OPEN {
            self.open.pop_back();
        }
        self.open.push_back((asked, offset));
    }

    fn delay(&self, now: Instant) -> Duration {
        self.open.front().map_or(Duration::ZERO, |&(asked, _)| now.duration_since(asked))
    }

    fn in_step(&self, now: Instant) -> bool {
        self.open.is_empty() && self.newest.is_some_and(|asked| now.duration_since(asked) <= FRESH)
    }
}

/// Asks the source for its offset until `stop`. With `end_in_step`, cancels `stop` as soon as a report has been
/// applied: everything that the source had written when it was asked is then on the target.
pub(crate) async fn follow_reports(
    endpoint: &Endpoint,
    stats: &Stats,
    end_in_step: bool,
    stop: &CancellationToken,
) -> Result<bool> {
    let mut reports = Reports::default();
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
        let followed = stats.phase() == Phase::Incremental;
        reports.settle(stats.applied.get());
        let in_step = followed && reports.in_step(Instant::now());
        stats.in_step.store(in_step, Relaxed);
        stats.delay_us.set(reports.delay(Instant::now()).as_micros() as u64);
        if in_step && end_in_step {
            stop.cancel();
            return Ok(true);
        }
        if !followed {
            // What was reported before or without a link says nothing about what is received now.
            reports = Reports::default();
        }
        let asked = Instant::now();
        let offset = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            offset = ask(&mut conn, endpoint) => offset,
        };
        match offset {
            Ok(Some(offset)) => {
                stats.source_offset.set(offset);
                if followed {
                    reports.add(asked, offset);
                }
            }
            Ok(None) => tracing::debug!("the source reports no offset"),
            Err(e) => {
                // The receiver decides what a lost source means; here it only makes the reports stale.
                tracing::debug!(error = %e, "no report from the source");
                conn = None;
            }
        }
    }
    stats.in_step.store(false, Relaxed);
    Ok(false)
}

async fn ask(conn: &mut Option<Connection>, endpoint: &Endpoint) -> Result<Option<u64>> {
    let conn = match conn {
        Some(conn) => conn,
        None => conn.insert(Connection::open(endpoint).await?),
    };
    let text = conn.info("replication").await?;
    Ok(info::field(text.as_bytes(), "master_repl_offset").and_then(|n| n.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_is_the_age_of_the_oldest_open_report() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut r = Reports::default();
        assert!(!r.in_step(t0), "nothing has been reported");
        r.add(at(0), 100);
        r.add(at(250), 200);
        r.settle(99);
        assert_eq!(r.delay(at(500)), Duration::from_millis(500));
        assert!(!r.in_step(at(500)));
        r.settle(100);
        assert_eq!(r.delay(at(500)), Duration::from_millis(250));
        r.settle(200);
        assert_eq!(r.delay(at(500)), Duration::ZERO);
        assert!(r.in_step(at(500)));
    }

    #[test]
    fn in_step_is_left_when_reports_stop_or_stay_open() {
        let t0 = Instant::now();
        let mut r = Reports::default();
        r.add(t0, 5);
        r.settle(5);
        assert!(r.in_step(t0 + FRESH));
        assert!(!r.in_step(t0 + FRESH + Duration::from_millis(1)), "a stale report proves nothing");
        r.add(t0 + FRESH, 6);
        r.settle(5);
        assert!(!r.in_step(t0 + FRESH));
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
        assert_eq!(r.delay(t0 + Duration::from_secs(9)), Duration::from_secs(9));
        r.settle(10 + 4999);
        assert!(r.in_step(t0 + Duration::from_secs(5)));
    }
}
