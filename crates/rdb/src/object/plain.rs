//! Plain strings, in pieces: of one size but for the last, whatever the cutting of the input.

use super::{Found, Piece, Stage, Step, ValueDecoder};
use crate::{
    error::Error,
    lzf::Inflater,
    string::append_decimal,
    wire::{self, Head, offset},
};

impl ValueDecoder {
    /// Reads the head of the string.
    pub(super) fn string(&mut self, input: &[u8]) -> Result<Step, Error> {
        let head = wire::head(input, self.pos).map_err(|error| error.shifted(self.offset))?;
        let Some((head, body)) = head else { return Ok(Step::Wait) };
        match head {
            Head::Raw { len } => self.stage = Stage::Raw(len),
            Head::Int(value) => {
                let [first, _] = &mut self.scratch;
                append_decimal(first, value);
                self.pos = body;
                self.stage = Stage::End;
                return Ok(Step::Found(Found::Chunk { bytes: Piece::Digits, last: true }));
            }
            Head::Lzf { packed: 0, len: 0 } => self.stage = Stage::Raw(0),
            Head::Lzf { packed, len } => {
                let inflater = Inflater::new(packed, len, self.limits.chunk)
                    .map_err(|error| error.shifted(self.offset.saturating_add(offset(self.pos))))?;
                self.inflater = Some(Box::new(inflater));
                self.stage = Stage::Compressed;
            }
        }
        self.pos = body;
        Ok(Step::Go)
    }

    pub(super) fn raw(&mut self, input: &[u8], left: u64) -> Step {
        let chunk = usize::try_from(left).unwrap_or(usize::MAX).min(self.limits.chunk);
        let (start, end) = (self.pos, self.pos.saturating_add(chunk));
        if end > input.len() {
            return Step::Wait;
        }
        let left = left.saturating_sub(offset(chunk));
        self.pos = end;
        self.stage = if left == 0 { Stage::End } else { Stage::Raw(left) };
        Step::Found(Found::Chunk { bytes: Piece::Input { start, end }, last: left == 0 })
    }

    pub(super) fn compressed(&mut self, input: &[u8]) -> Result<Step, Error> {
        let Some(inflater) = &mut self.inflater else { return Ok(Step::Wait) };
        let rest = input.get(self.pos..).unwrap_or_default();
        // The inflater counts from the first compressed byte.
        let base = self.offset.saturating_add(offset(self.pos)).saturating_sub(inflater.read());
        let used = inflater.feed(rest).map_err(|error| error.shifted(base))?;
        self.pos = self.pos.saturating_add(used);
        let Some(range) = inflater.take() else { return Ok(Step::Wait) };
        let last = inflater.is_finished();
        if last {
            self.stage = Stage::End;
        }
        Ok(Step::Found(Found::Chunk { bytes: Piece::Inflated(range), last }))
    }

    /// The bytes of a piece.
    pub(super) fn piece<'a>(&'a self, piece: Piece, input: &'a [u8]) -> &'a [u8] {
        match piece {
            Piece::Input { start, end } => input.get(start..end).unwrap_or_default(),
            Piece::Inflated(range) => self.inflater.as_ref().map(|inflater| inflater.piece(range)).unwrap_or_default(),
            Piece::Digits => self.scratch.first().map(Vec::as_slice).unwrap_or_default(),
        }
    }
}
