//! The largest of some keys of the source. It is named by its type and size, never by its name.
//!
//! Failed: a string that is larger than what is held of one element. Warning: a value of 512 MiB or more, or the source
//! does not let its keys be looked at.

use keyferry_model::ErrorKind;

use crate::{
    facts::Facts,
    report::{Checked, Verdict, size},
};

/// Building such a value takes seconds, in which the target is slow for others; and a string cannot be larger.
const LARGE: u64 = 512 << 20;
/// What a server takes for a string beside its bytes is far less.
const OVERHEAD: u64 = 1 << 20;

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let sample = match facts.sample().await? {
        Ok(sample) => sample,
        Err(why) => {
            let reason = format!("the keys of the source cannot be looked at: {why}");
            return Ok(Verdict::warning(reason, "allow +scan, +select, +type and +memory to know, or go without"));
        }
    };
    let Some(largest) = sample.seen.iter().max_by_key(|key| key.bytes) else {
        return Ok(Verdict::passed("the source has no keys").with("looked_at", 0));
    };
    let about = if sample.estimated { "about " } else { "" };
    let (bytes, kind, db) = (largest.bytes, &largest.kind, largest.db);
    let seen = sample.seen.len();
    let reason = format!("the largest of {seen} keys is a {kind} of {about}{} in database {db}", size(bytes));
    let verdict = match () {
        () if kind == "string" && bytes > LARGE.saturating_add(OVERHEAD) => {
            Verdict::failed(reason, ErrorKind::RdbTooLarge.policy().remedy)
        }
        () if bytes >= LARGE => {
            let remedy = "it is copied in pieces; plan for a target that is slow meanwhile, or split the value";
            Verdict::warning(reason, remedy)
        }
        () => Verdict::passed(reason),
    };
    Ok(verdict.with("looked_at", seen).with("largest_bytes", bytes).with("largest_type", kind.as_str()))
}
