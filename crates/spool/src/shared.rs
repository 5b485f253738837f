//! The state under its lock, and who is woken by what.

use std::{
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use keyferry_model::{Error, ErrorKind};
use tokio::sync::{Notify, futures::Notified};

use crate::{
    head::Head,
    state::{Failure, State},
};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) log: u64,
    pub(crate) head: Head,
    state: Mutex<State>,
    /// Wakes the writing thread: there is something to write or delete, or the writer has gone.
    pub(crate) work: Condvar,
    /// Wakes the writer: something was written or deleted, or has failed. There is one writer, so one permit is enough.
    room: Notify,
    /// Wakes the reader: there is a record, or the writer has gone.
    pub(crate) more: Notify,
}

impl Shared {
    pub(crate) fn new(dir: PathBuf, log: u64, head: Head, state: State) -> Self {
        let state = Mutex::new(state);
        Self { dir, log, head, state, work: Condvar::new(), room: Notify::new(), more: Notify::new() }
    }

    /// No step under the lock leaves the state half changed, so one that panicked does not matter to others.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends at the next [`Shared::changed`]. In `state` the caller has seen that it must wait.
    pub(crate) fn change(&self, mut state: MutexGuard<'_, State>) -> Notified<'_> {
        state.waits = true;
        drop(state);
        self.room.notified()
    }

    /// Wakes who waits in [`Shared::change`]. Waking another thread is a system call, so only when somebody waits.
    pub(crate) fn changed(&self, mut state: MutexGuard<'_, State>) {
        let waits = std::mem::take(&mut state.waits);
        drop(state);
        if waits {
            self.room.notify_one();
        }
    }

    /// Keeps the first failure, which is the one that explains the others.
    pub(crate) fn fail(&self, context: String, cause: &dyn std::fmt::Display) {
        let mut state = self.lock();
        state.failed.get_or_insert_with(|| Failure { context, cause: cause.to_string() });
        self.changed(state);
    }
}

impl Failure {
    pub(crate) fn error(&self) -> Error {
        Error::new(ErrorKind::SpoolDisk, self.context.clone()).caused_by(self.cause.clone())
    }
}
