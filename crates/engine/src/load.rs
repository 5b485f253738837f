//! A dump file as the source: its snapshot goes the same way as that of a server, and nothing follows it.

use std::{path::Path, time::Duration};

use keyferry_model::{Error, ErrorKind, OnConflict, Phase, Result, ResultExt as _, SyncSpec};
use keyferry_net::{Connection, Endpoint};
use tokio::{fs::File, io::AsyncReadExt as _, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    Begun, Event, Gate, Outcome, Stats, checks,
    run::{BATCHES, CHUNKS, SPARE, ended},
    source::{CHUNK, Chunk, Framing},
    stop::Stop,
    stream::{Apply, Expiry, Older, Plan},
    target::{Checkpoint, Deadlines, Lane, Modules, Restore, place},
};

/// Names the values that are rebuilt from files; files are loaded one after the other by a task's lock.
const SOURCE_ID: &str = "file";

/// Copies what the dump file at `path` holds to the target, until its end or until `stop` is cancelled. `gate` is asked once,
/// before anything is written.
///
/// Errors: `DumpFile` when it cannot be read, the `Rdb` kinds when it is no dump or damaged, those of the target, and that of
/// the gate.
pub async fn load(
    path: &Path,
    target: &Endpoint,
    spec: &SyncSpec,
    stats: &Stats,
    gate: &dyn Gate,
    stop: &CancellationToken,
) -> Result<Outcome> {
    ended(stats, load_file(path, target, spec, stats, gate, stop).await)
}

async fn load_file(
    path: &Path,
    target: &Endpoint,
    spec: &SyncSpec,
    stats: &Stats,
    gate: &dyn Gate,
    stop: &CancellationToken,
) -> Result<Outcome> {
    let context = || format!("read the dump file {}", path.display());
    let file = File::open(path).await.or_err(ErrorKind::DumpFile, context)?;
    let len = file.metadata().await.or_err(ErrorKind::DumpFile, context)?.len();
    let mut conn = Connection::open(target).await?;
    let server = checks::ask_target(&mut conn, target).await?;
    let modules = Modules::ask(&mut conn, &server).await?;
    if spec.on_conflict == OnConflict::Abort {
        checks::target_is_empty(&mut conn, target, &spec.objects, None).await?;
    }
    gate.ask().await?;
    stats.snapshot_len.set(len);
    stats.set_phase(Phase::FullSync);
    stats.tell(Event::Begun(Begun {
        copy: 0,
        source: None,
        target: server,
        offset: 0,
        resumed: false,
        copied: false,
        counted: true,
    }));

    let done = stop.child_token();
    let (chunks_tx, chunks) = mpsc::channel(CHUNKS);
    let (batches_tx, batches) = mpsc::channel(BATCHES);
    let (spare_tx, spare) = mpsc::channel(SPARE);
    let restore = Restore {
        stats,
        server,
        modules,
        on_conflict: spec.on_conflict,
        on_unsupported: spec.on_unsupported,
        place: place(SOURCE_ID),
        // Nothing follows that could renew a key.
        deadlines: Deadlines::Exact,
    };
    // A file has no stream.
    let expiry = Expiry::new(Duration::ZERO, &server, &server);
    let older = Older::new(&server, &server, spec.on_unsupported, &restore.place);
    let plan = Plan {
        objects: &spec.objects,
        expiry,
        older,
        framing: Framing::Length(len),
        stream_from: None,
        full_only: true,
        target_databases: checks::count_databases(&mut conn).await?,
    };
    let mut apply = Apply::new(stats, restore, plan, None, Checkpoint::BEGINNING);
    let lane = Lane::new(conn.into_parts().0, stats, spec.on_conflict, spare_tx);
    let work = async {
        tokio::try_join!(
            read(file, path, stats, chunks_tx, &done),
            async {
                let result = apply.run(chunks, batches_tx, spare).await;
                done.cancel();
                result
            },
            lane.run(batches),
        )
    };
    let clock = Stop::new(stop);
    tokio::select! {
        biased;
        result = work => result.map(|_| ())?,
        () = clock.drained() => return Ok(Outcome::Interrupted),
    }
    match stats.is_copied() {
        true => Ok(Outcome::Copied),
        false if stop.is_cancelled() => Ok(Outcome::Interrupted),
        false => Err(Error::new(ErrorKind::RdbCorrupt, format!("{}: it ends too early", context()))),
    }
}

/// Reads the file to its end, as fast as it is taken.
async fn read(
    mut file: File,
    path: &Path,
    stats: &Stats,
    chunks: mpsc::Sender<Chunk>,
    done: &CancellationToken,
) -> Result<()> {
    loop {
        let permit = tokio::select! {
            biased;
            () = done.cancelled() => return Ok(()),
            permit = chunks.reserve() => permit,
        };
        let Ok(permit) = permit else { return Ok(()) };
        let mut bytes = bytes::BytesMut::with_capacity(CHUNK);
        let n = file
            .read_buf(&mut bytes)
            .await
            .or_err(ErrorKind::DumpFile, || format!("read the dump file {}", path.display()))?;
        if n == 0 {
            return Ok(());
        }
        stats.received.add(n as u64);
        permit.send(Chunk::now(bytes.freeze()));
    }
}
