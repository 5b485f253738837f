//! When something is over, also for a host that was suspended meanwhile.

use std::time::{Duration, Instant};

use crate::source::now_ms;

/// A moment by two clocks: the first is set by nobody, and the second goes on while the host is suspended. It is over when one of
/// them says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(super) steady: Instant,
    /// In Unix milliseconds.
    wall: u64,
}

impl Moment {
    pub(super) fn after(time: Duration) -> Self {
        Self { steady: Instant::now() + time, wall: now_ms() + time.as_millis() as u64 }
    }

    /// Nothing when it is over.
    pub(crate) fn left(&self) -> Duration {
        let steady = self.steady.saturating_duration_since(Instant::now());
        steady.min(Duration::from_millis(self.wall.saturating_sub(now_ms())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_when_one_clock_says_so() {
        let moment = Moment::after(Duration::from_secs(60));
        assert!((50..=60).contains(&moment.left().as_secs()));
        assert_eq!(Moment { wall: now_ms(), ..moment }.left(), Duration::ZERO);
        assert_eq!(Moment { steady: Instant::now(), ..moment }.left(), Duration::ZERO);
    }
}
