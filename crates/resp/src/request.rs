//! Requests as a primary sends them on the replication link.
//!
//! Arrays of bulk strings; a bare LF, which keeps the link alive; and inline commands, since old servers send `PING` that
//! way. [`Scanner`] finds where the next request ends, [`Request`] shows it as the bytes that came in, so that a command
//! that needs no change is passed on without being taken apart.
//!
//! Nothing here knows a command or counts the offset of the stream.

mod fast;
mod scan;
mod view;

pub use scan::Scanner;
pub use view::{Args, Request};

#[cfg(test)]
mod tests;
