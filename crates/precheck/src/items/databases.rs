//! The target has the databases that the source uses, and that it may come to use.
//!
//! Failed: a database that holds keys, or the chosen one, is not there. Warning: the source has more databases than the
//! target, and the others are empty; or the target does not answer SELECT.

use keyferry_keyspace::info;
use keyferry_model::ErrorKind;
use keyferry_net::Value;

use crate::{
    facts::Facts,
    report::{Checked, Verdict},
    server::Server,
};

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let chosen = facts.target_databases().and_then(Iterator::max);
    let (source, target) = facts.both()?;
    let highest = chosen.or_else(|| info::keyspace(&source.info).map(|k| k.db.0).max()).unwrap_or(0);
    let remedy = ErrorKind::NoSuchDatabase.policy().remedy;
    let there = has(target, highest).await;
    if let Err(why) = there {
        let reason = format!("the target does not tell whether it has database {highest}: {why}");
        return Ok(Verdict::warning(reason, remedy).with("highest_used", highest));
    }
    if there == Ok(false) {
        let reason = format!("the target has no database {highest}");
        return Ok(Verdict::failed(reason, remedy).with("highest_used", highest));
    }
    let (theirs, ours) = (count(source).await, count(target).await);
    let verdict = match (chosen, theirs, ours) {
        (None, Some(theirs), Some(ours)) if theirs > ours => {
            let reason = format!(
                "the source has {theirs} databases and the target {ours}: a later write to one of the others would \
                 stop the task"
            );
            Verdict::warning(reason, remedy)
        }
        _ => Verdict::passed(format!("the target has database {highest}, the highest that is used")),
    };
    Ok(verdict.with("highest_used", highest).with_some("source", theirs).with_some("target", ours))
}

/// Leaves the first database selected.
async fn has(target: &mut Server, db: u32) -> Result<bool, String> {
    let db = db.to_string();
    let replies = target.ask_all(&[[&b"SELECT"[..], db.as_bytes()], [b"SELECT", b"0"]]).await?;
    match replies.first() {
        Some(Value::Status(_)) => Ok(true),
        Some(Value::Error(text)) if text.starts_with(b"ERR") => Ok(false),
        Some(Value::Error(_)) => Err("SELECT is refused".into()),
        _ => Err("SELECT has an unexpected reply".into()),
    }
}

async fn count(server: &mut Server) -> Option<u32> {
    server.setting("databases").await.ok()?.parse().ok()
}
