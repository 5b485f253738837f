//! Both versions are supported, and the target can hold what the source's version has. What has written a dump file is not
//! known here.
//!
//! Failed: one is too old. Warning: the source may hold kinds of data that the target's version does not know, or one
//! is a server that Keyferry is not tested with.

use keyferry_keyspace::{Flavor, ServerVersion};
use keyferry_model::{ErrorKind, Side};

use crate::{
    Source,
    facts::Facts,
    report::{Checked, Verdict},
};

pub(super) fn check(facts: &mut Facts<'_>) -> Checked {
    if let Source::File(_) = facts.request.source {
        let target = facts.target()?.version;
        return Ok(judge(None, &target).with("target", target.to_string()));
    }
    let (source, target) = facts.both()?;
    let (source, target) = (source.version, target.version);
    let verdict = judge(Some(&source), &target);
    Ok(verdict.with("source", source.to_string()).with("target", target.to_string()))
}

/// `source`: `None` for a dump file.
fn judge(source: Option<&ServerVersion>, target: &ServerVersion) -> Verdict {
    for (version, oldest, side) in [
        (source, ServerVersion::OLDEST_SOURCE, Side::Source),
        (Some(target), ServerVersion::OLDEST_TARGET, Side::Target),
    ] {
        if let Some(version) = version.filter(|version| version.redis < oldest) {
            return Verdict::failed(format!("the {side} is {version}"), ErrorKind::TooOld(side).policy().remedy);
        }
    }
    let odd = |version: &ServerVersion| version.flavor == Flavor::Other;
    let untried = || {
        let remedy = "try it out with a copy of the data first";
        Verdict::warning("one side is a server that Keyferry is not tested with", remedy)
    };
    let Some(source) = source else {
        return match odd(target) {
            true => untried(),
            false => Verdict::passed(format!("the target is {target}")),
        };
    };
    let more = source.more_than(target);
    if !more.is_empty() {
        let what = more.join(", ");
        let reason = format!("{target} cannot hold what {source} may have: {what}");
        let remedy = "use a newer target, or choose with --on-unsupported what happens to such data";
        return Verdict::warning(reason, remedy).with("cannot_be_held", more);
    }
    if odd(source) || odd(target) {
        return untried();
    }
    Verdict::passed(format!("{target} can hold what {source} has"))
}
