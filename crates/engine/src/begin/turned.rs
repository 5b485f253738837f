//! The beginning of a task whose position a cut-over has left at its source: see `cutover/way_back.rs`.
//!
//! Invariants:
//! - It becomes the position only on what was the source then, with all that it had.
//! - It is removed there only when the target has a position. A process that dies in between leaves both, and that of the
//!   target counts.
//! - What this process has put there is its own, also when it was not told that it has.
//! - No direction begins while the other one has a position.

use keyferry_keyspace::info;
use keyferry_model::{Error, ErrorKind, Result, failpoint, reverse_task};
use keyferry_net::{Connection, Value};

use super::Task;
use crate::{
    source::now_ms,
    target::{Checkpoint, Place, checkpoint},
};

/// What a cut-over has left.
pub(super) struct Turned {
    checkpoint: Checkpoint,
    /// When: Unix milliseconds as text.
    at: Vec<u8>,
    /// History and offset of the old side by then, with a space between.
    stands: Vec<u8>,
}

/// Whether a server whose INFO says this has all that `stands` names.
fn has_all(said: &[u8], stands: &[u8]) -> bool {
    let text = std::str::from_utf8(stands).unwrap_or_default();
    let Some((replid, Ok(offset))) = text.split_once(' ').map(|(id, offset)| (id, offset.parse::<u64>())) else {
        return false;
    };
    let is = |name| info::field(said, name) == Some(replid);
    let number = |name| info::field(said, name).and_then(|n| n.parse::<u64>().ok());
    // Before 4.0 a history is named by the server that wrote it.
    (is("master_replid") || is("run_id")) && number("master_repl_offset").is_some_and(|now| now >= offset)
        || is("master_replid2") && number("second_repl_offset").is_some_and(|end| end > offset)
}

impl Task<'_> {
    /// Looks for the position of the task in the other direction at the source, in the database that is selected.
    ///
    /// Errors: `NotEmpty` when it is there: what is written for one comes back by the other.
    pub(super) async fn is_alone(&self, source: &mut Connection) -> Result<()> {
        let other = reverse_task(&self.spec.task);
        if source.ask(&[b"HEXISTS", &checkpoint::key(&other), b"v"]).await? == Value::Int(1) {
            let what = format!("begin: the source holds the position of task `{other}`, which writes to it");
            return Err(Error::new(ErrorKind::NotEmpty, what));
        }
        Ok(())
    }

    /// The position that waits at the source, whose database is selected then. A user who may not look there has none.
    ///
    /// Errors: those of the connection; `Checkpoint`.
    pub(super) async fn turned(&self, source: &mut Connection) -> Result<Option<Turned>> {
        // Where the task that has left it had its own position, see `Task::place`.
        let databases = self.spec.objects.databases().unwrap_or_default();
        let db = databases.iter().map(|(from, _)| *from).min().unwrap_or(0);
        if let Value::Error(_) = source.ask(&[b"SELECT", db.to_string().as_bytes()]).await? {
            return Ok(None);
        }
        let key = checkpoint::turn_key(&self.spec.task);
        let Value::Array(found) = source.ask(&[b"HMGET", &key, b"v", b"t", b"s"]).await? else { return Ok(None) };
        match found.as_slice() {
            [Value::Bulk(v), Value::Bulk(at), Value::Bulk(stands)] => {
                let checkpoint = Checkpoint::decode(v)?;
                Ok(Some(Turned { checkpoint, at: at.clone(), stands: stands.clone() }))
            }
            _ => Ok(None),
        }
    }

    /// Makes it the position of the task, on a target that has none.
    ///
    /// Errors: `Checkpoint` when the rules or the target are others, or the target lacks what it had.
    pub(super) async fn adopt(&self, place: &Place<'_>, target: &mut Connection, turned: Turned) -> Result<Checkpoint> {
        self.check(&turned.checkpoint)?;
        let said = target.info("default").await?;
        if !has_all(said.as_bytes(), &turned.stands) {
            let what = "begin where a cut-over has turned: the target is not what was the source then, or it lacks its last writes";
            return Err(Error::new(ErrorKind::Checkpoint, what));
        }
        let mut checkpoint = Checkpoint { epoch: now_ms(), holder: self.holder, ..turned.checkpoint };
        if let Err(error) = place.put(target, None, Some(&checkpoint)).await {
            // Its answer may be lost; or what this process has asked for before, and given up, was run only now.
            *target = place.connect().await?;
            let ours = |found: &Checkpoint| found.holder == self.holder && found.log == checkpoint.log;
            checkpoint = place.read(target).await?.filter(ours).ok_or(error)?;
        }
        failpoint("turn-adopted");
        // All that the source had written by then is there: without it, deadlines would be held until the source is asked.
        target.command(&[b"HSET", &checkpoint::key(&self.spec.task), b"t", &turned.at]).await?;
        tracing::info!(offset = checkpoint.offset, "the task begins where a cut-over has turned");
        Ok(checkpoint)
    }

    /// Removes it from the source.
    pub(super) async fn forget_turn(&self, source: &mut Connection) -> Result<()> {
        source.command(&[b"DEL", &checkpoint::turn_key(&self.spec.task)]).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::has_all;

    #[test]
    fn an_old_side_that_lacks_something_is_known() {
        let (ours, other) = ("a".repeat(40), "b".repeat(40));
        let stands = format!("{ours} 100");
        let says = |id: &str, offset: u64, second: &str, until: i64| {
            let text = format!(
                "master_replid:{id}\r\nmaster_replid2:{second}\r\nmaster_repl_offset:{offset}\r\nsecond_repl_offset:{until}\r\n"
            );
            has_all(text.as_bytes(), stands.as_bytes())
        };
        assert!(says(&ours, 100, &other, -1) && says(&ours, 120, &other, -1));
        // Promoted, or started again, with all of it.
        assert!(says(&other, 130, &ours, 101));
        assert!(has_all(format!("run_id:{ours}\r\nmaster_repl_offset:100\r\n").as_bytes(), stands.as_bytes()));
        // From an older snapshot, or a replica that was behind; another server.
        assert!(!says(&ours, 99, &other, -1) && !says(&other, 130, &ours, 100) && !says(&other, 130, &other, 500));
        assert!(!has_all(b"", b"") && !has_all(b"", stands.as_bytes()));
    }
}
