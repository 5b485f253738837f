//! How fast the source is written to.

use std::time::Duration;

use keyferry_keyspace::info;
use tokio::time::{Instant, sleep};

use crate::{
    report::{Verdict, size},
    server::Server,
};

/// How fast the source is written to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) bytes_per_second: f64,
    /// A source that has had no replica does not count the bytes of its writes.
    estimated: bool,
}

impl Rate {
    /// The rate for people.
    pub(crate) fn shown(&self) -> String {
        let rate = size(self.bytes_per_second as u64);
        match self.estimated {
            true => format!("about {rate}/s (estimated, since a source without a replica does not count it)"),
            false => format!("{rate}/s"),
        }
    }

    pub(crate) fn in_verdict(&self, verdict: Verdict) -> Verdict {
        let verdict = verdict.with("write_bytes_per_second", self.bytes_per_second.round());
        verdict.with("write_rate_is_estimated", self.estimated)
    }
}

/// Watches the source for so long. Errors: why it does not tell.
pub(super) async fn measure(source: &mut Server, sample: Duration) -> Result<Rate, String> {
    // replication.c, replicationFeedSlaves: without a backlog and without replicas the offset stands still.
    let counts = source.field("repl_backlog_active").is_none_or(|active| active != "0")
        || source.number("connected_slaves").is_some_and(|n| n > 0);
    let begun = Instant::now();
    let grown = match counts {
        true => {
            let before = offset(source).await?;
            sleep(sample).await;
            offset(source).await?.saturating_sub(before) as f64
        }
        false => {
            let before = Counts::of(source).await?;
            sleep(sample).await;
            Counts::of(source).await?.written_since(&before)
        }
    };
    let seconds = begun.elapsed().as_secs_f64().max(0.001);
    Ok(Rate { bytes_per_second: grown / seconds, estimated: !counts })
}

async fn offset(source: &mut Server) -> Result<u64, String> {
    number(&source.info_now("replication").await?, "master_repl_offset")
}

fn number(info: &[u8], field: &str) -> Result<u64, String> {
    let number = info::field(info, field).and_then(|n| n.parse().ok());
    number.ok_or_else(|| format!("INFO has no {field}"))
}

/// What a source counts in any case.
struct Counts {
    /// Keys and elements that were changed; begins anew with each snapshot.
    changes: u64,
    commands: u64,
    /// Of all commands, with those that read; the oldest servers do not count them.
    bytes: Option<u64>,
}

/// Bytes of a command where they are not counted.
const USUAL_LENGTH: f64 = 100.0;

impl Counts {
    async fn of(source: &mut Server) -> Result<Self, String> {
        let changes = number(&source.info_now("persistence").await?, "rdb_changes_since_last_save")?;
        let stats = source.info_now("stats").await?;
        let commands = number(&stats, "total_commands_processed")?;
        Ok(Self { changes, commands, bytes: number(&stats, "total_net_input_bytes").ok() })
    }

    /// Each change taken for a command of the usual length; all together are not more than what was received.
    fn written_since(&self, before: &Self) -> f64 {
        let grown = |now: u64, before: u64| now.saturating_sub(before) as f64;
        let changes = grown(self.changes, before.changes);
        let (Some(now), Some(before_bytes)) = (self.bytes, before.bytes) else { return changes * USUAL_LENGTH };
        let bytes = grown(now, before_bytes);
        let length = bytes / grown(self.commands, before.commands).max(1.0);
        (changes * length).min(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn only_writes_are_estimated() {
        let counts = |changes, commands, bytes| Counts { changes, commands, bytes: Some(bytes) };
        let before = counts(50, 100, 1000);
        let written = |changes, commands, bytes| counts(changes, commands, bytes).written_since(&before);
        // Nothing but reads; one write among ten commands of 100 bytes; a command with many elements; a snapshot.
        assert_eq!(written(50, 200, 9000), 0.0);
        assert_eq!(written(51, 110, 2000), 100.0);
        assert_eq!(written(90, 101, 1500), 500.0);
        assert_eq!(written(0, 110, 2000), 0.0);
        let old = |changes| Counts { changes, commands: 0, bytes: None };
        assert_eq!(old(3).written_since(&old(1)), 200.0);
    }
}
