//! Comparison of two sides: what differs, whether it still differs when it is looked at again, and its repair.
//!
//! `run` walks the keys of the source and then those of the target (`walk.rs`), compares them batch by batch (`check.rs`),
//! keeps what differs in a [`Store`], looks at that again in rounds (`rounds.rs`), and repairs it where that is asked for
//! (`repair.rs`). Invariants:
//! - Nothing is written to any server but by a repair.
//! - A comparison that could not look at every key ends with an error, never with a result.
//! - Memory does not grow with the number of keys, of differences, or the size of a value; only one element of a
//!   value is held as a whole.
//!
//! Knows nothing of replication, tasks or terminals.

mod asker;
mod check;
mod deadline;
mod difference;
mod flat;
mod outcome;
mod pair;
mod rate;
mod repair;
mod retry;
mod rounds;
mod run;
mod side;
mod spec;
mod store;
mod value;
mod walk;

pub use difference::{Difference, Kind, readable};
pub use outcome::{Counts, Outcome, Stage, Stats};
pub use repair::{Copier, Copying};
pub use run::run;
pub use spec::{Mode, Spec};
pub use store::Store;
