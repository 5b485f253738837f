//! `keyferry rdb json`: every key with its value, one object a line, the same bytes for the same data.
//!
//! What a server keeps in an order (lists, streams) is written as it comes. What it keeps in none (sets, sorted sets, hashes) is
//! held and sorted, and a plain string is held since all of it decides how it is written: of these the size is bounded.

mod sorted;
mod stream;

use keyferry_model::{Error, ErrorKind};
use keyferry_rdb::{Group, Item, object::Element, packed::Scalar};
use sorted::Sorted;
use stream::Stream;

use super::{
    Words,
    args::JsonArgs,
    failure::Result,
    input::Input,
    keys::{begin_object, expiry},
    output::Output,
    select::Select,
    text,
    walk::{Found, Visit, walk},
};

/// Bytes of a line from which on it is written before its end.
const LONG_LINE: usize = 1 << 20;

struct Json {
    name: String,
    max_value: u64,
    out: Output,
    line: Vec<u8>,
    /// A plain string, or an element that had to be made of digits.
    string: Vec<u8>,
    sorted: Sorted,
    stream: Stream,
    /// Elements of a list so far.
    listed: u64,
}

pub(super) fn run(input: &mut Input, args: &JsonArgs) -> Result<Words> {
    let mut json = Json {
        name: input.name().into(),
        max_value: args.max_value,
        out: Output::open()?,
        line: Vec::new(),
        string: Vec::new(),
        sorted: Sorted::default(),
        stream: Stream::default(),
        listed: 0,
    };
    let walked = walk(input, &Select::new(&args.select), &mut json);
    // All lines in front of a fault are shown.
    json.out.finish()?;
    walked.map(|_| Words(Vec::new()))
}

impl Json {
    /// A value is held no further than the limit.
    fn check(&self, found: &Found, held: usize) -> Result<()> {
        if held as u64 <= self.max_value {
            return Ok(());
        }
        let (name, db, kind, at) = (&self.name, found.db, found.kind, found.value_at);
        let limit = self.max_value;
        let what = format!(
            "read {name}: database {db}, value of type {kind} at byte {at}: it takes more than {limit} bytes of memory \
             (--max-value), or leave it out with --key or --type"
        );
        Err(Error::new(ErrorKind::RdbTooLarge, what).into())
    }

    fn module(&mut self, found: &Found, name: &[u8], raw: Option<&[u8]>) -> Result<()> {
        let Some(raw) = raw else {
            let what = format!(
                "read {}: database {}, value of a module at byte {}: too large to be shown, leave it out with --key or --type",
                self.name, found.db, found.value_at
            );
            return Err(Error::new(ErrorKind::RdbTooLarge, what).into());
        };
        self.line.extend_from_slice(b"{\"module\":");
        text::json_bytes(name, &mut self.line);
        self.line.extend_from_slice(b",\"raw\":{\"base64\":");
        text::json_base64(raw, &mut self.line);
        self.line.extend_from_slice(b"}}");
        Ok(())
    }
}

impl Visit for Json {
    fn item(&mut self, _: &Item<'_>) -> Result<()> {
        Ok(())
    }

    fn begin(&mut self, found: &Found, raw: Option<&[u8]>) -> Result<bool> {
        begin_object(found, &mut self.line);
        expiry(found, &mut self.line);
        self.line.extend_from_slice(b",\"value\":");
        match found.kind.group() {
            Group::Module => {
                let name = raw.and_then(keyferry_rdb::module::name_of_value).unwrap_or_default();
                self.module(found, &name, raw)?;
                return Ok(false);
            }
            Group::String => self.string.clear(),
            Group::Stream => self.stream.begin(&mut self.line),
            Group::List => {
                self.listed = 0;
                self.line.push(b'[');
            }
            Group::Set | Group::Zset | Group::Hash => self.sorted.clear(),
        }
        Ok(true)
    }

    fn element(&mut self, found: &Found, element: &Element<'_>) -> Result<()> {
        match element {
            Element::StringChunk { bytes, .. } => {
                self.string.extend_from_slice(bytes);
                self.check(found, self.string.len())?;
            }
            Element::ListElement(element) => {
                if self.listed > 0 {
                    self.line.push(b',');
                }
                self.listed += 1;
                scalar(*element, &mut self.line);
            }
            Element::SetMember(member) => {
                self.sorted.member(*member);
                self.check(found, self.sorted.held())?;
            }
            Element::ZsetMember { member, score } => {
                self.sorted.scored(*member, *score);
                self.check(found, self.sorted.held())?;
            }
            Element::HashField { field, value, expire_ms } => {
                self.sorted.field(*field, *value, *expire_ms);
                self.check(found, self.sorted.held())?;
            }
            Element::End => {}
            part => self.stream.part(part, &mut self.line),
        }
        spill(&mut self.out, &mut self.line)
    }

    fn end(&mut self, found: &Found, _: u64) -> Result<()> {
        let Self { out, line, string, sorted, stream, .. } = self;
        let mut spill = |line: &mut Vec<u8>| spill(out, line);
        match found.kind.group() {
            Group::String => {
                text::json_long(string, line, &mut spill)?;
                if string.capacity() > LONG_LINE {
                    *string = Vec::new();
                }
            }
            Group::List => line.push(b']'),
            Group::Set => sorted.write_set(line, &mut spill)?,
            Group::Zset => sorted.write_zset(line, &mut spill)?,
            Group::Hash => sorted.write_hash(line, &mut spill)?,
            Group::Stream => stream.end(line),
            Group::Module => {}
        }
        line.extend_from_slice(b"}\n");
        out.buffer().append(line);
        out.flush_full()
    }
}

/// Writes what is there of a line that is long.
fn spill(out: &mut Output, line: &mut Vec<u8>) -> Result<()> {
    if line.len() < LONG_LINE {
        return Ok(());
    }
    out.buffer().append(line);
    if line.capacity() > 4 * LONG_LINE {
        // Not every line has an element as large as the one before.
        *line = Vec::new();
    }
    out.finish()
}

/// Appends a string that may be a number.
fn scalar(value: Scalar<'_>, out: &mut Vec<u8>) {
    match value {
        Scalar::Bytes(bytes) => text::json_bytes(bytes, out),
        // Digits are text.
        Scalar::Int(number) => out.extend_from_slice(format!("\"{number}\"").as_bytes()),
    }
}
