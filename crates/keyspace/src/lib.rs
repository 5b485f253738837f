//! What a key space is made of and how its servers speak of it.
//!
//! Positions in a replication stream ([`ReplOffset`], [`ReplId`], [`Db`]), what a server is and can do
//! ([`ServerVersion`], [`info`]), which commands of a stream need more than being passed on ([`command`]), where the keys of
//! a command are ([`keys`]), what is migrated ([`objects`]), and patterns for keys ([`glob`]).
//!
//! This crate does no I/O, has no clock, and does not parse the protocol.

#![cfg_attr(
    test,
    allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)
)]

pub mod command;
pub mod glob;
pub mod info;
pub mod keys;
mod kind;
pub mod objects;
mod position;
mod version;

pub use kind::Kind;
pub use position::{Db, ParsePositionError, ReplId, ReplOffset};
pub use version::{Flavor, ServerVersion};
