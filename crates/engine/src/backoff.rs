//! Trying again: with growing pauses, jitter, and an end.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    time::Duration,
};

use keyferry_model::{Error, Result, Retry};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// A server that restarts without data is back within a second.
const FIRST: Duration = Duration::from_millis(100);
/// Nobody who has repaired a network wants to wait longer than this for the next try.
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses between tries of one thing.
pub(crate) struct Backoff {
    pause: Duration,
    until: Option<Instant>,
}

impl Backoff {
    /// Tries end when `window` is over; `None`: never.
    pub(crate) fn new(window: Option<Duration>) -> Self {
        Self { pause: FIRST, until: window.map(|w| Instant::now() + w) }
    }

    /// Waits before the next try. `Err` gives the error back when trying again cannot help or the window is over;
    /// `false` when asked to stop meanwhile.
    pub(crate) async fn again(&mut self, error: Error, stop: &CancellationToken) -> Result<bool> {
        let over = self.until.is_some_and(|until| Instant::now() >= until);
        if over || error.kind().policy().retry != Retry::Backoff {
            return Err(error);
        }
        let pause = self.pause / 2 + self.pause.mul_f64(jitter() / 2.0);
        self.pause = (self.pause * 2).min(LONGEST);
        let until = self.until.map_or(Instant::now() + pause, |until| until.min(Instant::now() + pause));
        tracing::info!(pause_ms = pause.as_millis() as u64, "next try");
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(false),
            () = sleep(until.saturating_duration_since(Instant::now())) => Ok(true),
        }
    }
}

/// 0 to 1, so that many streams that lost the same server do not all come back at once.
fn jitter() -> f64 {
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use keyferry_model::{ErrorKind, Side};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_with_the_window_and_with_the_error() {
        let stop = CancellationToken::new();
        let lost = || Error::new(ErrorKind::Lost(Side::Source), "read");
        let mut backoff = Backoff::new(Some(Duration::from_secs(30)));
        let begun = Instant::now();
        let mut tries = 0;
        let error = loop {
            match backoff.again(lost(), &stop).await {
                Ok(again) => assert!(again),
                Err(e) => break e,
            }
            tries += 1;
        };
        assert_eq!(error.kind(), ErrorKind::Lost(Side::Source));
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
        assert!((8..30).contains(&tries), "{tries}");
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_repeat_what_cannot_help_and_stops_when_asked() {
        let stop = CancellationToken::new();
        let auth = Error::new(ErrorKind::Auth(Side::Source), "greet");
        assert!(Backoff::new(None).again(auth, &stop).await.is_err());
        stop.cancel();
        let lost = Error::new(ErrorKind::Lost(Side::Source), "read");
        assert!(!Backoff::new(None).again(lost, &stop).await.unwrap());
    }
}
