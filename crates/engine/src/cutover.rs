//! The switch from source to target: while the task runs, step by step, and each step can be undone until the last.
//!
//! | step | what it changes | how it is undone |
//! |---|---|---|
//! | `in_step` | nothing | |
//! | `way_back` | only for a [task in the other direction](way_back): a link to the target | it is closed |
//! | `grace` | deadlines on the target, and those that the stream writes | given back |
//! | `pause_source` | the source takes no writes | ends by itself, or is ended |
//! | `drain` | nothing | |
//! | `promote` | the position of the task is removed, in one step on the target | not at all |
//!
//! Invariants:
//! - The position is removed only when the source was paused, was asked for its offset behind that, and all up to this offset
//!   is on the target; and only before that pause ends. Right before that it is asked whether it still is what was paused.
//! - Deadlines are touched only while the stream is followed, never behind the last step: what clients of the target have
//!   renewed is theirs.
//! - Whatever ends the work early, undoing is not left out: this runs beside the parts, not as one of them.
//! - While it is under way a delay as long as the grace loses no key, as at any other time: a deadline is lowered only when it
//!   is further away than the grace.
//! - Who has asked must be there until the last step: nobody is promoted whom nobody tells.

use std::{
    cell::Cell,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use keyferry_model::{Error, ErrorKind, OnConflict, Result, failpoint};
use keyferry_net::Connection;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

mod desk;
mod moment;
mod pause;
mod ready;
mod rest;
mod seen;
mod way_back;

pub(crate) use desk::Asked;
pub use desk::{CutoverEvent, CutoverReport, CutoverSpec, Step, StepState};
pub(crate) use moment::Moment;
use pause::Pause;
pub(crate) use ready::Ready;
use ready::undo;
use seen::Seen;
use way_back::WayBack;

use crate::{
    backoff::Backoff,
    begin::Task,
    checks::Facts,
    stop::Stop,
    target::{run_of, shift},
};

/// What is left of the grace where a deadline is further away than the grace. What is nearer keeps it: should the target stall
/// while the cut-over is under way, no key is over there that a write in front of the pause still needs.
pub(crate) const REST: Duration = Duration::from_secs(1);
/// How often it is looked whether something has come true; in the pause, which is short.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_IN_PAUSE: Duration = Duration::from_millis(2);

/// Does what is asked for at the desk.
pub(crate) struct Cutover<'a> {
    pub(crate) task: Task<'a>,
    pub(crate) facts: &'a Facts,
    /// The target held nothing but what is the task's own when that began.
    pub(crate) owner: bool,
    /// That of the last connection to the target.
    pub(crate) epoch: &'a Cell<u64>,
    /// Cancelled when all is ready for the last step: all parts come to their end then.
    pub(crate) done: &'a CancellationToken,
    pub(crate) stop: &'a Stop<'a>,
    /// Cancelled when the parts have ended.
    pub(crate) over: &'a CancellationToken,
}

/// One cut-over, and what it has changed.
struct Run {
    spec: CutoverSpec,
    events: mpsc::Sender<CutoverEvent>,
    step: Option<(Step, Instant)>,
    /// Deadlines may have been lowered.
    lowered: bool,
    /// The source may be paused. What it was before.
    pause: Option<Pause>,
    seen: Option<Seen>,
    /// From when on nobody writes to the source.
    paused_at: Instant,
    /// Until when the last step may be done: a part of the pause is left then.
    until: Moment,
}

impl Run {
    fn say(&mut self, state: StepState, words: impl Into<String>) {
        let Some((step, begun)) = self.step else { return };
        let words = words.into();
        tracing::info!(step = step.name(), state = state.name(), words, "cut-over");
        let _ = self.events.try_send(CutoverEvent::Step(step, state, words, begun.elapsed()));
    }

    fn begin(&mut self, step: Step, words: impl Into<String>) {
        self.step = Some((step, Instant::now()));
        self.say(StepState::Running, words);
    }
}

impl<'a> Cutover<'a> {
    /// Does one after the other until the parts have ended, or until one is ready for its last step.
    pub(crate) async fn run(self) -> Option<Ready<'a>> {
        let mut open = None;
        loop {
            let asked = tokio::select! {
                biased;
                () = self.over.cancelled() => return None,
                asked = async {
                    // What was lowered by one that was undone.
                    self.give_back().await;
                    open.get_or_insert_with(|| self.task.stats.control.desk.open()).next().await
                } => asked,
            };
            if let Some(ready) = self.one(asked).await {
                return Some(ready);
            }
        }
    }

    async fn one(&self, asked: Asked) -> Option<Ready<'a>> {
        let now = Instant::now();
        let Asked { spec, events } = asked;
        let listener = events.clone();
        let mut run = Run {
            spec,
            events,
            step: None,
            lowered: false,
            pause: None,
            seen: None,
            paused_at: now,
            until: Moment::after(Duration::ZERO),
        };
        let undone = |why: &str| Error::new(ErrorKind::CutoverUndone, format!("cut over: {why}"));
        let result = tokio::select! {
            biased;
            () = self.over.cancelled() => Err(undone("the task has ended, or begins again")),
            () = self.stop.token.cancelled() => Err(undone("the task was asked to stop")),
            () = listener.closed() => Err(undone("who has asked for it has gone")),
            result = self.steps(&mut run) => result,
        };
        match result {
            Ok((offset, back)) => {
                run.begin(Step::Promote, "the position of the task is removed from the target");
                self.done.cancel();
                Some(Ready {
                    task: self.task,
                    run,
                    offset,
                    back,
                    settled: false,
                    late_writes: 0,
                    source_changed: None,
                    replicas: None,
                })
            }
            Err(error) => {
                undo(&mut run, self.task, error, self.stop).await;
                None
            }
        }
    }

    /// All steps but the last; gives the offset behind the last write of the source, and the way back where that is wanted.
    async fn steps(&self, run: &mut Run) -> Result<(u64, Option<WayBack>)> {
        let stats = self.task.stats;
        let refused = |what: String| Error::new(ErrorKind::CutoverRefused, what);
        run.begin(Step::InStep, "until both sides are in step");
        if stats.control.is_paused() {
            return Err(refused("cut over: the task is paused".into()));
        }
        // Deadlines that are still to get the grace cannot lose it.
        if !self.until(run.spec.timeout, LOOK, || stats.is_in_step() && !stats.exact.load(Relaxed)).await {
            let what = format!("wait until both sides are in step: they were not for {:?}", run.spec.timeout);
            return Err(refused(what));
        }
        let pause = Pause::choose(self.task.source, &self.facts.source, run.spec.source_pause).await?;
        // The last step looks at its clock.
        let place = self.task.place();
        let mut target = place.connect().await?;
        // Another run or history would not be known.
        if run.spec.reverse && run_of(&mut target).await?.is_none() {
            return Err(refused("prepare the way back: INFO of the target does not tell its run_id".into()));
        }
        if place.clock(&mut target).await?.is_none() {
            tracing::warn!(
                "the target's scripts cannot look at its clock: a last step that it runs late is done all the same"
            );
        }
        run.say(StepState::Done, "");
        if !run.spec.reverse {
            return Ok((self.switch(run, &pause).await?, None));
        }
        run.begin(Step::WayBack, "until the other direction is possible");
        let opened = timeout(run.spec.timeout, WayBack::open(self.task, self.owner, &pause)).await;
        let late = |_| refused(format!("prepare the way back: it took longer than {:?}", run.spec.timeout));
        let (mut back, words) = opened.map_err(late)??;
        run.say(StepState::Done, words);
        let offset = tokio::select! {
            biased;
            error = back.keep() => Err(error),
            offset = self.switch(run, &pause) => offset,
        }?;
        Ok((offset, Some(back)))
    }

    /// From the grace on; gives the offset behind the last write of the source.
    async fn switch(&self, run: &mut Run, pause: &Pause) -> Result<u64> {
        let stats = self.task.stats;
        let generation = stats.generation.get();
        self.lower_grace(run).await?;

        run.begin(
            Step::PauseSource,
            match run.spec.source_pause {
                Some(_) => "writes are paused at the source",
                None => "stop the writers of the source now; waiting until it does not move for 2 s",
            },
        );
        run.seen = Some(Seen::ask(&mut Connection::open(self.task.source).await?).await?);
        run.pause = Some(pause.clone());
        run.paused_at = Instant::now();
        match run.spec.source_pause {
            Some(time) => {
                // Some of it is for the last step.
                run.until = Moment::after(time * 3 / 4);
                pause.begin(self.task.source).await?;
            }
            None => {
                run.paused_at = self.stillness(run.spec.timeout).await?;
                run.until = Moment::after(run.spec.timeout);
            }
        }
        failpoint("source-paused");
        run.say(StepState::Done, format!("to allow writes again: {}", pause.command_to_end()));

        run.begin(Step::Drain, "until all that the source has written is on the target");
        let end = Instant::now() + run.spec.timeout;
        loop {
            let offset = self.offset(pause).await?;
            if stats.generation.get() != generation {
                return Err(Error::new(ErrorKind::CutoverUndone, "cut over: the target was lost meanwhile"));
            }
            // Until then the pause cannot have ended, so nobody has written behind this offset; the rest is for the last step.
            if stats.applied.get() >= offset && !run.until.left().is_zero() {
                run.say(StepState::Done, format!("offset {offset}"));
                failpoint("drained");
                return Ok(offset);
            }
            // Writers that are stopped by hand are not paused once more.
            let over = run.spec.source_pause.is_none() && run.until.left().is_zero();
            if over || Instant::now() >= end {
                let what = format!("pause the source for long enough: it went on for {:?}", run.spec.timeout);
                return Err(Error::new(ErrorKind::CutoverUndone, what));
            }
            let left = run.until.left().min(end.saturating_duration_since(Instant::now()));
            if !self.until(left, LOOK_IN_PAUSE, || stats.applied.get() >= offset).await {
                let what = format!("wait for offset {offset} on the target: it has {}", stats.applied.get());
                return Err(Error::new(ErrorKind::CutoverUndone, what));
            }
            // The pause may have ended meanwhile, and somebody have written: so it is begun again, and the offset looked at.
            let until = run.spec.source_pause.map_or(run.until, |time| Moment::after(time * 3 / 4));
            pause.begin(self.task.source).await?;
            run.until = until;
        }
    }

    /// Brings deadlines on the target close to those of the source.
    async fn lower_grace(&self, run: &mut Run) -> Result<()> {
        let Task { spec, stats, source, .. } = self.task;
        run.begin(Step::Grace, "deadlines on the target come close to those at the source");
        if spec.ttl_grace <= REST || spec.on_conflict == OnConflict::Ignore {
            let why = match spec.on_conflict {
                OnConflict::Ignore => "keys that the target has kept may have deadlines of their own",
                _ => "the grace is small",
            };
            run.say(StepState::Skipped, why);
            return Ok(());
        }
        run.lowered = true;
        stats.control.lowered.store(true, Relaxed);
        stats.hold_now.notify_one();
        let slow = |what: &str| {
            let what = format!("lower the grace: {what} for {:?}", run.spec.timeout);
            Error::new(ErrorKind::CutoverUndone, what)
        };
        // A process that dies from here on leaves word of it.
        if !self.until(run.spec.timeout, LOOK, || stats.knows_exact.load(Relaxed)).await {
            return Err(slow("no checkpoint was written"));
        }
        stats.control.lower.store(true, Relaxed);
        let since = Instant::now();
        // What the stream has written with the whole grace is found by the pass.
        if !self
            .until(run.spec.timeout, LOOK, || stats.has_applied_since(since) && stats.knows_exact.load(Relaxed))
            .await
        {
            return Err(slow("what came before was not on the target"));
        }
        let (place, epoch) = (self.task.place(), Some(self.epoch.get()));
        let distances = [spec.ttl_grace, REST, spec.ttl_grace];
        let pass = shift(source, place, epoch, self.facts, &spec.objects, distances);
        let keys = timeout(run.spec.timeout, pass).await.map_err(|_| slow("it went on"))??;
        if !self.until(run.spec.timeout, LOOK, || stats.is_in_step()).await {
            return Err(slow("both sides were not in step behind it"));
        }
        run.say(StepState::Done, format!("{keys} deadlines"));
        Ok(())
    }

    /// Gives deadlines the whole grace again that a cut-over has lowered, if there was one.
    async fn give_back(&self) {
        let Task { spec, stats, source, .. } = self.task;
        let distances = [REST, spec.ttl_grace, Duration::ZERO];
        stats.control.lower.store(false, Relaxed);
        if !stats.control.lowered.load(Relaxed) {
            return;
        }
        let mut backoff = Backoff::new(None);
        loop {
            let since = Instant::now();
            while !stats.has_applied_since(since) {
                sleep(LOOK).await;
            }
            let (place, epoch) = (self.task.place(), Some(self.epoch.get()));
            let error = match shift(source, place, epoch, self.facts, &spec.objects, distances).await {
                Ok(keys) => {
                    tracing::info!(keys, "deadlines have the whole grace again");
                    stats.control.lowered.store(false, Relaxed);
                    return;
                }
                Err(e) => e,
            };
            tracing::warn!(error = %error, "deadlines are to be given the whole grace again");
            if !backoff.again(error, self.stop.token).await.unwrap_or(false) {
                return;
            }
        }
    }

    /// Waits until `true`; `false` when that takes longer than `time`.
    async fn until(&self, time: Duration, every: Duration, is: impl Fn() -> bool) -> bool {
        let end = Instant::now() + time;
        while !is() {
            if Instant::now() >= end {
                return false;
            }
            sleep(every).await;
        }
        true
    }
}
