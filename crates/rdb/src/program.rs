//! The interpreter that finds the end of a value, whatever its layout.
//!
//! A layout is a short program of [`Op`]s, run token by token by a [`Machine`] that can stop after any byte and go on when
//! more are there. Strings whose length is known are stepped over without being looked at, also when their bytes have not
//! arrived. There is no recursion: loops live on a stack as deep as the deepest layout.

use crate::{
    error::{Error, LimitKind},
    wire::{self, offset},
};

/// One step of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// A string object.
    Str,
    /// A plain number.
    Len,
    /// So many bytes.
    Fixed(u8),
    /// A score in digits: a length byte and so many bytes, or one of three bytes that stand for no number and infinities.
    DoubleStr,
    /// A number, then the inner steps so many times.
    Repeat(&'static [Op]),
    /// What a module wrote: a number that says what follows, again and again, until the one that says end.
    ModuleUntilEof,
}

/// What [`Machine::step`] came past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A string object.
    Str,
    /// A plain number.
    Len,
    /// Bytes of a fixed number.
    Fixed,
    /// A score in digits.
    Double,
    /// The number of rounds that follow.
    Count(u64),
    /// A piece of what a module wrote, with the number in front of it.
    Module,
    /// More input is needed; nothing was consumed.
    Short,
    /// The program is at its end.
    Done,
}

/// Loops inside loops: groups, consumers and pending entries of a stream, and one to spare.
const MAX_DEPTH: usize = 4;

/// A loop to come back to when the inner one is done.
#[derive(Debug, Clone, Copy)]
struct Frame {
    ops: &'static [Op],
    next: usize,
    rounds: u64,
}

/// A program on its way. Positions count from the start of the input.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// The loop (or the whole program) that is run, the step in it, and the rounds left including this one.
    now: Frame,
    outer: [Frame; MAX_DEPTH],
    depth: usize,
    /// First byte not yet stepped over; may lie behind the input.
    pos: usize,
    start: usize,
    limit: u64,
}

impl Machine {
    /// Starts `ops` at position `start`, for at most `limit` bytes.
    pub(crate) fn new(ops: &'static [Op], start: usize, limit: u64) -> Self {
        let now = Frame { ops, next: 0, rounds: 1 };
        Self { now, outer: [now; MAX_DEPTH], depth: 0, pos: start, start, limit }
    }

    /// First byte not yet stepped over; may lie behind the input.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Runs to the end of the program; `false` where the input ends first.
    ///
    /// # Errors
    /// See [`Machine::step`].
    pub(crate) fn run(&mut self, input: &[u8]) -> Result<bool, Error> {
        loop {
            self.hop(input);
            match self.step(input)? {
                Step::Short => return Ok(false),
                Step::Done => return Ok(true),
                Step::Str | Step::Len | Step::Fixed | Step::Double | Step::Count(_) | Step::Module => {}
            }
        }
    }

    /// Goes past short strings of a loop of nothing else, as far as they are there: most of the bytes of large lists, sets and
    /// hashes. What is rare (long, compressed, cut, over the limit) is left to `step`.
    #[inline]
    fn hop(&mut self, input: &[u8]) {
        let Frame { ops, mut next, mut rounds } = self.now;
        if !matches!(ops, [Op::Str] | [Op::Str, Op::Str]) || next >= ops.len() {
            return;
        }
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let bound = input.len().min(self.start.saturating_add(limit));
        let mut pos = self.pos;
        while let Some(&first) = input.get(pos) {
            let len = match (first, input.get(pos.saturating_add(1))) {
                (..0x40, _) => usize::from(first).saturating_add(1),
                (0x40..0x80, Some(&low)) => usize::from(u16::from_be_bytes([first & 0x3f, low])).saturating_add(2),
                _ => break,
            };
            let end = pos.saturating_add(len);
            if end > bound {
                break;
            }
            pos = end;
            next = next.saturating_add(1);
            if next == ops.len() {
                if rounds == 1 {
                    break;
                }
                rounds = rounds.saturating_sub(1);
                next = 0;
            }
        }
        self.pos = pos;
        self.now = Frame { ops, next, rounds };
    }

    /// Goes past one token: from the position before the call to that after it.
    ///
    /// # Errors
    /// [`Error::OverLimit`] as soon as it is known that the value is longer than allowed, [`Error::Corrupt`].
    #[inline]
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<Step, Error> {
        if self.pos > input.len() {
            return Ok(Step::Short);
        }
        loop {
            let Some(&op) = self.now.ops.get(self.now.next) else {
                if self.now.rounds > 1 {
                    self.now.rounds = self.now.rounds.saturating_sub(1);
                    self.now.next = 0;
                    continue;
                }
                let Some(depth) = self.depth.checked_sub(1) else { return Ok(Step::Done) };
                self.depth = depth;
                if let Some(&outer) = self.outer.get(depth) {
                    self.now = outer;
                }
                continue;
            };
            return self.perform(op, input);
        }
    }

    #[inline]
    fn perform(&mut self, op: Op, input: &[u8]) -> Result<Step, Error> {
        match op {
            Op::Str => match wire::head(input, self.pos)? {
                Some((head, body)) => self.past(body, head.body_len(), Step::Str),
                None => Ok(Step::Short),
            },
            Op::Len => match wire::number(input, self.pos)? {
                Some((_, end)) => self.past(end, 0, Step::Len),
                None => Ok(Step::Short),
            },
            Op::Fixed(count) => self.past(self.pos, u64::from(count), Step::Fixed),
            Op::DoubleStr => match input.get(self.pos) {
                // rdb.c rdbLoadDoubleValue, Redis 7.2
                Some(&len) => {
                    self.past(self.pos.saturating_add(1), u64::from(if len >= 253 { 0 } else { len }), Step::Double)
                }
                None => Ok(Step::Short),
            },
            Op::Repeat(ops) => self.enter(ops, input),
            Op::ModuleUntilEof => self.module(input),
        }
    }

    /// Moves to `len` bytes behind `body` and to the next step.
    #[inline]
    fn past(&mut self, body: usize, len: u64, step: Step) -> Result<Step, Error> {
        self.pos = self.within_limit(body, len)?;
        self.now.next = self.now.next.saturating_add(1);
        Ok(step)
    }

    /// The position `len` bytes behind `body`, where the limit allows it.
    #[inline]
    fn within_limit(&self, body: usize, len: u64) -> Result<usize, Error> {
        let used = offset(body.saturating_sub(self.start)).saturating_add(len);
        if used > self.limit {
            let at = offset(self.pos);
            return Err(Error::OverLimit { what: LimitKind::Value, len: used, limit: self.limit, at });
        }
        // A limit beyond the address space means that the position is never reached.
        Ok(body.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)))
    }

    fn enter(&mut self, ops: &'static [Op], input: &[u8]) -> Result<Step, Error> {
        let Some((rounds, body)) = wire::number(input, self.pos)? else { return Ok(Step::Short) };
        // Each round takes a byte at least, so a count over the limit is as good as a length over it.
        self.within_limit(body, rounds)?;
        self.past(body, 0, Step::Count(rounds))?;
        if rounds > 0 {
            if let Some(slot) = self.outer.get_mut(self.depth) {
                *slot = self.now;
                self.depth = self.depth.saturating_add(1);
            }
            self.now = Frame { ops, next: 0, rounds };
        }
        Ok(Step::Count(rounds))
    }

    fn module(&mut self, input: &[u8]) -> Result<Step, Error> {
        // rdb.c rdbLoadCheckModuleValue, Redis 7.2
        let Some((opcode, body)) = wire::number(input, self.pos)? else { return Ok(Step::Short) };
        let (body, len) = match opcode {
            0 => return self.past(body, 0, Step::Module),
            1 | 2 => match wire::number(input, body)? {
                Some((_, end)) => (end, 0),
                None => return Ok(Step::Short),
            },
            3 => (body, 4),
            4 => (body, 8),
            5 => match wire::head(input, body)? {
                Some((head, body)) => (body, head.body_len()),
                None => return Ok(Step::Short),
            },
            _ => return Err(Error::Corrupt { expected: "an opcode of a module value", at: offset(self.pos) }),
        };
        self.pos = self.within_limit(body, len)?;
        Ok(Step::Module)
    }
}

#[cfg(test)]
mod tests;
