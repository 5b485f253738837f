//! What differs is copied from the source again, and what only the target has is removed there. Each key that was written is
//! compared once more: only that says whether it is repaired.
//!
//! Not beside a task that writes to the same target: a value that is copied here may hold writes that the task has still to
//! apply, and they would be there twice.

mod rebuilt;

use keyferry_model::{Error, ErrorKind, Result};

use crate::{
    asker::Answer,
    check::{Checker, read_type},
    deadline::Deadline,
    flat::{elements, scanned},
    outcome::Stats,
    pair::{Dbs, Half, Link, Pair},
    rate::Rate,
    rounds::{Place, settle},
    side::Side,
    store::{Run, Store},
    walk::Keys,
};

/// Keys copied at once.
const PAGE: u64 = 100;
/// Keys looked at by one SCAN for a checkpoint.
const COUNT: &[u8] = b"10000";

/// Errors: `RepairRefused` when a task keeps its position on the target.
pub(crate) async fn refuse_beside_a_task(pair: &Pair<'_>) -> Result<()> {
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
            if elements(keys).next().is_some() {
                let what = format!("repair the target {}: a task keeps its position in database {db}", side.endpoint);
                return Err(Error::new(ErrorKind::RepairRefused, what));
            }
            if next == b"0" {
                break;
            }
            cursor = next.to_vec();
        }
    }
    Ok(())
}

/// Repairs all that differs, from `place` on, and compares it again. Adds to `repaired` how many keys are equal now.
pub(crate) async fn all(
    pair: &Pair<'_>,
    store: &Store,
    stats: &Stats,
    rate: &Rate,
    run: &Run,
    place: &mut Place,
    repaired: &mut u64,
) -> Result<()> {
    let mut link = pair.connect().await?;
    let mut checker = Checker::open(pair).await?;
    loop {
        let page = store.differing(run.id, place.after(), rate.batch(PAGE))?;
        let Some((db, names)) = page else { return Ok(()) };
        let keys = Keys::of(names, &pair.spec.objects);
        rate.take(keys.len() as u64).await;
        let reasons = copy(pair, &mut link, pair.dbs(db), &keys).await?;
        let mut found = settle(&mut checker, pair, db, &keys, true).await?;
        let mut differing: Vec<usize> = found.iter().map(|found| found.at).collect();
        differing.dedup();
        *repaired += (keys.len() - differing.len()) as u64;
        for one in &mut found {
            if let Some((_, reason)) = reasons.iter().find(|(at, _)| *at == one.at) {
                let before = if one.detail.is_empty() { "" } else { "; " };
                one.detail.push_str(&format!("{before}not repaired: {reason}"));
            }
        }
        store.replace(run.id, db, keys.on_source(), &found, run.round)?;
        stats.set_differing(store.differing_keys(run.id)?);
        place.move_to(db, keys.get(keys.len() - 1).source);
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
