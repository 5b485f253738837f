//! The target has the modules whose values the source holds.
//!
//! Failed: a key that was looked at has a value of a module, and the target has no modules, or is too old for values of
//! modules. With `--on-unsupported drop` or `degrade` that is a warning. Warning: the target lacks a
//! module, or a side does not tell.

use std::collections::BTreeSet;

use keyferry_model::OnUnsupported;
use keyferry_net::Value;

use crate::{
    facts::Facts,
    report::{Checked, Verdict},
    server::Server,
};

const REMEDY: &str = "load the modules on the target, or choose with --on-unsupported what happens to their values";
/// Types of values that need no module.
const PLAIN: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];
/// Valkey 9.1 runs its scripts by a module, which has no values.
const SCRIPTS: &str = "lua";
/// Values of modules are handed to RESTORE as they are. Older ones end when they cannot read them.
const OLDEST_TARGET: (u32, u32, u32) = (6, 2, 0);

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let drops = facts.request.on_unsupported != OnUnsupported::Fail;
    let (source, target) = facts.both()?;
    let too_old = target.version.redis < OLDEST_TARGET;
    let (theirs, ours) = (loaded(source).await, loaded(target).await);
    if theirs.as_ref().is_ok_and(BTreeSet::is_empty) {
        return Ok(Verdict::passed("the source has no modules"));
    }
    let kinds: BTreeSet<String> = match facts.sample().await? {
        Ok(sample) => {
            let kinds = sample.seen.iter().map(|key| key.kind.clone());
            kinds.filter(|kind| !PLAIN.contains(&kind.as_str())).collect()
        }
        Err(_) => BTreeSet::new(),
    };
    let (theirs, ours) = match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => (theirs, ours),
        (Err(why), _) => {
            let reason = format!("the source does not tell its modules: {why}");
            return Ok(Verdict::warning(reason, REMEDY).with("kinds_seen", listed(&kinds)));
        }
        (_, Err(why)) => {
            let reason = format!("the target does not tell its modules: {why}");
            return Ok(Verdict::warning(reason, REMEDY).with("kinds_seen", listed(&kinds)));
        }
    };
    let missing: BTreeSet<String> = theirs.difference(&ours).cloned().collect();
    let none = ours.is_empty();
    let verdict = match (missing.is_empty() && !too_old, kinds.is_empty()) {
        (true, _) => Verdict::passed("the target has all modules of the source"),
        (false, false) if too_old || none => {
            let why = if too_old { "is too old for them" } else { "has no modules" };
            let reason = format!("the source holds values of modules ({}), and the target {why}", joined(&kinds));
            if drops { Verdict::warning(reason, REMEDY) } else { Verdict::failed(reason, REMEDY) }
        }
        _ if missing.is_empty() => {
            Verdict::warning("the target is too old for values of modules, should the source hold any", REMEDY)
        }
        _ => Verdict::warning(format!("the target lacks modules of the source: {}", joined(&missing)), REMEDY),
    };
    Ok(verdict.with("missing", listed(&missing)).with("kinds_seen", listed(&kinds)))
}

fn listed(names: &BTreeSet<String>) -> Vec<String> {
    names.iter().cloned().collect()
}

fn joined(names: &BTreeSet<String>) -> String {
    listed(names).join(", ")
}

/// Names of the modules that are loaded, in lower case.
async fn loaded(server: &mut Server) -> Result<BTreeSet<String>, String> {
    // MODULE came with 4.0.
    if server.version.redis < (4, 0, 0) {
        return Ok(BTreeSet::new());
    }
    match server.ask(&[b"MODULE", b"LIST"]).await? {
        Value::Array(modules) => Ok(modules.iter().filter_map(name).filter(|name| name != SCRIPTS).collect()),
        _ => Err("MODULE LIST has an unexpected reply".into()),
    }
}

/// `name`, its name, and more such pairs.
fn name(module: &Value) -> Option<String> {
    let Value::Array(pairs) = module else { return None };
    let pair = pairs.chunks(2).find(|pair| pair.first().and_then(Value::as_bytes) == Some(b"name"))?;
    let name = String::from_utf8_lossy(pair.get(1)?.as_bytes()?).to_lowercase();
    // What comes from a server is shown: only what looks like a name.
    Some(name.chars().filter(|c| c.is_ascii_graphic()).take(64).collect())
}
