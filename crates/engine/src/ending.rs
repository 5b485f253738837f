//! What is done on the target when a task ends: its position is removed, or marked, and the grace is taken off.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use keyferry_model::{Error, ErrorKind, OnConflict, Result, Side, failpoint};
use tokio::time::{sleep, timeout};

use crate::{
    backoff::Backoff,
    begin::Task,
    checks::Facts,
    cutover::Ready,
    stop::Stop,
    target::{Asked, Last, Turn, shift},
};

/// Taking the grace off is given up behind this: what keeps it only lives longer.
const TIDY: Duration = Duration::from_secs(60);
/// Between two questions whether the last step was done.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl Task<'_> {
    /// Removes the position of the task, which has ended. `false` when it was asked to stop. `asked`: who was asked to,
    /// whatever has become of that. `last` and `check`: see [`Place::forget`](crate::target::Place::forget).
    ///
    /// Errors: `Lost` of the target when it no longer has all that it has answered: there is more to do. Those of `check`. With
    /// `last`, `CutoverUndone` when the target refuses to write.
    pub(crate) async fn forget(
        &self,
        epoch: u64,
        asked: &mut Option<Asked>,
        last: Option<&Last<'_>>,
        check: impl AsyncFn() -> Result<()>,
        stop: &Stop<'_>,
    ) -> Result<bool> {
        let place = self.place();
        let mut backoff = Backoff::new(self.spec.retry_window);
        loop {
            let forgotten = tokio::select! {
                biased;
                forgotten = place.forget(epoch, self.stats.applied.get(), asked, last, &check) => forgotten,
                () = stop.drained() => return Ok(false),
            };
            let error = match forgotten {
                Ok(true) => return Ok(true),
                Ok(false) => {
                    let what = "end the task: the target no longer has all that it has answered";
                    return Err(Error::new(ErrorKind::Lost(Side::Target), what));
                }
                // It is not what was paused any more; or nothing comes of it for another reason.
                Err(e) if matches!(e.kind(), ErrorKind::Lost(Side::Source) | ErrorKind::CutoverUndone) => {
                    return Err(e);
                }
                // Writers wait meanwhile.
                Err(e) if last.is_some() && refuses(e.kind()) => {
                    return Err(Error::new(ErrorKind::CutoverUndone, "end the task").caused_by(e));
                }
                Err(e) => e,
            };
            tracing::warn!(error = %error, "the position of the task is to be removed from the target");
            if !backoff.again(error, stop.token).await? {
                return Ok(false);
            }
        }
    }

    /// The last step of a cut-over: removes the position of the task before the pause of the source ends. `true` when that is
    /// done; then `ready` is to be released.
    ///
    /// Errors: as [`Self::forget`]. The cut-over is undone then, and the task goes on: at once with `CutoverUndone`, since there
    /// is nothing wrong with the task.
    pub(crate) async fn promote<'a>(
        &self,
        epoch: u64,
        mut ready: Ready<'a>,
        stop: &Stop<'_>,
    ) -> Result<Option<Ready<'a>>> {
        let mut asked = None;
        let (until, end) = ready.times();
        let late = || Error::new(ErrorKind::Lost(Side::Target), "end the task: it was not done in time");
        let (mut turn, replicas) = (None, Cell::new(None));
        let last = async {
            turn = ready.turn().await?;
            let last = Last { until, turn: turn.as_ref(), replicas: &replicas };
            let check = async || {
                ready.is_still().await?;
                // Its answer might not come in the time that is left.
                match stop.token.is_cancelled() {
                    true => Err(Error::new(ErrorKind::CutoverUndone, "cut over: the task was asked to stop")),
                    false => Ok(()),
                }
            };
            self.forget(epoch, &mut asked, Some(&last), check, stop).await
        };
        let mut result = tokio::select! {
            biased;
            forgotten = timeout(until.left(), last) => forgotten.unwrap_or_else(|_| Err(late())),
            () = stop.lets_go() => Ok(false),
        };
        let mut unknown = false;
        if let (Err(_) | Ok(false), Some(asked)) = (&result, &asked) {
            match self.has_ended(epoch, asked, turn.as_ref(), end, stop).await {
                Some(true) => result = Ok(true),
                ended => unknown = ended.is_none(),
            }
        }
        let result = match result {
            Ok(true) => {
                ready.replicas_had(replicas.get());
                ready.turned(stop);
                failpoint("turned");
                ready.look_again(stop).await;
                if let Some(turn) = &turn {
                    ready.settle_old_side(turn, stop).await;
                }
                ready.promoted(stop);
                return Ok(Some(ready));
            }
            Ok(false) => Ok(()),
            Err(e) => Err(e),
        };
        ready.failed(&result, unknown, stop).await;
        result.map(|()| None)
    }

    /// Whether the last step was done, whose answer is lost; when it was not, it never will be. `None` when nobody has said so by
    /// `end`, or before a stop cannot wait.
    async fn has_ended(
        &self,
        epoch: u64,
        asked: &Asked,
        turn: Option<&Turn>,
        end: Instant,
        stop: &Stop<'_>,
    ) -> Option<bool> {
        let place = self.place();
        let ask = async {
            loop {
                match place.has_ended(epoch, asked, turn).await {
                    Ok(ended) => return ended,
                    Err(error) => tracing::warn!(error = %error, "whether the task has ended is asked again"),
                }
                sleep(ASK_AGAIN).await;
            }
        };
        tokio::select! {
            biased;
            ended = timeout(end.saturating_duration_since(Instant::now()), ask) => ended.ok().flatten(),
            () = stop.lets_go() => None,
        }
    }

    /// Notes on the target that both sides differ, as often as it takes: without it, a later run would go on behind the hole.
    pub(crate) async fn note_broken(&self, epoch: u64, stop: &Stop<'_>) {
        let mut backoff = Backoff::new(self.spec.retry_window);
        let place = self.place();
        loop {
            let noted = tokio::select! {
                biased;
                noted = place.note_broken(epoch) => noted,
                () = stop.has_tried() => return,
            };
            let Err(error) = noted else { return };
            tracing::warn!(error = %error, "the target is to be told that both sides differ");
            self.stats.set_lost(Side::Target, true);
            self.stats.note_error(&error);
            match backoff.again(error, stop.token).await {
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
    pub(crate) async fn take_grace_off(&self, facts: &Facts, stop: &Stop<'_>) {
        // A key that was kept may have any deadline of its own.
        if self.spec.ttl_grace.is_zero() || self.spec.on_conflict == OnConflict::Ignore {
            return;
        }
        let grace = [self.spec.ttl_grace, Duration::ZERO, Duration::ZERO];
        let mut backoff = Backoff::new(Some(TIDY));
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.token.cancelled() => break,
                taken = shift(self.source, self.place(), None, facts, &self.spec.objects, grace) => taken,
            };
            let error = match taken {
                Ok(keys) => {
                    tracing::info!(keys, "the grace is taken off");
                    return;
                }
                // The next task has begun, and its keys need the grace.
                Err(e) if e.kind() == ErrorKind::CheckpointChanged => break,
                Err(e) => e,
            };
            tracing::warn!(error = %error, "the grace is to be taken off");
            if !backoff.again(error, stop.token).await.unwrap_or(false) {
                break;
            }
        }
        tracing::warn!("keys with a deadline may live longer on the target than on the source, by the grace");
    }
}

/// Whether a target that answers so does not take writes just now.
fn refuses(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::TargetFull | ErrorKind::TargetMisconf | ErrorKind::TargetDemoted)
}
