//! No command that is needed is blocked or renamed on either side.
//!
//! Failed: one that every task needs is not there. Warning: one that streams commonly bring is not there, or a side does
//! not tell its commands.

use keyferry_model::{OnConflict, Side};
use keyferry_net::Value;

use crate::{
    Item, Source,
    facts::Facts,
    needed::{OF_FILE, OF_SOURCE, OF_STREAM, OF_TARGET, OF_VALUES},
    report::{Checked, Verdict},
    server::Server,
};

const REMEDY: &str = "take the rename-command lines out of its configuration, or ask the operator of the service to \
                      allow these commands";

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let (clear, one) = (facts.request.on_conflict == OnConflict::Clear, facts.request.objects.databases().is_some());
    // Those of the source are what is to be permitted there: who leaves out the one does not ask for the other.
    let of_source = match facts.request.skip.contains(&Item::SourcePermission) {
        true => &[],
        false => OF_SOURCE.as_slice(),
    };
    let file = matches!(facts.request.source, Source::File(_));
    let mut of_target = if file { OF_FILE.to_vec() } else { OF_TARGET.to_vec() };
    if clear {
        of_target.push(if one { "FLUSHDB" } else { "FLUSHALL" });
    }
    let mut sides = Vec::new();
    let target = match file {
        true => facts.target()?,
        false => {
            let (source, target) = facts.both()?;
            sides.push((Side::Source, source, of_source));
            target
        }
    };
    sides.push((Side::Target, &mut *target, &of_target));
    let mut hidden = Vec::new();
    for (side, server, names) in sides {
        match missing(server, names).await {
            Ok(missing) if !missing.is_empty() => {
                let reason = format!("the {side} does not know {}", missing.join(", "));
                return Ok(Verdict::failed(reason, REMEDY).with("side", side.name()).with("missing", missing));
            }
            Ok(_) => {}
            Err(why) => hidden.push(format!("the {side} does not tell its commands: {why}")),
        }
    }
    if !hidden.is_empty() {
        return Ok(Verdict::warning(hidden.join("; "), "allow +command on both sides to know, or go without"));
    }
    let version = target.version.redis;
    let wanted = if file { OF_VALUES.as_slice() } else { &OF_STREAM };
    let wanted: Vec<&str> = wanted.iter().filter(|(_, since)| version >= *since).map(|(name, _)| *name).collect();
    match missing(target, &wanted).await {
        Ok(missing) if !missing.is_empty() => {
            let what = missing.join(", ");
            let reason = match file {
                true => format!("the target does not know {what}: a value that needs it would stop the task"),
                false => format!("the target does not know {what}: such a write of the source would stop the task"),
            };
            Ok(Verdict::warning(reason, REMEDY).with("side", "target").with("missing", missing))
        }
        _ if file => Ok(Verdict::passed("the target knows the commands that are needed")),
        _ => Ok(Verdict::passed("both sides know the commands that are needed")),
    }
}

/// Those that the server does not know. COMMAND INFO came with 2.8.13.
async fn missing(server: &mut Server, names: &[&'static str]) -> Result<Vec<&'static str>, String> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut question: Vec<&[u8]> = vec![b"COMMAND", b"INFO"];
    question.extend(names.iter().map(|name| name.as_bytes()));
    match server.ask(&question).await? {
        Value::Array(known) if known.len() == names.len() => {
            let pairs = names.iter().zip(known);
            Ok(pairs.filter(|(_, known)| matches!(known, Value::Nil)).map(|(name, _)| *name).collect())
        }
        _ => Err("COMMAND INFO has an unexpected reply".into()),
    }
}
