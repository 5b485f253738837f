//! The source answers: name, network, TLS, password and INFO.
//!
//! Failed: it does not. Warning: it does not yet, since it loads its data or is a replica without a link to its primary;
//! `sync` waits for both.

use keyferry_model::ErrorKind;

use super::connections::judge;
use crate::{
    facts::{Facts, no_server},
    report::{Checked, Verdict},
};

pub(super) fn check(facts: &Facts<'_>) -> Checked {
    let source = facts.source.as_ref().ok_or_else(no_server)?;
    let verdict = judge(source)?;
    let down = source.as_ref().is_ok_and(|source| source.field("master_link_status") == Some("down"));
    if down {
        let reason = "it is a replica without a link to its primary, and sends nothing before it has one";
        let policy = ErrorKind::NoMasterLink.policy();
        return Ok(Verdict::warning(reason, policy.remedy).with("code", policy.code));
    }
    Ok(verdict)
}
