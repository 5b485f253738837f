//! What the figures should be, and whether they are.

use serde::Serialize;

use super::Figures;

/// One goal, and the figure that is held against it.
#[derive(Debug, Serialize)]
pub(super) struct Goal {
    pub(super) what: String,
    #[serde(flatten)]
    pub(super) bound: Bound,
    pub(super) figure: f64,
    pub(super) met: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};

const NATIVE: Bound = AtMost(1.25);
const PLAIN: Bound = AtLeast(0.85);
const P99_MS: Bound = AtMost(10.0);
/// A delay says nothing when the writes have not come as fast as they should.
const RATE: Bound = AtLeast(19_800.0);
const RSS_MIB: Bound = AtMost(96.0);
const COPY_RSS_MIB: Bound = AtMost(64.0);
const CPU_SECONDS: Bound = AtMost(1.0);
const STRINGS_CPU_SECONDS: Bound = AtMost(0.6);

/// All goals of the parts that were measured.
pub(super) fn judge(figures: &Figures) -> Vec<Goal> {
    let mut goals = vec![];
    let mut add = |what: String, bound: Bound, figure: f64| {
        let met = match bound {
            AtMost(most) => figure <= most,
            AtLeast(least) => figure >= least,
        };
        goals.push(Goal { what, bound, figure, met });
    };
    // Memory and CPU are asked for everywhere.
    let mut costs = vec![];
    for (name, full) in [("strings", &figures.strings), ("mixed", &figures.mixed)] {
        let Some(full) = full else { continue };
        add(format!("full copy, {name}: times native"), NATIVE, full.ratio);
        costs.push((name, full.largest_rss_mib, full.cpu_seconds_per_million_keys));
    }
    if let Some(incremental) = &figures.incremental {
        costs.push(("incremental", incremental.largest_rss_mib, incremental.cpu_seconds_per_million));
    }
    if let Some(drain) = &figures.drain {
        add("drain: part of a plain client's speed".into(), PLAIN, drain.ratio);
        costs.push(("drain", drain.largest_rss_mib, drain.cpu_seconds_per_million));
        costs.push(("drain with intake", drain.largest_rss_mib, drain.cpu_seconds_per_million_with_intake));
    }
    if let Some(delay) = &figures.delay {
        add("delay: p99, ms".into(), P99_MS, delay.ours.p99_ms);
        add("delay: writes a second".into(), RATE, delay.ours.writes_per_second);
        costs.push(("delay", delay.largest_rss_mib, delay.cpu_seconds_per_million));
    }
    for &(name, rss, _) in costs.iter().filter(|cost| cost.0 != "drain with intake") {
        let bound = if matches!(name, "strings" | "mixed") { COPY_RSS_MIB } else { RSS_MIB };
        add(format!("{name}: largest RSS of all runs, MiB"), bound, rss);
    }
    for (name, _, cpu) in costs {
        let bound = if name == "strings" { STRINGS_CPU_SECONDS } else { CPU_SECONDS };
        add(format!("{name}: CPU s for a million"), bound, cpu);
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_a_goal() {
        let goal = Goal { what: "x".into(), bound: AtMost(1.25), figure: 1.5, met: false };
        let json = r#"{"what":"x","at_most":1.25,"figure":1.5,"met":false}"#;
        assert_eq!(serde_json::to_string(&goal).unwrap(), json);
    }
}
