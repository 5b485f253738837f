//! A clean stop, and how long it may take.
//!
//! Invariant: all that still waits for somebody once a stop was asked for has one time together, from the moment of the stop
//! on, however many such waits follow each other. What has to be tried all the same has 1 s.

use std::{cell::OnceCell, convert::Infallible, future::pending, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// A clean stop is over within 5 s, two of which the command line may need for its last words: after this time what is
/// still in flight is given up.
const DRAIN: Duration = Duration::from_secs(3);
/// A cut-over lets go of both sides before: in the rest of the time the source is changed back.
const LET_GO: Duration = Duration::from_secs(2);
/// For what has to be tried.
const TRY: Duration = Duration::from_secs(1);

/// A stop that was asked for, or may be.
pub(crate) struct Stop<'a> {
    /// Cancelled by the user.
    pub(crate) token: &'a CancellationToken,
    since: OnceCell<Instant>,
}

impl<'a> Stop<'a> {
    pub(crate) fn new(token: &'a CancellationToken) -> Self {
        Self { token, since: OnceCell::new() }
    }

    /// Notes the moment. Polled beside everything that a stop may end; it never ends.
    pub(crate) async fn watch(&self) -> Infallible {
        self.over(Duration::ZERO).await;
        pending().await
    }

    /// Is over when a stop was asked for so long ago.
    pub(crate) async fn over(&self, time: Duration) {
        self.token.cancelled().await;
        sleep_until(*self.since.get_or_init(Instant::now) + time).await;
    }

    /// Is over when a stop was asked for and has taken too long.
    pub(crate) async fn drained(&self) {
        self.over(DRAIN).await;
        tracing::warn!("stopped with replies of the target outstanding");
    }

    /// Likewise, while something is still to be changed back.
    pub(crate) async fn lets_go(&self) {
        self.over(LET_GO).await;
    }

    /// Likewise, for what is tried however late it begins.
    pub(crate) async fn has_tried(&self) {
        tokio::join!(sleep(TRY), self.over(DRAIN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_time_for_all_from_the_stop_on() {
        let token = CancellationToken::new();
        let stop = Stop::new(&token);
        let work = async {
            sleep(Duration::from_secs(60)).await;
            let asked = Instant::now();
            token.cancel();
            // Nobody waits for it just then.
            sleep(Duration::from_secs(1)).await;
            stop.lets_go().await;
            let let_go = asked.elapsed();
            stop.has_tried().await;
            let tried = asked.elapsed();
            stop.drained().await;
            assert_eq!([let_go, tried, asked.elapsed()], [LET_GO, DRAIN, DRAIN]);
            stop.has_tried().await;
            assert_eq!(asked.elapsed(), DRAIN + TRY);
        };
        tokio::select! {
            biased;
            never = stop.watch() => match never {},
            () = work => {}
        }
    }
}
