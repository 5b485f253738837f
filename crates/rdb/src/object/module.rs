//! Values of modules: named, and stepped over piece by piece.

use super::{Found, Stage, Step, ValueDecoder};
use crate::{
    error::Error,
    module,
    wire::{self, offset},
};

impl ValueDecoder {
    /// Reads the number of the module's data type.
    pub(super) fn module(&mut self, input: &[u8]) -> Result<Step, Error> {
        let Some((id, end)) = self.number_at(input, self.pos)? else { return Ok(Step::Wait) };
        self.pos = end;
        self.stage = Stage::Module;
        Ok(Step::Found(Found::Module { name: module::name(id) }))
    }

    /// Steps over one piece of what the module wrote.
    pub(super) fn module_part(&mut self, input: &[u8]) -> Result<Step, Error> {
        // rdb.c rdbLoadCheckModuleValue, Redis 7.2
        let Some((opcode, body)) = self.number_at(input, self.pos)? else { return Ok(Step::Wait) };
        let left = match opcode {
            0 => {
                self.pos = body;
                self.stage = Stage::End;
                return Ok(Step::Go);
            }
            1 | 2 => {
                let Some((_, end)) = self.number_at(input, body)? else { return Ok(Step::Wait) };
                self.pos = end;
                return Ok(Step::Go);
            }
            3 => 4,
            4 => 8,
            5 => {
                let head = wire::head(input, body).map_err(|error| error.shifted(self.offset))?;
                let Some((head, end)) = head else { return Ok(Step::Wait) };
                self.pos = end;
                self.stage = Stage::ModuleBytes(head.body_len());
                return Ok(Step::Go);
            }
            _ => return Err(self.corrupt("an opcode of a module value", self.pos)),
        };
        self.pos = body;
        self.stage = Stage::ModuleBytes(left);
        Ok(Step::Go)
    }

    /// Steps over bytes, as far as they are there.
    pub(super) fn module_bytes(&mut self, input: &[u8], left: u64) -> Step {
        let there = input.len().saturating_sub(self.pos);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        self.pos = self.pos.saturating_add(count);
        let left = left.saturating_sub(offset(count));
        self.stage = if left == 0 { Stage::Module } else { Stage::ModuleBytes(left) };
        if left == 0 { Step::Go } else { Step::Wait }
    }
}
