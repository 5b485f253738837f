//! The command line. Scripts are written against it: names and meanings stay.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use keyferry_model::{OnConflict, OnLostBacklog, OnUnsupported};
use keyferry_precheck::Item;

use crate::{check::CheckArgs, chosen::ChosenArgs, compare, control, migration_report, rdb_tool, secrets::AccessArgs};

/// Moves live Redis-compatible data from one server to another and keeps both in step.
#[derive(Parser)]
#[command(name = "keyferry", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Copy everything that SOURCE holds to TARGET, then follow every write.
    Sync(Box<SyncArgs>),
    /// Look at both sides, and say what would go wrong; nothing is written.
    Check(Box<CheckArgs>),
    /// Compare what SOURCE and TARGET hold, key by key, in both directions; with --repair make TARGET the same.
    Compare(Box<compare::Args>),
    /// Look into a dump file: what is in it, as JSON, as keys, as commands, and whether it is whole.
    Rdb(rdb_tool::Args),
    /// What a task has moved, as JSON and as a page, with a digest and a signature.
    Report(migration_report::Args),
    /// Those that talk to a running task.
    #[command(flatten)]
    Control(control::Command),
}

/// Exit codes: 0 done; 1 failed; 2 usage; 3 refused before any write; 130 interrupted.
#[derive(Args)]
pub(crate) struct SyncArgs {
    /// Where the data is.
    #[arg(
        help = "redis://[user:password@]host:port[/db], rediss:// for TLS. With /db only that database is copied. Or file:PATH, a dump file, which is copied once"
    )]
    pub(crate) source: String,
    /// Where it goes.
    #[arg(
        help = "redis://[user:password@]host:port[/db], rediss:// for TLS. With /db the source's database goes there"
    )]
    pub(crate) target: String,
    /// Name of the task; two processes on this machine cannot run the same task [default: made of both addresses].
    #[arg(long, value_name = "NAME", value_parser = task_name)]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) chosen: ChosenArgs,
    /// What happens to keys that TARGET holds already: abort, ignore, replace or clear.
    #[arg(long, value_name = "STRATEGY", default_value = "abort")]
    pub(crate) on_conflict: OnConflict,
    /// What happens to data of a kind that TARGET's version cannot hold: fail, drop (counted) or degrade (hash fields lose
    /// their deadlines, the rest is dropped).
    #[arg(long, value_name = "POLICY", default_value = "fail")]
    pub(crate) on_unsupported: OnUnsupported,
    /// End after the full copy, without following the changes.
    #[arg(long)]
    pub(crate) full_only: bool,
    /// End as soon as both sides are in step.
    #[arg(long, conflicts_with = "full_only")]
    pub(crate) stop_when_synced: bool,
    /// How to show progress: bar on a terminal (stderr), json as one object a second (stdout).
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) progress: ProgressMode,
    /// Where the task keeps what must outlive the process [default: $XDG_STATE_HOME/keyferry or ~/.local/state/keyferry].
    #[arg(long, value_name = "DIR", env = "KEYFERRY_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// For how long a server that loads its data, or that is lost while the task runs, is tried again:
    /// 30s, 5m, 2h or forever.
    #[arg(long, value_name = "TIME", default_value = "forever", value_parser = window)]
    pub(crate) retry_window: Window,
    /// What happens when the source no longer has what is needed to go on: full (everything is copied again, when TARGET held
    /// nothing of its own) or stop.
    #[arg(long, value_name = "POLICY", default_value = "full")]
    pub(crate) on_lost_backlog: OnLostBacklog,
    /// Forget where the task was, and begin anew.
    #[arg(long)]
    pub(crate) restart: bool,
    /// How much of what was received may wait on disk, in the state directory: 500mb, 10gb [default: 10gb, or a fifth of
    /// the free disk when that is less].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) spool_limit: Option<u64>,
    /// By how much keys expire later on TARGET than on SOURCE, whose own DEL removes them on time: 0s for not at all.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) ttl_grace: Duration,
    /// Leave an item of the precheck out (see `keyferry check`); may be given several times, or as a list with commas.
    #[arg(long, value_name = "ITEM", value_delimiter = ',')]
    pub(crate) skip: Vec<Item>,
    /// Bytes a second that are read from SOURCE while it sends its snapshot: 64kb, 20mb, 1gb or off.
    #[arg(long, value_name = "SIZE", default_value = "off", value_parser = rate)]
    pub(crate) limit_read_bytes: u64,
    /// Bytes a second that are written to TARGET: 64kb, 20mb, 1gb or off.
    #[arg(long, value_name = "SIZE", default_value = "off", value_parser = rate)]
    pub(crate) limit_write_bytes: u64,
    /// Keys of the snapshot and commands of the stream that are written to TARGET in a second: a number or off.
    #[arg(long, value_name = "N", default_value = "off", value_parser = count)]
    pub(crate) limit_write_commands: u64,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// error, warn, info, debug or trace.
    #[arg(long, value_enum, default_value = "info", env = "KEYFERRY_LOG_LEVEL")]
    pub(crate) log_level: LogLevel,
    /// Form of the log on stderr.
    #[arg(long, value_enum, default_value = "text", env = "KEYFERRY_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar when stderr is a terminal, else a log line every ten seconds.
    Auto,
    /// A bar on stderr.
    Bar,
    /// One JSON object a second on stdout.
    Json,
    /// Nothing.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// A time, or no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window(pub(crate) Option<Duration>);

fn window(text: &str) -> Result<Window, String> {
    match text {
        "forever" => Ok(Window(None)),
        text => time(text).map(|t| Window(Some(t))).map_err(|e| format!("{e}, or `forever`")),
    }
}

pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("expected a number with ms, s, m or h".into()),
    };
    let n: u64 = digits.parse().map_err(|_| "expected a whole number before the unit".to_owned())?;
    let ms = n.checked_mul(unit).filter(|&ms| ms <= 366 * 24 * 3_600_000);
    ms.map(Duration::from_millis).ok_or_else(|| "more than a year".into())
}

/// At least what one segment and its margin need.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        "tb" => 1 << 40,
        _ => return Err("expected a number with mb, gb or tb".into()),
    };
    let n: u64 = digits.parse().map_err(|_| "expected a whole number before the unit".to_owned())?;
    n.checked_mul(unit).filter(|&bytes| bytes >= 16 << 20).ok_or_else(|| "expected at least 16mb".into())
}

/// Bytes a second; 0 for no limit. With less than 64 KiB a source may take its reader for one that is gone.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let text = text.to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "off" if digits.is_empty() => return Ok(0),
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return Err("expected a number with kb, mb or gb, or `off`".into()),
    };
    let n: u64 = digits.parse().map_err(|_| "expected a whole number before the unit".to_owned())?;
    n.checked_mul(unit).filter(|&bytes| bytes >= 64 << 10).ok_or_else(|| "expected at least 64kb".into())
}

/// A number a second; 0 for no limit.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    match text {
        "off" => Ok(0),
        text => text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a number above 0, or `off`".into()),
    }
}

/// It becomes the name of a file.
pub(crate) fn task_name(text: &str) -> Result<String, String> {
    running_task(text)
        .ok()
        .filter(|name| name.len() <= 64)
        .ok_or_else(|| "expected 1 to 64 letters, digits, `-`, `_` or `.`, not beginning with `.`".into())
}

/// The name of a task that runs: one that was made of two addresses may be longer than one that is given.
pub(crate) fn running_task(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !text.is_empty() && text.len() <= 250 && text.chars().all(fits) && !text.starts_with('.') {
        true => Ok(text.into()),
        false => Err("expected the name of a task: letters, digits, `-`, `_` or `.`".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn windows() {
        assert_eq!(window("forever"), Ok(Window(None)));
        assert_eq!(window("90s"), Ok(Window(Some(Duration::from_secs(90)))));
        assert_eq!(window("250ms"), Ok(Window(Some(Duration::from_millis(250)))));
        for bad in ["", "5", "s", "1.5s", "-1s", "5 s", "99999999h", "5d", "18446744073709551615h"] {
            assert!(window(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("16mb"), Ok(16 << 20));
        assert_eq!(size("2GB"), Ok(2 << 30));
        for bad in ["", "5", "mb", "15mb", "1.5gb", "-1gb", "99999999999999tb", "5kb"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!((rate("off"), rate("64kb"), rate("5MB")), (Ok(0), Ok(64 << 10), Ok(5 << 20)));
        for bad in ["", "0", "63kb", "0mb", "5", "-1mb", "1.5mb", "99999999999999gb", "5off"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert_eq!((count("off"), count("7")), (Ok(0), Ok(7)));
        assert!(["", "0", "-1", "x"].iter().all(|bad| count(bad).is_err()));
    }

    #[test]
    fn task_names_are_file_names() {
        assert!(task_name("orders-2.eu_1").is_ok() && running_task(&"x".repeat(65)).is_ok());
        for bad in ["", ".", "..", "a/b", "a b", "\u{e4}", &"x".repeat(65)] {
            assert!(task_name(bad).is_err(), "{bad}");
        }
    }
}
