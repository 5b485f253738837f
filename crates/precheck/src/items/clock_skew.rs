//! The clocks agree: deadlines are absolute times, and each server removes keys by its own clock.
//!
//! Failed: the servers differ by more than the grace, so keys whose deadline is renewed would be lost. The clock here
//! counts likewise where it makes deadlines absolute. Warning: a second or more between any two of the three, or a server
//! does not tell.

use std::time::{SystemTime, UNIX_EPOCH};

use keyferry_model::Side;
use keyferry_net::Value;
use tokio::time::Instant;

use crate::{
    facts::Facts,
    report::{Checked, Verdict},
    server::Server,
};

const REMEDY: &str = "set the clocks right (NTP), or choose a longer --ttl-grace";
/// Two machines with NTP are some milliseconds apart; a second more is a setting that is wrong.
const AGREE: f64 = 1.0;

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let bound = facts.request.ttl_grace.as_secs_f64().max(AGREE);
    let (source, target) = facts.both()?;
    // Sources before 7.0 send times to live, and older targets take nothing else in places.
    let ours_counts = !source.version.tells_expiry() || !target.version.set_pxat();
    let hidden = |side: Side, why: String| {
        Verdict::warning(format!("the {side} does not tell its time: {why}"), "see that its clock is right (NTP)")
    };
    let from_source = ahead(source).await.map_err(|why| hidden(Side::Source, why))?;
    let from_target = ahead(target).await.map_err(|why| hidden(Side::Target, why))?;
    let between = (from_source - from_target).abs();
    let from_here = from_source.abs().max(from_target.abs());
    let reason = format!(
        "source and target are {between:.1} s apart, and from the clock here {:.1} s and {:.1} s",
        from_source.abs(),
        from_target.abs()
    );
    let verdict = match () {
        () if between > bound || ours_counts && from_here > bound => Verdict::failed(reason, REMEDY),
        () if between > AGREE || from_here > AGREE => Verdict::warning(reason, REMEDY),
        () => Verdict::passed(reason),
    };
    let rounded = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    Ok(verdict
        .with("source_ahead_seconds", rounded(from_source))
        .with("target_ahead_seconds", rounded(from_target))
        .with("bound_seconds", bound))
}

/// By how many seconds a server's clock is ahead of the one here, taken in the middle of the question's way.
async fn ahead(server: &mut Server) -> Result<f64, String> {
    let asked = Instant::now();
    let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let reply = server.ask(&[b"TIME"]).await?;
    let middle = here + asked.elapsed().as_secs_f64() / 2.0;
    let Value::Array(parts) = reply else { return Err("TIME has an unexpected reply".into()) };
    let part = |i: usize| -> Option<f64> {
        std::str::from_utf8(parts.get(i)?.as_bytes()?).ok()?.parse::<u64>().ok().map(|n| n as f64)
    };
    match (part(0), part(1)) {
        (Some(seconds), Some(micros)) => Ok(seconds + micros / 1e6 - middle),
        _ => Err("TIME has an unexpected reply".into()),
    }
}
