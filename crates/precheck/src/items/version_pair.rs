//! Both versions are supported, and the target can hold what the source's version has.
//!
//! Failed: one is too old. Warning: the source may hold kinds of data that the target's version does not know, or one
//! is a server that Keyferry is not tested with.

use keyferry_keyspace::{Flavor, ServerVersion};
use keyferry_model::{ErrorKind, Side};

use crate::{
    facts::Facts,
    report::{Checked, Verdict},
};

pub(super) fn check(facts: &mut Facts<'_>) -> Checked {
    let (source, target) = facts.both()?;
    let (source, target) = (source.version, target.version);
    let verdict = judge(&source, &target);
    Ok(verdict.with("source", source.to_string()).with("target", target.to_string()))
}

fn judge(source: &ServerVersion, target: &ServerVersion) -> Verdict {
    for (version, oldest, side) in
        [(source, ServerVersion::OLDEST_SOURCE, Side::Source), (target, ServerVersion::OLDEST_TARGET, Side::Target)]
    {
        if version.redis < oldest {
            return Verdict::failed(format!("the {side} is {version}"), ErrorKind::TooOld(side).policy().remedy);
        }
    }
    let more = source.more_than(target);
    if !more.is_empty() {
        let what = more.join(", ");
        let reason = format!("{target} cannot hold what {source} may have: {what}");
        let remedy = "use a newer target, or choose with --on-unsupported what happens to such data";
        return Verdict::warning(reason, remedy).with("cannot_be_held", more);
    }
    if [source, target].iter().any(|version| version.flavor == Flavor::Other) {
        let remedy = "try it out with a copy of the data first";
        return Verdict::warning("one side is a server that Keyferry is not tested with", remedy);
    }
    Verdict::passed(format!("{target} can hold what {source} has"))
}
