//! The way through a dump, for all tools the same.
//!
//! What fits into [`STREAM_FROM`] is handed out whole; a larger value is taken apart as it is read, so that memory does not
//! grow with it.

use keyferry_model::{Error, ErrorKind};
use keyferry_rdb::{
    Entry, Item, Limits, Reader, ValueType,
    object::{DecodeLimits, Element, ValueDecoder},
};

use super::{
    failure::{Result, corrupt, refused},
    input::Input,
    select::Select,
};

/// Bytes from which on a value is read in pieces.
const STREAM_FROM: usize = 4 << 20;
/// Most bytes of an item that cannot be read in pieces: what modules keep beside the keys, and AUX fields.
const LARGEST_ITEM: usize = 1 << 30;

/// A key that the filters have let through.
pub(super) struct Found {
    pub(super) db: u32,
    pub(super) key: Vec<u8>,
    pub(super) kind: ValueType,
    /// Absolute expiry in Unix milliseconds.
    pub(super) expire_ms: Option<u64>,
    /// Offset in the file of the first byte that belongs to it.
    pub(super) at: u64,
    /// Offset in the file of the first byte of the value.
    pub(super) value_at: u64,
}

/// What a tool does with a dump.
pub(super) trait Visit {
    /// Something that is not a key.
    fn item(&mut self, item: &Item<'_>) -> Result<()>;

    /// A key that the filters have let through, with the raw value where that is whole; gives whether the elements of the
    /// value are wanted.
    fn begin(&mut self, found: &Found, raw: Option<&[u8]>) -> Result<bool>;

    /// An element of the value; the last one is [`Element::End`].
    fn element(&mut self, found: &Found, element: &Element<'_>) -> Result<()>;

    /// The key is at its end; it took so many bytes of the file.
    fn end(&mut self, found: &Found, bytes: u64) -> Result<()>;
}

/// Goes through the whole dump; gives its length in bytes.
pub(super) fn walk(input: &mut Input, select: &Select, visit: &mut impl Visit) -> Result<u64> {
    let mut reader = Reader::new(Limits { max_value: u64::MAX, ..Limits::default() });
    let mut found = Found { db: 0, key: Vec::new(), kind: ValueType::STRING, expire_ms: None, at: 0, value_at: 0 };
    while !reader.is_finished() {
        let at = reader.offset();
        let next = reader.next(input.rest()).map_err(|e| refused(format!("read {}", input.name()), e))?;
        if let Some((used, item)) = next {
            match item {
                Item::Entry(entry) => {
                    if select.has(&entry) {
                        let value_at = at + (used - entry.raw.len()) as u64;
                        found.hold(&entry, at, value_at);
                        if visit.begin(&found, Some(entry.raw))? {
                            each(input.name(), &found, entry.raw, |element| visit.element(&found, element))?;
                        }
                        visit.end(&found, used as u64)?;
                    }
                }
                other => visit.item(&other)?,
            }
            input.skip(used);
            continue;
        }
        if input.rest().len() >= STREAM_FROM
            && let Some((used, entry)) = reader.stream_value(input.rest())
        {
            let wanted = select.has(&entry);
            found.hold(&entry, at, at + used as u64);
            input.skip(used);
            stream(input, &mut reader, &found, wanted.then_some(&mut *visit))?;
        } else if input.rest().len() > LARGEST_ITEM {
            let what = format!("read {}: the item at byte {at} is larger than {LARGEST_ITEM} bytes", input.name());
            return Err(Error::new(ErrorKind::RdbTooLarge, what).into());
        } else if !input.more()? {
            return Err(cut_short(input, at, at + input.rest().len() as u64));
        }
    }
    Ok(reader.offset())
}

impl Found {
    #[inline]
    fn hold(&mut self, entry: &Entry<'_>, at: u64, value_at: u64) {
        self.key.clear();
        self.key.extend_from_slice(entry.key);
        self.db = entry.db;
        self.kind = entry.kind;
        self.expire_ms = entry.expire_ms;
        self.at = at;
        self.value_at = value_at;
    }
}

/// Takes a value apart that is there as a whole.
pub(super) fn each(
    name: &str,
    found: &Found,
    raw: &[u8],
    mut see: impl FnMut(&Element<'_>) -> Result<()>,
) -> Result<()> {
    let mut decoder = ValueDecoder::new(found.kind, DecodeLimits::default());
    let mut start = 0;
    while !decoder.is_finished() {
        let (used, element) = decoder.next(&raw[start..]).map_err(|e| bad_value(name, found, e))?;
        start += used;
        match element {
            Some(element) => see(&element)?,
            None => {
                let end = found.value_at + raw.len() as u64;
                return Err(corrupt(format!("{}: it ends too early at byte {end}", reading(name, found))));
            }
        }
    }
    if start < raw.len() {
        let at = found.value_at + start as u64;
        return Err(corrupt(format!("{}: it goes on behind its end at byte {at}", reading(name, found))));
    }
    Ok(())
}

/// Takes a value apart as it is read.
fn stream(input: &mut Input, reader: &mut Reader, found: &Found, mut visit: Option<&mut impl Visit>) -> Result<()> {
    let wanted = visit.as_mut().map_or(Ok(false), |visit| visit.begin(found, None))?;
    let mut decoder = ValueDecoder::new(found.kind, DecodeLimits::default());
    loop {
        let (used, element) = decoder.next(input.rest()).map_err(|e| bad_value(input.name(), found, e))?;
        let (waits, last) = (element.is_none(), matches!(element, Some(Element::End)));
        if let (true, Some(element), Some(visit)) = (wanted, element, visit.as_mut()) {
            visit.element(found, &element)?;
        }
        reader.pass(&input.rest()[..used]);
        input.skip(used);
        if last {
            break;
        }
        if waits && !input.more()? {
            return Err(cut_short(input, found.at, reader.offset() + input.rest().len() as u64));
        }
    }
    reader.end_value();
    visit.map_or(Ok(()), |visit| visit.end(found, reader.offset() - found.at))
}

fn bad_value(name: &str, found: &Found, error: keyferry_rdb::Error) -> super::Stop {
    // The decoder counts from the start of the value.
    refused(reading(name, found), error.shifted(found.value_at))
}

fn reading(name: &str, found: &Found) -> String {
    format!("read {name}: database {}, value of type {} at byte {}", found.db, found.kind, found.value_at)
}

fn cut_short(input: &Input, at: u64, end: u64) -> super::Stop {
    corrupt(match end {
        0 => format!("read {}: it is empty, expected a dump at byte 0", input.name()),
        _ => format!("read {}: it ends at byte {end}, inside the item that starts at byte {at}", input.name()),
    })
}
