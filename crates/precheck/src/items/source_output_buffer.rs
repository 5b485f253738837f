//! The source's limits for the output buffer of a replica against what it is written while it sends its snapshot: all of
//! that waits in this buffer, and past the limit the source closes the link and the full copy begins again.
//!
//! Failed: the limit is passed at the rate that was measured. Warning: half of it is, or the source does not tell.

use crate::{
    facts::Facts,
    report::{Checked, Verdict, size, time},
};

const REMEDY: &str = "raise it on the source: CONFIG SET client-output-buffer-limit \"replica 2gb 1gb 300\" (`slave` \
                      before 5.0), or begin when less is written";
/// Bytes of data a second that a source saves and sends: a modest disk or network. One that is faster needs less.
const SENDS: f64 = (50 << 20) as f64;
/// Forking and the way to the first byte, in seconds.
const BEGINS: f64 = 1.0;

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let rate = facts.write_rate().await?;
    let source = facts.source()?;
    let hidden = |why: String| {
        Verdict::warning(format!("the source does not tell its client-output-buffer-limit: {why}"), REMEDY)
    };
    let text = source.setting("client-output-buffer-limit").await.map_err(hidden)?;
    let limits = Limits::read(&text).ok_or_else(|| hidden("there is none for replicas".into()))?;
    // The whole snapshot is sent, whatever is chosen of it.
    let Some(data) = source.data_bytes(|_| true) else {
        return Ok(Verdict::warning("the source does not tell its used_memory", REMEDY));
    };
    let rate = match rate {
        Ok(rate) => rate,
        Err(why) => {
            let reason = format!("how fast the source is written to is not known: {why}");
            return Ok(Verdict::warning(reason, REMEDY));
        }
    };
    let lasts = BEGINS + data as f64 / SENDS;
    let waits = rate.bytes_per_second * lasts;
    let reason = format!(
        "about {} are written while the snapshot of {} is sent ({}), and the limit is {}",
        size(waits as u64),
        size(data),
        time(lasts),
        limits.shown()
    );
    let verdict = match () {
        () if limits.closes(waits, rate.bytes_per_second) => Verdict::failed(reason, REMEDY),
        () if limits.closes(waits * 2.0, rate.bytes_per_second) => Verdict::warning(reason, REMEDY),
        () => Verdict::passed(reason),
    };
    let verdict = verdict.with("hard", limits.hard).with("soft", limits.soft).with("soft_seconds", limits.soft_seconds);
    Ok(rate.in_verdict(verdict).with("expected_bytes", waits.round()).with("expected_seconds", lasts.round()))
}

/// Of the class of replicas; 0 for none.
#[derive(Debug, PartialEq, Eq)]
struct Limits {
    hard: u64,
    soft: u64,
    soft_seconds: u64,
}

impl Limits {
    /// Reads `normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60`.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        words.find(|word| matches!(*word, "slave" | "replica"))?;
        let mut number = || words.next()?.parse().ok();
        Some(Self { hard: number()?, soft: number()?, soft_seconds: number()? })
    }

    /// Whether the source closes the link on which so many bytes come to wait at this rate.
    fn closes(&self, waits: f64, rate: f64) -> bool {
        let over = |limit: u64| limit > 0 && waits > limit as f64;
        // The soft limit counts when it is passed for so long.
        let passed_for = (waits - self.soft as f64) / rate.max(1.0);
        over(self.hard) || over(self.soft) && passed_for > self.soft_seconds as f64
    }

    fn shown(&self) -> String {
        let one = |limit: u64| if limit == 0 { "none".to_owned() } else { size(limit) };
        format!("{}, or {} for {} s", one(self.hard), one(self.soft), self.soft_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_applied() {
        let text = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        let limits = Limits::read(text).unwrap();
        assert_eq!(limits, Limits { hard: 256 << 20, soft: 64 << 20, soft_seconds: 60 });
        assert_eq!(Limits::read(&text.replace("slave", "replica")), Some(limits));
        for bad in ["", "slave", "slave 1 2", "slave a b c", "normal 0 0 0"] {
            assert_eq!(Limits::read(bad), None, "{bad}");
        }
        let limits = Limits { hard: 1000, soft: 100, soft_seconds: 10 };
        assert!(!limits.closes(100.0, 1.0) && !limits.closes(105.0, 1.0));
        assert!(limits.closes(111.0, 1.0) && !limits.closes(900.0, 100.0) && limits.closes(1001.0, 1e6));
        assert!(!Limits { hard: 0, soft: 0, soft_seconds: 0 }.closes(1e18, 1e9));
    }
}
