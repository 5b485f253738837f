//! The source side: what is asked of the source before the start, the replication handshake, the receiver that
//! takes the stream in and acknowledges it, and the reports of the source's own offset.

mod attached;
mod handshake;
mod mark;
mod receiver;
mod reports;

pub(crate) use attached::Attached;
pub(crate) use handshake::{Framing, Link, Start, psync};
pub(crate) use mark::SnapshotEnd;
pub(crate) use receiver::{CHUNK, Chunk, Receiver, backlog_lost, now_ms};
pub(crate) use reports::{Report, ask, follow_reports};
