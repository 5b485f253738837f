//! What differs is looked at again: on live data, most of it was only on its way.
//!
//! In the last round a key that still differs is read several times more. One that both sides keep changing is equal as soon as
//! one reading of the source is followed by the same of the target.

use std::time::Duration;

use keyferry_model::Result;
use tokio::time::{Instant, sleep};

use crate::{
    check::{Checker, Found},
    outcome::Stats,
    pair::Pair,
    rate::Rate,
    store::{Run, Store},
    walk::Keys,
};

/// Keys looked at at once.
const PAGE: u64 = 500;
/// Readings in the last round, and the pause between them: long for a write on its way, short for a user.
const READINGS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);
/// Where a reading takes long, since much differs or values are large, there are fewer.
const LONG: Duration = Duration::from_secs(1);

/// Where in the store a round goes on after a connection was lost.
#[derive(Default)]
pub(crate) struct Place(Option<(u32, Vec<u8>)>);

impl Place {
    pub(crate) fn after(&self) -> Option<(u32, &[u8])> {
        self.0.as_ref().map(|(db, key)| (*db, &key[..]))
    }

    pub(crate) fn move_to(&mut self, db: u32, key: &[u8]) {
        self.0 = Some((db, key.to_vec()));
    }
}

/// Looks at all that differs once more. A round whose connection breaks is gone on with at `place`.
pub(crate) async fn round(
    pair: &Pair<'_>,
    store: &Store,
    stats: &Stats,
    rate: &Rate,
    run: &Run,
    last: bool,
    place: &mut Place,
) -> Result<()> {
    let mut checker = Checker::open(pair).await?;
    loop {
        let page = store.differing(run.id, place.after(), rate.batch(PAGE))?;
        let Some((db, names)) = page else { return Ok(()) };
        let keys = Keys::of(names, &pair.spec.objects);
        rate.take(keys.len() as u64).await;
        let found = settle(&mut checker, pair, db, &keys, last).await?;
        store.replace(run.id, db, keys.on_source(), &found, run.round)?;
        stats.set_differing(store.differing_keys(run.id)?);
        place.move_to(db, keys.get(keys.len() - 1).source);
    }
}

/// What differs of these keys; in the last round, what differs in every reading.
pub(crate) async fn settle(
    checker: &mut Checker<'_>,
    pair: &Pair<'_>,
    db: u32,
    keys: &Keys,
    last: bool,
) -> Result<Vec<Found>> {
    let dbs = pair.dbs(db);
    let begun = Instant::now();
    let mut found = checker.check(dbs, keys, false).await?;
    for _ in 1..if last { READINGS } else { 1 } {
        let mut places: Vec<usize> = found.iter().map(|found| found.at).collect();
        places.sort_unstable();
        places.dedup();
        if places.is_empty() || begun.elapsed() > LONG {
            break;
        }
        sleep(PAUSE).await;
        found = checker.check(dbs, &keys.only(&places), false).await?;
        found.iter_mut().for_each(|found| found.at = places.get(found.at).copied().unwrap_or(found.at));
    }
    Ok(found)
}
