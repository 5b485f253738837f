//! A comparison from its start to its end.

use keyferry_model::{Error, ErrorKind, Result, Side as Which};
use keyferry_net::Endpoint;
use tokio::time::sleep;

use crate::{
    outcome::{Outcome, Stage, Stats},
    pair::{Dbs, Pair},
    rate::Rate,
    repair::{self, Copier, Reached},
    retry::Patience,
    rounds::{self, Place},
    side::Side,
    spec::Spec,
    store::{Run, Store},
    walk::{self, Walks},
};

/// Compares two sides, and repairs what differs where that is asked for. A comparison that the store knows and that is not at
/// its end is gone on with. To stop it, the future is dropped: what is in the store stays. `copier`: who repairs what a task of
/// its own keeps in step.
///
/// Errors: those of connections that do not pass within half a minute, `Cluster`, `NoSuchDatabase`,
/// `ResultStore`, `OutsideObjects` for a key whose name the rules give to another one; with repair also `RepairRefused`, `TargetReplica`, `TargetFull`.
pub async fn run(
    source: &Endpoint,
    target: &Endpoint,
    spec: &Spec,
    stats: &Stats,
    store: &Store,
    copier: Option<&dyn Copier>,
) -> Result<Outcome> {
    let rate = Rate::new(spec.rate);
    let pair = meet(source, target, spec).await?;
    if pair.is_one() {
        tracing::warn!("both URLs lead to the same data: that it is equal to itself says nothing");
    }
    if spec.repair {
        repair::way(&pair, copier).await?;
    }
    let mut run = store.begin(&source.to_string(), &target.to_string(), &spec.fingerprint())?;
    let (pair, repaired) = match rounds_and_repair(pair, copier, stats, store, &rate, &mut run).await {
        // What a side was says nothing of what it is: nobody repairs by that later.
        Err(e) if e.kind() == ErrorKind::RepairRefused => {
            store.forget(run.id)?;
            return Err(e);
        }
        done => done?,
    };
    let (keys, counts) = (store.walked(run.id, Which::Source.name())?, store.counts(run.id)?);
    let outcome = Outcome { keys, counts, rounds: run.round, repaired };
    if keys == 0 && pair.source_has_keys() {
        tracing::warn!("no key of the source is chosen, though it has some: nothing was compared");
    }
    store.finish(run.id, &outcome)?;
    Ok(outcome)
}

/// Gives what the sides are at the end, and how many keys were repaired.
async fn rounds_and_repair<'a>(
    mut pair: Pair<'a>,
    copier: Option<&dyn Copier>,
    stats: &Stats,
    store: &Store,
    rate: &Rate,
    run: &mut Run,
) -> Result<(Pair<'a>, u64)> {
    let mut anew = Anew::default();
    loop {
        pair = walks(pair, store, stats, rate, run, &mut anew).await?;
        // One that was begun anew is in its first round again.
        run.round = store.round(run.id)?;
        stats.set_differing(store.differing_keys(run.id)?);
        match look_again(&pair, store, stats, rate, run).await? {
            None => break,
            Some(other) => pair = anew.begin(&pair, other, store, run)?,
        }
    }
    let mut repaired = 0;
    if pair.spec.repair && store.differing_keys(run.id)? > 0 {
        repaired = repair(&pair, copier, store, stats, rate, run).await?;
    }
    Ok((pair, repaired))
}

async fn meet<'a>(source: &Endpoint, target: &Endpoint, spec: &'a Spec) -> Result<Pair<'a>> {
    let (source, target) = tokio::try_join!(Side::meet(source), Side::meet(target))?;
    Ok(Pair::new(source, target, spec))
}

/// How often a comparison has begun anew.
#[derive(Default)]
struct Anew {
    times: u32,
}

impl Anew {
    /// A name that leads to one server after the other never comes to an end.
    const MOST: u32 = 3;

    /// Takes what the sides are now, by which the walk begins anew where one is not what it was.
    ///
    /// Errors: `Lost` when that is too often; `RepairRefused` with repair: nobody knows whether all is there again.
    fn begin<'a>(&mut self, before: &Pair<'_>, now: Pair<'a>, store: &Store, run: &Run) -> Result<Pair<'a>> {
        let Some(which) = now.started_again(before) else { return Ok(now) };
        if now.spec.repair {
            return Err(now.refused(which));
        }
        if self.times == Self::MOST {
            let side = if which == Which::Source { &now.source } else { &now.target };
            let what = format!(
                "compare the {which} {}: it was started again, or is another server, {} times since the comparison began",
                side.endpoint,
                self.times + 1
            );
            return Err(Error::new(ErrorKind::Lost(which), what));
        }
        self.times += 1;
        store.forget(run.id)?;
        tracing::warn!("the {which} was started again, or is another server now: the comparison begins anew");
        Ok(now)
    }
}

/// The first round: all keys of the source, then all of the target. Gives what the sides are now, which may be other servers
/// than before.
async fn walks<'a>(
    mut pair: Pair<'a>,
    store: &Store,
    stats: &Stats,
    rate: &Rate,
    run: &Run,
    anew: &mut Anew,
) -> Result<Pair<'a>> {
    let mut patience = Patience::default();
    loop {
        let before = position(store, run)?;
        let walked = async {
            walk_all(&pair, store, stats, rate, run).await?;
            // Where nothing differs nobody looks again.
            meet(&pair.source.endpoint, &pair.target.endpoint, pair.spec).await
        };
        let now = match walked.await {
            Ok(now) if now.started_again(&pair).is_none() => return Ok(pair),
            Ok(now) => now,
            Err(e) => {
                if position(store, run)? > before {
                    patience.rewarded();
                }
                meet_again(&pair, &mut patience, e).await?
            }
        };
        pair = anew.begin(&pair, now, store, run)?;
    }
}

/// After an error: waits, and asks both sides anew what they are.
async fn meet_again<'a>(pair: &Pair<'a>, patience: &mut Patience, error: Error) -> Result<Pair<'a>> {
    let mut error = error;
    loop {
        patience.again(error).await?;
        match meet(&pair.source.endpoint, &pair.target.endpoint, pair.spec).await {
            Ok(pair) => return Ok(pair),
            Err(e) => error = e,
        }
    }
}

fn position(store: &Store, run: &Run) -> Result<u64> {
    Ok(store.walked(run.id, Which::Source.name())? + store.walked(run.id, Which::Target.name())?)
}

async fn walk_all(pair: &Pair<'_>, store: &Store, stats: &Stats, rate: &Rate, run: &Run) -> Result<()> {
    let walks = Walks { pair, store, stats, rate, run: run.id };
    let databases = pair.databases();
    stats.set_expected(walk::expected(pair, &databases));
    let whole = position(store, run)? == 0;
    stats.set_stage(Stage::Source, 1);
    for dbs in &databases {
        walk::walk(&walks, *dbs, Which::Source).await?;
    }
    if whole && target_has_no_more(pair, &databases, store, run).await? {
        return Ok(());
    }
    stats.set_stage(Stage::Target, 1);
    for dbs in &databases {
        walk::walk(&walks, *dbs, Which::Target).await?;
    }
    Ok(())
}

/// Whether it is certain without a walk of the target that the source has all of its keys. So it is when nobody has written to
/// either side since the source's walk began, nothing expires, the walk gave as many keys as the source has, which are then
/// different ones, the target has all of them, and as many in all.
async fn target_has_no_more(pair: &Pair<'_>, databases: &[Dbs], store: &Store, run: &Run) -> Result<bool> {
    // Types that are left out are told key by key.
    if pair.leaves_out_types() {
        return Ok(false);
    }
    let (source, target) = tokio::try_join!(Side::meet(&pair.source.endpoint), Side::meet(&pair.target.endpoint))?;
    if !pair.source.is_unchanged(&source) || !pair.target.is_unchanged(&target) {
        return Ok(false);
    }
    for dbs in databases {
        let walked = store.position(run.id, Which::Source.name(), dbs.source)?.map_or(0, |at| at.keys);
        let same = source.keys(dbs.source) == (walked, 0) && target.keys(dbs.target) == (walked, 0);
        if !same || store.lacks(run.id, dbs.source)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The other rounds; gives what the sides are now where one was started again: then nothing is known of what was equal.
async fn look_again<'a>(
    pair: &Pair<'a>,
    store: &Store,
    stats: &Stats,
    rate: &Rate,
    run: &mut Run,
) -> Result<Option<Pair<'a>>> {
    while run.round < pair.spec.rounds && store.differing_keys(run.id)? > 0 {
        run.round += 1;
        stats.set_stage(Stage::Rounds, run.round);
        stats.set_differing(store.differing_keys(run.id)?);
        sleep(pair.spec.interval).await;
        if let Some(other) = one_round(pair, store, stats, rate, run).await? {
            return Ok(Some(other));
        }
        store.set_round(run.id, run.round)?;
    }
    Ok(None)
}

/// Gives what the sides are now where one is not what it was.
async fn one_round<'a>(
    pair: &Pair<'a>,
    store: &Store,
    stats: &Stats,
    rate: &Rate,
    run: &Run,
) -> Result<Option<Pair<'a>>> {
    let (mut patience, mut place) = (Patience::default(), Place::default());
    let last = run.round >= pair.spec.rounds;
    loop {
        let round = async {
            let now = meet(&pair.source.endpoint, &pair.target.endpoint, pair.spec).await?;
            if now.started_again(pair).is_some() {
                return Ok(Some(now));
            }
            rounds::round(&now, store, stats, rate, run, last, &mut place).await.map(|()| None)
        };
        match round.await {
            Ok(other) => return Ok(other),
            Err(e) => patience.again(e).await?,
        }
    }
}

/// Repairs what is left; gives how many keys are equal now that were not.
///
/// Errors: those of [`repair::all`]; `RepairRefused` also when a side was started again, or a connection was lost and nobody
/// knows.
async fn repair(
    pair: &Pair<'_>,
    copier: Option<&dyn Copier>,
    store: &Store,
    stats: &Stats,
    rate: &Rate,
    run: &Run,
) -> Result<u64> {
    stats.set_stage(Stage::Repair, run.round);
    let way = repair::way(pair, copier).await?;
    let (mut patience, mut reached) = (Patience::default(), Reached::default());
    let mut met = None;
    loop {
        let pair = met.as_ref().unwrap_or(pair);
        match repair::all(pair, way, store, stats, rate, run, &mut reached).await {
            Ok(()) => return Ok(reached.repaired),
            Err(e) => {
                let now = meet_again(pair, &mut patience, e).await?;
                if let Some(which) = now.started_again(pair).or_else(|| now.hides_starts()) {
                    return Err(now.refused(which));
                }
                met = Some(now);
            }
        }
    }
}
