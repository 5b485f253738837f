//! Reads a dump file and writes the commands that rebuild it to standard output:
//! `rebuild FILE TARGET [drop] [limit in bytes]`, with a target such as `redis-6.2` or `valkey-9.0`.
//!
//! What a target has no commands for is named on standard error. With `drop`, fields lose their expiry. Values that are not
//! whole in `limit` bytes are decoded as they are read, so that memory does not grow with them.

use std::{
    env,
    error::Error,
    fs::File,
    io::{self, Read, Write},
    process::ExitCode,
};

use keyferry_rdb::{
    Entry, Group, Item, Limits, Reader, ValueType,
    object::{DecodeLimits, Element, ValueDecoder},
    rebuild::{FieldTtl, PendingIds, Plan, Rebuilder, Target},
};

/// Bytes of one read.
const STEP: usize = 256 << 10;

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

/// What was read of the file and is not yet done with.
struct Input {
    file: File,
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn skip(&mut self, used: usize) {
        self.start = self.start.saturating_add(used);
    }

    fn more(&mut self) -> Result<(), Box<dyn Error>> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let step = u64::try_from(STEP)?;
        if (&mut self.file).take(step).read_to_end(&mut self.bytes)? == 0 {
            return Err("the dump is cut short".into());
        }
        Ok(())
    }
}

fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let [path, target, rest @ ..] = args else {
        return Err("usage: rebuild FILE TARGET [drop] [limit in bytes]".into());
    };
    let target = target_of(target).ok_or("a target is redis-<major>.<minor> or valkey-<major>.<minor>")?;
    let field_ttl = if rest.iter().any(|word| word == "drop") { FieldTtl::Drop } else { FieldTtl::Keep };
    let limit = rest.iter().find_map(|word| word.parse().ok()).unwrap_or(16 << 20);
    let plan_of = |entry: &Entry<'_>| Plan { expire_ms: entry.expire_ms, field_ttl, ..Plan::default() };
    let mut out = io::stdout().lock();
    let mut reader = Reader::new(Limits { max_value: u64::MAX, ..Limits::default() });
    let mut input = Input { file: File::open(path)?, bytes: Vec::new(), start: 0 };
    while !reader.is_finished() {
        if let Some((used, item)) = reader.next(input.rest())? {
            match item {
                Item::SelectDb(db) => {
                    let db = db.to_string();
                    write!(out, "*2\r\n$6\r\nSELECT\r\n${}\r\n{db}\r\n", db.len())?;
                }
                Item::Entry(entry) => {
                    if let Err(error) = whole(&entry, target, plan_of(&entry), &mut out) {
                        eprintln!("{} {}: {error}", entry.db, entry.kind);
                    }
                }
                _ => {}
            }
            input.skip(used);
            continue;
        }
        if input.rest().len() < limit {
            input.more()?;
        } else if let Some((used, entry)) = reader.stream_value(input.rest()) {
            let (kind, db, group) = (entry.kind, entry.db, entry.kind.group());
            let rebuilder = Rebuilder::new(entry.key, group, target, plan_of(&entry));
            input.skip(used);
            if let Err(error) = streamed(kind, &mut reader, &mut input, rebuilder, &mut out)? {
                eprintln!("{db} {kind}: {error}");
            }
        } else {
            input.more()?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Writes the commands for a value that is there as a whole.
fn whole(entry: &Entry<'_>, target: Target, plan: Plan, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut rebuilder = Rebuilder::new(entry.key, entry.kind.group(), target, plan)?;
    if entry.kind.group() == Group::Stream {
        let mut pending = PendingIds::default();
        each(entry, |element| {
            pending.note(element);
            Ok(())
        })?;
        rebuilder = rebuilder.with_pending(pending);
    }
    let mut commands = Vec::new();
    each(entry, |element| {
        rebuilder.push(element, &mut commands)?;
        if commands.len() >= STEP || *element == Element::End {
            out.write_all(&commands)?;
            commands.clear();
        }
        Ok(())
    })
}

/// Calls `see` with each element of a value that is there as a whole.
fn each(
    entry: &Entry<'_>,
    mut see: impl FnMut(&Element<'_>) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut decoder = ValueDecoder::new(entry.kind, DecodeLimits::default());
    let mut start = 0_usize;
    while !decoder.is_finished() {
        let (used, element) = decoder.next(entry.raw.get(start..).unwrap_or_default())?;
        start = start.saturating_add(used);
        see(&element.ok_or("the value is cut short")?)?;
    }
    Ok(())
}

/// Writes the commands for a value that is being read. The inner error is one of this value alone.
fn streamed<E: Error + 'static>(
    kind: ValueType,
    reader: &mut Reader,
    input: &mut Input,
    rebuilder: Result<Rebuilder, E>,
    out: &mut impl Write,
) -> Result<Result<(), Box<dyn Error>>, Box<dyn Error>> {
    let mut decoder = ValueDecoder::new(kind, DecodeLimits::default());
    let (mut rebuilder, mut refused) = match rebuilder {
        Ok(rebuilder) => (Some(rebuilder), Ok(())),
        Err(error) => (None, Err(error.into())),
    };
    let mut commands = Vec::new();
    while !decoder.is_finished() {
        let (used, element) = decoder.next(input.rest())?;
        let waits = element.is_none();
        if let (Some(element), Some(all)) = (element, &mut rebuilder)
            && let Err(error) = all.push(&element, &mut commands)
        {
            (rebuilder, refused) = (None, Err(error.into()));
        }
        reader.pass(input.rest().get(..used).unwrap_or_default());
        input.skip(used);
        if waits {
            input.more()?;
        }
        if commands.len() >= STEP || decoder.is_finished() {
            out.write_all(&commands)?;
            commands.clear();
        }
    }
    reader.end_value();
    Ok(refused)
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
