//! Lists, sets, sorted sets and hashes that are written item by item.
//!
//! An item is looked at from its end: its last part must be there before the others are decompressed, so that waiting for a
//! long part costs nothing again and again.

use super::{Found, Held, Layout, Stage, Step, ValueDecoder, layout::Item, text};
use crate::{error::Error, packed::Packing, wire};

/// The mark of a list node that is one element; `PACKED` is the other.
const PLAIN: u64 = 1;
const PACKED: u64 = 2;

impl ValueDecoder {
    /// Reads the next item, or notes that there is none.
    #[inline]
    pub(super) fn item(&mut self, input: &[u8]) -> Result<Step, Error> {
        let (Layout::Counted(item) | Layout::CountedFrom(item)) = self.layout else {
            self.stage = Stage::End;
            return Ok(Step::Go);
        };
        let Some(left) = self.left.checked_sub(1) else {
            self.stage = Stage::End;
            return Ok(Step::Go);
        };
        let step = match item {
            Item::ListElement => self.one(input, self.pos, Found::ListElement)?,
            Item::SetMember => self.one(input, self.pos, Found::SetMember)?,
            Item::TextScore => self.text_score(input)?,
            Item::BinaryScore => self.binary_score(input)?,
            Item::Field => self.field(input, self.pos)?,
            Item::ExpiryField => self.expiry_field(input)?,
            Item::FieldExpiry => self.field_expiry(input)?,
            Item::ZiplistNode => self.open_block(input, self.pos, Packing::Ziplist)?,
            Item::Node => self.list_node(input)?,
        };
        if !matches!(step, Step::Wait) {
            self.left = left;
        }
        Ok(step)
    }

    fn one(&mut self, input: &[u8], pos: usize, found: fn(Held) -> Found) -> Result<Step, Error> {
        let Some((held, end)) = self.text_at(input, pos, 0)? else { return Ok(Step::Wait) };
        self.pos = end;
        Ok(Step::Found(found(held)))
    }

    /// The position behind the string at `pos`; `None` where not even its head is there.
    #[inline]
    fn end_of_text(&self, input: &[u8], pos: usize) -> Result<Option<usize>, Error> {
        text::end(input, pos, self.limits.max_string).map_err(|error| error.shifted(self.offset))
    }

    fn text_score(&mut self, input: &[u8]) -> Result<Step, Error> {
        // rdb.c rdbLoadDoubleValue, Redis 7.2
        let Some(at) = self.end_of_text(input, self.pos)? else { return Ok(Step::Wait) };
        let Some(&len) = input.get(at) else { return Ok(Step::Wait) };
        let body = at.saturating_add(1);
        let (score, end) = match len {
            255 => (f64::NEG_INFINITY, body),
            254 => (f64::INFINITY, body),
            253 => (f64::NAN, body),
            _ => {
                let end = body.saturating_add(usize::from(len));
                let Some(digits) = input.get(body..end) else { return Ok(Step::Wait) };
                (parse_score(digits).unwrap_or(f64::NAN), end)
            }
        };
        self.scored(input, score, at, end)
    }

    fn binary_score(&mut self, input: &[u8]) -> Result<Step, Error> {
        let Some(at) = self.end_of_text(input, self.pos)? else { return Ok(Step::Wait) };
        let Some(score) = wire::array(input, at) else { return Ok(Step::Wait) };
        self.scored(input, f64::from_le_bytes(score), at, at.saturating_add(8))
    }

    fn scored(&mut self, input: &[u8], score: f64, at: usize, end: usize) -> Result<Step, Error> {
        if score.is_nan() {
            return Err(self.corrupt("a score", at));
        }
        let Some((member, _)) = self.text_at(input, self.pos, 0)? else { return Ok(Step::Wait) };
        self.pos = end;
        Ok(Step::Found(Found::Scored { member, score }))
    }

    #[inline]
    fn field(&mut self, input: &[u8], pos: usize) -> Result<Step, Error> {
        let Some(at) = self.end_of_text(input, pos)? else { return Ok(Step::Wait) };
        let Some((value, end)) = self.text_at(input, at, 1)? else { return Ok(Step::Wait) };
        let Some((field, _)) = self.text_at(input, pos, 0)? else { return Ok(Step::Wait) };
        self.pos = end;
        Ok(Step::Found(Found::Field { field, value, expire_ms: None }))
    }

    fn expiry_field(&mut self, input: &[u8]) -> Result<Step, Error> {
        let Some((ttl, pos)) = self.number_at(input, self.pos)? else { return Ok(Step::Wait) };
        let expiry = match ttl {
            0 => None,
            // Written against the least expiry, and one more, so that 0 is free; in the release candidates absolute, which
            // is the same against 1.
            _ => Some(self.base_ms().saturating_add(ttl).saturating_sub(1)),
        };
        let step = self.field(input, pos)?;
        if let Step::Found(Found::Field { field, value, .. }) = step {
            return Ok(Step::Found(Found::Field { field, value, expire_ms: expiry }));
        }
        Ok(step)
    }

    fn base_ms(&self) -> u64 {
        if matches!(self.layout, Layout::CountedFrom(_)) { self.base_ms } else { 1 }
    }

    fn field_expiry(&mut self, input: &[u8]) -> Result<Step, Error> {
        // rdb.c rdbSaveObject, Valkey 9.0: -1 is none.
        let start = self.pos;
        let Some(at) = self.end_of_text(input, start)? else { return Ok(Step::Wait) };
        let Some(end) = self.end_of_text(input, at)? else { return Ok(Step::Wait) };
        let Some(expiry) = wire::array(input, end) else { return Ok(Step::Wait) };
        let expiry = i64::from_le_bytes(expiry);
        if expiry < -1 {
            return Err(self.corrupt("an expiry of a field", end));
        }
        let step = self.field(input, start)?;
        if let Step::Found(Found::Field { field, value, .. }) = step {
            self.pos = end.saturating_add(8);
            return Ok(Step::Found(Found::Field { field, value, expire_ms: u64::try_from(expiry).ok() }));
        }
        Ok(step)
    }

    fn list_node(&mut self, input: &[u8]) -> Result<Step, Error> {
        // quicklist.h QUICKLIST_NODE_CONTAINER_PLAIN and _PACKED, Redis 7.2
        let Some((container, pos)) = self.number_at(input, self.pos)? else { return Ok(Step::Wait) };
        match container {
            PLAIN => self.one(input, pos, Found::ListElement),
            PACKED => self.open_block(input, pos, Packing::Listpack),
            _ => Err(self.corrupt("the kind of a list node", self.pos)),
        }
    }
}

/// A score in digits, as servers print it: with 17 digits, or the shortest that come back.
pub(super) fn parse_score(digits: &[u8]) -> Option<f64> {
    // Rust reads a plus sign and "infinity" as the servers' strtod does, and rounds as it does.
    std::str::from_utf8(digits).ok()?.parse().ok()
}
