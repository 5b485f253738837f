//! Keys that a running task copies again: its socket as the way of `keyferry compare --repair`.

use std::path::Path;

use keyferry_engine::{MAX_REPAIR_KEYS, REPAIR_TIME, position_key};
use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};
use keyferry_verify::{Copier, Copying};

use super::{
    args::TaskArgs,
    client::Talk,
    message::{MAX_NAMES, Reply, Request, hex},
};

/// A task that runs on this machine.
pub(crate) struct RunningTask {
    task: TaskArgs,
    position: Vec<u8>,
}

impl RunningTask {
    /// The task with this state directory and name, if it runs.
    ///
    /// Errors: `Control` when it runs and cannot be talked to.
    pub(crate) fn find(dir: &Path, task: &str) -> Result<Option<Self>> {
        let args = TaskArgs { task: task.to_owned(), state_dir: Some(dir.to_owned()) };
        match Talk::begin(&args, &Request::Status { watch: false }).and_then(|mut talk| talk.next()) {
            Ok(_) => Ok(Some(Self { position: position_key(task), task: args })),
            Err(e) if e.kind() == ErrorKind::NotRunning => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn ask(&self, db: u32, names: &[&[u8]]) -> Result<Vec<Option<String>>> {
        let request = Request::Repair { db, keys: names.iter().map(|name| hex(name)).collect() };
        let task = self.task.clone();
        // Its answer takes its time, and signals are not to wait for it.
        let asked = tokio::task::spawn_blocking(move || {
            let mut talk = Talk::begin(&task, &request)?;
            talk.wait_for(REPAIR_TIME)?;
            talk.next()
        });
        let reply = asked.await.or_err(ErrorKind::Internal, || "talk to the task".into())??;
        match reply {
            Some((Reply::Repaired { reasons }, _)) if reasons.len() == names.len() => Ok(reasons),
            Some((Reply::Error { code, error, remedy }, _)) => {
                let refused = code == ErrorKind::RepairRefused.policy().code;
                let kind = if refused { ErrorKind::RepairRefused } else { ErrorKind::Control };
                let more = if refused { String::new() } else { format!(" ({remedy})") };
                Err(Error::new(kind, format!("{error}{more}")))
            }
            Some(_) => Err(Error::new(ErrorKind::Control, "repair through the task: its answer has another form")),
            None => Err(Error::new(ErrorKind::RepairRefused, "repair through the task: it ended without a word")),
        }
    }
}

impl Copier for RunningTask {
    fn position(&self) -> &[u8] {
        &self.position
    }

    fn copy<'a>(&'a self, db: u32, keys: &'a [&'a [u8]]) -> Copying<'a> {
        Box::pin(async move {
            let mut reasons: Vec<Option<String>> = Vec::with_capacity(keys.len());
            while let Some(&first) = keys.get(reasons.len()) {
                if first.len() > MAX_NAMES {
                    reasons.push(Some(format!("its name has more than {MAX_NAMES} bytes: too long to be told a task")));
                    continue;
                }
                let mut room = MAX_NAMES;
                let fits = |name: &&&[u8]| {
                    let left = room.checked_sub(name.len());
                    room = left.unwrap_or(0);
                    left.is_some()
                };
                let count = keys[reasons.len()..].iter().take(MAX_REPAIR_KEYS).take_while(fits).count();
                reasons.extend(self.ask(db, &keys[reasons.len()..][..count]).await?);
            }
            Ok(reasons)
        })
    }
}
