//! The target side: what is asked of the target before the start, batches of commands, the lane that writes them
//! and matches every reply to what it answers, and the commands that restore a value.

mod batch;
pub(crate) mod checkpoint;
mod fence;
mod grace;
mod guard;
mod hold;
mod lane;
mod lift;
mod modules;
mod position;
mod rebuild;
mod refusal;
mod replicas;
mod restore;
mod settle;
mod walk;

pub(crate) use batch::{Batch, What};
pub(crate) use checkpoint::{Checkpoint, Flags, LogId};
pub(crate) use grace::shift;
pub(crate) use guard::Guard;
pub(crate) use hold::{held, held_field, settle_at_once};
pub(crate) use lane::Lane;
pub(crate) use lift::{Gone, Lifter, SOON, lift};
pub(crate) use modules::Modules;
pub(crate) use position::{Asked, Last, Place, Turn, run_of};
pub(crate) use rebuild::{Fed, Rebuild, decode_error, place};
pub(crate) use refusal::ask;
pub use replicas::Replicas;
pub(crate) use restore::{Deadlines, Restore};
pub(crate) use settle::{Settler, try_out};
