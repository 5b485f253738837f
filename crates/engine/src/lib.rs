//! The way of the data, from one source to one target.
//!
//! ```text
//! source ── receiver ──chunks──> stream loop ──batches──> lane ── target
//!              │ ACK (applied offset)   decode, filter, write     │ replies, applied offset
//!              └──────────────── Stats <──────────────────────────┘
//! ```
//!
//! All of it runs in one task: every part is a future of one `try_join`, so the first error ends all others, and
//! nothing is shared but counters. Knows nothing of terminals, files or signals: options come in as a
//! [`SyncSpec`](keyferry_model::SyncSpec), a stop request as a token, and what is going on is read from [`Stats`].

mod backoff;
mod begin;
mod checks;
mod control;
mod cutover;
mod desk;
mod ending;
mod event;
mod holding;
mod load;
mod repair;
mod run;
mod session;
#[cfg(test)]
mod sim;
mod source;
mod stats;
mod stop;
mod stream;
mod target;

pub use begin::reversed;
pub use control::{Control, Limits};
pub use cutover::{CutoverEvent, CutoverReport, CutoverSpec, Step, StepState};
pub use event::{Begun, Counts, Event};
pub use load::load;
pub use repair::{MAX_REPAIR_KEYS, REPAIR_TIME, Reasons};
pub use run::{Gate, Outcome, run};
pub use stats::{Mark, Stats};
pub use target::{Replicas, checkpoint::key as position_key};
