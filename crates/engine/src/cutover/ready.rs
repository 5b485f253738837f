//! A cut-over whose last step is to be done, or has been, or never will.

use std::{
    cell::Cell,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _, Side};
use keyferry_net::Connection;
use tokio::time::{sleep, timeout};

use super::{CutoverEvent, CutoverReport, Moment, Pause, Run, StepState, WayBack};
use crate::{
    Event,
    begin::Task,
    stop::Stop,
    target::{Replicas, Turn},
};

/// For lifting the deadlines of the old side: some million keys. Nobody writes meanwhile, so what is not done by then is done
/// while the other task runs.
const SETTLE: Duration = Duration::from_secs(10);
/// For changing the source back.
const UNDO: Duration = Duration::from_secs(3);

/// Nobody writes to the source, and all that it has is on the target.
pub(crate) struct Ready<'a> {
    pub(super) task: Task<'a>,
    pub(super) run: Run,
    pub(super) offset: u64,
    /// For a task that goes on in the other direction.
    pub(super) back: Option<WayBack>,
    /// The old side is ready for that task.
    pub(super) settled: bool,
    /// What clients have written there behind the last step: the other side lacks it.
    pub(super) late_writes: u64,
    /// See [`CutoverReport::source_changed`].
    pub(super) source_changed: Option<String>,
    /// See [`CutoverReport::replicas`].
    pub(super) replicas: Option<Replicas>,
}

impl Ready<'_> {
    /// Until when the last step may be done, and when nobody can be waited for any more, since the pause ends.
    pub(crate) fn times(&self) -> (Moment, Instant) {
        let rest = self.run.spec.source_pause.map_or(UNDO, |time| time / 4);
        (self.run.until, self.run.until.steady + rest)
    }

    pub(crate) fn turns_round(&self) -> bool {
        self.back.is_some()
    }

    /// What is put on the target with the last step, and where, when the task goes on in the other direction.
    ///
    /// Errors: `Lost` of the target: the cut-over is undone, and the task goes on.
    pub(crate) async fn turn(&mut self) -> Result<Option<Turn>> {
        let Some(back) = &mut self.back else { return Ok(None) };
        let context = || "end the task: the place was not found from which the way back goes on".to_owned();
        back.turn(self.task).await.map(Some).or_err(ErrorKind::Lost(Side::Target), context)
    }

    /// Right before the last step: the source is still what was paused, nobody has written there, and whoever has asked is there.
    /// For a task that goes on in the other direction, the connections of those that wait in the pause are closed. Otherwise what
    /// they wait with is executed when it ends, should this process not live until it sends them away.
    ///
    /// Errors: `Lost` of the source, when it is not, or nobody knows; `CutoverUndone` when nobody would be told.
    pub(crate) async fn is_still(&self) -> Result<()> {
        let lost = |what: String| Error::new(ErrorKind::Lost(Side::Source), format!("cut over: {what}"));
        if self.run.events.is_closed() {
            return Err(Error::new(ErrorKind::CutoverUndone, "cut over: who has asked for it has gone"));
        }
        let look = async {
            let mut conn = Connection::open(self.task.source).await?;
            if let (Some(pause @ Pause::Clients(_)), Some(_)) = (&self.run.pause, &self.back) {
                pause.send_clients_away(&mut conn).await?;
            }
            self.changed(&mut conn, true).await
        };
        let context = || "look at the source once more".to_owned();
        match look.await.or_err(ErrorKind::Lost(Side::Source), context)? {
            Some(what) => Err(lost(what)),
            None => Ok(()),
        }
    }

    /// What the replicas of the target had in front of the last step.
    pub(crate) fn replicas_had(&mut self, replicas: Option<Replicas>) {
        if let Some(Replicas { connected, had_all }) = replicas.filter(|seen| seen.had_all < seen.connected) {
            tracing::warn!(
                connected,
                had_all,
                "replicas of the target are behind: what they lack is lost when one of them is promoted before it has it"
            );
        }
        self.replicas = replicas;
    }

    /// Behind the last step: a source that is not what was paused any more may have answered writes meanwhile.
    pub(crate) async fn look_again(&mut self, stop: &Stop<'_>) {
        self.look(true, stop).await;
    }

    async fn look(&mut self, writes: bool, stop: &Stop<'_>) {
        let look = async { self.changed(&mut Connection::open(self.task.source).await?, writes).await };
        let what = tokio::select! {
            biased;
            seen = timeout(UNDO, look) => match seen {
                Ok(Ok(None)) => return,
                Ok(Ok(Some(what))) => what,
                Ok(Err(e)) => format!("it cannot be asked ({e})"),
                Err(_) => "it does not answer".into(),
            },
            // It may have had no time at all.
            () = stop.lets_go() => "the task had to stop before it was asked once more, or had answered".into(),
        };
        tracing::warn!(
            what,
            offset = self.offset,
            "the source may not be what was paused any more: what it has answered behind this offset may be lost"
        );
        self.source_changed.get_or_insert(what);
    }

    async fn changed(&self, conn: &mut Connection, writes: bool) -> Result<Option<String>> {
        let (Some(seen), Some(pause)) = (&self.run.seen, &self.run.pause) else { return Ok(None) };
        seen.changed(conn, self.task.source, self.offset, writes.then_some(pause)).await
    }

    /// Brings the old side to where the task in the other direction can write to it.
    pub(crate) async fn settle_old_side(&mut self, turn: &Turn, stop: &Stop<'_>) {
        let (Some(pause), Some(back)) = (&self.run.pause, &self.back) else { return };
        let late_writes = Cell::new(0);
        let settled = tokio::select! {
            biased;
            settled = timeout(SETTLE, back.settle_old_side(self.task, pause, turn, stop, &late_writes)) => settled.ok(),
            () = stop.lets_go() => None,
        };
        let late = || Err(Error::new(ErrorKind::Timeout(Side::Source), "it has taken too long"));
        // Also when there was no time for all of it.
        self.late_writes = late_writes.get();
        if self.late_writes > 0 {
            tracing::warn!(
                writes = self.late_writes,
                "clients have written to the old side behind the cut-over: the new side lacks it"
            );
        }
        match settled.unwrap_or_else(late) {
            Ok(()) => self.settled = true,
            Err(e) => {
                tracing::warn!(
                    error = %e,
                    to_allow_writes = pause.command_to_end(),
                    "the old side is not ready for the way back: its clients may still be there, and what has run out may differ"
                );
                // What came there meanwhile was not seen.
                self.look(false, stop).await;
            }
        }
    }

    fn report(&self, stop: &Stop<'_>) -> CutoverReport {
        CutoverReport {
            write_pause: self.run.paused_at.elapsed(),
            offset: self.offset,
            unpause: self.run.pause.as_ref().map(Pause::command_to_end).unwrap_or_default(),
            reverse_task: self.back.as_ref().map(|back| back.name().to_owned()),
            late_writes: self.late_writes,
            source_changed: self.source_changed.clone(),
            replicas: self.replicas,
            stops: stop.token.is_cancelled(),
        }
    }

    /// The last step is done: whoever keeps what has happened is told before anything else can go wrong.
    pub(crate) fn turned(&self, stop: &Stop<'_>) {
        self.task.stats.tell(Event::CutOver(&self.report(stop)));
    }

    /// Nothing is left to do but to say so; by now the pause may have been longer.
    pub(crate) fn promoted(&mut self, stop: &Stop<'_>) {
        let words = self.replicas.map(|Replicas { connected, had_all }| {
            format!("{had_all} of {connected} replicas of the target had all that the source has written")
        });
        self.run.say(StepState::Done, words.unwrap_or_default());
        let report = self.report(stop);
        tracing::info!(
            write_pause_ms = report.write_pause.as_millis() as u64,
            offset = report.offset,
            "cut over: the target is the place to write"
        );
        self.task.stats.tell(Event::CutOver(&report));
        let _ = self.run.events.try_send(CutoverEvent::Done(report));
        // Whoever listens is told that nothing more is said.
        self.run.events = tokio::sync::mpsc::channel(1).0;
    }

    /// Sets the source back where its pause does not end by itself, when the time for it is over or a stop is asked for. Where the
    /// way back begins then, its clients are sent away first: they are still connected, and would write there.
    pub(crate) async fn release(self, stop: &Stop<'_>) {
        if self.settled {
            return;
        }
        let (Some(pause @ Pause::Replicas { .. }), Some(time)) = (&self.run.pause, self.run.spec.source_pause) else {
            return;
        };
        tokio::select! {
            () = stop.token.cancelled() => {}
            () = sleep(time.saturating_sub(self.run.paused_at.elapsed())) => {}
        }
        let end = async {
            match self.back {
                Some(_) => pause.end_without_clients(self.task.source).await,
                None => pause.end(self.task.source).await,
            }
        };
        let ended = tokio::select! {
            biased;
            ended = end => ended,
            () = stop.has_tried() => Err(Error::new(ErrorKind::Timeout(Side::Source), "it does not answer")),
        };
        match ended {
            Ok(()) => tracing::info!("writes are allowed at the source again"),
            Err(e) => tracing::warn!(error = %e, command = pause.command_to_end(), "allow writes at the source"),
        }
    }

    /// The last step was not done, for this reason. `unknown`: or it was, and nobody has said so.
    pub(crate) async fn failed(mut self, result: &Result<()>, unknown: bool, stop: &Stop<'_>) {
        let mut why = match result {
            Err(e) => e.to_string(),
            Ok(()) => "the task was asked to stop".into(),
        };
        let kind = if unknown { ErrorKind::CutoverUnknown } else { ErrorKind::CutoverUndone };
        if unknown && matches!(self.run.pause, Some(Pause::Replicas { .. })) {
            // By then the target will not do it any more.
            tokio::select! {
                biased;
                () = stop.token.cancelled() => {}
                () = sleep(self.run.until.left()) => {}
            }
        }
        match &self.run.pause {
            // It ends by itself, and until then nobody writes what might be lost.
            Some(Pause::Clients(_)) if unknown => self.run.pause = None,
            // It may have been done, or the target may still do it, and nobody is there who could end it later.
            Some(pause @ Pause::Replicas { .. }) if unknown && !self.run.until.left().is_zero() => {
                why += &format!(
                    "; until it is known, the source goes on refusing writes, to allow them: {}",
                    pause.command_to_end()
                );
                self.run.pause = None;
            }
            _ => {}
        }
        undo(&mut self.run, self.task, Error::new(kind, why), stop).await;
    }
}

/// Takes back what was changed, and says why.
pub(super) async fn undo(run: &mut Run, task: Task<'_>, error: Error, stop: &Stop<'_>) {
    run.say(StepState::Failed, error.to_string());
    task.stats.control.lower.store(false, Relaxed);
    let mut left = String::new();
    if let Some(pause) = &run.pause {
        let ended = tokio::select! {
            biased;
            ended = timeout(UNDO, pause.end(task.source)) => ended.ok(),
            () = stop.has_tried() => None,
        };
        let words = match &ended {
            Some(Ok(())) => "writes are allowed at the source".to_owned(),
            Some(Err(e)) => format!("the source could not be told to allow writes ({e})"),
            None => "the source did not answer when it was told to allow writes".to_owned(),
        };
        if !matches!(ended, Some(Ok(()))) {
            left = format!("; {words}: look whether it does; to allow them: {}", pause.command_to_end());
        }
        run.say(StepState::Undone, words);
    } else if run.lowered && error.kind() != ErrorKind::CutoverUnknown {
        run.say(StepState::Undone, "deadlines get the whole grace again");
    }
    let kind = match error.kind() {
        ErrorKind::CutoverUnknown => ErrorKind::CutoverUnknown,
        _ if run.pause.is_none() && !run.lowered => ErrorKind::CutoverRefused,
        _ => ErrorKind::CutoverUndone,
    };
    let what = format!("cut over from {} to {}{left}", task.source, task.target);
    let error = Error::new(kind, what).caused_by(error);
    match kind {
        ErrorKind::CutoverUnknown => tracing::warn!(error = %error, "it is not known whether the cut-over was done"),
        _ => tracing::warn!(error = %error, "the cut-over is undone"),
    }
    task.stats.tell(Event::CutoverUndone(&error));
    let _ = run.events.try_send(CutoverEvent::Failed(error));
}
