//! The target drops no keys by itself when its memory is full.
//!
//! Warning: it has a memory limit and a policy other than noeviction, or does not tell. There is no failure: some want it
//! so for a cache.

use crate::{
    facts::Facts,
    report::{Checked, Verdict, size},
    server::Server,
};

const REMEDY: &str = "set maxmemory-policy noeviction on the target until the migration is over";

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let target = facts.target()?;
    let hidden = |why: String| Verdict::warning(format!("the target does not tell its memory policy: {why}"), REMEDY);
    let limit = max_memory(target).await.map_err(hidden)?;
    if limit == 0 {
        return Ok(Verdict::passed("the target has no memory limit").with("maxmemory", 0));
    }
    let policy = match target.field("maxmemory_policy") {
        Some(policy) => policy.to_owned(),
        None => target.setting("maxmemory-policy").await.map_err(hidden)?,
    };
    let limit_shown = size(limit);
    let verdict = match policy.as_str() {
        "noeviction" => Verdict::passed(format!("the target keeps all keys at its limit of {limit_shown}")),
        _ => {
            let reason = format!("at {limit_shown} the target drops keys by itself: maxmemory-policy {policy}");
            Verdict::warning(reason, REMEDY)
        }
    };
    Ok(verdict.with("maxmemory", limit).with("policy", policy))
}

/// Bytes, 0 for no limit. INFO has it from 3.2 on.
pub(super) async fn max_memory(target: &mut Server) -> Result<u64, String> {
    match target.number("maxmemory") {
        Some(limit) => Ok(limit),
        None => {
            let text = target.setting("maxmemory").await?;
            text.parse().map_err(|_| "maxmemory is no number".into())
        }
    }
}
