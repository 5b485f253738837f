//! Keys that are copied from the source again while its stream is followed, through that stream: `keyferry compare --repair`
//! beside a running task. Why nothing is lost or doubled by it: `docs/design/repair.md`.
//!
//! 1. The stream loop stands still between two chunks: nothing of the source behind its offset P is in a batch.
//! 2. The source is asked, in one transaction, for its offset X and what it has under the keys just then. So X >= P.
//! 3. The loop goes on up to X, and not a byte further, and writes there what the source had, as if the source had sent it.
//!
//! Invariants:
//! - A value is written at the offset for which it was read, of the history in which it was read, or not at all.
//! - It lands in one batch with the checkpoint that covers the offset: both are on the target, or neither.
//! - Whatever goes wrong is the reason why a key was not copied. No task ends of it.
//! - The loop stands still no longer than [`HALT`] and [`ANSWER`]; meanwhile the source is read on, and acknowledged.

mod desk;
mod values;

use std::time::Duration;

use keyferry_keyspace::ServerVersion;
use keyferry_model::{Result, failpoint};
use keyferry_net::Endpoint;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{Stats, source::now_ms, stats::lock};
use desk::Asked;
pub(crate) use desk::{Desk, Halt, Repaired, Values, refused};
use values::{Read, Source};

/// The most keys that are asked for at once.
pub const MAX_REPAIR_KEYS: usize = 64;
/// A value that takes more memory at the source is not copied: it would be held here a few times over.
const MAX_VALUE: u64 = 16 << 20;
/// Values are read together up to so much memory at the source: it is busy with nothing else meanwhile.
const GROUP: u64 = 2 << 20;
/// Until the loop stands still; it may have to wait for the target before.
const HALT: Duration = Duration::from_secs(10);
/// Until the source has answered while the loop stands still.
const ANSWER: Duration = Duration::from_secs(10);
/// Until what was read is on the target, with all in front of it.
const APPLIED: Duration = Duration::from_secs(60);
/// How often it is looked whether the stream is followed.
const LOOK: Duration = Duration::from_millis(50);

/// For each key why it was not copied; `None`: it is on the target as the source had it.
pub type Reasons = Vec<Option<String>>;

/// Copies what is asked for at the desk.
pub(crate) struct Repairs<'a> {
    pub(crate) source: &'a Endpoint,
    pub(crate) version: &'a ServerVersion,
    pub(crate) stats: &'a Stats,
    /// Cancelled by whoever finds that the work is done.
    pub(crate) done: &'a CancellationToken,
}

impl Repairs<'_> {
    /// One after the other, until the work is done.
    pub(crate) async fn run(&self) -> Result<()> {
        let open = self.stats.control.repairs.open();
        loop {
            let Asked { db, keys, said } = tokio::select! {
                biased;
                () = self.done.cancelled() => return Ok(()),
                asked = open.next() => asked,
            };
            tokio::select! {
                biased;
                () = self.done.cancelled() => return Ok(()),
                reasons = self.copy(db, &keys) => {
                    let copied = reasons.iter().filter(|reason| reason.is_none()).count();
                    tracing::info!(copied, asked = keys.len(), "keys were copied again");
                    // Who has asked may have gone: nothing depends on it.
                    let _ = said.send(reasons);
                }
            }
        }
    }

    async fn copy(&self, db: u32, keys: &[Vec<u8>]) -> Reasons {
        let mut reasons: Reasons = vec![None; keys.len()];
        if let Err(why) = self.copy_groups(db, keys, &mut reasons).await {
            // Those that were copied before are copied; again would do no harm.
            reasons.iter_mut().for_each(|reason| *reason = reason.take().or_else(|| Some(why.clone())));
        }
        reasons
    }

    /// Copies one group after the other. The error is the reason for all keys, whatever was copied before.
    async fn copy_groups(&self, db: u32, keys: &[Vec<u8>], reasons: &mut Reasons) -> Result<(), String> {
        let text = |e: keyferry_model::Error| e.to_string();
        let mut source = Source::open(self.source, self.version, db).await.map_err(text)?;
        let sizes = source.sizes(keys).await.map_err(text)?;
        let mut left: Vec<usize> = (0..keys.len()).rev().collect();
        while !left.is_empty() {
            let (mut group, mut bytes) = (Vec::new(), 0);
            while let Some(&at) = left.last() {
                // Of what nobody knows the size, one goes at a time.
                let size = sizes.as_ref().map_or(GROUP, |sizes| sizes[at]);
                if !group.is_empty() && bytes + size > GROUP {
                    break;
                }
                left.pop();
                if size > MAX_VALUE {
                    reasons[at] = Some(too_large(size));
                    continue;
                }
                bytes += size;
                group.push(at);
            }
            let names: Vec<&[u8]> = group.iter().map(|&at| keys[at].as_slice()).collect();
            if names.is_empty() {
                continue;
            }
            for (at, reason) in group.into_iter().zip(self.copy_group(&mut source, db, &names).await?) {
                reasons[at] = reason;
            }
        }
        Ok(())
    }

    /// Copies keys that are read together.
    async fn copy_group(&self, source: &mut Source, db: u32, keys: &[&[u8]]) -> Result<Reasons, String> {
        let (stats, desk) = (self.stats, &self.stats.control.repairs);
        if !stats.is_copied() {
            return Err("the task still copies the snapshot".into());
        }
        let lost = || "the connection to the target was lost: compare again".to_owned();
        let follows = async {
            while !stats.is_following() {
                sleep(LOOK).await;
            }
        };
        timeout(HALT, follows).await.map_err(|_| "the task is not connected to both sides".to_owned())?;
        let (standing, stands) = oneshot::channel();
        let (give, values) = oneshot::channel();
        desk.halt(Halt { standing, values });
        // Also a loop that waits for the source.
        stats.hold_now.notify_one();
        let from = match timeout(HALT, stands).await {
            Ok(offset) => offset.map_err(|_| lost())?,
            Err(_) => {
                desk.withdraw();
                return Err(format!("the stream did not come to a halt within {} s", HALT.as_secs()));
            }
        };
        failpoint("repair-standing");
        let read_ms = now_ms();
        // From here on an early return lets the loop go on: `give` is dropped.
        let read = timeout(ANSWER, source.read(keys)).await;
        let read = read.map_err(|_| format!("the source did not answer within {} s", ANSWER.as_secs()))?;
        let Read { history, offset, values } = read.map_err(|e| e.to_string())?;
        let followed = *lock(&stats.replid);
        let Some(history) = history.filter(|id| Some(*id) == followed && offset >= from) else {
            return Err("the source has another history than the task follows: compare again".into());
        };
        let mut reasons: Reasons = Vec::with_capacity(keys.len());
        let mut commands = Vec::with_capacity(keys.len());
        for (key, value) in keys.iter().zip(values) {
            let command = value.command(key, self.version);
            reasons.push(command.as_ref().err().cloned());
            commands.extend(command.ok());
        }
        let (said, applied) = oneshot::channel();
        let values = Values { offset, history, db, read_ms, commands, said };
        give.send(values).map_err(|_| lost())?;
        let unknown = |what: &str| format!("{what}: it is not known whether it was written; compare again");
        let rest = match timeout(APPLIED, applied).await {
            Ok(Ok(reasons)) => reasons?,
            Ok(Err(_)) => return Err(unknown("the connection to the target was lost")),
            Err(_) => return Err(unknown(&format!("the target was not that far within {} s", APPLIED.as_secs()))),
        };
        reasons.iter_mut().filter(|reason| reason.is_none()).zip(rest).for_each(|(reason, said)| *reason = said);
        Ok(reasons)
    }
}

fn too_large(bytes: u64) -> String {
    format!("it takes {} MiB at the source: no more than {} MiB go through a task", bytes >> 20, MAX_VALUE >> 20)
}
