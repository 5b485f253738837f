//! Verdicts and the report that is made of them. Knows nothing of what is checked.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::Item;

/// Characters of a reason.
const REASON: usize = 1000;

/// What was found about one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing stands in the way.
    Passed,
    /// It may go well, or cannot be known.
    Warning,
    /// It goes wrong.
    Failed,
    /// It was not looked at.
    Skipped,
}

/// One item, and what was found about it. The field names of its JSON form are stable.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub item: Item,
    /// What was found.
    pub status: Status,
    /// Why, with the measured values.
    pub reason: String,
    /// What can be done about it; empty when nothing has to be.
    pub remedy: String,
    /// The measured values by name.
    pub measured: BTreeMap<&'static str, Value>,
}

/// All items, and how many of them were found how. The field names of its JSON form are stable.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// In the order of [`Item::ALL`].
    pub items: Vec<Finding>,
    /// How many passed.
    pub passed: usize,
    /// How many gave a warning.
    pub warnings: usize,
    /// How many failed.
    pub failed: usize,
    /// How many were not looked at.
    pub skipped: usize,
    /// Nothing failed, and there are no warnings that are not accepted.
    pub ok: bool,
}

impl Report {
    pub(crate) fn new(items: Vec<Finding>) -> Self {
        let count = |status| items.iter().filter(|finding| finding.status == status).count();
        let (warnings, failed) = (count(Status::Warning), count(Status::Failed));
        let (passed, skipped) = (count(Status::Passed), count(Status::Skipped));
        Self { items, passed, warnings, failed, skipped, ok: warnings == 0 && failed == 0 }
    }

    /// Takes the warnings as accepted.
    pub fn accept_warnings(&mut self) {
        self.ok = self.failed == 0;
    }
}

/// A finding that does not say of which item it is. An item may end with one early, so it is also the error of checks.
#[derive(Debug)]
pub(crate) struct Verdict {
    status: Status,
    reason: String,
    remedy: String,
    measured: BTreeMap<&'static str, Value>,
}

/// What an item gives; which of both it is makes no difference.
pub(crate) type Checked = Result<Verdict, Verdict>;

impl Verdict {
    fn new(status: Status, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        // A part of it may be what a server says of itself: nothing that a terminal would obey.
        let shown = |text: String| text.chars().filter(|c| !c.is_control()).take(REASON).collect();
        Self { status, reason: shown(reason.into()), remedy: remedy.into(), measured: BTreeMap::new() }
    }

    pub(crate) fn passed(reason: impl Into<String>) -> Self {
        Self::new(Status::Passed, reason, "")
    }

    pub(crate) fn warning(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Status::Warning, reason, remedy)
    }

    pub(crate) fn failed(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Status::Failed, reason, remedy)
    }

    pub(crate) fn skipped(reason: impl Into<String>) -> Self {
        Self::new(Status::Skipped, reason, "")
    }

    /// Adds a measured value.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.measured.insert(name, value.into());
        self
    }

    /// Adds a measured value where there is one.
    pub(crate) fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(crate) fn of(self, item: Item) -> Finding {
        let Self { status, reason, remedy, measured } = self;
        Finding { item, status, reason, remedy, measured }
    }
}

/// A number of bytes for people: `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in units {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// A number of seconds for people: `2.5 s`, `40 min`, `3 h`.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!([size(0), size(1023), size(1024), size(3 << 29)], ["0 B", "1023 B", "1.0 KiB", "1.5 GiB"]);
        assert_eq!(size(u64::MAX), "16777216.0 TiB");
        assert_eq!([time(0.25), time(60.0), time(3600.0), time(1e6)], ["0.2 s", "60 s", "60 min", "12 days"]);
    }

    #[test]
    fn warnings_are_ok_only_when_they_are_accepted() {
        let report = |verdicts: Vec<Verdict>| {
            Report::new(verdicts.into_iter().map(|verdict| verdict.of(Item::Databases)).collect())
        };
        assert!(report(vec![Verdict::passed("a"), Verdict::skipped("b")]).ok);
        let mut warned = report(vec![Verdict::warning("a", "b")]);
        assert!(!warned.ok);
        warned.accept_warnings();
        assert!(warned.ok);
        let mut failed = report(vec![Verdict::failed("a", "b"), Verdict::warning("a", "b")]);
        failed.accept_warnings();
        assert_eq!((failed.ok, failed.failed, failed.warnings), (false, 1, 1));
    }
}
