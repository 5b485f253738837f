//! From two endpoints to a running stream: where to begin, then all parts together until the end, and again where an end
//! can be mended.

use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    future::Future,
    hash::{BuildHasher as _, Hasher as _},
    pin::Pin,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use keyferry_model::{Error, ErrorKind, Phase, Result, Retry, Side, SyncSpec, failpoint};
use keyferry_net::Endpoint;
use keyferry_spool::{self as spool, Handle, State};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    Event, Stats,
    backoff::Backoff,
    begin::{Begun, Task},
    cutover::Cutover,
    event,
    repair::Repairs,
    session::Sessions,
    source::{Framing, Receiver, SnapshotEnd, follow_reports},
    stats::{Standing, lock},
    stop::Stop,
    target::{Lifter, Settler},
};

/// Chunks between spool and decoder: up to 1 MiB each when they come from the disk.
pub(crate) const CHUNKS: usize = 4;
/// Batches between decoder and lane: one, since a batch may hold a value of any size; the lane has its own bound for
/// what is in flight.
pub(crate) const BATCHES: usize = 1;
/// Emptied batches that are kept for the decoder.
pub(crate) const SPARE: usize = 16;
/// Before everything is copied again: a target that is emptied over and over does not keep the source forking.
const ANEW: Duration = Duration::from_secs(1);
/// What has worked for this long has a retry window of its own.
const STEADY: Duration = Duration::from_secs(60);
/// How often the spool is looked after.
const TEND: Duration = Duration::from_millis(500);

/// How a task ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The snapshot is on the target (`full_only`).
    Copied,
    /// Both sides were in step (`stop_when_synced`).
    Synced,
    /// It was asked to stop.
    Interrupted,
    /// The target is the place to write now.
    CutOver,
    /// Likewise, and the task in the other direction can begin: [`SyncSpec::reversed`].
    TurnedRound,
}

/// Has the last word before a task begins anew: when both sides have answered all else, and before anything is written.
pub trait Gate {
    /// Its error ends the task, unless that kind of error is tried again; then it is asked once more.
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<()>> + '_>>;
}

/// Copies everything and follows every change until `stop` is cancelled or the spec says that it is done. Goes on where an
/// earlier run of the same task has ended. `goes_on`: there is such a one, and nothing is to be begun anew.
pub async fn run(
    source: &Endpoint,
    target: &Endpoint,
    spec: &SyncSpec,
    stats: &Stats,
    gate: &dyn Gate,
    goes_on: bool,
    stop: &CancellationToken,
) -> Result<Outcome> {
    let holder = RandomState::new().build_hasher().finish();
    let task = Task { source, target, spec, stats, gate, holder };
    ended(stats, Box::pin(task.run(goes_on, stop)).await)
}

/// Shows how a task has ended.
pub(crate) fn ended(stats: &Stats, outcome: Result<Outcome>) -> Result<Outcome> {
    match &outcome {
        Ok(_) => stats.set_phase(Phase::Stopped),
        Err(e) => {
            stats.note_error(e);
            stats.set_phase(Phase::Failed);
        }
    }
    outcome
}

impl Task<'_> {
    async fn run(&self, goes_on: bool, stop: &CancellationToken) -> Result<Outcome> {
        let mut backoff = Backoff::new(self.spec.retry_window);
        let mut restart = self.spec.restart;
        // Something of this task is on the target.
        let mut wrote = goes_on;
        loop {
            // What begins anew may empty the target: that is writing, too.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Outcome::Interrupted),
                () = self.stats.control.unpaused() => {}
            }
            let begun = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Outcome::Interrupted),
                begun = self.begin(restart, wrote) => begun,
            };
            // Where a full sync is needed and can be made again, `begin` makes it; otherwise it says why not.
            let mut anew = false;
            let result = match begun {
                Ok(begun) => {
                    (restart, wrote) = (false, true);
                    let (since, linked) = (Instant::now(), begun.link.is_ok());
                    let clock = Stop::new(stop);
                    let result = tokio::select! {
                        biased;
                        never = clock.watch() => match never {},
                        result = Box::pin(self.follow(begun, &clock)) => result,
                    };
                    if linked && since.elapsed() > STEADY {
                        backoff = Backoff::new(self.spec.retry_window);
                    }
                    let lost = |e: &Error| matches!(e.kind(), ErrorKind::BacklogLost | ErrorKind::SpoolDropped);
                    anew = result.as_ref().is_err_and(lost);
                    result
                }
                Err(e) => Err(e),
            };
            let error = match result {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {
                    backoff = Backoff::new(self.spec.retry_window);
                    continue;
                }
                // It may be promoted again, as `Place::connect` takes it.
                Err(e) if wrote && e.kind() == ErrorKind::TargetReplica => {
                    Error::new(ErrorKind::TargetDemoted, "go on with the target").caused_by(e)
                }
                Err(e) => e,
            };
            let again = match error.kind() {
                // Both sides differ: see `session.rs`.
                _ if self.stats.broken.load(Relaxed) => false,
                // A server that says that it will be there soon is waited for.
                ErrorKind::Loading(_) | ErrorKind::NoMasterLink => true,
                // Nothing was written: what is there now is looked at again.
                ErrorKind::CheckpointChanged | ErrorKind::TargetChanged => true,
                _ if anew => true,
                // Anything else at the start is for the user to see now.
                _ => wrote && error.kind().policy().retry == Retry::Backoff,
            };
            if !again {
                return Err(error);
            }
            tracing::warn!(error = %error, "waiting");
            self.stats.set_phase(Phase::Connecting);
            self.stats.note_error(&error);
            self.stats.tell(Event::Waiting(&error));
            if anew {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(Outcome::Interrupted),
                    () = sleep(ANEW) => continue,
                }
            }
            if !backoff.again(error, stop).await? {
                return Ok(Outcome::Interrupted);
            }
        }
    }

    /// Runs all parts until the first of them fails or the work is done; `None` when it is to be begun again at once.
    async fn follow(&self, begun: Begun, stop: &Stop<'_>) -> Result<Option<Outcome>> {
        let Self { source, spec, stats, .. } = *self;
        let Begun { facts, link, spool, conn, checkpoint, all_until_ms } = begun;
        let spool::Spool { writer, reader, handle } = spool;
        let head = *handle.head();
        let framing = match head.framing {
            spool::Framing::Mark(mark) => Framing::Mark(mark),
            spool::Framing::Length(n) => Framing::Length(n),
            spool::Framing::Stream => Framing::Length(0),
        };
        if let Framing::Length(n) = framing {
            stats.snapshot_len.set(n);
        }
        *lock(&stats.replid) = Some(handle.replid());
        stats.set_lost(Side::Source, false);
        stats.set_lost(Side::Target, false);
        stats.tell(Event::Begun(event::Begun {
            copy: checkpoint.log.number,
            source: Some(facts.source),
            target: facts.target,
            offset: checkpoint.offset,
            resumed: checkpoint.snapshot.is_none_or(|at| at.offset > 0),
            copied: checkpoint.snapshot.is_none(),
            counted: checkpoint.snapshot.is_none() || checkpoint.counts.is_some(),
        }));
        let hold = facts.holds_stream(spec);
        stats.holding.fetch_and(hold.is_some(), Relaxed);
        // An end that did not come about: the target had lost something by then.
        stats.ending.store(false, Relaxed);
        stats.resume(&checkpoint);
        // What an earlier process has written nobody knows.
        let unknown = checkpoint.snapshot.is_none() && facts.target.field_deadlines();
        stats.field_deadlines.fetch_or(unknown, Relaxed);
        *lock(&stats.standing) = Standing::default();
        if let Some(bounds) = hold {
            stats.begin_behind(&checkpoint, all_until_ms, bounds, link.is_ok());
        }
        // Cancelled by whoever finds that the work is done; `stop` is the user's and stays untouched.
        let done = stop.token.child_token();
        let receiver = Receiver {
            endpoint: source,
            stats,
            writer,
            spool: handle.clone(),
            end: handle.stream_from().is_none().then(|| SnapshotEnd::new(framing)),
            replid: handle.replid(),
            retry_window: spec.retry_window,
            stop: &done,
        };
        let epoch = Cell::new(checkpoint.epoch);
        let sessions = Sessions {
            task: *self,
            facts: &facts,
            framing,
            spool: handle.clone(),
            done: &done,
            stop: stop.token,
            epoch: &epoch,
        };
        let settler = Settler {
            place: self.place(),
            stats,
            objects: &spec.objects,
            grace: spec.ttl_grace,
            retry_window: spec.retry_window,
            stop: &done,
            epoch: &epoch,
            hold,
            owns_keys: checkpoint.flags.owner,
        };
        let lifter = Lifter {
            source,
            place: self.place(),
            epoch: &epoch,
            stats,
            objects: &spec.objects,
            grace: spec.ttl_grace,
            retry_window: spec.retry_window,
            stop: &done,
        };
        let repairs = Repairs { source, version: &facts.source, stats, done: &done };
        let work = async {
            tokio::try_join!(
                receiver.run(link),
                sessions.run(conn, checkpoint, reader),
                settler.run(),
                tend(&handle, stats, &done),
                lifter.run(),
                repairs.run(),
                follow_reports(source, &facts.source, stats, spec.stop_when_synced, &done),
            )
        };
        let over = CancellationToken::new();
        let parts = async {
            let ended = tokio::select! {
                biased;
                result = work => Some(result.map(|ends| (ends.0, ends.6))),
                () = stop.drained() => None,
            };
            over.cancel();
            ended
        };
        let cutover = async {
            // Without a stream there is nothing to switch.
            if spec.full_only {
                return None;
            }
            let owner = checkpoint.flags.owner;
            let cutover = Cutover { task: *self, facts: &facts, owner, epoch: &epoch, done: &done, stop, over: &over };
            let ready = cutover.run().await?;
            // The source is paused: it is told of a stop at once, whatever the parts still wait for.
            tokio::select! {
                biased;
                () = over.cancelled() => return Some(ready),
                () = stop.token.cancelled() => {}
            }
            ready.failed(&Ok(()), false, stop).await;
            None
        };
        let (ended, mut ready) = tokio::join!(parts, cutover);
        // Likewise, that nothing becomes of it.
        if (!matches!(ended, Some(Ok(_))) || stop.token.is_cancelled())
            && let Some(ready) = ready.take()
        {
            let why = Error::new(ErrorKind::CutoverUndone, "the task was stopped, or a connection was lost");
            ready.failed(&Err(why), false, stop).await;
        }
        if stats.broken.load(Relaxed) {
            self.note_broken(epoch.get(), stop).await;
        }
        let Some(ended) = ended else { return Ok(Some(Outcome::Interrupted)) };
        // Whoever opens the spool again must be alone with it.
        tokio::select! {
            biased;
            () = handle.ended() => {}
            () = stop.drained() => {
                if let Some(ready) = ready {
                    ready.failed(&Ok(()), false, stop).await;
                }
                return ended.map(|_| Some(Outcome::Interrupted));
            }
        }
        if let Some(ready) = ready {
            let ready = match self.promote(epoch.get(), ready, stop).await {
                Ok(Some(ready)) => ready,
                Ok(None) => return Ok(Some(Outcome::Interrupted)),
                Err(e) if e.kind() == ErrorKind::CutoverUndone => return Ok(None),
                Err(e) => return Err(e),
            };
            if let Err(e) = spool::remove(&spec.spool_dir) {
                tracing::warn!(error = %e, "the spool is not needed any more, and cannot be removed");
            }
            let outcome = if ready.turns_round() { Outcome::TurnedRound } else { Outcome::CutOver };
            ready.release(stop).await;
            return Ok(Some(outcome));
        }
        let (source_is_back, in_step) = ended?;
        let outcome = match in_step {
            true => Outcome::Synced,
            false if stop.token.is_cancelled() => return Ok(Some(Outcome::Interrupted)),
            false if source_is_back => return Ok(None),
            false => Outcome::Copied,
        };
        // Nothing is left to go on with.
        if !self.forget(epoch.get(), &mut None, None, async || Ok(()), stop).await? {
            return Ok(Some(Outcome::Interrupted));
        }
        failpoint("task-forgotten");
        // The spool behind the checkpoint: without that it means nothing.
        spool::remove(&spec.spool_dir)?;
        if outcome == Outcome::Synced {
            self.take_grace_off(&facts, stop).await;
        }
        Ok(Some(outcome))
    }
}

/// Releases what is applied, and says when the spool is full.
async fn tend(spool: &Handle, stats: &Stats, done: &CancellationToken) -> Result<()> {
    let mut full = false;
    loop {
        spool.release(stats.position.get());
        stats.spooled.set(spool.used_bytes());
        let state = spool.state();
        match &state {
            State::Full { reason, .. } if !full => {
                tracing::warn!(
                    ?reason,
                    bytes = spool.used_bytes(),
                    "the spool is full: reading the source has stopped"
                );
            }
            State::Flowing if full => tracing::info!("the spool has room again"),
            _ => {}
        }
        full = state != State::Flowing;
        tokio::select! {
            biased;
            () = done.cancelled() => return Ok(()),
            () = sleep(TEND) => {}
        }
    }
}
