//! The log on disk between the source and the decoder.
//!
//! Invariants:
//! - What the reader hands out is what the writer took, byte for byte and in order: from memory while the reader keeps
//!   up, from files otherwise. Every byte that comes from a file has passed a checksum that also covers its position
//!   and its log.
//! - Whatever ends the process, the files hold a log of which a prefix is whole, and [`open()`] finds that prefix. A
//!   fault in front of it is an error with file and byte, never skipped.
//! - Nothing is dropped but what was released. At the limit, and when the disk is full, the writer waits.
//! - Memory is bounded by [`Limits::tail`] and the block that passes it.
//! - No lock is held across a wait or a system call, and no async function writes to a file.
//!
//! One log is one lineage: the bytes of a source from one `+FULLRESYNC` on, first those of the snapshot, then those of
//! the stream. A **position** counts them from 0. What the bytes mean is not known here. Format, write order and the
//! cases of a restart are in `docs/design/spool.md`.
//!
//! One writer, one reader, one process: the caller holds the lock of the task.

#![forbid(unsafe_code)]

mod create;
mod disk;
mod files;
mod format;
mod handle;
mod head;
mod limits;
mod open;
mod reader;
mod segment;
mod shared;
mod state;
mod writer;

pub use crate::{
    create::{create, remove},
    handle::{Counts, Handle, Reason, State},
    head::{Framing, Head, Note},
    limits::{Limits, default_limit},
    open::{Opened, open},
    reader::{Block, Item, Next, Reader},
    writer::Writer,
};

/// The three ends of a log that is in use.
#[derive(Debug)]
pub struct Spool {
    /// Where bytes go in.
    pub writer: Writer,
    /// Where they come out.
    pub reader: Reader,
    /// What can be asked and released from anywhere.
    pub handle: Handle,
}
