//! The loop of one stream: bytes of the source in, batches for the target out.
//!
//! - `apply.rs`: the loop, and the phases snapshot -> mark -> stream.
//! - `on_item.rs`: what is done with each item of the snapshot.
//! - `on_request.rs`: what is done with each command of the stream.
//! - `input.rs`: the bytes that wait to be decoded; `databases.rs`: which database goes where;
//!   `expiry.rs`: deadlines of the stream; `holding.rs`: whether they are held.
//! - `seal.rs`: closing a batch; `transaction.rs`: in front of a transaction whose end has not come.
//! - `repair.rs`: standing still, and writing at an offset what the source had there.
//! - `older/`: commands that the target's version does not know; `payload.rs`: values and libraries that they carry.

mod apply;
mod chosen;
mod expiry;
mod holding;
mod input;
mod older;
mod on_item;
mod on_request;
mod payload;
mod repair;
mod seal;
mod transaction;

pub(crate) use apply::{Apply, Plan};
pub(crate) use expiry::Expiry;
pub(crate) use older::Older;
