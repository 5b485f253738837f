//! What differs is copied from the source again, and what only the target has is removed there. Each key that was written is
//! compared once more: only that says whether it is repaired.
//!
//! Not beside a task that writes to the same target: a value that is copied here may hold writes that the task has still to
//! apply, and they would be there twice. Where somebody is given who can have them copied by that task itself, they are.

mod rebuilt;

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use keyferry_model::{Error, ErrorKind, Result};

use crate::{
    asker::Answer,
    check::{Checker, places, read_type},
    deadline::Deadline,
    flat::{elements, scanned},
    outcome::Stats,
    pair::{Dbs, Half, Link, Pair},
    rate::Rate,
    rounds::{Place, longest, settle},
    side::Side,
    store::{Run, Store},
    walk::Keys,
};

/// Keys copied at once.
const PAGE: u64 = 100;
/// Keys looked at by one SCAN for a checkpoint.
const COUNT: &[u8] = b"10000";

/// Copies keys in another way than over connections of the comparison: for a target that somebody else writes to.
pub trait Copier {
    /// The key of the target that says who that is.
    fn position(&self) -> &[u8];

    /// Copies these keys of a database of the source, named as there. Gives for each the reason why it was not copied; an error
    /// ends the repair.
    fn copy<'a>(&'a self, db: u32, keys: &'a [&'a [u8]]) -> Copying<'a>;
}

/// What [`Copier::copy`] is doing.
pub type Copying<'a> = Pin<Box<dyn Future<Output = Result<Vec<Option<String>>>> + 'a>>;

/// How keys are copied.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    Directly,
    Through(&'a dyn Copier),
}

/// How keys can be copied: directly where no task runs and none keeps its position on the target, and through `copier` where
/// that is its own.
///
/// Errors: `RepairRefused` when there is a position of another task, or none of `copier`: a task that runs puts one there as soon
/// as it begins to write.
pub(crate) async fn way<'a>(pair: &Pair<'_>, copier: Option<&'a dyn Copier>) -> Result<Way<'a>> {
    let mut way = None;
    let side = Side::meet(&pair.target.endpoint).await?;
    let mut half = Half::open(&side).await?;
    // A task that copies all databases keeps its position in the first one.
    for db in side.databases.iter().map(|found| found.db.0) {
        half.select(db).await?;
        let mut cursor = b"0".to_vec();
        loop {
            half.batch.push(&[b"SCAN", &cursor, b"MATCH", b"__keyferry_checkpoint:*", b"COUNT", COUNT]);
            half.ask().await?;
            let page = if let Answer::Array(page) = half.answers.next() { scanned(page) } else { None };
            let Some((next, keys)) = page else { return Err(half.asker.unexpected("SCAN")) };
            for key in elements(keys) {
                if let Some(copier) = copier.filter(|copier| key == Some(copier.position())) {
                    way = Some(Way::Through(copier));
                    continue;
                }
                let what = format!("repair the target {}: a task keeps its position in database {db}", side.endpoint);
                return Err(Error::new(ErrorKind::RepairRefused, what));
            }
            if next == b"0" {
                break;
            }
            cursor = next.to_vec();
        }
    }
    match (way, copier) {
        (Some(way), _) => Ok(way),
        (None, None) => Ok(Way::Directly),
        (None, Some(_)) => {
            let what = format!("repair the target {}: the task runs and keeps no position there yet", side.endpoint);
            Err(Error::new(ErrorKind::RepairRefused, what))
        }
    }
}

/// Looks again whether a task has begun to write to the target. It reads the names of all keys there: no more than a part of
/// the time goes into that.
struct Looks {
    /// When it ended, and how long it took.
    last: (Instant, Duration),
}

impl Looks {
    /// One part in so many.
    const PART: u32 = 10;

    async fn begin(pair: &Pair<'_>) -> Result<Self> {
        let begun = Instant::now();
        way(pair, None).await?;
        Ok(Self { last: (Instant::now(), begun.elapsed()) })
    }

    /// Errors: `RepairRefused` when there is a position.
    async fn again(&mut self, pair: &Pair<'_>) -> Result<()> {
        let (ended, took) = self.last;
        if ended.elapsed() >= took * Self::PART {
            *self = Self::begin(pair).await?;
        }
        Ok(())
    }
}

/// How far a repair has come.
#[derive(Default)]
pub(crate) struct Reached {
    place: Place,
    /// Keys that are equal now and were not.
    pub(crate) repaired: u64,
}

/// Repairs all that differs and compares it again, from where it has come on.
///
/// Errors: those of the connections and the store, `RepairRefused`, `TargetReplica`, `TargetFull`.
pub(crate) async fn all(
    pair: &Pair<'_>,
    way: Way<'_>,
    store: &Store,
    stats: &Stats,
    rate: &Rate,
    run: &Run,
    reached: &mut Reached,
) -> Result<()> {
    let count = rate.batch(PAGE);
    let longest = longest(store.differing_keys(run.id)?, count);
    let mut link = pair.connect().await?;
    let mut checker = Checker::open(pair).await?;
    let mut looks = if matches!(way, Way::Directly) { Some(Looks::begin(pair).await?) } else { None };
    loop {
        // One that has come back empty would have all keys removed.
        link.must_lead_to(pair).await?;
        if let Some(looks) = &mut looks {
            looks.again(pair).await?;
        }
        let page = store.differing(run.id, reached.place.after(), count)?;
        let Some((db, names)) = page else { return Ok(()) };
        let keys = Keys::of(names, &pair.spec.objects);
        rate.take(keys.len() as u64).await;
        let reasons = match way {
            Way::Directly => copy(pair, &mut link, pair.dbs(db), &keys).await?,
            Way::Through(copier) => {
                let names: Vec<&[u8]> = (0..keys.len()).map(|at| keys.get(at).source).collect();
                let reasons = copier.copy(db, &names).await?;
                reasons.into_iter().enumerate().filter_map(|(at, reason)| Some((at, reason?))).collect()
            }
        };
        let mut found = settle(&mut checker, pair, rate, db, &keys, longest).await?;
        let differing = places(&found).len();
        reached.repaired += (keys.len() - differing) as u64;
        for one in &mut found {
            if let Some((_, reason)) = reasons.iter().find(|(at, _)| *at == one.at) {
                let before = if one.detail.is_empty() { "" } else { "; " };
                one.detail.push_str(&format!("{before}not repaired: {reason}"));
            }
        }
        store.replace(run.id, db, keys.on_source(), &found, run.round)?;
        stats.looked_again(keys.len() as u64, differing as u64);
        reached.place.move_to(db, keys.get(keys.len() - 1).source);
    }
}

/// Copies these keys; gives the places of those that the target does not take, each with the reason.
async fn copy(pair: &Pair<'_>, link: &mut Link, dbs: Dbs, keys: &Keys) -> Result<Vec<(usize, String)>> {
    link.select(dbs).await?;
    let places: Vec<usize> = (0..keys.len()).collect();
    let (mut reasons, large) = copy_some(pair, link, keys, &places, false).await?;
    for at in large {
        reasons.extend(copy_some(pair, link, keys, &[at], true).await?.0);
    }
    Ok(reasons)
}

/// The keys that were refused, each with the reason, and those whose payloads were too long to be held beside others.
type Copied = (Vec<(usize, String)>, Vec<usize>);

async fn copy_some(pair: &Pair<'_>, link: &mut Link, keys: &Keys, places: &[usize], whole: bool) -> Result<Copied> {
    let all = || places.iter().map(|&at| keys.get(at));
    let chosen = |kind| pair.spec.objects.allows_type(kind);
    let (source, target) = (&mut link.source, &mut link.target);
    pair.source.ask_deadlines(&mut source.batch, all().map(|key| key.source));
    all().for_each(|key| source.batch.push(&[b"DUMP", key.source]));
    source.batch.whole = whole;
    all().for_each(|key| target.batch.push(&[b"TYPE", key.target]));
    tokio::try_join!(source.ask(), target.ask())?;
    let (now, deadlines) = pair.source.deadlines(&source.asker, &mut source.answers, places.len())?;
    let remove: &[u8] = if pair.target.version.unlink() { b"UNLINK" } else { b"DEL" };
    let (mut reasons, mut large) = (Vec::new(), Vec::new());
    // The place of each key that is written, and how many answers belong to it.
    let mut written = Vec::new();
    // Values of types that are left out are the target's own.
    let mut own = Vec::with_capacity(places.len());
    for _ in places {
        let kind = read_type(target)?;
        own.push(kind.is_some_and(|kind| !chosen(kind.group())));
    }
    for ((&at, deadline), own) in places.iter().zip(deadlines).zip(own) {
        let key = keys.get(at).target;
        let commands = match source.answers.next() {
            Answer::Bytes(payload) if rebuilt::kind(payload).is_none_or(chosen) => {
                match rebuilt::write(&mut target.batch, &pair.target.version, key, payload, deadline, now) {
                    Ok(commands) => commands,
                    Err(reason) => {
                        reasons.push((at, reason));
                        continue;
                    }
                }
            }
            Answer::Nil | Answer::Bytes(_) if own => continue,
            Answer::Nil | Answer::Bytes(_) => {
                target.batch.push(&[remove, key]);
                1
            }
            Answer::Skipped(_) => {
                large.push(at);
                continue;
            }
            Answer::Error(text) => return Err(source.asker.refused("DUMP", text)),
            _ => return Err(source.asker.unexpected("DUMP")),
        };
        written.push((at, commands));
    }
    target.ask().await?;
    for (at, commands) in written {
        let mut reason = None;
        for _ in 0..commands {
            if let Answer::Error(text) = target.answers.next() {
                let error = target.asker.refused("RESTORE", text);
                match error.kind() {
                    // About this value, not about the target.
                    ErrorKind::Protocol(_) => reason = reason.or_else(|| Some(keyferry_net::safe_text(text))),
                    _ => return Err(error),
                }
            }
        }
        reasons.extend(reason.map(|reason| (at, format!("the target answers `{reason}`"))));
    }
    Ok((reasons, large))
}

/// What RESTORE takes for a deadline: the time to live, or the time itself.
fn restore_ttl(deadline: Deadline, now: i64, absolute: bool) -> i64 {
    match deadline {
        Deadline::At(at) if absolute => at.max(1),
        // 0 would stand for no deadline; a time that is over becomes the shortest one.
        Deadline::At(at) => at.saturating_sub(now).max(1),
        Deadline::Never | Deadline::Gone => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_for_restore() {
        assert_eq!(restore_ttl(Deadline::Never, 100, true), 0);
        assert_eq!(restore_ttl(Deadline::At(150), 100, true), 150);
        assert_eq!(restore_ttl(Deadline::At(150), 100, false), 50);
        assert_eq!(restore_ttl(Deadline::At(50), 100, false), 1);
    }
}
