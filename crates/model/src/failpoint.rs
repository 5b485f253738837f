//! Places between two durable steps at which a test kills the process.
//!
//! With `KEYFERRY_FAILPOINT=<name>:<n>` a process kills itself with SIGKILL when it comes to the place of that name for the
//! n-th time. With `<name>:<n>:stop` it stops itself with SIGSTOP instead, so that a test can break something just then. Only builds with debug assertions do that; in all others a failpoint is nothing. What is killed where:
//! `docs/design/checkpoint.md`; the test that goes through all of them: `crates/cli/tests/sync/failpoints.rs`.

/// The names of all places, in the order of a task's life.
pub const FAILPOINTS: &[&str] = &[
    // A log is removed and begun: `spool/src/create.rs`.
    "spool-old-renamed",
    "spool-old-removed",
    "spool-new-built",
    "spool-new-renamed",
    // A log is opened again: `spool/src/open.rs`.
    "segment-dropped",
    "spool-cut",
    // Segments are written, made durable and deleted: `spool/src/files.rs`, `disk.rs`.
    "segment-created",
    "segment-begun",
    "records-written",
    "segment-sealed",
    "segment-synced",
    "before-segment-deleted",
    "segment-deleted",
    // What is noted between the bytes of a source: `engine/src/source/receiver.rs`, `begin.rs`.
    "snapshot-end-received",
    "stream-from-noted",
    "replid-noted",
    // Taking over, and a second full sync: `engine/src/target/position.rs`, `engine/src/begin.rs`.
    "before-take",
    "after-take",
    "before-emptied",
    "after-emptied",
    "database-emptied",
    "emptied-alone",
    "elsewhere-removed",
    "position-removed",
    "before-put",
    "after-put",
    // Batches: `engine/src/target/lane.rs`, `engine/src/stream/apply.rs`.
    "batch-written",
    "exec-answered",
    "position-moved",
    "snapshot-read",
    "snapshot-applied",
    // Deadlines are settled: `engine/src/target/settle.rs`, `walk.rs`.
    "pass-begun",
    "keys-settled",
    "pass-ended",
    "settled",
    // Deadlines that are there are held: likewise.
    "hold-begun",
    "keys-held",
    "hold-ended",
    // Deadlines come closer to those of the source, and are later again: `engine/src/target/grace/moves.rs`.
    "grace-lowered",
    "grace-given-back",
    // The ends: `engine/src/target/position.rs`, `engine/src/run.rs`.
    "broken-noted",
    "task-forgotten",
];

/// The names of the places within a cut-over, in their order. They are reached in `crates/cli/tests/sync/reverse.rs`.
pub const CUTOVER_FAILPOINTS: &[&str] = &[
    // `engine/src/cutover/pause.rs`: the source is to be paused.
    "before-pause",
    // `engine/src/cutover.rs`: the source may be paused; nobody writes there, and all is on the target.
    "source-paused",
    "drained",
    // `engine/src/cutover/way_back.rs`: the place from which the way back goes on is known.
    "turn-marked",
    // `engine/src/target/position.rs`: the target is asked for the last step.
    "before-promote",
    // `engine/src/ending.rs`: the target is the place to write.
    "turned",
    // `engine/src/cutover/way_back.rs`: the source takes writes again; its deadlines are later by the grace.
    "source-released",
    "lifted",
    // `engine/src/begin/turned.rs`: the position of the way back is on its own target.
    "turn-adopted",
];

/// The names of the places within a repair through a task, in their order. They are reached in
/// `crates/cli/tests/compare/through.rs`.
pub const REPAIR_FAILPOINTS: &[&str] = &[
    // `engine/src/repair.rs`: the stream loop stands still.
    "repair-standing",
    // `engine/src/stream/repair.rs`: what the source had is in a batch.
    "repair-decoded",
    // `engine/src/target/lane.rs`: it is on the target, and nobody has been told.
    "repair-applied",
];

/// Kills this process when the environment asks for it to die here, and now.
#[inline]
pub fn failpoint(name: &'static str) {
    #[cfg(debug_assertions)]
    chosen::reached(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod chosen {
    use std::{
        env,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
    };

    use rustix::process::{Signal, getpid, kill_process};

    /// The place that was asked for, and at which time.
    static CHOSEN: LazyLock<Option<(String, u64, Signal)>> = LazyLock::new(|| {
        let text = env::var("KEYFERRY_FAILPOINT").ok()?;
        let (place, signal) = match text.strip_suffix(":stop") {
            Some(place) => (place, Signal::STOP),
            None => (text.as_str(), Signal::KILL),
        };
        let parsed = place.split_once(':').and_then(|(name, n)| Some((name.to_owned(), n.parse().ok()?, signal)));
        Some(parsed.unwrap_or_else(|| panic!("KEYFERRY_FAILPOINT is not <name>:<n>[:stop] but {text}")))
    });
    static REACHED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn reached(name: &str) {
        debug_assert!(
            [super::FAILPOINTS, super::CUTOVER_FAILPOINTS, super::REPAIR_FAILPOINTS]
                .iter()
                .any(|all| all.contains(&name)),
            "{name} is not in the list"
        );
        let Some((chosen, n, signal)) = &*CHOSEN else { return };
        if chosen == name && REACHED.fetch_add(1, Relaxed) + 1 == *n {
            // From SIGKILL the kernel does not come back: nothing is flushed, closed in order or unwound.
            kill_process(getpid(), *signal).expect("a process may kill itself");
        }
    }
}
