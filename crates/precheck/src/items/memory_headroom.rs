//! The data fits into the target's memory: what the source uses for the chosen databases, by their share of its keys,
//! against what the target has left. Of a dump file its size, which is less than what it takes in memory.
//!
//! Failed: it cannot fit under the target's limit. Warning: it takes more than four fifths of what is left, or more than
//! the machine of a target without a limit has left, or a side does not tell.

use keyferry_model::OnConflict;

use super::target_eviction::max_memory;
use crate::{
    Source,
    facts::Facts,
    report::{Checked, Verdict, size},
};

const REMEDY: &str = "raise maxmemory of the target, or use one with more memory";
/// The same data takes more on some versions than on others, and a target needs room for its clients.
const COMFORT: f64 = 0.8;

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let (objects, on_conflict) = (facts.request.objects, facts.request.on_conflict);
    let (chosen, of_target) = (facts.chosen(), facts.chosen_of_target());
    let hidden = |what: &str| Verdict::warning(format!("{what}, so nothing is known"), REMEDY);
    let need = match facts.request.source {
        Source::Server(_) => facts.both()?.0.data_bytes(chosen),
        Source::File(bytes) => Some(bytes),
    };
    let Some(need) = need else {
        return Ok(hidden("the source does not tell its used_memory"));
    };
    let target = facts.target()?;
    let (Some(used), Some(held)) = (target.number("used_memory"), target.data_bytes(of_target)) else {
        return Ok(hidden("the target does not tell its used_memory"));
    };
    let limit = match max_memory(target).await {
        Ok(limit) => limit,
        Err(why) => return Ok(hidden(&format!("the target does not tell its maxmemory: {why}"))),
    };
    let all = if limit > 0 { limit } else { target.number("total_system_memory").unwrap_or(0) };
    if all == 0 {
        return Ok(Verdict::passed("the target has no memory limit").with("needed", need));
    }
    // What is emptied first leaves room, what is overwritten may.
    let freed = if on_conflict == OnConflict::Clear { held } else { 0 };
    let room = all.saturating_sub(used.saturating_sub(freed));
    let room_at_best = match on_conflict {
        OnConflict::Abort | OnConflict::Clear => room,
        OnConflict::Ignore | OnConflict::Replace => all.saturating_sub(used.saturating_sub(held)),
    };
    let shown = format!("the data takes about {}, and the target has {} left", size(need), size(room));
    let verdict = match limit {
        0 if need > room => {
            let what = format!("the data takes about {}, and the target's machine has {} left", size(need), size(room));
            Verdict::warning(what, "use a target with more memory")
        }
        0 => Verdict::passed(format!("the target has no memory limit, and the data takes about {}", size(need))),
        // What is left out by rules for keys and types is counted here all the same.
        _ if need > room_at_best && objects.is_whole() => Verdict::failed(shown, REMEDY),
        _ if need as f64 > room as f64 * COMFORT => Verdict::warning(shown, REMEDY),
        _ => Verdict::passed(shown),
    };
    Ok(verdict.with("needed", need).with("room", room).with("maxmemory", limit))
}
