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
    /// It is what clients send, reads included: a source that has had no replica does not count its writes.
    upper: bool,
}

impl Rate {
    /// The rate for people.
    pub(crate) fn shown(&self) -> String {
        let rate = size(self.bytes_per_second as u64);
        match self.upper {
            true => format!("at most {rate}/s (all that clients send, since without a replica writes are not counted)"),
            false => format!("{rate}/s"),
        }
    }

    pub(crate) fn in_verdict(&self, verdict: Verdict) -> Verdict {
        let verdict = verdict.with("write_bytes_per_second", self.bytes_per_second.round());
        verdict.with("write_rate_is_upper_bound", self.upper)
    }
}

/// Watches the source for so long. Errors: why it does not tell.
pub(super) async fn measure(source: &mut Server, sample: Duration) -> Result<Rate, String> {
    // replication.c, replicationFeedSlaves: without a backlog and without replicas the offset stands still.
    let counts = source.field("repl_backlog_active").is_none_or(|active| active != "0")
        || source.number("connected_slaves").is_some_and(|n| n > 0);
    let (section, field) =
        if counts { ("replication", "master_repl_offset") } else { ("stats", "total_net_input_bytes") };
    let begun = Instant::now();
    let before = count(source, section, field).await?;
    sleep(sample).await;
    let after = count(source, section, field).await?;
    let mut grown = after.saturating_sub(before);
    if !counts {
        grown = grown.saturating_sub(own_bytes(section));
    }
    let seconds = begun.elapsed().as_secs_f64().max(0.001);
    Ok(Rate { bytes_per_second: grown as f64 / seconds, upper: !counts })
}

async fn count(source: &mut Server, section: &str, field: &str) -> Result<u64, String> {
    let text = source.info_now(section).await?;
    let number = info::field(&text, field).and_then(|n| n.parse().ok());
    number.ok_or_else(|| format!("INFO {section} has no {field}"))
}

/// Bytes of one question, which the source counts too: `*2`, `$4`, `INFO`, `$5`, the section.
fn own_bytes(section: &str) -> u64 {
    (4 + 4 + 6 + 4 + section.len() + 2) as u64
}
