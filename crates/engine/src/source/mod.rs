//! The source side: what is asked of the source before the start, the replication handshake, the receiver that
//! takes the stream in and acknowledges it, and the reports of the source's own offset.

mod handshake;
mod receiver;
mod reports;

pub(crate) use handshake::{Framing, Link, Start, psync};
pub(crate) use receiver::{CHUNK, Chunk, Decoded, Receiver};
pub(crate) use reports::follow_reports;
