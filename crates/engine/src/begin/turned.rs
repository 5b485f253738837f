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
    /// The position that waits at the source, whose database is selected then, and when it came there. A user who may not look there has none.
    ///
    /// Errors: those of the connection; `Checkpoint`.
    pub(super) async fn turned(&self, source: &mut Connection) -> Result<Option<(Checkpoint, Vec<u8>)>> {
        // Where the task that has left it had its own position, see `Task::place`.
        let databases = self.spec.objects.databases().unwrap_or_default();
        let db = databases.iter().map(|(from, _)| *from).min().unwrap_or(0);
        if let Value::Error(_) = source.ask(&[b"SELECT", db.to_string().as_bytes()]).await? {
            return Ok(None);
        }
        let Value::Array(found) = source.ask(&[b"HMGET", &checkpoint::turn_key(&self.spec.task), b"v", b"t"]).await?
        else {
            return Ok(None);
        };
        match found.as_slice() {
            [Value::Bulk(v), Value::Bulk(t)] => Ok(Some((Checkpoint::decode(v)?, t.clone()))),
            _ => Ok(None),
        }
    }

    /// Makes it the position of the task, on a target that has none.
    pub(super) async fn adopt(
        &self,
        place: &Place<'_>,
        target: &mut Connection,
        (turn, turned_at): (Checkpoint, Vec<u8>),
    ) -> Result<Checkpoint> {
        let checkpoint = Checkpoint { epoch: now_ms(), holder: self.holder, ..turn };
        place.put(target, None, Some(&checkpoint)).await?;
        failpoint("turn-adopted");
        // All that the source had written by then is there: without it, deadlines would be held until the source is asked.
        target.command(&[b"HSET", &checkpoint::key(&self.spec.task), b"t", &turned_at]).await?;
        tracing::info!(offset = checkpoint.offset, "the task begins where a cut-over has turned");
        Ok(checkpoint)
    }

    /// Removes it from the source.
    pub(super) async fn forget_turn(&self, source: &mut Connection) -> Result<()> {
        source.command(&[b"DEL", &checkpoint::turn_key(&self.spec.task)]).await.map(|_| ())
    }
}
