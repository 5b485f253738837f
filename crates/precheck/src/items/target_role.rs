//! The target is a primary and takes writes.
//!
//! Failed: it is a replica, or read-only. Warning: it is a primary that refuses writes at the moment, or does not say what
//! it is.

use keyferry_model::ErrorKind;

use crate::{
    facts::Facts,
    probe,
    report::{Checked, Verdict},
};

/// Never written.
const WRITE: [&[u8]; 3] = [b"SET", b"keyferry-precheck", b"x"];

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let target = facts.target()?;
    let role = target.field("role").map(str::to_owned);
    let remedy = ErrorKind::TargetReplica.policy().remedy;
    if role.as_deref() == Some("slave") {
        return Ok(Verdict::failed("the target is a replica", remedy).with("role", "replica"));
    }
    let refused = match probe::queue(target, &[WRITE.to_vec()]).await {
        Ok(answers) => answers.into_iter().next().flatten(),
        // Rights are another item's.
        Err(_) => None,
    };
    let verdict = match refused {
        Some(why) if why.starts_with("READONLY") => {
            Verdict::failed(format!("the target refuses writes: `{why}`"), remedy)
        }
        Some(why) if why.starts_with("NOREPLICAS") || why.starts_with("MISCONF") => {
            let reason = format!("the target refuses writes at the moment: `{why}`");
            Verdict::warning(reason, ErrorKind::TargetMisconf.policy().remedy)
        }
        _ if role.is_none() => Verdict::warning("the target does not say whether it is a primary", remedy),
        _ => Verdict::passed("the target is a primary"),
    };
    Ok(verdict.with_some("role", role.map(|role| if role == "master" { "primary".into() } else { role })))
}
