//! Beginning a log, and removing one.
//!
//! A directory under its real name always holds segments of one log: the old one is renamed before it is deleted, and
//! the new one is renamed when its first segment is whole.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyferry_model::{ErrorKind, Result, ResultExt as _, failpoint};

use crate::{
    Spool, disk,
    files::{Current, Files},
    format::{SEGMENT_HEADER, SegmentHeader},
    handle::Handle,
    head::{Framing, Head},
    limits::Limits,
    reader::Reader,
    segment,
    shared::Shared,
    state::{Segment, State},
    writer::Writer,
};

/// Begins a new log in `dir`, in place of any that is there. It blocks for some file operations, and for as long as
/// deleting the old log takes.
///
/// # Errors
/// `SpoolDisk` when files cannot be deleted or created; the old log may be gone then.
pub fn create(dir: &Path, head: Head, limits: Limits) -> Result<Spool> {
    remove(dir)?;
    let context = || format!("begin the spool {}", dir.display());
    let log = RandomState::new().build_hasher().finish();
    let stream_from = (head.framing == Framing::Stream).then_some(0);
    let header = SegmentHeader { log, base: 0, seq: 0, durable: 0, head, replid: head.replid, stream_from };
    let begin = || -> io::Result<File> {
        let new = beside(dir, ".new");
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o700).create(&new)?;
        let mut file = segment::create(&segment::path(&new, 0))?;
        file.write_all(&header.encode())?;
        file.sync_all()?;
        File::open(&new)?.sync_all()?;
        failpoint("spool-new-built");
        fs::rename(&new, dir)?;
        failpoint("spool-new-renamed");
        sync_parent(dir)?;
        Ok(file)
    };
    let file = begin().or_err(ErrorKind::SpoolDisk, context)?;
    let len = SEGMENT_HEADER as u64;
    let files =
        Files { current: Some(Current { file, base: 0, len }), seq: 0, position: 0, replid: head.replid, stream_from };
    let segment = Segment { base: 0, seq: 0, len, index: Vec::new() };
    start(dir, log, head, limits, vec![segment], 0, files)
}

/// Removes the log in `dir`, and what an interrupted [`create`] or `remove` has left beside it.
///
/// # Errors
/// `SpoolDisk` when it cannot be removed.
pub fn remove(dir: &Path) -> Result<()> {
    let (old, new) = (beside(dir, ".old"), beside(dir, ".new"));
    let gone = |result: io::Result<()>| match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    let remove = || -> io::Result<()> {
        gone(fs::remove_dir_all(&old))?;
        gone(fs::remove_dir_all(&new))?;
        gone(fs::rename(dir, &old))?;
        failpoint("spool-old-renamed");
        gone(sync_parent(dir))?;
        gone(fs::remove_dir_all(&old))?;
        failpoint("spool-old-removed");
        Ok(())
    };
    remove().or_err(ErrorKind::SpoolDisk, || format!("remove the spool {}", dir.display()))
}

/// Puts the ends of a log together and starts its threads.
pub(crate) fn start(
    dir: &Path,
    log: u64,
    head: Head,
    limits: Limits,
    segments: Vec<Segment>,
    durable: u64,
    files: Files,
) -> Result<Spool> {
    let state = State {
        limits: limits.fitting(),
        records: Default::default(),
        memory: 0,
        unwritten: 0,
        written_seq: files.seq,
        next_seq: files.seq,
        end: files.position,
        front_replid: files.replid,
        replid: files.replid,
        stream_from: files.stream_from,
        reader_seq: segments.first().map_or(files.seq, |first| first.seq),
        used: segments.iter().map(|segment| segment.len).sum(),
        segments: segments.into(),
        released: 0,
        doomed: Vec::new(),
        durable,
        closed: false,
        ended: false,
        failed: None,
        disk_full: None,
        limit_reached: None,
        waits: false,
        lingers: false,
        counts: Default::default(),
    };
    let shared = Arc::new(Shared::new(dir.to_owned(), log, head, state));
    disk::start(&shared, files)?;
    Ok(Spool {
        writer: Writer::new(Arc::clone(&shared)),
        reader: Reader::new(Arc::clone(&shared)),
        handle: Handle { shared },
    })
}

/// The name of `dir` with more at its end.
fn beside(dir: &Path, more: &str) -> PathBuf {
    let mut name: OsString = dir.as_os_str().to_owned();
    name.push(more);
    name.into()
}

fn sync_parent(dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
