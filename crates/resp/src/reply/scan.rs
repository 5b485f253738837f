//! The state machine that consumes replies.

use super::frames::{Frames, MAX_DEPTH};
use super::{Kind, Summary};
use crate::{Error, header};

/// Bytes of an error's text that are kept. A server's own texts are shorter, a script can make longer ones.
const ERROR_TEXT_MAX: usize = 512;

/// Consumes replies and tells what each was.
///
/// Holds a few hundred bytes whatever it is fed. After an error it is not to be used again.
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    state: State,
    frames: Frames,
    /// Bytes of the current reply consumed before the current call of `feed`; 0 only at its start.
    consumed: u64,
    /// What the current reply is, once its first byte is understood.
    top: Option<Kind>,
    /// Whether the current reply is or has an error.
    seen_error: bool,
    nested_error: bool,
    greatest: Option<i64>,
    /// The next reply is only read up to the header, when it is an array.
    open_next: bool,
    error_text: Vec<u8>,
}

/// Where in an element the next byte is.
#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// At a type byte.
    #[default]
    Start,
    /// In the number behind the type byte `marker`; what has come of it is in `carry`.
    Number { marker: u8, carry: [u8; header::NUMBER_MAX], len: usize },
    /// In a line of text. `keep`: it belongs to `error_text`; `cr`: its last byte was CR.
    Line { kind: Kind, keep: bool, cr: bool },
    /// In the contents of a bulk string, with `left` bytes to come before CRLF.
    Contents { kind: Kind, keep: bool, left: u64 },
    /// Behind the contents: at CR, or at LF when `cr`.
    End { kind: Kind, cr: bool },
}

impl Scanner {
    /// A scanner at the start of a reply.
    pub fn new() -> Self {
        Self::default()
    }

    /// Consumes bytes from the front of `input`.
    ///
    /// Gives how many were used and, when they completed a reply, its summary. Without a summary all of `input` is used. Call
    /// again with the rest.
    ///
    /// # Errors
    /// When the bytes are no reply, or nested deeper than 32 levels; the offset counts from the start of the reply, wherever
    /// the bytes were cut.
    #[inline]
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Summary>), Error> {
        if self.consumed == 0
            && let Some((used, kind)) = short_reply(input)
        {
            self.seen_error = false;
            self.open_next = false;
            return Ok((used, Some(Summary { kind, nested_error: false, greatest: None })));
        }
        self.consume(input)
    }

    /// Whether the next byte begins a reply, which is not to be opened. Whoever knows it by its bytes, and knows that it is
    /// no error, may then pass over it without `feed`.
    #[inline]
    pub fn is_between(&self) -> bool {
        self.consumed == 0 && !self.open_next
    }

    /// Of the next reply, when it is an array, only the header is consumed; its elements then follow as replies of their own.
    /// For EXEC, whose elements answer one command each.
    pub fn open_next(&mut self) {
        self.open_next = true;
    }

    /// The text after `-` (or of a bulk error) of the first error in the last complete reply, at any depth, cut off after 512
    /// bytes; empty when there was none. It stays until `feed` sees the next byte.
    pub fn error_text(&self) -> &[u8] {
        if !self.seen_error {
            return &[];
        }
        self.error_text.get(..ERROR_TEXT_MAX).unwrap_or(&self.error_text)
    }

    fn consume(&mut self, input: &[u8]) -> Result<(usize, Option<Summary>), Error> {
        let mut rest = input;
        while !rest.is_empty() {
            let at = self.consumed.saturating_add(position(input, rest) as u64);
            let done = match self.state {
                State::Start => self.start(&mut rest, at)?,
                State::Number { .. } => self.number(&mut rest, at)?,
                State::Line { kind, keep, cr } => self.line(&mut rest, kind, keep, cr),
                State::Contents { kind, keep, left } => {
                    self.contents(&mut rest, kind, keep, left);
                    None
                }
                State::End { kind, cr } => self.end(&mut rest, at, kind, cr)?,
            };
            let Some(kind) = done else { continue };
            self.state = State::Start;
            if self.frames.is_empty() {
                self.top = Some(kind);
            } else if let Kind::Int(n) = kind {
                self.greatest = self.greatest.max(Some(n));
            }
            if self.frames.complete_one() {
                let summary = Summary {
                    kind: self.top.take().unwrap_or(kind),
                    nested_error: std::mem::take(&mut self.nested_error),
                    greatest: self.greatest.take(),
                };
                self.consumed = 0;
                self.open_next = false;
                return Ok((position(input, rest), Some(summary)));
            }
        }
        self.consumed = self.consumed.saturating_add(input.len() as u64);
        Ok((input.len(), None))
    }

    /// At a type byte. Gives the element when it is complete.
    fn start(&mut self, rest: &mut &[u8], at: u64) -> Result<Option<Kind>, Error> {
        if at == 0 {
            self.seen_error = false;
        }
        if let Some((used, kind)) = short_reply(rest) {
            advance(rest, used);
            return Ok(Some(kind));
        }
        let Some((&marker, tail)) = rest.split_first() else { return Ok(None) };
        let line = |kind| State::Line { kind, keep: false, cr: false };
        self.state = match marker {
            b':' | b'$' | b'*' | b'!' | b'=' | b'~' | b'%' | b'>' | b'|' => {
                State::Number { marker, carry: [0; header::NUMBER_MAX], len: 0 }
            }
            b'+' => line(Kind::Status),
            b'-' => State::Line { kind: Kind::Error, keep: self.note_error(), cr: false },
            b'_' => line(Kind::Nil),
            b'#' | b',' | b'(' => line(Kind::Other),
            _ => return Err(Error::Unexpected { at, expected: "a reply" }),
        };
        *rest = tail;
        Ok(None)
    }

    /// In the number behind a type byte.
    fn number(&mut self, rest: &mut &[u8], at: u64) -> Result<Option<Kind>, Error> {
        let State::Number { marker, carry, len } = &mut self.state else { return Ok(None) };
        let marker = *marker;
        let before = *len;
        // The number is read from where its bytes lie together: in the input, or behind what an earlier input had of it.
        let least = if matches!(marker, b'$' | b'*') {
            -1
        } else if marker == b':' {
            i64::MIN
        } else {
            0
        };
        let from = at.saturating_sub(before as u64);
        let found = if before == 0 {
            header::length(rest, least)
        } else {
            let room = carry.get_mut(before..).unwrap_or_default();
            let n = room.len().min(rest.len());
            for (to, b) in room.iter_mut().zip(rest.iter()) {
                *to = *b;
            }
            header::length(carry.get(..before.saturating_add(n)).unwrap_or_default(), least)
        };
        let Some((n, end)) = found.map_err(|e| e.offset_by(from))? else {
            if before == 0 {
                for (to, b) in carry.iter_mut().zip(rest.iter()) {
                    *to = *b;
                }
            }
            // The number is decided within NUMBER_MAX bytes, so what there is of it fits.
            *len = before.saturating_add(rest.len());
            *rest = &[];
            return Ok(None);
        };
        advance(rest, end.saturating_sub(before));
        // The type byte stands one before the number.
        self.sized(marker, n, from.saturating_sub(1))
    }

    /// Behind the complete number `n` of the type byte at `at`.
    fn sized(&mut self, marker: u8, n: i64, at: u64) -> Result<Option<Kind>, Error> {
        let Ok(count) = u64::try_from(n) else {
            // Only integers and the two nils of RESP2 may be negative.
            return Ok(Some(if marker == b':' { Kind::Int(n) } else { Kind::Nil }));
        };
        let contents = |kind, keep| State::Contents { kind, keep, left: count };
        // The elements of the aggregate, its kind, and whether it is an attribute. Twice an i64 fits in u64.
        let (elements, kind) = match marker {
            b':' => return Ok(Some(Kind::Int(n))),
            b'$' | b'=' => {
                self.state = contents(Kind::Bulk, false);
                return Ok(None);
            }
            b'!' => {
                let keep = self.note_error();
                self.state = contents(Kind::Error, keep);
                return Ok(None);
            }
            b'%' => (count.saturating_mul(2), Kind::Other),
            b'>' => (count, Kind::Push),
            b'|' => (count.saturating_mul(2), Kind::Other),
            _ => (count, Kind::Array(count)),
        };
        let is_attribute = marker == b'|';
        let opened = self.open_next && marker == b'*' && self.frames.is_empty();
        if elements == 0 || opened {
            self.state = State::Start;
            return Ok(if is_attribute { None } else { Some(kind) });
        }
        if self.frames.is_empty() && !is_attribute {
            self.top = Some(kind);
        }
        if !self.frames.push(elements, is_attribute) {
            return Err(Error::TooDeep { at, limit: MAX_DEPTH as u64 });
        }
        self.state = State::Start;
        Ok(None)
    }

    /// In a line of text. Ends at the first CRLF; a CR or LF alone is text, since not every server takes them out.
    fn line(&mut self, rest: &mut &[u8], kind: Kind, keep: bool, cr: bool) -> Option<Kind> {
        let Some(lf) = memchr::memchr(b'\n', rest) else {
            if keep {
                self.keep(rest);
            }
            self.state = State::Line { kind, keep, cr: rest.last() == Some(&b'\r') };
            *rest = &[];
            return None;
        };
        let text = rest.get(..lf).unwrap_or_default();
        let is_end = text.last().map_or(cr, |&b| b == b'\r');
        if keep {
            self.keep(text);
        }
        advance(rest, lf.saturating_add(1));
        if is_end {
            if keep && self.error_text.last() == Some(&b'\r') {
                self.error_text.pop();
            }
            return Some(kind);
        }
        if keep {
            self.keep(b"\n");
        }
        self.state = State::Line { kind, keep, cr: false };
        None
    }

    /// In the contents of a bulk string.
    fn contents(&mut self, rest: &mut &[u8], kind: Kind, keep: bool, left: u64) {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        if keep {
            self.keep(rest.get(..n).unwrap_or_default());
        }
        advance(rest, n);
        let left = left.saturating_sub(n as u64);
        self.state = if left == 0 { State::End { kind, cr: false } } else { State::Contents { kind, keep, left } };
    }

    /// At the CRLF behind the contents of a bulk string.
    fn end(&mut self, rest: &mut &[u8], at: u64, kind: Kind, cr: bool) -> Result<Option<Kind>, Error> {
        match (cr, rest.first()) {
            (false, Some(b'\r')) => {
                advance(rest, 1);
                self.state = State::End { kind, cr: true };
                Ok(None)
            }
            (false, _) => Err(Error::Unexpected { at, expected: "CR after the string" }),
            (true, Some(b'\n')) => {
                advance(rest, 1);
                Ok(Some(kind))
            }
            (true, _) => Err(Error::Unexpected { at, expected: "LF after the string" }),
        }
    }

    /// Notes that the element is an error, and tells whether it is the first of the reply, whose text is kept.
    fn note_error(&mut self) -> bool {
        self.nested_error |= !self.frames.is_empty();
        let is_first = !self.seen_error;
        if is_first {
            self.seen_error = true;
            self.error_text.clear();
        }
        is_first
    }

    /// Keeps one byte more than is shown, which may be the CR of the line's end and be taken off again.
    fn keep(&mut self, text: &[u8]) {
        let room = ERROR_TEXT_MAX.saturating_add(1).saturating_sub(self.error_text.len());
        self.error_text.extend_from_slice(text.get(..room).unwrap_or(text));
    }
}

/// The replies that make up nearly all of a lane's traffic, when they are complete at the front of `input`.
#[inline(always)]
fn short_reply(input: &[u8]) -> Option<(usize, Kind)> {
    match input {
        [b'+', b'O', b'K', b'\r', b'\n', ..] => Some((5, Kind::Status)),
        [b':', d, b'\r', b'\n', ..] if d.is_ascii_digit() => Some((4, Kind::Int(i64::from(d.wrapping_sub(b'0'))))),
        [b'+', b'Q', b'U', b'E', b'U', b'E', b'D', b'\r', b'\n', ..] => Some((9, Kind::Status)),
        [b'$', b'-', b'1', b'\r', b'\n', ..] => Some((5, Kind::Nil)),
        _ => None,
    }
}

#[inline]
fn advance(rest: &mut &[u8], n: usize) {
    *rest = rest.get(n..).unwrap_or_default();
}

/// How far `rest`, the tail of `input`, is behind its start.
#[inline]
fn position(input: &[u8], rest: &[u8]) -> usize {
    input.len().saturating_sub(rest.len())
}
