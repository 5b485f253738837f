//! Where a repair is asked for, and what is said between it and the stream loop.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use keyferry_keyspace::ReplId;
use keyferry_model::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::{MAX_REPAIR_KEYS, Reasons};
use crate::{
    Stats,
    desk::{self, Refused},
    stats::lock,
};

/// Keys that are to be copied again.
pub(super) struct Asked {
    /// Database of the source.
    pub(super) db: u32,
    /// Their names there.
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) said: oneshot::Sender<Reasons>,
}

/// What the stream loop is asked for: to stand still, until it gets something or the other end is dropped.
pub(crate) struct Halt {
    /// The offset behind the last command that is in a batch.
    pub(crate) standing: oneshot::Sender<u64>,
    pub(crate) values: oneshot::Receiver<Values>,
}

impl Halt {
    /// Stands still at `offset`; gives what is to be written, and `None` when nothing is. Nor when a checkpoint has to say that
    /// deadlines are held: those on the target wait for it, and end meanwhile.
    pub(crate) async fn stand(mut self, offset: u64, stats: &Stats) -> Option<Values> {
        self.standing.send(offset).ok()?;
        while !stats.has_to_say_held() {
            tokio::select! {
                biased;
                values = &mut self.values => return values.ok(),
                // Also left over from when it was called to a halt.
                () = stats.hold_now.notified() => {}
            }
        }
        None
    }
}

/// What the source had.
pub(crate) struct Values {
    /// When it was there.
    pub(crate) offset: u64,
    pub(crate) history: ReplId,
    /// Where.
    pub(crate) db: u32,
    /// This machine's time when it had answered, in Unix milliseconds.
    pub(crate) read_ms: u64,
    /// For each key the command that the source could have sent.
    pub(crate) commands: Vec<Vec<u8>>,
    /// Told what became of each, or why nothing became of any; dropped when nobody knows.
    pub(crate) said: oneshot::Sender<Result<Reasons, String>>,
}

/// What is said when the batch that it is in is on the target.
pub(crate) struct Repaired {
    pub(crate) said: oneshot::Sender<Result<Reasons, String>>,
    pub(crate) reasons: Reasons,
}

impl Repaired {
    pub(crate) fn say(self) {
        let _ = self.said.send(Ok(self.reasons));
    }
}

/// Takes what is asked for, and hands a [`Halt`] to the stream loop.
#[derive(Default)]
pub(crate) struct Desk {
    asked: desk::Desk<Asked>,
    /// There is a [`Halt`].
    halts: AtomicBool,
    halt: Mutex<Option<Halt>>,
}

impl Desk {
    /// Errors: `RepairRefused`.
    pub(crate) fn ask(&self, db: u32, keys: Vec<Vec<u8>>) -> Result<oneshot::Receiver<Reasons>> {
        if keys.len() > MAX_REPAIR_KEYS {
            return Err(refused("too many keys at once"));
        }
        let (said, reasons) = oneshot::channel();
        let why = match self.asked.ask(Asked { db, keys, said }) {
            Ok(()) => return Ok(reasons),
            Err(Refused::Closed) => "the task does not follow its source yet",
            Err(Refused::Busy) => "another repair is under way",
        };
        Err(refused(why))
    }

    /// Whether a repair is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.asked.is_busy()
    }

    /// There is somebody who does it now, until what this gives is dropped.
    pub(super) fn open(&self) -> Open<'_> {
        Open { asked: self.asked.open(), desk: self }
    }

    /// Asks the stream loop to stand still.
    pub(crate) fn halt(&self, halt: Halt) {
        *lock(&self.halt) = Some(halt);
        self.halts.store(true, Relaxed);
    }

    /// It is not to any more.
    pub(super) fn withdraw(&self) {
        drop(self.take_halt());
    }

    /// Whether the stream loop is asked to stand still.
    #[inline]
    pub(crate) fn wants_halt(&self) -> bool {
        self.halts.load(Relaxed)
    }

    pub(crate) fn take_halt(&self) -> Option<Halt> {
        self.halts.store(false, Relaxed);
        lock(&self.halt).take()
    }
}

/// The desk of a stream that is followed.
pub(super) struct Open<'a> {
    pub(super) asked: desk::Open<'a, Asked>,
    desk: &'a Desk,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.desk.withdraw();
    }
}

/// Why keys are not copied now.
pub(crate) fn refused(why: &str) -> Error {
    Error::new(ErrorKind::RepairRefused, format!("repair through the task: {why}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::{Control, CutoverSpec};

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_and_beside_no_cut_over() {
        let control = Control::default();
        let cutover = CutoverSpec { timeout: Duration::ZERO, source_pause: None, reverse: false };
        let ask = |keys: usize| control.repair(0, vec![b"a".to_vec(); keys]);
        let why = |error: Error| error.to_string();
        assert!(why(ask(1).unwrap_err()).contains("does not follow"));
        let open = control.repairs.open();
        assert!(why(ask(MAX_REPAIR_KEYS + 1).unwrap_err()).contains("too many"));
        let said = ask(1).unwrap();
        assert!(why(ask(1).unwrap_err()).contains("another repair"));
        assert!(why(control.cut_over(cutover).unwrap_err()).contains("a repair is under way"));
        let asked = open.asked.next().await;
        assert!(ask(1).is_err());
        // Who is told may ask at once.
        open.asked.is_free();
        drop((ask(1).unwrap(), asked));
        drop(open.asked.next().await);
        assert!(said.await.is_err() && ask(1).is_err(), "it is not over before the next one can come");
        assert!(timeout(Duration::ZERO, open.asked.next()).await.is_err());
        assert!(!why(control.cut_over(cutover).unwrap_err()).contains("repair"));
        let said = ask(MAX_REPAIR_KEYS).unwrap();
        control.set_paused(true);
        assert!(why(ask(1).unwrap_err()).contains("paused"));
        drop(open);
        assert!(said.await.is_err());
        control.set_paused(false);
        assert!(why(ask(1).unwrap_err()).contains("does not follow"));
    }
}
