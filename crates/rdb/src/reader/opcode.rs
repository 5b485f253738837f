//! Everything in a dump that is not a key with its value: one opcode byte, then what belongs to it.
//!
//! Attributes of a key (expiry, idle time, frequency, metadata) also have opcodes; they are part of the entry that follows
//! and are read in `entry`.

use super::{Found, Reader, text};
use crate::{
    error::Error,
    item::{Checksum, Magic},
    module,
    program::{Machine, Op},
    table,
    wire::{self, offset},
};

// rdb.h, Redis 8.6 and Valkey 9.0
pub(super) const SLOT_IMPORT_OR_KEY_META: u8 = 243;
const SLOT_INFO: u8 = 244;
const FUNCTION2: u8 = 245;
const FUNCTION_PRE_GA: u8 = 246;
const MODULE_AUX: u8 = 247;
pub(super) const IDLE: u8 = 248;
pub(super) const FREQ: u8 = 249;
const AUX: u8 = 250;
const RESIZEDB: u8 = 251;
pub(super) const EXPIRETIME_MS: u8 = 252;
pub(super) const EXPIRETIME: u8 = 253;
const SELECTDB: u8 = 254;
const EOF: u8 = 255;
/// Opcodes count down from 255 and types up from 0; what is unknown is called by the end it is nearer to.
pub(super) const LOWEST_OPCODE: u8 = 240;

/// First version whose files end in a checksum.
const FIRST_CHECKSUM_VERSION: u32 = 5;

impl Reader {
    /// Reads the item that starts with `opcode`.
    #[cold]
    pub(super) fn opcode(&mut self, opcode: u8, input: &[u8]) -> Result<Option<Found>, Error> {
        let limit = self.limits.max_string;
        let (found, end) = match opcode {
            SELECTDB => {
                let Some((db, end)) = wire::number(input, 1)? else { return Ok(None) };
                let db = u32::try_from(db).map_err(|_| Error::Corrupt { expected: "a database number", at: 1 })?;
                (Found::SelectDb(db), end)
            }
            RESIZEDB => {
                let Some(([keys, expires], end)) = numbers(input, 1)? else { return Ok(None) };
                (Found::ResizeDb { keys, expires }, end)
            }
            SLOT_INFO => {
                let Some(([slot, keys, expires], end)) = numbers(input, 1)? else { return Ok(None) };
                (Found::SlotInfo { slot, keys, expires }, end)
            }
            AUX => {
                let Some((key, end)) = text::read(input, 1, limit, &mut self.key)? else { return Ok(None) };
                let Some((value, end)) = text::read(input, end, limit, &mut self.text)? else { return Ok(None) };
                (Found::Aux { key, value }, end)
            }
            FUNCTION2 => {
                let Some((code, end)) = text::read(input, 1, limit, &mut self.text)? else { return Ok(None) };
                (Found::Function { code }, end)
            }
            MODULE_AUX => {
                let Some(end) = self.skip(table::MODULE_AUX, input)? else { return Ok(None) };
                let Some((id, _)) = wire::number(input, 1)? else { return Ok(None) };
                (Found::ModuleAux { module: module::name(id) }, end)
            }
            SLOT_IMPORT_OR_KEY_META if self.magic == Magic::Valkey => {
                let Some(end) = self.skip(table::SLOT_IMPORT, input)? else { return Ok(None) };
                (Found::SlotImport { ranges: ranges(input)? }, end)
            }
            EOF => return self.end(input),
            FUNCTION_PRE_GA => return Err(Error::FunctionPreGa { at: 0 }),
            _ => return Err(Error::UnknownOpcode { opcode, db: self.db, at: 0 }),
        };
        self.scan.pos = end;
        Ok(Some(found))
    }

    /// Runs `program` from behind the opcode; gives the position behind it.
    fn skip(&mut self, program: &'static [Op], input: &[u8]) -> Result<Option<usize>, Error> {
        let limit = self.limits.max_value;
        let machine = self.scan.machine.get_or_insert_with(|| Machine::new(program, 1, limit));
        let whole = machine.run(input)?;
        Ok(whole.then_some(machine.pos()))
    }

    fn end(&mut self, input: &[u8]) -> Result<Option<Found>, Error> {
        // rdb.c rdbLoadRioWithLoadingCtx, Redis 7.2
        if self.version < FIRST_CHECKSUM_VERSION {
            self.scan.pos = 1;
            return Ok(Some(Found::End { checksum: Checksum::Absent }));
        }
        let Some(stored) = wire::array(input, 1) else { return Ok(None) };
        let stored = u64::from_le_bytes(stored);
        let got = self.crc.value_with(&[EOF]);
        let checksum = match stored {
            0 => Checksum::Disabled,
            _ if !self.whole => Checksum::Unchecked,
            _ if stored == got => Checksum::Ok,
            _ => return Err(Error::Checksum { expected: stored, got, at: 1 }),
        };
        self.scan.pos = 9;
        Ok(Some(Found::End { checksum }))
    }
}

/// Reads `N` numbers one after the other; gives them and the position behind the last.
fn numbers<const N: usize>(input: &[u8], mut pos: usize) -> Result<Option<([u64; N], usize)>, Error> {
    let mut all = [0; N];
    for slot in &mut all {
        let Some((value, next)) = wire::number(input, pos)? else { return Ok(None) };
        *slot = value;
        pos = next;
    }
    Ok(Some((all, pos)))
}

/// Number of ranges of the slot import in `input`, which is whole.
fn ranges(input: &[u8]) -> Result<u64, Error> {
    const BAD: Error = Error::Corrupt { expected: "a slot import", at: 0 };
    let (name, body) = wire::head(input, 1)?.ok_or(BAD)?;
    let name_len = usize::try_from(name.body_len()).map_err(|_| BAD)?;
    let pos = body.saturating_add(name_len);
    wire::number(input, pos)?.map(|(count, _)| count).ok_or(Error::Corrupt { expected: "a count", at: offset(pos) })
}
