//! The source's backlog (`repl-backlog-size`) against the rate at which it is written to: how long an outage of the link,
//! or a pause of the task, it covers.
//!
//! Warning: less than a minute, or the source does not tell. There is no failure: what the backlog no longer has costs
//! another full copy and no data.

use crate::{
    facts::Facts,
    report::{Checked, Verdict, size, time},
    server::Server,
};

/// In a minute a server or a process is restarted, and a fail-over is over.
const ENOUGH: f64 = 60.0;

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let rate = facts.write_rate().await?;
    let source = facts.source()?;
    let remedy = "raise repl-backlog-size on the source above write rate x longest outage: \
                  CONFIG SET repl-backlog-size 256mb";
    let backlog = match backlog(source).await {
        Ok(backlog) => backlog,
        Err(why) => {
            let reason = format!("the source does not tell the size of its backlog: {why}");
            return Ok(Verdict::warning(reason, remedy));
        }
    };
    let rate = match rate {
        Ok(rate) => rate,
        Err(why) => {
            let reason = format!("how fast the source is written to is not known: {why}");
            return Ok(Verdict::warning(reason, remedy).with("repl_backlog_size", backlog));
        }
    };
    let shown = format!("the backlog holds {}, and the source is written {}", size(backlog), rate.shown());
    let verdict = if rate.bytes_per_second < 1.0 {
        Verdict::passed(shown)
    } else {
        let covers = backlog as f64 / rate.bytes_per_second;
        let reason = format!("{shown}: it covers an outage of {}", time(covers));
        let verdict = if covers < ENOUGH { Verdict::warning(reason, remedy) } else { Verdict::passed(reason) };
        verdict.with("covers_seconds", covers.round())
    };
    Ok(rate.in_verdict(verdict).with("repl_backlog_size", backlog))
}

async fn backlog(source: &mut Server) -> Result<u64, String> {
    if let Some(size) = source.number("repl_backlog_size") {
        return Ok(size);
    }
    source.setting("repl-backlog-size").await?.parse().map_err(|_| "repl-backlog-size is no number".into())
}
