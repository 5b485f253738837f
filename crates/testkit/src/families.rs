//! Every write command of every server, with its options: real calls that succeed, by family.
//!
//! What a server knows is asked from the server itself. A call is left out only where the server does not have the
//! command, or its version does not have the form; any error reply is a failure. `tests/families.rs` of this crate
//! holds the tables and the servers together: a write command, or an option of one, that is neither called nor listed
//! with a reason fails it.
//!
//! Keys begin with what they hold (`stream:`, `hfe:`, `vset:`), so that it can be told what an older server cannot.

mod call;
mod fill;
mod hashes;
mod keys;
mod known;
mod listed;
mod lists;
mod runner;
mod scripts;
mod sorted_sets;
mod streams;
mod strings;
mod vectors;
mod waiting;

pub use call::Call;
pub use known::Known;
pub use listed::{COMMANDS, OPTIONS};
pub use runner::{Form, Runner, Trail};
pub use waiting::serve_waiting;

/// Calls that belong together, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// What the calls are about.
    pub name: &'static str,
    /// The calls. Each may need what those before it have left.
    pub calls: &'static [Call],
    /// Concerns more than keys of its own: not to be run in parts between others.
    pub server_wide: bool,
}

impl Family {
    const fn new(name: &'static str, calls: &'static [Call]) -> Self {
        Self { name, calls, server_wide: false }
    }

    const fn server_wide(name: &'static str, calls: &'static [Call]) -> Self {
        Self { name, calls, server_wide: true }
    }
}

/// All families but the one that empties the server.
pub const FAMILIES: [Family; 15] = [
    strings::STRINGS,
    strings::BITS,
    keys::KEYS,
    lists::LISTS,
    lists::SETS,
    hashes::HASHES,
    hashes::FIELD_DEADLINES,
    sorted_sets::SORTED_SETS,
    sorted_sets::PLACES,
    streams::STREAMS,
    streams::GROUPS,
    vectors::VECTORS,
    scripts::SCRIPTS,
    scripts::FUNCTIONS,
    keys::DATABASES,
];

/// Empties the server in every way there is. Each way is followed by a write.
pub const EMPTYING: Family = keys::EMPTYING;
