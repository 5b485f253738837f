//! The target answers: name, network, TLS, password and INFO.
//!
//! Failed: it does not. Warning: it loads its data; `sync` waits for that.

use super::connections::judge;
use crate::{facts::Facts, report::Checked};

pub(super) fn check(facts: &Facts<'_>) -> Checked {
    judge(&facts.target)
}
