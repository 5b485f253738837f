//! From two endpoints to a running stream: questions first, then the link, then all parts together until the end.

use std::time::Duration;

use keyferry_keyspace::Flavor;
use keyferry_model::{Error, ErrorKind, OnConflict, Phase, Result, SyncSpec};
use keyferry_net::{Connection, Endpoint};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Stats,
    backoff::Backoff,
    checks::{self, Facts},
    source::{Decoded, Framing, Link, Receiver, Start, follow_reports, psync},
    stream::{Apply, Databases, Expiry, Older, Plan},
    target::{Deadlines, Lane, Restore, Settler, place, try_out},
};

/// Chunks between receiver and decoder: at 256 KiB each, 2 MiB.
pub(crate) const CHUNKS: usize = 8;
/// Batches between decoder and lane: one, since a batch may hold a value of any size; the lane has its own bound for
/// what is in flight.
pub(crate) const BATCHES: usize = 1;
/// Emptied batches that are kept for the decoder.
pub(crate) const SPARE: usize = 16;
/// A clean stop is over within 5 s, two of which the command line may need for its last words: after this time what is
/// still in flight is given up.
const DRAIN: Duration = Duration::from_secs(3);

/// How a task ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The snapshot is on the target (`full_only`).
    Copied,
    /// Both sides were in step (`stop_when_synced`).
    Synced,
    /// It was asked to stop.
    Interrupted,
}

/// Copies everything and follows every change until `stop` is cancelled or the spec says that it is done.
///
/// Nothing is written to the target before every question that can be asked beforehand has been answered.
pub async fn run(
    source: &Endpoint,
    target: &Endpoint,
    spec: &SyncSpec,
    stats: &Stats,
    stop: &CancellationToken,
) -> Result<Outcome> {
    let outcome = async {
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            opened = open(source, target, spec, stats, stop) => opened?,
        };
        match opened {
            Some(opened) => follow(source, target, spec, stats, stop, opened).await,
            None => Ok(Outcome::Interrupted),
        }
    };
    ended(stats, outcome.await)
}

/// Shows how a task has ended.
pub(crate) fn ended(stats: &Stats, outcome: Result<Outcome>) -> Result<Outcome> {
    match &outcome {
        Ok(_) => stats.set_phase(Phase::Stopped),
        Err(e) => {
            stats.note_error(e);
            stats.set_phase(Phase::Failed);
        }
    }
    outcome
}

/// Is over when a stop was asked for and has taken too long.
pub(crate) async fn drained(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(DRAIN).await;
    tracing::warn!("stopped with replies of the target outstanding");
}

/// Everything that is needed to begin.
struct Opened {
    link: Link,
    lane: Connection,
    facts: Facts,
}

/// Asks both sides everything that decides whether to begin, and opens the link. `None` when asked to stop meanwhile.
async fn open(
    source: &Endpoint,
    target: &Endpoint,
    spec: &SyncSpec,
    stats: &Stats,
    stop: &CancellationToken,
) -> Result<Option<Opened>> {
    let mut backoff = Backoff::new(spec.retry_window);
    loop {
        match open_once(source, target, spec, stats).await {
            Ok(opened) => return Ok(Some(opened)),
            // A server that says that it will be there soon is waited for; anything else is for the user to see now.
            Err(e) if matches!(e.kind(), ErrorKind::Loading(_) | ErrorKind::NoMasterLink) => {
                tracing::warn!(error = %e, "waiting");
                stats.note_error(&e);
                if !backoff.again(e, stop).await? {
                    return Ok(None);
                }
            }
            Err(e) => return Err(e),
        }
    }
}

async fn open_once(source: &Endpoint, target: &Endpoint, spec: &SyncSpec, stats: &Stats) -> Result<Opened> {
    let mut source_conn = Connection::open(source).await?;
    let mut target_conn = Connection::open(target).await?;
    let facts = checks::ask(&mut source_conn, &mut target_conn, source, target).await?;
    if spec.on_conflict == OnConflict::Abort {
        checks::target_is_empty(&mut target_conn, target, target.db.or(source.db)).await?;
    }
    if !spec.full_only {
        try_out(&mut target_conn).await?;
    }
    stats.keys_expected.set(facts.source_keys);
    let link = psync(source, None).await?;
    // The source may have taken minutes to begin: the target may have dropped an idle connection meanwhile.
    let lane = Connection::open(target).await?;
    Ok(Opened { link, lane, facts })
}

/// Runs all parts until the first of them fails or the work is done.
async fn follow(
    source: &Endpoint,
    target: &Endpoint,
    spec: &SyncSpec,
    stats: &Stats,
    stop: &CancellationToken,
    opened: Opened,
) -> Result<Outcome> {
    let Opened { link, lane, facts } = opened;
    let Start::Full { replid, offset, framing } = link.start else {
        return Err(Error::new(ErrorKind::Internal, "ask for a snapshot: the source goes on instead"));
    };
    if let Framing::Length(n) = framing {
        stats.snapshot_len.set(n);
    }
    stats.set_phase(Phase::FullSync);

    // Cancelled by whoever finds that the work is done; `stop` is the user's and stays untouched.
    let done = stop.child_token();
    let (chunks_tx, chunks) = mpsc::channel(CHUNKS);
    let (batches_tx, batches) = mpsc::channel(BATCHES);
    let (spare_tx, spare) = mpsc::channel(SPARE);
    let (decoded_tx, decoded) = watch::channel(Decoded::default());
    let receiver = Receiver {
        endpoint: source,
        stats,
        decoded,
        chunks: chunks_tx,
        replid,
        start: offset,
        retry_window: spec.retry_window,
        stop: &done,
    };
    let restore = Restore {
        stats,
        server: facts.target,
        modules: facts.modules,
        on_conflict: spec.on_conflict,
        on_unsupported: spec.on_unsupported,
        place: place(&facts.source_id),
        // Others may not keep a deadline that is so far away.
        deadlines: match !spec.full_only && facts.target.flavor != Flavor::Other {
            true => Deadlines::Held,
            false => Deadlines::Exact,
        },
    };
    let databases = Databases::new(source.db, target.db);
    let expiry = Expiry::new(spec.ttl_grace, &facts.source, &facts.target);
    let (vectors, reads) = (restore.modules.vector_sets(), restore.modules.read_vectors_of(&facts.source));
    let older = Older::new(&facts.source, &facts.target, spec.on_unsupported, &restore.place).with_vector_sets(
        vectors,
        reads,
        &facts.source,
    );
    let plan = Plan { databases, expiry, older, framing, full_only: spec.full_only };
    let mut apply = Apply::new(stats, restore, plan, offset);
    let settler = Settler {
        endpoint: target,
        stats,
        databases,
        grace: spec.ttl_grace,
        retry_window: spec.retry_window,
        stop: &done,
    };
    let lane = Lane::new(lane.into_parts().0, stats, spec.on_conflict, spare_tx);

    let work = async {
        tokio::try_join!(
            receiver.run(link),
            async {
                let result = apply.run(chunks, batches_tx, spare, decoded_tx).await;
                // Ends the other parts also when the snapshot was all that was wanted.
                done.cancel();
                result
            },
            lane.run(batches),
            settler.run(),
            follow_reports(source, &facts.source, stats, spec.stop_when_synced, &done),
        )
    };
    tokio::select! {
        biased;
        result = work => {
            let (.., in_step) = result?;
            Ok(match in_step {
                true => Outcome::Synced,
                false if stop.is_cancelled() => Outcome::Interrupted,
                false => Outcome::Copied,
            })
        }
        () = drained(stop) => Ok(Outcome::Interrupted),
    }
}
