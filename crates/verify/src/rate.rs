//! No more keys a second than asked for.

use std::{cell::Cell, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Hands out keys at an even pace. What was not used is not saved up.
pub(crate) struct Rate {
    per_second: Option<u64>,
    /// When the keys that were handed out are paid for.
    paid: Cell<Instant>,
}

impl Rate {
    pub(crate) fn new(per_second: Option<u64>) -> Self {
        Self { per_second, paid: Cell::new(Instant::now()) }
    }

    /// How many keys are asked for at once: so few that they take a tenth of a second at most.
    pub(crate) fn batch(&self, most: u64) -> u64 {
        self.per_second.map_or(most, |n| (n / 10).clamp(1, most))
    }

    /// Waits until the keys before are paid for, then notes these.
    pub(crate) async fn take(&self, keys: u64) {
        let Some(per_second) = self.per_second else { return };
        sleep_until(self.paid.get()).await;
        let price = Duration::from_secs_f64(keys as f64 / per_second.max(1) as f64);
        self.paid.set(self.paid.get().max(Instant::now()) + price);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_even_pace() {
        let begun = Instant::now();
        let rate = Rate::new(Some(1_000));
        assert_eq!((rate.batch(1_000), Rate::new(None).batch(1_000), Rate::new(Some(3)).batch(9)), (100, 1_000, 1));
        for _ in 0..11 {
            rate.take(100).await;
        }
        assert_eq!(begun.elapsed().as_millis(), 1_000);
        Rate::new(None).take(u64::MAX).await;
    }
}
