//! A cut-over whose last step is to be done, or has been.

use std::time::{Duration, Instant};

use keyferry_model::{Error, ErrorKind, Result};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{CutoverEvent, CutoverReport, Pause, Run, StepState, undo};
use crate::{Event, begin::Task};

/// Nobody writes to the source, and all that it has is on the target.
pub(crate) struct Ready<'a> {
    pub(super) task: Task<'a>,
    pub(super) run: Run,
    pub(super) offset: u64,
}

impl Ready<'_> {
    /// How much time is left for the last step.
    pub(crate) fn time_left(&self) -> Duration {
        self.run.until.saturating_duration_since(Instant::now())
    }

    /// The last step is done: says so.
    pub(crate) fn promoted(&mut self) {
        self.run.say(StepState::Done, "");
        let report = CutoverReport {
            write_pause: self.run.paused_at.elapsed(),
            offset: self.offset,
            unpause: self.run.pause.as_ref().map(Pause::command_to_end).unwrap_or_default(),
        };
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

    /// Sets the source back where its pause does not end by itself, when the time for it is over or `stop` is cancelled.
    pub(crate) async fn release(self, stop: &CancellationToken) {
        let (Some(pause @ Pause::Replicas { .. }), Some(time)) = (&self.run.pause, self.run.spec.source_pause) else {
            return;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(time.saturating_sub(self.run.paused_at.elapsed())) => {}
        }
        match pause.end(self.task.source).await {
            Ok(()) => tracing::info!("writes are allowed at the source again"),
            Err(e) => tracing::warn!(error = %e, command = pause.command_to_end(), "allow writes at the source"),
        }
    }

    /// The last step was not done, for this reason. `unknown`: or it was, and nobody has said so.
    pub(crate) async fn failed(mut self, result: &Result<()>, unknown: bool) {
        let why = match result {
            Err(e) => e.to_string(),
            Ok(()) => "the task was asked to stop".into(),
        };
        let kind = if unknown { ErrorKind::CutoverUnknown } else { ErrorKind::CutoverUndone };
        if unknown && matches!(self.run.pause, Some(Pause::Clients(_))) {
            // It ends by itself, and until then nobody writes what might be lost.
            self.run.pause = None;
        }
        undo(&mut self.run, self.task, Error::new(kind, why)).await;
    }
}
