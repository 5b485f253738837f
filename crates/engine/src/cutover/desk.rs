//! Where a cut-over is asked for, and what is said of it.

use std::time::Duration;

use keyferry_model::{Error, ErrorKind, Result};
use tokio::sync::mpsc;

use crate::{
    desk::{Desk, Refused},
    target::Replicas,
};

/// More than is said of one cut-over: nothing waits for whoever listens.
const EVENTS: usize = 64;

/// How a cut-over is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutoverSpec {
    /// For how long each step is waited for, where the pause of the source does not say less.
    pub timeout: Duration,
    /// For how long writes are paused at the source; `None`: the user stops the writers.
    pub source_pause: Option<Duration>,
    /// The task goes on in the other direction then.
    pub reverse: bool,
}

/// The steps of a cut-over, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Until both sides are in step.
    InStep,
    /// What the task in the other direction needs is there.
    WayBack,
    /// Deadlines on the target come close to those at the source.
    Grace,
    /// Nobody writes to the source any more.
    PauseSource,
    /// What the source has written is on the target.
    Drain,
    /// The task ends, and the target is the place to write.
    Promote,
}

impl Step {
    /// The name as it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::InStep => "in_step",
            Self::WayBack => "way_back",
            Self::Grace => "grace",
            Self::PauseSource => "pause_source",
            Self::Drain => "drain",
            Self::Promote => "promote",
        }
    }
}

/// What has become of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// It has begun.
    Running,
    /// It is over.
    Done,
    /// It was not needed, or is not wanted.
    Skipped,
    /// It went wrong.
    Failed,
    /// What it had changed was changed back, or is going to be.
    Undone,
}

impl StepState {
    /// The name as it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Undone => "undone",
        }
    }
}

/// What is said of a cut-over while it goes on.
#[derive(Debug)]
pub enum CutoverEvent {
    /// A step has come to another state. With words for a person, and how long it has taken so far.
    Step(Step, StepState, String, Duration),
    /// The end: the writers can go to the target.
    Done(CutoverReport),
    /// The end: the writers stay at the source.
    Failed(Error),
}

/// How a cut-over went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutoverReport {
    /// From when the source was asked to take no more writes until the target was the place to write.
    pub write_pause: Duration,
    /// The source's offset behind its last write; all of it is on the target.
    pub offset: u64,
    /// How writes are allowed at the source again, before they are by themselves.
    pub unpause: String,
    /// The task that goes on in the other direction.
    pub reverse_task: Option<String>,
    /// Writes of clients to the old side behind the last step: the new side lacks them.
    pub late_writes: u64,
    /// What was seen of the source behind the last step, when it was not what was paused any more, or had not said so: what it
    /// has answered since may be lost.
    pub source_changed: Option<String>,
    /// What the replicas of the target had in front of the last step; `None` when there were none, or it does not tell.
    pub replicas: Option<Replicas>,
    /// The task was asked to stop meanwhile: the one in the other direction does not go on by itself.
    pub stops: bool,
}

/// A cut-over that was asked for.
pub(crate) struct Asked {
    pub(super) spec: CutoverSpec,
    pub(super) events: mpsc::Sender<CutoverEvent>,
}

impl Desk<Asked> {
    /// Asks for a cut-over; gives what is said of it.
    ///
    /// Errors: `CutoverRefused`.
    pub(crate) fn ask_to_cut_over(&self, spec: CutoverSpec) -> Result<mpsc::Receiver<CutoverEvent>> {
        let (events, said) = mpsc::channel(EVENTS);
        let why = match self.ask(Asked { spec, events }) {
            Ok(()) => return Ok(said),
            Err(Refused::Closed) => "the task does not follow its source yet",
            Err(Refused::Busy) => "another cut-over is under way, or being undone",
        };
        Err(Error::new(ErrorKind::CutoverRefused, format!("cut over: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Control;

    #[tokio::test(start_paused = true)]
    async fn no_repair_beside_it() {
        let control = Control::default();
        let why = || control.repair(0, Vec::new()).unwrap_err().to_string();
        let open = control.desk.open();
        assert!(!why().contains("cut-over"));
        let spec = CutoverSpec { timeout: Duration::ZERO, source_pause: None, reverse: false };
        let _said = control.cut_over(spec).unwrap();
        assert!(why().contains("a cut-over is under way"));
        open.next().await;
        assert!(why().contains("a cut-over is under way"), "also while it is undone");
    }
}
