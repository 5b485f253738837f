//! The commands that talk to a running task.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::args::{rate, task_name};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show where a running task stands.
    Status(StatusArgs),
    /// Let a running task write nothing to its target until it is resumed; the source is read on.
    Pause(TaskArgs),
    /// Let a paused task go on.
    Resume(TaskArgs),
    /// Change how fast a running task reads and writes, or show it.
    Limit(LimitArgs),
}

#[derive(Args)]
pub(crate) struct TaskArgs {
    /// Name of the task, as its `keyferry sync` was given it or says it in its log.
    #[arg(long, value_name = "NAME", value_parser = task_name)]
    pub(crate) task: String,
    /// The state directory of the task [default: $XDG_STATE_HOME/keyferry or ~/.local/state/keyferry].
    #[arg(long, value_name = "DIR", env = "KEYFERRY_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// Show it once a second until the task ends.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Form of what is printed on stdout.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct LimitArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// Bounds on the speed of a task. What is not named stays as it is.
#[derive(Args)]
pub(crate) struct Limits {
    /// Bytes a second that are read from SOURCE while it sends its snapshot: 64kb, 20mb, 1gb or off.
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub(crate) read_bytes: Option<u64>,
    /// Bytes a second that are written to TARGET: 64kb, 20mb, 1gb or off.
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub(crate) write_bytes: Option<u64>,
    /// Keys of the snapshot and commands of the stream that are written to TARGET in a second: a number or off.
    #[arg(long, value_name = "N", value_parser = crate::args::count)]
    pub(crate) write_commands: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Words.
    Text,
    /// One JSON object a line.
    Json,
}
