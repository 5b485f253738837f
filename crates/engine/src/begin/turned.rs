//! The beginning of a task whose position a cut-over has left at its source: see `cutover/way_back.rs`.
//!
//! Invariants:
//! - It is removed there only when the target has a position. A process that dies in between leaves both, and that of the
//!   target counts.

use keyferry_model::{Result, failpoint};
use keyferry_net::{Connection, Value};

use super::Task;
use crate::{
    source::now_ms,
    target::{Checkpoint, Place, checkpoint},
};

impl Task<'_> {
    /// The position that waits at the source, whose database is selected then. A user who may not look there has none.
    ///
    /// Errors: those of the connection; `Checkpoint`.
    pub(super) async fn turned(&self, source: &mut Connection) -> Result<Option<Checkpoint>> {
        // Where the task that has left it had its own position, see `Task::place`.
        let databases = self.spec.objects.databases().unwrap_or_default();
        let db = databases.iter().map(|(from, _)| *from).min().unwrap_or(0);
        if let Value::Error(_) = source.ask(&[b"SELECT", db.to_string().as_bytes()]).await? {
            return Ok(None);
        }
        match source.ask(&[b"HGET", &checkpoint::turn_key(&self.spec.task), b"v"]).await? {
            Value::Bulk(bytes) => Checkpoint::decode(&bytes).map(Some),
            _ => Ok(None),
        }
    }

    /// Makes it the position of the task, on a target that has none.
    pub(super) async fn adopt(
        &self,
        place: &Place<'_>,
        target: &mut Connection,
        turn: Checkpoint,
    ) -> Result<Checkpoint> {
        let checkpoint = Checkpoint { epoch: now_ms(), holder: self.holder, ..turn };
        place.put(target, None, Some(&checkpoint)).await?;
        failpoint("turn-adopted");
        tracing::info!(offset = checkpoint.offset, "the task begins where a cut-over has turned");
        Ok(checkpoint)
    }

    /// Removes it from the source.
    pub(super) async fn forget_turn(&self, source: &mut Connection) -> Result<()> {
        source.command(&[b"DEL", &checkpoint::turn_key(&self.spec.task)]).await.map(|_| ())
    }
}
