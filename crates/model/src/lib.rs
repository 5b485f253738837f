//! What every layer above the codecs agrees on: the options of a task, its progress, its error kinds and what
//! each of them means for the user.
//!
//! Knows nothing of sockets, of tokio or of bytes on a wire.

mod error;
mod failpoint;
mod policy;
mod progress;
mod spec;

pub use error::{Error, ErrorKind, Result, ResultExt, Side};
pub use failpoint::{CUTOVER_FAILPOINTS, FAILPOINTS, REPAIR_FAILPOINTS, failpoint};
pub use policy::{Exit, Policy, Retry};
pub use progress::{Phase, Progress};
pub use spec::{OnConflict, OnLostBacklog, OnUnsupported, SyncSpec, reverse_task};
