//! What is done on the target when a task ends: its position is removed, or marked, and the grace is taken off.

use std::time::Duration;

use keyferry_model::{Error, ErrorKind, OnConflict, Result, Side, failpoint};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::Backoff,
    begin::Task,
    checks::Facts,
    cutover::Ready,
    run::drained,
    target::{Turn, shift},
};

/// Taking the grace off is given up behind this: what keeps it only lives longer.
const TIDY: Duration = Duration::from_secs(60);

impl Task<'_> {
    /// Removes the position of the task, which has ended. `false` when it was asked to stop. `asked`: the run of the target
    /// that was asked to, whatever has become of that. `turn`: what is put there in the same step.
    ///
    /// Errors: `Lost` when the target no longer has all that it has answered: there is more to do.
    pub(crate) async fn forget(
        &self,
        epoch: u64,
        asked: &mut Option<String>,
        turn: Option<&Turn>,
        stop: &CancellationToken,
    ) -> Result<bool> {
        let place = self.place();
        let mut backoff = Backoff::new(self.spec.retry_window);
        loop {
            let forgotten = tokio::select! {
                biased;
                forgotten = place.forget(epoch, self.stats.applied.get(), asked, turn) => forgotten,
                () = drained(stop) => return Ok(false),
            };
            let error = match forgotten {
                Ok(true) => return Ok(true),
                Ok(false) => {
                    let what = "end the task: the target no longer has all that it has answered";
                    return Err(Error::new(ErrorKind::Lost(Side::Target), what));
                }
                Err(e) => e,
            };
            tracing::warn!(error = %error, "the position of the task is to be removed from the target");
            if !backoff.again(error, stop).await? {
                return Ok(false);
            }
        }
    }

    /// The last step of a cut-over: removes the position of the task before the pause of the source ends. `true` when that is
    /// done; then `ready` is to be released.
    ///
    /// Errors: as [`Self::forget`]. The cut-over is undone then, and the task goes on.
    pub(crate) async fn promote<'a>(
        &self,
        epoch: u64,
        mut ready: Ready<'a>,
        stop: &CancellationToken,
    ) -> Result<Option<Ready<'a>>> {
        let mut asked = None;
        let time_left = ready.time_left();
        let late = || Error::new(ErrorKind::Lost(Side::Target), "end the task: the target did not answer in time");
        let mut turn = None;
        let last = async {
            turn = ready.turn().await?;
            self.forget(epoch, &mut asked, turn.as_ref(), stop).await
        };
        let forgotten = timeout(time_left, last).await;
        let result = match forgotten.unwrap_or_else(|_| Err(late())) {
            Ok(true) => {
                ready.turned();
                failpoint("turned");
                if let Some(turn) = &turn {
                    ready.settle_old_side(turn).await;
                }
                ready.promoted();
                return Ok(Some(ready));
            }
            Ok(false) => Ok(()),
            Err(e) => Err(e),
        };
        ready.failed(&result, asked.is_some()).await;
        result.map(|()| None)
    }

    /// Notes on the target that both sides differ, as often as it takes: without it, a later run would go on behind the hole.
    pub(crate) async fn note_broken(&self, epoch: u64, stop: &CancellationToken) {
        let mut backoff = Backoff::new(self.spec.retry_window);
        let place = self.place();
        loop {
            let noted = tokio::select! {
                biased;
                noted = place.note_broken(epoch) => noted,
                () = drained(stop) => return,
            };
            let Err(error) = noted else { return };
            tracing::warn!(error = %error, "the target is to be told that both sides differ");
            self.stats.set_lost(Side::Target, true);
            self.stats.note_error(&error);
            match backoff.again(error, stop).await {
                Ok(true) => {}
                // Otherwise the count of batches says it, where that differs too.
                _ => {
                    tracing::warn!("the target could not be told that both sides differ: begin anew with --restart");
                    return;
                }
            }
        }
    }

    /// Makes deadlines what they are at the source. Only behind the end of the task: from here on nothing follows that could
    /// renew a key too late. Whatever hinders it is no failure of the task.
    pub(crate) async fn take_grace_off(&self, facts: &Facts, stop: &CancellationToken) {
        // A key that was kept may have any deadline of its own.
        if self.spec.ttl_grace.is_zero() || self.spec.on_conflict == OnConflict::Ignore {
            return;
        }
        let grace = [self.spec.ttl_grace, Duration::ZERO, Duration::ZERO];
        let mut backoff = Backoff::new(Some(TIDY));
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                taken = shift(self.source, self.target, facts, &self.spec.objects, grace) => taken,
            };
            let error = match taken {
                Ok(keys) => {
                    tracing::info!(keys, "the grace is taken off");
                    return;
                }
                Err(e) => e,
            };
            tracing::warn!(error = %error, "the grace is to be taken off");
            if !backoff.again(error, stop).await.unwrap_or(false) {
                break;
            }
        }
        tracing::warn!("keys with a deadline may live longer on the target than on the source, by the grace");
    }
}
