//! Streaming RDB reader and DUMP payloads.
//!
//! [`Reader`] takes the bytes of a dump in pieces of any size and gives back [`Item`]s: the raw payload of each value is
//! found without being decoded, so that it can go out as `RESTORE` ([`dump::write`]); plain strings are decoded on demand
//! ([`string::parse`], [`lzf::decompress`]). Reads RDB 1 to 13 of Redis and RDB 80 of Valkey.
//!
//! What a target cannot restore, and what is too large to be whole in memory, goes another way: [`Reader::stream_value`] hands
//! out the key alone, [`object`] takes the value apart element by element as it arrives, and [`rebuild`] writes the commands
//! that make it again. [`packed`] has the four formats in which servers keep small collections.
//!
//! The crate does no I/O, keeps no clock and knows nothing of connections, commands or databases to write to. Memory is
//! bounded by [`Limits`] and [`object::DecodeLimits`] whatever the bytes say, and errors carry offsets, never keys or values.

#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)
)]

mod crc;
pub mod dump;
mod error;
#[cfg(test)]
mod golden;
mod item;
mod limits;
pub mod lzf;
pub mod module;
pub mod object;
pub mod packed;
mod program;
mod reader;
pub mod rebuild;
pub mod string;
mod table;
mod value_type;
mod wire;

pub use error::{Error, LimitKind};
pub use item::{Checksum, Entry, Item, Magic};
pub use limits::Limits;
pub use reader::{Position, Reader};
pub use value_type::{Group, ValueType};
