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
//! - The loop stands still no longer than [`ANSWER`], and goes on at once when deadlines have to be held; meanwhile the source is
//!   read on, and acknowledged.

mod desk;
mod values;

use std::time::Duration;

use keyferry_keyspace::ServerVersion;
use keyferry_model::{Result, failpoint};
use keyferry_net::Endpoint;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
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
/// No other keys of a request are begun with behind that.
const REQUEST: Duration = Duration::from_secs(120);
/// No request takes longer, whatever happens.
pub const REPAIR_TIME: Duration = REQUEST.saturating_add(Duration::from_secs(180));
/// How often it is looked whether the stream is followed.
const LOOK: Duration = Duration::from_millis(50);

/// For each key why it was not copied; `None`: it is on the target as the source had it.
pub type Reasons = Vec<Option<String>>;

/// Why keys were not copied.
enum Failed {
    /// Those that were read together.
    These(String),
    /// They, and all that would come behind them: it is not about keys.
    All(String),
}

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
                asked = open.asked.next() => asked,
            };
            tokio::select! {
                biased;
                () = self.done.cancelled() => return Ok(()),
                reasons = self.copy(db, &keys, &said) => {
                    let copied = reasons.iter().filter(|reason| reason.is_none()).count();
                    tracing::info!(copied, asked = keys.len(), "keys were copied again");
                    // First: who hears of it may ask for the next ones at once.
                    open.asked.is_free();
                    // Who has asked may have gone: nothing depends on it.
                    let _ = said.send(reasons);
                }
            }
        }
    }

    /// Copies one group after the other, for as long as somebody waits for it.
    async fn copy(&self, db: u32, keys: &[Vec<u8>], said: &oneshot::Sender<Reasons>) -> Reasons {
        let mut reasons: Reasons = vec![Some("nobody waits for it".to_owned()); keys.len()];
        let mut left: Vec<usize> = (0..keys.len()).collect();
        let (mut source, begun) = (None, Instant::now());
        // How many of those that are left are read one by one: one of them is why they could not be read together.
        let mut alone = 0_usize;
        while !left.is_empty() && !said.is_closed() {
            let mut group = left[..if alone > 0 { 1 } else { left.len() }].to_vec();
            let copied = match begun.elapsed() {
                long if long >= REQUEST => Err(Failed::All("the keys before it took too long: compare again".into())),
                _ => self.copy_some(&mut source, db, keys, &mut group, &mut reasons).await,
            };
            let why = match copied {
                Ok(()) => None,
                Err(Failed::These(_)) if group.len() > 1 => {
                    alone = group.len();
                    continue;
                }
                Err(Failed::These(why)) => Some(why),
                Err(Failed::All(why)) => {
                    group.clone_from(&left);
                    Some(why)
                }
            };
            group.iter().filter(|_| why.is_some()).for_each(|&at| reasons[at].clone_from(&why));
            left.retain(|at| !group.contains(at));
            alone = alone.saturating_sub(group.len());
        }
        reasons
    }

    /// Copies the first of these keys, as many as are read together, and leaves them in `group`. Whatever goes wrong, the next
    /// ones are read over another connection.
    async fn copy_some(
        &self,
        kept: &mut Option<Source>,
        db: u32,
        keys: &[Vec<u8>],
        group: &mut Vec<usize>,
        reasons: &mut Reasons,
    ) -> Result<(), Failed> {
        let all = |e: keyferry_model::Error| Failed::All(e.to_string());
        let mut source = match kept.take() {
            Some(source) => source,
            None => Source::open(self.source, self.version, db).await.map_err(all)?,
        };
        // Anew for each group: they may have grown meanwhile.
        let names: Vec<&[u8]> = group.iter().map(|&at| keys[at].as_slice()).collect();
        let sizes = match source.sizes(&names).await {
            Ok(sizes) => sizes,
            Err(e) => {
                group.truncate(1);
                return Err(Failed::These(e.to_string()));
            }
        };
        // Of what nobody knows the size, one goes at a time.
        let size = |n: usize| sizes.as_ref().map_or(GROUP, |sizes| sizes[n]);
        if size(0) > MAX_VALUE {
            group.truncate(1);
            *kept = Some(source);
            return Err(Failed::These(too_large(size(0))));
        }
        let mut bytes = size(0);
        let fits = |n: &usize| {
            bytes = bytes.saturating_add(size(*n));
            bytes <= GROUP
        };
        group.truncate(1 + (1..names.len()).take_while(fits).count());
        let said = self.copy_group(&mut source, db, &names[..group.len()]).await?;
        group.iter().zip(said).for_each(|(&at, reason)| reasons[at] = reason);
        *kept = Some(source);
        Ok(())
    }

    /// Copies keys that are read together.
    async fn copy_group(&self, source: &mut Source, db: u32, keys: &[&[u8]]) -> Result<Reasons, Failed> {
        let (stats, desk) = (self.stats, &self.stats.control.repairs);
        if !stats.is_copied() {
            return Err(Failed::All("the task still copies the snapshot".into()));
        }
        let went_on = |why: &str| Failed::These(format!("the stream went on without it, since {why}: compare again"));
        let follows = async {
            while !stats.is_following() {
                sleep(LOOK).await;
            }
        };
        timeout(HALT, follows).await.map_err(|_| Failed::All("the task is not connected to both sides".into()))?;
        let (standing, stands) = oneshot::channel();
        let (give, values) = oneshot::channel();
        desk.halt(Halt { standing, values });
        // Also a loop that waits for the source.
        stats.hold_now.notify_one();
        let from = match timeout(HALT, stands).await {
            Ok(offset) => offset.map_err(|_| went_on("a side was lost, or a snapshot is copied"))?,
            Err(_) => {
                desk.withdraw();
                let why = format!("the stream did not come to a halt within {} s", HALT.as_secs());
                return Err(Failed::All(why));
            }
        };
        failpoint("repair-standing");
        // From here on an early return lets the loop go on: `give` is dropped.
        let read = timeout(ANSWER, source.read(keys)).await;
        let silent = || Failed::These(format!("the source did not answer within {} s", ANSWER.as_secs()));
        let read = read.map_err(|_| silent())?;
        let Read { history, offset, values } = read.map_err(|e| Failed::These(e.to_string()))?;
        // Behind the answer: no time to live ends earlier than at the source.
        let read_ms = now_ms();
        let followed = *lock(&stats.replid);
        let Some(history) = history.filter(|id| Some(*id) == followed && offset >= from) else {
            let why = "the source has another history than the task follows: compare again";
            return Err(Failed::These(why.into()));
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
        give.send(values).map_err(|_| went_on("deadlines had to be held, or a side was lost"))?;
        let unknown = |what: &str| format!("{what}: it is not known whether it was written; compare again");
        let rest = match timeout(APPLIED, applied).await {
            Ok(Ok(reasons)) => reasons.map_err(Failed::These)?,
            Ok(Err(_)) => return Err(Failed::These(unknown("a side was lost"))),
            Err(_) => {
                let why = unknown(&format!("the target was not that far within {} s", APPLIED.as_secs()));
                return Err(Failed::All(why));
            }
        };
        reasons.iter_mut().filter(|reason| reason.is_none()).zip(rest).for_each(|(reason, said)| *reason = said);
        Ok(reasons)
    }
}

fn too_large(bytes: u64) -> String {
    format!("it takes {} MiB at the source: no more than {} MiB go through a task", bytes >> 20, MAX_VALUE >> 20)
}
