//! Keys and function libraries that the target holds already in the chosen databases, against the strategy for conflicts.
//!
//! Failed: there are some, and the strategy is `abort`. Warning: there are some, and the strategy says what becomes of them.

use keyferry_model::{ErrorKind, OnConflict};
use keyferry_net::Value;

use crate::{
    Source,
    facts::Facts,
    needed::POSITION,
    report::{Checked, Verdict},
};

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let chosen = facts.chosen_of_target();
    let home = facts.target_databases().and_then(Iterator::min).unwrap_or(0);
    let (on_conflict, task) = (facts.request.on_conflict, facts.request.task);
    // Nothing goes on within a dump file.
    let goes_on = matches!(facts.request.source, Source::Server(_));
    let target = facts.target()?;
    let keys = target.keys(chosen);
    let position = [POSITION, task.as_bytes()].concat();
    let selected = target.ask(&[b"SELECT", home.to_string().as_bytes()]).await;
    if goes_on && selected.is_ok() && matches!(target.ask(&[b"EXISTS", &position]).await, Ok(Value::Int(1))) {
        let reason = format!("the target holds the position of task `{task}`, which goes on there");
        return Ok(Verdict::passed(reason).with("keys", keys));
    }
    // Servers before 7.0 know none.
    let libraries = match target.ask(&[b"FUNCTION", b"LIST"]).await {
        Ok(Value::Array(libraries)) => libraries.len(),
        _ => 0,
    };
    let held = match libraries {
        0 => format!("{keys} keys"),
        n => format!("{keys} keys and {n} function libraries"),
    };
    let verdict = match (keys == 0 && libraries == 0, on_conflict) {
        (true, _) => Verdict::passed("the chosen databases of the target are empty"),
        (false, OnConflict::Abort) => {
            let reason = format!("the target holds {held}, and the strategy is abort");
            Verdict::failed(reason, ErrorKind::NotEmpty.policy().remedy)
        }
        (false, OnConflict::Ignore) => Verdict::warning(
            format!("the target holds {held}, which are kept in the full copy; later writes of the source change them"),
            "see that nobody needs these keys as they are, or choose another database of the target",
        ),
        (false, OnConflict::Replace) => Verdict::warning(
            format!("the target holds {held}; those that the source has too are overwritten"),
            "see that nobody needs these keys as they are, or choose another database of the target",
        ),
        (false, OnConflict::Clear) => Verdict::warning(
            format!("the target holds {held}, which are deleted when the copy begins"),
            "see that nobody needs these keys, or choose another database of the target",
        ),
    };
    Ok(verdict.with("keys", keys).with("libraries", libraries))
}
