//! RESP encoding and decoding with exact wire lengths.
//!
//! Three readers for three directions: [`request`] cuts what a primary sends on a replication link into commands, as the
//! bytes that came in; [`reply`] counts what a target answers on a pipelined connection without keeping the answers;
//! [`decode`] builds a [`Value`] for the few replies of a control connection that are looked at. [`encode`] writes
//! commands. Any bytes give a value or an [`Error`] with its offset, in bounded memory.
//!
//! This crate does no I/O, has no clock, and knows no command by name.

#![cfg_attr(
    test,
    allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)
)]

pub mod encode;
mod error;
mod header;
mod limits;
pub mod reply;
pub mod request;
mod value;

pub use error::Error;
pub use limits::Limits;
pub use value::{Value, decode};
