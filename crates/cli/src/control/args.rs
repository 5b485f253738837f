//! The commands that talk to a running task.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use crate::args::{count, rate, running_task, time};

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
    /// Switch from source to target: pause the writers, wait until everything is on the target, and end the task.
    Cutover(CutoverArgs),
}

#[derive(Args, Clone)]
pub(crate) struct TaskArgs {
    /// Name of the task, as its `keyferry sync` was given it or says it in its log.
    #[arg(long, value_name = "NAME", value_parser = running_task)]
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

#[derive(Args)]
pub(crate) struct CutoverArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// For how long each step is waited for, such as that both sides are in step: 500ms, 60s, 5m.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// For how long writes are paused at SOURCE, from 2s on; or `manual`, when the writers are stopped by hand.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = source_pause)]
    pub(crate) source_pause: SourcePause,
    /// Follow TARGET from then on and write to SOURCE, so that there is a way back: as task NAME-reverse, and from such a task
    /// as NAME again.
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Form of what is printed on stdout: words as they come, or the report as JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

/// A time, or none: by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourcePause(pub(crate) Option<Duration>);

fn source_pause(text: &str) -> Result<SourcePause, String> {
    match text {
        "manual" => Ok(SourcePause(None)),
        text => match time(text) {
            Ok(time) if time >= Duration::from_secs(2) => Ok(SourcePause(Some(time))),
            Ok(_) => Err("expected at least 2s, or `manual`".into()),
            Err(e) => Err(format!("{e}, or `manual`")),
        },
    }
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
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) write_commands: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Words.
    Text,
    /// One JSON object a line.
    Json,
}
