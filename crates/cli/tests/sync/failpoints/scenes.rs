//! In which situations a place is reached, and at which visits.

/// What has happened before the process is started that dies, and what happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scene {
    /// Nothing: it is the first one.
    Fresh,
    /// The first one, with large values and the smallest spool: segments come and go.
    Segments,
    /// An earlier one has followed the source for a moment.
    Resume,
    /// Likewise, and its spool was damaged.
    Damaged,
    /// Likewise, and the source no longer knows the history.
    SecondFull,
    /// Likewise, and the source was promoted.
    PromotedBefore,
    /// An earlier one has died before anything of the data was there.
    Untouched,
    /// An earlier one has died with a segment that has no header.
    Torn,
    /// The first one, which is to empty a target that has no memory left.
    NoMemory,
    /// Likewise, of which two databases are chosen: they are emptied one by one.
    NoMemoryInTwo,
    /// An earlier one had chosen another database, and the task is begun anew.
    Elsewhere,
    /// An earlier one has followed, and the source cannot be reached any more: it holds deadlines.
    WithoutSource,
    /// The first one, and a cut-over is tried while the source is written to.
    Cutover,
    /// The first one, and its connections to the target are cut.
    TargetLost,
    /// The first one, and the source is promoted under it.
    Promoted,
    /// The first one, and the target refuses a command.
    Refused,
    /// The first one, which comes to the end of the task.
    End,
}

/// Situation, and the first and the last visit at which the process may die in it. Each of them comes for certain: what
/// happens once has only its own number, and for the others the source is written to until the process is dead.
pub(super) fn of(name: &str) -> &'static [(Scene, u64, u64)] {
    use Scene::*;
    match name {
        // The end of a task removes the spool too, for which nothing was there to be removed at its beginning.
        "spool-old-renamed" | "spool-old-removed" => {
            &[(Fresh, 1, 1), (Damaged, 1, 1), (SecondFull, 1, 1), (Untouched, 1, 1), (End, 2, 2)]
        }
        "spool-new-built" | "spool-new-renamed" => &[(Fresh, 1, 1), (Damaged, 1, 1), (SecondFull, 1, 1)],
        "segment-dropped" => &[(Torn, 1, 1)],
        "spool-cut" => &[(Resume, 1, 1), (SecondFull, 1, 1), (Untouched, 1, 1)],
        "records-written" => &[(Fresh, 1, 12), (Resume, 1, 12), (Segments, 1, 30), (SecondFull, 1, 12)],
        "segment-created" | "segment-begun" | "segment-sealed" | "segment-synced" => &[(Segments, 1, 4)],
        "before-segment-deleted" | "segment-deleted" => &[(Segments, 1, 3)],
        "snapshot-end-received" | "stream-from-noted" | "snapshot-read" | "snapshot-applied" => {
            &[(Fresh, 1, 1), (Untouched, 1, 1), (SecondFull, 1, 1)]
        }
        "replid-noted" => &[(Promoted, 1, 1), (PromotedBefore, 1, 1)],
        "before-take" | "after-take" => {
            &[(Resume, 1, 1), (TargetLost, 1, 1), (SecondFull, 1, 1), (Untouched, 1, 1), (Damaged, 1, 1), (End, 1, 1)]
        }
        "before-emptied" | "after-emptied" => &[(SecondFull, 1, 1)],
        // A target without memory refuses to queue it.
        "database-emptied" => &[(NoMemoryInTwo, 1, 2)],
        "emptied-alone" => &[(NoMemory, 1, 1), (NoMemoryInTwo, 1, 1)],
        "elsewhere-removed" => &[(Elsewhere, 1, 1)],
        "position-removed" => &[(Untouched, 1, 1)],
        // At the end it is put for the second time: nothing in its place.
        "before-put" | "after-put" => &[(Fresh, 1, 1), (Damaged, 1, 1), (Untouched, 1, 1), (End, 2, 2)],
        "batch-written" | "exec-answered" => &[(Fresh, 1, 12), (Resume, 1, 12), (Fresh, 1, 3), (SecondFull, 1, 12)],
        "position-moved" => &[(Fresh, 1, 12), (Resume, 1, 12), (SecondFull, 1, 12)],
        // The first pass finds deadlines, so there is a second one.
        "pass-begun" | "pass-ended" | "keys-settled" => &[(Fresh, 1, 2), (SecondFull, 1, 2)],
        "settled" => &[(Fresh, 1, 1), (SecondFull, 1, 1)],
        "hold-begun" | "keys-held" | "hold-ended" => &[(WithoutSource, 1, 1)],
        "grace-lowered" => &[(Cutover, 1, 1), (End, 1, 1)],
        "grace-given-back" => &[(Cutover, 1, 1)],
        "broken-noted" => &[(Refused, 1, 1)],
        "task-forgotten" => &[(End, 1, 1)],
        _ => panic!("no situation is known in which {name} is reached"),
    }
}
