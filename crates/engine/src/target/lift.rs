//! Lifting: deadlines of the target that lack the grace become later by it.
//!
//! A task that goes the other way behind a cut-over finds on its target what was its source: with the deadlines that it had
//! there. They would pass before a renewal at the new side is here. So its checkpoint says that they are exact
//! ([`Flags::exact`](super::Flags)), and its keys are gone through while the stream is followed. The checkpoint says the same while
//! a cut-over has lowered deadlines, so a process that goes on behind one that was killed then lifts them.
//!
//! Invariants:
//! - The checkpoint says so until all of them were gone through, on a target that has not fallen back meanwhile.
//! - Holding may go on meanwhile, and takes the grace for granted (`hold.rs`): a deadline that is held is made later to what
//!   it is held for at the source, and gets the grace when it is settled.
//! - It is only done for whoever has the task; behind a cut-over, while nobody has it yet. What a target runs long after nobody
//!   waits for it any more does nothing.
//! - No deadline becomes earlier. The source is asked for each: so a second time changes nothing, but where the source no longer
//!   has it. Its DEL ends such a key on time.
//! - Behind a cut-over each field that has run out before it was lifted is named: a server tells nobody of it until it comes to
//!   remove it, which may be much later. A key is removed when it is looked at.

use std::{cell::Cell, sync::atomic::Ordering::Relaxed, time::Duration};

use keyferry_keyspace::{info, objects::Objects};
use keyferry_model::{Error, ErrorKind, Result, Retry, Side};
use keyferry_net::{Connection, Endpoint, Value};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

mod fields;

use super::{
    fence::{Fence, behind_fence},
    position::Place,
    refusal::ask,
    walk::scanned,
};
use crate::{Control, Stats, backoff::Backoff};

/// How often it is looked whether there is something to do: a target that has fallen back may have exact deadlines again.
const LOOK: Duration = Duration::from_millis(100);
/// What runs out within this time is lifted first: all of it takes minutes at most.
pub(crate) const SOON: Duration = Duration::from_secs(600);
/// Keys and fields that are looked at in one script: less than a millisecond of the target's time.
const MOST: &[u8] = b"500";
/// Fields of hashes that are gone through together, with one wait for all of them: their names take some 100 KB.
const AT_ONCE: i64 = 2000;

/// One step of a SCAN from `ARGV[1]` on: the next cursor, and of its keys those with no more than `ARGV[2]` ms to live. With
/// `ARGV[3]` all hashes, too. Most keys are not even named: it goes
/// through some 300,000 keys a second.
const NEAR: &[u8] = b"local step,near,most=redis.call('SCAN',ARGV[1],'COUNT',ARGV[4]),{},tonumber(ARGV[2]) \
    for _,key in ipairs(step[2]) do local left=redis.call('PTTL',key) \
    if left>=0 and left<=most or ARGV[3]=='1' and redis.call('TYPE',key).ok=='hash' then near[#near+1]=key end end \
    return {step[1],near}";

/// Makes deadlines of the keys from `KEYS[2]` on later by `ARGV[4]` than they are at the source, which `ARGV[8]` and on say for
/// each in the words of `ARGV[5]`; where it has none, than they are here. `ARGV[6]` sets them. With `ARGV[7]` it answers which
/// keys are hashes, and how many fields they have.
const LIFT_KEYS: &[u8] = behind_fence!(
    "local grace,hashes=tonumber(ARGV[4]),{} \
    for i=2,#KEYS do local key=KEYS[i] local now,at,add=redis.call(ARGV[5],key),tonumber(ARGV[6+i]),grace \
    if now>=0 then if at<0 then at=now elseif now>=2^52-2^41 and now<2^52+2^44 then add=2^52 end \
    if at+add>now then redis.call(ARGV[6],key,string.format('%.0f',at+add)) end end \
    if ARGV[7]=='1' and redis.call('TYPE',key).ok=='hash' then \
    hashes[#hashes+1]=i-1 hashes[#hashes+1]=redis.call('HLEN',key) end end return hashes"
);

/// What has run out: a database of the source, and in it `HDEL key field ...`.
pub(crate) type Gone = (u32, Vec<Vec<u8>>);

/// Lifts what has to be lifted.
pub(crate) struct Lifter<'a> {
    pub(crate) source: &'a Endpoint,
    pub(crate) place: Place<'a>,
    /// That of the last connection.
    pub(crate) epoch: &'a Cell<u64>,
    pub(crate) stats: &'a Stats,
    pub(crate) objects: &'a Objects,
    pub(crate) grace: Duration,
    pub(crate) retry_window: Option<Duration>,
    pub(crate) stop: &'a CancellationToken,
}

impl Lifter<'_> {
    /// Lifts as often as the checkpoint says that it has to be done, until `stop`.
    ///
    /// Errors: those that trying again cannot help, such as `Permission`.
    pub(crate) async fn run(self) -> Result<()> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(()),
            result = self.work() => result,
        }
    }

    async fn work(&self) -> Result<()> {
        let mut backoff = Backoff::new(self.retry_window);
        loop {
            let generation = self.stats.generation.get();
            if !self.stats.exact.load(Relaxed) {
                sleep(LOOK).await;
                continue;
            }
            let Self { source, place, epoch, objects, grace, stats, .. } = *self;
            let epoch = Some(epoch.get());
            let lift = async |near| lift(source, place, epoch, objects, [grace, near], &stats.control, None).await;
            // What is nearest is not to wait for all the others.
            match async { Ok(lift(SOON).await? && lift(Duration::MAX).await?) }.await {
                Ok(true) if self.stats.generation.get() == generation => {
                    self.stats.exact.store(false, Relaxed);
                    tracing::info!("deadlines that were on the target have the grace");
                    backoff = Backoff::new(self.retry_window);
                }
                // On another connection to the target; or somebody else has the task.
                Ok(_) => sleep(LOOK).await,
                Err(error) => {
                    tracing::warn!(error = %error, "the deadlines of the target are gone through again");
                    self.stats.note_error(&error);
                    backoff.again(error, self.stop).await?;
                }
            }
        }
    }
}

/// Makes the deadlines of all chosen keys of the target, and of their fields, later by `grace` than at `source`. `false` when
/// the position at `place` has another epoch than `epoch` meanwhile, or another holder; without an epoch, when there is one.
/// Only of those keys that have no more than `near` to live, and of all hashes. `gone`: fields that the source has for no more
/// than the grace (and a second for clocks), and that are not here any more, are put there.
///
/// Errors: those of both connections. What is done stays done.
pub(crate) async fn lift(
    source: &Endpoint,
    place: Place<'_>,
    epoch: Option<u64>,
    objects: &Objects,
    [grace, near]: [Duration; 2],
    control: &Control,
    mut gone: Option<&mut Vec<Gone>>,
) -> Result<bool> {
    if grace.is_zero() {
        return Ok(true);
    }
    let (mut ours, mut theirs) = (Connection::open(place.endpoint).await?, Connection::open(source).await?);
    let text = ours.info("keyspace").await?;
    let question = [b"PEXPIRETIME".as_slice(), b"__keyferry_nothing"];
    let absolute =
        matches!(ours.ask(&question).await?, Value::Int(_)) && matches!(theirs.ask(&question).await?, Value::Int(_));
    let fence = Fence::new(place, epoch);
    let near = (near < Duration::MAX).then(|| near.as_millis().to_string());
    let their_keyspace = theirs.info("keyspace").await?;
    let (most, grace) = (grace.as_millis() + 1000, grace.as_millis().to_string());
    let mut lift = Lift { ours, theirs, objects, fence, grace, near, most, absolute, control };
    for keyspace in info::keyspace(text.as_bytes()) {
        let db = keyspace.db.0;
        let Some(there) = objects.source_database(db) else { continue };
        ask(&mut lift.ours, &[b"SELECT", db.to_string().as_bytes()]).await?;
        lift.theirs.command(&[b"SELECT", there.to_string().as_bytes()]).await?;
        lift.fence.db = db;
        let with_fields = info::keyspace(their_keyspace.as_bytes()).any(|k| k.db.0 == there && k.field_expires > 0);
        let gone = gone.as_deref_mut().filter(|_| with_fields).map(|gone| (there, gone));
        if !lift.database(keyspace.field_expires > 0, gone).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

struct Lift<'a> {
    ours: Connection,
    theirs: Connection,
    objects: &'a Objects,
    fence: Fence,
    /// In milliseconds.
    grace: String,
    /// How much to live a key may have at most, likewise.
    near: Option<String>,
    /// How much a field may still have at the source that has run out here, likewise.
    most: u128,
    /// Both sides tell deadlines as they are; else as the time that is left.
    absolute: bool,
    control: &'a Control,
}

impl Lift<'_> {
    async fn database(&mut self, fields: bool, mut gone: Option<(u32, &mut Vec<Gone>)>) -> Result<bool> {
        let fields: &[u8] = if fields { b"1" } else { b"0" };
        let (question, set): (&[u8], &[u8]) =
            if self.absolute { (b"PEXPIRETIME", b"PEXPIREAT") } else { (b"PTTL", b"PEXPIRE") };
        let mut cursor = b"0".to_vec();
        loop {
            let step: &[&[u8]] = match &self.near {
                Some(near) => &[b"EVAL", NEAR, b"0", &cursor, near.as_bytes(), fields, MOST],
                None => &[b"SCAN", &cursor, b"COUNT", MOST],
            };
            let (next, mut keys) = scanned(ask(&mut self.ours, step).await?)?;
            // What is not of the source is left alone, as far as its name tells. A task with new names has no other direction.
            keys.retain(|key| self.objects.source_key(key).is_some());
            // A step of a table may give many more than were asked for, a script can take some thousands.
            for keys in keys.chunks(500) {
                self.control.unpaused().await;
                let questions: Vec<[&[u8]; 2]> = keys.iter().map(|key| [question, key.as_slice()]).collect();
                let answers = self.theirs.ask_all(&questions).await?;
                must_last(&self.theirs, &answers)?;
                let there: Vec<String> = answers.iter().map(|at| deadline(at).to_string()).collect();
                let (count, fence) = ((keys.len() + 1).to_string(), self.fence.args());
                let mut args: Vec<&[u8]> = vec![b"EVAL", LIFT_KEYS, count.as_bytes(), &self.fence.key];
                args.extend(keys.iter().map(Vec::as_slice));
                args.extend(fence.iter().map(Vec::as_slice));
                args.extend([self.grace.as_bytes(), question, set, fields]);
                args.extend(there.iter().map(String::as_bytes));
                let hashes = match ask(&mut self.ours, &args).await? {
                    Value::Array(hashes) => hashes,
                    Value::Int(0) => return Ok(false),
                    _ => return Err(odd()),
                };
                let (mut some, mut total) = (Vec::new(), 0);
                for pair in hashes.chunks(2) {
                    let [Value::Int(i), Value::Int(len)] = *pair else { return Err(odd()) };
                    let key = usize::try_from(i - 1).ok().and_then(|i| keys.get(i)).ok_or_else(odd)?;
                    some.push(key.as_slice());
                    total += len;
                    if total >= AT_ONCE {
                        if !self.hashes(&some, &mut gone).await? {
                            return Ok(false);
                        }
                        (some, total) = (Vec::new(), 0);
                    }
                }
                if !self.hashes(&some, &mut gone).await? {
                    return Ok(false);
                }
            }
            if next == b"0" {
                return Ok(true);
            }
            cursor = next;
        }
    }
}

/// No deadline, or none that is known.
const NONE: i64 = -1;

/// Nothing is concluded from what will be answered otherwise.
///
/// Errors: those that pass, such as that of a source that is busy with a script.
fn must_last(theirs: &Connection, replies: &[Value]) -> Result<()> {
    for reply in replies {
        let Value::Error(text) = reply else { continue };
        let kind = theirs.kind_of(text);
        if kind.policy().retry == Retry::Backoff {
            return Err(theirs.refused(kind, "a question for a deadline", text));
        }
    }
    Ok(())
}

fn deadline(reply: &Value) -> i64 {
    match reply {
        Value::Int(at) if *at > 0 => *at,
        _ => NONE,
    }
}

fn odd() -> Error {
    Error::new(ErrorKind::Protocol(Side::Target), "go through the target's deadlines: an unexpected reply")
}
