//! A key with its attributes and its value: one item, in the order in which servers write it.
//!
//! | part | bytes |
//! |---|---|
//! | expiry | opcode 253 and 4 bytes of seconds, or 252 and 8 of milliseconds, little endian; optional |
//! | idle time or frequency | opcode 248 and a number of seconds, or 249 and a byte; optional |
//! | metadata | opcode 243 (Redis 8.6), number of classes, then each: 4 bytes and what a module wrote; optional |
//! | type | a byte below 240 |
//! | key | a string object |
//! | value | as the table of types says |

use super::{
    Found, Reader,
    opcode::{EXPIRETIME, EXPIRETIME_MS, FREQ, IDLE, LOWEST_OPCODE, SLOT_IMPORT_OR_KEY_META},
    text::{self, Text},
};
use crate::{
    error::{Error, LimitKind},
    item::{Entry, Magic},
    program::{Machine, Op},
    table,
    value_type::ValueType,
    wire::{self, offset},
};

/// The type byte of opaque module values; see [`Error::OpaqueModule`].
const OPAQUE_MODULE: u8 = 6;
/// First version whose files may have metadata of keys.
const FIRST_KEY_META_VERSION: u32 = 13;

/// What is known of the item at the start of the input. Positions count from there.
pub(super) struct Scan {
    stage: Stage,
    /// First byte not yet understood; the length of the item once it is whole.
    pub(super) pos: usize,
    expire_ms: Option<u64>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    /// An expiry was there, also one that means none.
    expire_seen: bool,
    meta: (usize, usize),
    kind: ValueType,
    key: Text,
    /// Where the raw value starts.
    value: usize,
    /// Runs over what takes more than one look: values of several parts, data of modules.
    pub(super) machine: Option<Machine>,
}

/// What stands at the scan's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// An opcode or a type byte. Set at the start of an item and behind each attribute.
    Opcode,
    /// The metadata of a key, behind its opcode. Set by the opcode.
    Meta,
    /// A key. Set by the type byte.
    Key,
    /// A value. Set when the key was read.
    Value,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Opcode,
            pos: 0,
            expire_ms: None,
            idle_s: None,
            freq: None,
            expire_seen: false,
            meta: (0, 0),
            kind: ValueType::STRING,
            key: Text::Scratch,
            value: 0,
            machine: None,
        }
    }

    /// Starts over at the next item.
    #[inline]
    pub(super) fn restart(&mut self) {
        self.stage = Stage::Opcode;
        self.pos = 0;
        self.expire_ms = None;
        self.idle_s = None;
        self.freq = None;
        self.expire_seen = false;
        self.meta = (0, 0);
        self.machine = None;
    }

    /// Where the value starts, once everything before it was read.
    pub(super) fn value_start(&self) -> Option<usize> {
        (self.stage == Stage::Value).then_some(self.value)
    }

    /// The entry that was found.
    #[inline]
    pub(super) fn entry<'a>(&self, input: &'a [u8], scratch: &'a [u8], db: u32) -> Entry<'a> {
        Entry {
            key: self.key.of(input, scratch),
            kind: self.kind,
            raw: input.get(self.value..self.pos).unwrap_or_default(),
            meta: input.get(self.meta.0..self.meta.1).unwrap_or_default(),
            expire_ms: self.expire_ms,
            idle_s: self.idle_s,
            freq: self.freq,
            db,
        }
    }
}

impl Reader {
    /// Looks for a whole item at the start of `input`.
    #[inline]
    pub(super) fn find(&mut self, input: &[u8]) -> Result<Option<Found>, Error> {
        loop {
            match self.scan.stage {
                Stage::Opcode => {
                    let Some(&byte) = input.get(self.scan.pos) else { return Ok(None) };
                    if byte < LOWEST_OPCODE {
                        self.value_type(byte)?;
                    } else if self.is_attribute(byte) {
                        if !self.attribute(byte, input)? {
                            return Ok(None);
                        }
                    } else if self.scan.pos == 0 {
                        return self.opcode(byte, input);
                    } else {
                        let expected = "a value type after attributes of a key";
                        return Err(Error::OpcodeOrder { opcode: byte, expected, at: offset(self.scan.pos) });
                    }
                }
                Stage::Meta => {
                    if !self.run_machine(input)? {
                        return Ok(None);
                    }
                    self.scan.machine = None;
                    self.scan.meta.1 = self.scan.pos;
                    self.scan.stage = Stage::Opcode;
                }
                Stage::Key => {
                    let limit = self.limits.max_string;
                    let Some((key, end)) = text::read(input, self.scan.pos, limit, &mut self.key)? else {
                        return Ok(None);
                    };
                    self.scan.key = key;
                    self.scan.pos = end;
                    self.scan.value = end;
                    self.scan.stage = Stage::Value;
                }
                Stage::Value => return Ok(self.value(input)?.then_some(Found::Entry)),
            }
        }
    }

    #[inline]
    fn value_type(&mut self, ty: u8) -> Result<(), Error> {
        let at = offset(self.scan.pos);
        self.scan.kind = ValueType::from_byte(ty, self.magic).ok_or(match ty {
            OPAQUE_MODULE => Error::OpaqueModule { db: self.db, at },
            _ => Error::UnknownType { ty, db: self.db, at },
        })?;
        self.scan.pos = self.scan.pos.saturating_add(1);
        self.scan.stage = Stage::Key;
        Ok(())
    }

    /// Looks for the end of the value; `false` where the input ends first.
    #[inline]
    fn value(&mut self, input: &[u8]) -> Result<bool, Error> {
        if self.scan.machine.is_some() {
            return self.run_machine(input);
        }
        let program = self.scan.kind.program();
        if !matches!(program, [Op::Str]) {
            self.scan.machine = Some(Machine::new(program, self.scan.pos, self.limits.max_value));
            return self.run_machine(input);
        }
        let Some((head, body)) = wire::head(input, self.scan.pos)? else { return Ok(false) };
        let len = offset(body.saturating_sub(self.scan.pos)).saturating_add(head.body_len());
        let limit = self.limits.max_value;
        if len > limit {
            return Err(Error::OverLimit { what: LimitKind::Value, len, limit, at: offset(self.scan.pos) });
        }
        let end = body.saturating_add(usize::try_from(head.body_len()).unwrap_or(usize::MAX));
        if end > input.len() {
            return Ok(false);
        }
        self.scan.pos = end;
        Ok(true)
    }

    fn run_machine(&mut self, input: &[u8]) -> Result<bool, Error> {
        let Some(machine) = &mut self.scan.machine else { return Ok(true) };
        let whole = machine.run(input)?;
        if whole {
            self.scan.pos = machine.pos();
        }
        Ok(whole)
    }

    fn is_attribute(&self, opcode: u8) -> bool {
        match opcode {
            EXPIRETIME | EXPIRETIME_MS | IDLE | FREQ => true,
            SLOT_IMPORT_OR_KEY_META => self.magic == Magic::Redis && self.version >= FIRST_KEY_META_VERSION,
            _ => false,
        }
    }

    /// Reads an attribute of the key that follows; `false` where the input ends first.
    fn attribute(&mut self, opcode: u8, input: &[u8]) -> Result<bool, Error> {
        // rdb.c rdbSaveKeyValuePair and rdbLoadRioWithLoadingCtx, Redis 7.2
        let scan = &mut self.scan;
        let body = scan.pos.saturating_add(1);
        let seen = match opcode {
            EXPIRETIME | EXPIRETIME_MS => scan.expire_seen,
            IDLE => scan.idle_s.is_some(),
            FREQ => scan.freq.is_some(),
            _ => scan.meta != (0, 0),
        };
        if seen {
            // More than one of a kind would let an item grow without a bound.
            let expected = "each attribute of a key once";
            return Err(Error::OpcodeOrder { opcode, expected, at: offset(scan.pos) });
        }
        let end = match opcode {
            EXPIRETIME => {
                let Some(bytes) = wire::array(input, body) else { return Ok(false) };
                scan.expire_seen = true;
                scan.expire_ms = deadline(i64::from(i32::from_le_bytes(bytes)), 1000);
                body.saturating_add(4)
            }
            EXPIRETIME_MS => {
                let Some(bytes) = wire::array(input, body) else { return Ok(false) };
                scan.expire_seen = true;
                scan.expire_ms = deadline(i64::from_le_bytes(bytes), 1);
                body.saturating_add(8)
            }
            IDLE => {
                let Some((seconds, end)) = wire::number(input, body)? else { return Ok(false) };
                scan.idle_s = Some(seconds);
                end
            }
            FREQ => {
                let Some(&counter) = input.get(body) else { return Ok(false) };
                scan.freq = Some(counter);
                body.saturating_add(1)
            }
            _ => {
                scan.meta = (scan.pos, body);
                scan.machine = Some(Machine::new(table::KEY_META, body, self.limits.max_value));
                scan.stage = Stage::Meta;
                body
            }
        };
        scan.pos = end;
        Ok(true)
    }
}

/// An absolute expiry in Unix milliseconds from a stored time. Servers store -1 for none; what else is not after the epoch
/// is long past, and becomes the first millisecond, since 0 would read as none further on.
fn deadline(time: i64, unit_ms: i64) -> Option<u64> {
    (time != -1).then(|| u64::try_from(time.saturating_mul(unit_ms)).unwrap_or(0).max(1))
}
