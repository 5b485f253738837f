//! The log on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::args::{LogFormat, LogLevel};

/// Sends the log of this program to `writer`. Libraries below speak only from WARN up: their lines are not written
/// for whoever runs a migration.
pub(crate) fn init<W>(level: LogLevel, format: LogFormat, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let others = if level == "error" { "error" } else { "warn" };
    let ours = ["keyferry", "keyferry_engine", "keyferry_net", "keyferry_verify"];
    let ours: String = ours.iter().map(|name| format!(",{name}={level}")).collect();
    let filter = EnvFilter::new(format!("{others}{ours}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    match format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
