//! Reads a dump file and writes the commands that rebuild it to standard output:
//! `rebuild FILE TARGET [drop] [window in bytes]`, with a target such as `redis-6.2` or `valkey-9.0`.
//!
//! What a target has no commands for is named on standard error. With `drop`, fields lose their expiry. The values are shown
//! to the decoder in windows, as if they came from the network.

use std::{
    env, fs,
    io::{self, Write},
    process::ExitCode,
};

use keyferry_rdb::{
    Entry, Group, Item, Limits, Reader,
    object::{DecodeLimits, Element, ValueDecoder},
    rebuild::{FieldTtl, PendingIds, Plan, Rebuilder, Target},
};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [path, target, rest @ ..] = args else {
        return Err("usage: rebuild FILE TARGET [drop] [window in bytes]".into());
    };
    let target = target_of(target).ok_or("a target is redis-<major>.<minor> or valkey-<major>.<minor>")?;
    let field_ttl = if rest.iter().any(|word| word == "drop") { FieldTtl::Drop } else { FieldTtl::EXACT };
    let window = rest.iter().find_map(|word| word.parse().ok()).unwrap_or(64 << 10);
    let bytes = fs::read(path)?;
    let mut out = io::stdout().lock();
    let mut reader = Reader::new(Limits::default());
    let mut start = 0_usize;
    while !reader.is_finished() {
        let Some((used, item)) = reader.next(bytes.get(start..).unwrap_or_default())? else {
            return Err("the dump is cut short".into());
        };
        match item {
            Item::SelectDb(db) => {
                let db = db.to_string();
                write!(out, "*2\r\n$6\r\nSELECT\r\n${}\r\n{db}\r\n", db.len())?;
            }
            Item::Entry(entry) => {
                let plan = Plan { expire_ms: entry.expire_ms, field_ttl, ..Plan::default() };
                if let Err(error) = value(&entry, target, plan, window, &mut out) {
                    eprintln!("{} {}: {error}", entry.db, entry.kind);
                }
            }
            _ => {}
        }
        start = start.saturating_add(used);
    }
    out.flush()?;
    Ok(())
}

fn value(
    entry: &Entry<'_>,
    target: Target,
    plan: Plan,
    window: usize,
    out: &mut impl Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut rebuilder = Rebuilder::new(entry.key, entry.kind.group(), target, plan)?;
    if entry.kind.group() == Group::Stream {
        let mut pending = PendingIds::default();
        each(entry, window, |element| {
            pending.note(element);
            Ok(())
        })?;
        rebuilder = rebuilder.with_pending(pending);
    }
    let mut commands = Vec::new();
    each(entry, window, |element| {
        rebuilder.push(element, &mut commands)?;
        if commands.len() >= 1 << 20 || *element == Element::End {
            out.write_all(&commands)?;
            commands.clear();
        }
        Ok(())
    })
}

/// Calls `see` with each element of a value.
fn each(
    entry: &Entry<'_>,
    window: usize,
    mut see: impl FnMut(&Element<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut decoder = ValueDecoder::new(entry.kind, DecodeLimits::default());
    let (mut start, mut end) = (0_usize, 0_usize);
    while !decoder.is_finished() {
        let (used, element) = decoder.next(entry.raw.get(start..end).unwrap_or_default())?;
        start = start.saturating_add(used);
        match element {
            Some(element) => see(&element)?,
            None if end == entry.raw.len() => return Err("the value is cut short".into()),
            None => end = end.saturating_add(window).min(entry.raw.len()),
        }
    }
    Ok(())
}

fn target_of(name: &str) -> Option<Target> {
    let (family, version) = name.split_once('-')?;
    let (major, minor) = version.split_once('.')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    match family {
        "redis" => Some(Target::redis(major, minor)),
        "redict" => Some(Target::redis(7, 2)),
        "valkey" => Some(Target::valkey(major, minor)),
        _ => None,
    }
}
