//! When a key or a field expires, and when two such times are the same.
//!
//! A deadline counts on the clock of its own server: what a migration carries is the absolute time, and that is the same on
//! both sides also where their clocks are not. A running sync writes deadlines later on the target by a grace, and those of
//! its full copy *held*, later by a fixed distance, until it has caught up; a held one says by itself what it really is.

use std::time::Duration;

/// Distance of the held deadline of a key, and where the band of held ones ends.
const HELD_KEY: (i64, i64) = (1 << 52, (1 << 52) + (1 << 44));
/// The same for a field.
const HELD_FIELD: (i64, i64) = (1 << 45, (1 << 45) + (1 << 42));

/// A deadline in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// There is no such key or field.
    Gone,
    Never,
    At(i64),
}

impl Deadline {
    /// From the answer of PEXPIRETIME or HPEXPIRETIME; with `now`, from that of PTTL at that time.
    pub(crate) fn read(answer: i64, now: Option<i64>) -> Self {
        match answer {
            -2 => Self::Gone,
            i64::MIN..0 => Self::Never,
            at => Self::At(at.saturating_add(now.unwrap_or(0))),
        }
    }
}

/// How far deadlines may be apart, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    tolerance: i64,
    grace: i64,
}

impl Rules {
    pub(crate) fn new(tolerance: Duration, grace: Duration) -> Self {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4);
        Self { tolerance: ms(tolerance), grace: ms(grace) }
    }

    /// In what the deadlines of a key that both sides have differ.
    pub(crate) fn keys(self, source: Deadline, target: Deadline) -> Option<String> {
        self.differ(source, target, HELD_KEY)
    }

    /// The same for a field.
    pub(crate) fn fields(self, source: Deadline, target: Deadline) -> Option<String> {
        self.differ(source, target, HELD_FIELD)
    }

    /// Whether what only one side has is about to go by itself: at `now` on its clock its time is over, but for the grace.
    /// `on_target` where the target has it.
    pub(crate) fn is_over(self, deadline: Deadline, now: i64, on_target: bool) -> bool {
        self.over(deadline, now, on_target, HELD_KEY)
    }

    /// The same for a field.
    pub(crate) fn field_is_over(self, deadline: Deadline, now: i64, on_target: bool) -> bool {
        self.over(deadline, now, on_target, HELD_FIELD)
    }

    fn over(self, deadline: Deadline, now: i64, on_target: bool, held: (i64, i64)) -> bool {
        let grace = if on_target { self.grace } else { 0 };
        match deadline {
            Deadline::At(at) => unheld(at, held) <= now.saturating_add(grace).saturating_add(self.tolerance),
            Deadline::Gone => true,
            Deadline::Never => false,
        }
    }

    fn differ(self, source: Deadline, target: Deadline, held: (i64, i64)) -> Option<String> {
        let same = match (source, target) {
            (Deadline::At(source), Deadline::At(target)) => {
                let later = unheld(target, held).saturating_sub(unheld(source, held));
                (-self.tolerance..=self.grace.saturating_add(self.tolerance)).contains(&later)
            }
            (source, target) => source == target,
        };
        let show = |deadline| match deadline {
            Deadline::At(at) => format!("at {at}"),
            Deadline::Never | Deadline::Gone => "never".into(),
        };
        (!same).then(|| format!("expires {} on the source, {} on the target", show(source), show(target)))
    }
}

fn unheld(at: i64, (distance, end): (i64, i64)) -> i64 {
    if (distance..end).contains(&at) { at - distance } else { at }
}

#[cfg(test)]
mod tests {
    use super::Deadline::{At, Gone, Never};
    use super::*;

    const RULES: Rules = Rules { tolerance: 1_000, grace: 30_000 };
    const T: i64 = 1_800_000_000_000;

    #[test]
    fn within_tolerance_and_grace() {
        let differ = |target| RULES.keys(At(T), At(target)).is_some();
        for same in [T, T - 1_000, T + 1_000, T + 30_000, T + 31_000, T + 12_345] {
            assert!(!differ(same), "{same}");
        }
        for other in [T - 1_001, T + 31_001, 1] {
            assert!(differ(other), "{other}");
        }
        assert!(RULES.keys(Never, Never).is_none());
        assert!(RULES.keys(At(T), Never).is_some() && RULES.keys(Never, At(T)).is_some());
    }

    #[test]
    fn held_ones_are_what_they_will_be() {
        assert!(RULES.keys(At(T), At(T + (1 << 52))).is_none());
        assert!(RULES.keys(At(T), At(T + (1 << 52) + 40_000)).is_some());
        assert!(RULES.fields(At(T), At(T + (1 << 45))).is_none());
        assert!(RULES.keys(At(T), At(T + (1 << 45))).is_some());
    }

    #[test]
    fn what_goes_by_itself() {
        assert!(RULES.is_over(At(T), T, false) && RULES.is_over(At(T), T - 1_000, false));
        assert!(!RULES.is_over(At(T), T - 2_000, false));
        assert!(RULES.is_over(At(T + 30_000), T, true) && !RULES.is_over(At(T + 32_000), T, true));
        assert!(RULES.is_over(At(T + (1 << 52)), T, true));
        assert!(RULES.is_over(Gone, T, true) && !RULES.is_over(Never, T, true));
    }

    #[test]
    fn answers() {
        assert_eq!(Deadline::read(-2, None), Gone);
        assert_eq!(Deadline::read(-1, Some(5)), Never);
        assert_eq!(Deadline::read(7, None), At(7));
        assert_eq!(Deadline::read(7, Some(5)), At(12));
    }
}
