//! What differs is looked at again: on live data, most of it was only on its way.
//!
//! In the last round a key that still differs is read several times more. One that both sides keep changing is equal as soon as
//! one reading of the source is followed by the same of the target.

use std::time::Duration;

use keyferry_model::Result;
use tokio::time::{Instant, sleep};

use crate::{
    check::{Checker, Found, places},
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
/// Where a reading takes long, since values are large, there are fewer.
const LONG: Duration = Duration::from_secs(1);
/// Likewise where many keys differ: for all of them, no more than this is spent on being sure.
const ALL: Duration = Duration::from_secs(20);

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
    let count = rate.batch(PAGE);
    let longest = if last { longest(store.differing_keys(run.id)?, count) } else { Duration::ZERO };
    loop {
        let page = store.differing(run.id, place.after(), count)?;
        let Some((db, names)) = page else { return Ok(()) };
        let keys = Keys::of(names, &pair.spec.objects);
        rate.take(keys.len() as u64).await;
        let found = settle(&mut checker, pair, rate, db, &keys, longest).await?;
        store.replace(run.id, db, keys.on_source(), &found, run.round)?;
        stats.looked_again(keys.len() as u64, places(&found).len() as u64);
        place.move_to(db, keys.get(keys.len() - 1).source);
    }
}

/// For how long the keys that are looked at at once, so many, are read in the last round.
pub(crate) fn longest(differing: u64, at_once: u64) -> Duration {
    let pages = u32::try_from(differing.div_ceil(at_once.max(1))).unwrap_or(u32::MAX);
    LONG.min(ALL / pages.max(1))
}

/// What differs of these keys; what differs in every reading for so long. Without a time they are read once, which is paid for;
/// the other readings are paid for here.
pub(crate) async fn settle(
    checker: &mut Checker<'_>,
    pair: &Pair<'_>,
    rate: &Rate,
    db: u32,
    keys: &Keys,
    longest: Duration,
) -> Result<Vec<Found>> {
    let dbs = pair.dbs(db);
    let begun = Instant::now();
    let mut found = checker.check(dbs, keys, false).await?;
    for _ in 1..if longest.is_zero() { 1 } else { READINGS } {
        let places = places(&found);
        if places.is_empty() || begun.elapsed() > longest {
            break;
        }
        sleep(PAUSE).await;
        rate.take(places.len() as u64).await;
        found = checker.check(dbs, &keys.only(&places), false).await?;
        found.iter_mut().for_each(|found| found.at = places.get(found.at).copied().unwrap_or(found.at));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_keys_take_no_longer_than_some() {
        for at_once in [1, 100, PAGE] {
            for few in [0, 1, at_once, 20 * at_once] {
                assert_eq!(longest(few, at_once), LONG, "{few}");
            }
            for many in [21 * at_once, 10_000_000, 1 << 50] {
                let pages = u32::try_from(many.div_ceil(at_once)).unwrap_or(u32::MAX);
                let longest = longest(many, at_once);
                assert!(longest < LONG && longest.saturating_mul(pages) <= ALL, "{many}");
            }
        }
    }
}
