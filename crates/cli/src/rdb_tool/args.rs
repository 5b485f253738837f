//! The command line of `keyferry rdb`. Scripts are written against it: names and meanings stay.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use keyferry_keyspace::ServerVersion;
use keyferry_rdb::Group;

/// Exit codes: 0 done; 1 the dump is damaged, or holds what cannot be shown; 2 usage, or the file cannot be read.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(super) tool: Tool,
}

#[derive(Subcommand)]
pub(super) enum Tool {
    /// What a dump holds in numbers: by type, by database, by expiry, and its largest keys.
    Info(InfoArgs),
    /// Every key with its value as one JSON object a line.
    Json(JsonArgs),
    /// Every key, one a line.
    Keys(KeysArgs),
    /// The commands that make the data again, for `redis-cli --pipe`.
    Commands(CommandsArgs),
    /// Whether every value can be read and the checksum is right.
    Verify(VerifyArgs),
}

impl Tool {
    pub(super) fn select(&self) -> &SelectArgs {
        match self {
            Self::Info(args) => &args.select,
            Self::Json(args) => &args.select,
            Self::Keys(args) => &args.select,
            Self::Commands(args) => &args.select,
            Self::Verify(args) => &args.select,
        }
    }
}

/// Which file, and what of it. A key is shown when each kind of filter that is given lets it through.
#[derive(clap::Args)]
pub(super) struct SelectArgs {
    /// The dump file, or - for standard input.
    pub(super) file: PathBuf,
    /// Only keys of this database; may be given more than once.
    #[arg(long, value_name = "N")]
    pub(super) db: Vec<u32>,
    /// Only keys of this type: string, list, set, zset, hash, stream or module; may be given more than once.
    #[arg(long = "type", value_name = "TYPE", value_parser = group)]
    pub(super) group: Vec<Group>,
    /// Only keys that this pattern describes, as for KEYS: * ? [a-z] [^x]; may be given more than once.
    #[arg(long, value_name = "GLOB")]
    pub(super) key: Vec<String>,
}

#[derive(clap::Args)]
pub(super) struct InfoArgs {
    #[command(flatten)]
    pub(super) select: SelectArgs,
    /// How many of the largest keys to name.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) top: usize,
    /// The time from which expiries count, in Unix milliseconds [default: now].
    #[arg(long, value_name = "UNIX_MS")]
    pub(super) now: Option<u64>,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) output: Form,
}

#[derive(clap::Args)]
pub(super) struct JsonArgs {
    #[command(flatten)]
    pub(super) select: SelectArgs,
    /// Most bytes of one value that are held in memory to be sorted: a number with KiB, MiB or GiB, or bytes.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    pub(super) max_value: u64,
}

#[derive(clap::Args)]
pub(super) struct KeysArgs {
    #[command(flatten)]
    pub(super) select: SelectArgs,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) output: Form,
}

#[derive(clap::Args)]
pub(super) struct CommandsArgs {
    #[command(flatten)]
    pub(super) select: SelectArgs,
    /// The server that the commands are for: 7.0, redis-7.0, valkey-8.1 or redict-7.3 [default: the one that wrote the dump].
    #[arg(long, value_name = "VERSION", value_parser = server)]
    pub(super) target_version: Option<ServerVersion>,
    /// Remove first what the target has under the same keys.
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(clap::Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) select: SelectArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// All types, in the order in which they are listed.
pub(super) const GROUPS: [Group; 7] =
    [Group::String, Group::List, Group::Set, Group::Zset, Group::Hash, Group::Stream, Group::Module];

fn group(text: &str) -> Result<Group, String> {
    let found = GROUPS.into_iter().find(|group| group.name() == text);
    found.ok_or_else(|| format!("expected one of {}", GROUPS.map(Group::name).join(", ")))
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("expected a number of bytes, or one with KiB, MiB or GiB".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a whole number before the unit".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "too large".into())
}

fn server(text: &str) -> Result<ServerVersion, String> {
    let (name, version) = text.split_once('-').unwrap_or(("redis", text));
    let plain = version.split('.').count() >= 2 && version.split('.').all(|part| part.parse::<u32>().is_ok());
    let known = matches!(name, "redis" | "valkey" | "redict");
    let found = (plain && known).then(|| written_by(name, version)).flatten();
    found.ok_or_else(|| "expected a version such as 7.0, redis-6.2, valkey-8.1 or redict-7.3".into())
}

/// The server that calls itself so, as INFO would have it.
pub(super) fn written_by(name: &str, version: &str) -> Option<ServerVersion> {
    ServerVersion::from_info(format!("{name}_version:{version}\r\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("256MiB"), Ok(256 << 20));
        for bad in ["", "MiB", "1.5GiB", "-1", "1MB", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn servers() {
        assert_eq!(server("7.0").unwrap().redis, (7, 0, 0));
        assert_eq!(server("redis-6.2.14").unwrap().redis, (6, 2, 14));
        assert_eq!(server("valkey-8.1").unwrap().own, (8, 1, 0));
        assert_eq!(server("redict-7.3").unwrap().redis, (7, 2, 0));
        for bad in ["", "7", "7.x", "keydb-6.3", "redis-", "redis 7.0"] {
            assert!(server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups() {
        assert_eq!(group("zset"), Ok(Group::Zset));
        assert!(group("zsets").is_err());
    }
}
