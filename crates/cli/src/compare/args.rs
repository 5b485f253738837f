//! The options of `keyferry compare`.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use keyferry_verify::Mode;

use crate::{
    args::{LogFormat, LogLevel, time},
    chosen::DataArgs,
    secrets::AccessArgs,
};

/// Exit codes: 0 equal; 1 differences; 2 an error or wrong usage; 130 interrupted.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the data came from.
    #[arg(
        required_unless_present = "show",
        help = "redis://[user:password@]host:port[/db], rediss:// for TLS. With /db only that database is compared"
    )]
    pub(super) source: Option<String>,
    /// Where it went.
    #[arg(
        required_unless_present = "show",
        help = "redis://[user:password@]host:port[/db], rediss:// for TLS. With /db that database is compared with the source's"
    )]
    pub(super) target: Option<String>,
    /// What is compared: full (type, expiry, value), quick (type, expiry, length, and the value of a sample), keys (whether
    /// they are there) or lengths (quick without a sample).
    #[arg(long, value_name = "MODE", default_value = "full")]
    pub(super) mode: Mode,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// Values with more elements than this, or more than 1 MiB, are compared in pieces.
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) big_key_limit: u64,
    /// Of so many keys in a hundred, --mode quick compares the value: 0 to 100.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = percent)]
    pub(super) sample: f64,
    /// How often what differs is looked at, the first time included.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
    /// Time between two rounds.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    pub(super) interval: Duration,
    /// How far two expiries may be apart.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub(super) ttl_tolerance: Duration,
    /// How much later keys may expire on TARGET, as sync lets them while it runs: 0s for not at all.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(super) ttl_grace: Duration,
    /// Look at no more keys a second than this.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) rate: Option<u64>,
    /// Copy what differs from SOURCE again, and remove from TARGET what SOURCE does not have: through the sync task of both
    /// while that runs here. Refused beside any other one.
    #[arg(long)]
    pub(super) repair: bool,
    /// Form of the result on stdout.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) output: Form,
    /// Keep the results in this file. The same command goes on where it was stopped.
    #[arg(long, value_name = "FILE", conflicts_with = "show")]
    pub(super) store: Option<PathBuf>,
    /// Show the results in this file, without asking any server.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "target", "repair"])]
    pub(super) show: Option<PathBuf>,
    /// With --show: only so much, 1000 differences a page, from 1 on.
    #[arg(long, value_name = "N", requires = "show", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) page: Option<u64>,
    #[command(flatten)]
    pub(super) history: crate::history::OfComparison,
    /// Whether progress is shown on stderr: auto (when it is a terminal), bar or none.
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) progress: ProgressMode,
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// error, warn, info, debug or trace.
    #[arg(long, value_enum, default_value = "info", env = "KEYFERRY_LOG_LEVEL")]
    pub(super) log_level: LogLevel,
    /// Form of the log on stderr.
    #[arg(long, value_enum, default_value = "text", env = "KEYFERRY_LOG_FORMAT")]
    pub(super) log_format: LogFormat,
}

impl Args {
    /// How deep it looks, as options, for people.
    pub(super) fn how(&self) -> Vec<String> {
        let sample = (self.mode == Mode::Quick).then(|| format!("--sample {}", self.sample));
        [format!("--mode {}", self.mode.name())].into_iter().chain(sample).collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A table.
    Text,
    /// One object a difference, and one for the whole on the last line.
    Json,
    /// db,key,kind,detail.
    Csv,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressMode {
    /// A bar when stderr is a terminal.
    Auto,
    /// A bar.
    Bar,
    /// Nothing.
    None,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number from 0 to 100".to_owned())?;
    (0.0..=100.0).contains(&number).then_some(number).ok_or_else(|| "expected a number from 0 to 100".into())
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn percentages() {
        assert_eq!((percent("0"), percent("2.5"), percent("100")), (Ok(0.0), Ok(2.5), Ok(100.0)));
        for bad in ["", "-1", "101", "5%", "NaN"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
