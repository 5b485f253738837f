//! Source and target are not one server, whatever names they are reached by.
//!
//! Failed: both say the same run id. Warning: one does not say it, so a second name of the same server is not noticed.

use keyferry_model::ErrorKind;

use crate::{
    facts::Facts,
    report::{Checked, Verdict},
};

pub(super) fn check(facts: &mut Facts<'_>) -> Checked {
    let same = {
        let (source, target) = (facts.source_at()?, facts.request.target);
        source.host.eq_ignore_ascii_case(&target.host) && source.port == target.port
    };
    let (source, target) = facts.both()?;
    let remedy = ErrorKind::SameInstance.policy().remedy;
    Ok(match (source.field("run_id"), target.field("run_id")) {
        (Some(one), Some(other)) if one == other => Verdict::failed("both URLs lead to the same server", remedy),
        (Some(_), Some(_)) => Verdict::passed("source and target are two servers"),
        _ if same => Verdict::failed("both URLs name the same host and port", remedy),
        _ => Verdict::warning("a side hides its run_id, so both may be one server under two names", remedy),
    })
}
