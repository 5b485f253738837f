//! The target side: what is asked of the target before the start, batches of commands, the lane that writes them
//! and matches every reply to what it answers, and the commands that restore a value.

mod batch;
mod hold;
mod lane;
mod modules;
mod rebuild;
mod refusal;
mod restore;
mod settle;

pub(crate) use batch::{Batch, What};
pub(crate) use hold::SETTLE_KEYS;
pub(crate) use lane::Lane;
pub(crate) use modules::Modules;
pub(crate) use rebuild::{Fed, Rebuild, decode_error, place};
pub(crate) use restore::{Deadlines, Restore};
pub(crate) use settle::{FIELDS, Settler, try_out};
