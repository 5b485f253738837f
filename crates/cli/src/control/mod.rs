//! Talking to a task that runs: a socket in the state directory, and the commands that use it.
//!
//! - `server.rs`: the end in `keyferry sync`; `client.rs`: the end in `keyferry status`, `pause` and the others.
//! - `message.rs`: what is said, one JSON object a line each way; `socket.rs`: where.
//! - `repair.rs`: the end in `keyferry compare --repair`.
//! - `args.rs`: the command line; `show.rs`: the words for a person.
//!
//! Nothing here decides anything about the data: it only hands over what a user wants.

mod args;
mod client;
mod message;
mod repair;
mod server;
mod show;
mod socket;

use std::process::ExitCode;

pub(crate) use args::Command;
pub(crate) use repair::RunningTask;
pub(crate) use server::Server;

use crate::sync::failed;

/// Runs one of the commands. Exit codes: 0 done; 1 it did not come to that.
pub(crate) fn main(command: &Command) -> ExitCode {
    match client::run(command) {
        Ok(code) => code,
        Err(e) => failed(&e),
    }
}
