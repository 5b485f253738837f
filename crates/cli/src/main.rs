//! The `keyferry` command. Everything it can do lives in the crates below; here are only arguments and exit codes.

mod args;
mod check;
mod chosen;
mod compare;
mod control;
mod history;
mod logging;
mod migration_report;
mod rdb_tool;
mod report;
mod secrets;
mod sync;
mod task_lock;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Before anything else: a password must not stay where other users of this machine can read it.
    secrets::hide_from_process_list();
    let cli = secrets::parse();
    match cli.command {
        args::Command::Sync(args) => sync::main(*args),
        args::Command::Check(args) => check::main(&args),
        args::Command::Compare(args) => compare::main(&args),
        args::Command::Rdb(args) => rdb_tool::main(&args),
        args::Command::Report(args) => migration_report::main(&args),
        args::Command::Control(command) => control::main(&command),
    }
}
