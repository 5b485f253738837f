//! The state under its lock, and who is woken by what.

use std::{
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use keyferry_model::{Error, ErrorKind};
use tokio::sync::Notify;

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
    pub(crate) room: Notify,
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

    /// Keeps the first failure, which is the one that explains the others.
    pub(crate) fn fail(&self, context: String, cause: &dyn std::fmt::Display) {
        self.lock().failed.get_or_insert_with(|| Failure { context, cause: cause.to_string() });
        self.room.notify_one();
    }
}

impl Failure {
    pub(crate) fn error(&self) -> Error {
        Error::new(ErrorKind::SpoolDisk, self.context.clone()).caused_by(self.cause.clone())
    }
}
