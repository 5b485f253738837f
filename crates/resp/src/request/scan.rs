//! Finding the end of a request, however its bytes are cut.

use super::view::{is_blank, next_word};
use super::{Request, fast};
use crate::{Error, Limits, header};

/// Longest inline request: PROTO_INLINE_MAX_SIZE (server.h, Redis 7.2).
const INLINE_MAX: u64 = 64 << 10;

/// Finds requests in a stream of bytes.
///
/// While a request is incomplete the scanner remembers how far it has looked, so that arbitrary cutting costs time linear in
/// the bytes. After an error it is not to be used again, since nobody knows where the next request starts.
#[derive(Debug, Clone)]
pub struct Scanner {
    limits: Limits,
    /// Whether everything that the fast path recognises is within `limits`.
    fast: bool,
    partial: Partial,
}

/// What is known about an incomplete request. All offsets count from its first byte.
#[derive(Debug, Clone, Default)]
struct Partial {
    /// Everything before it is scanned: in an array it is the start of an argument, or 0 for the array's own header.
    scanned: usize,
    /// Fewer bytes than this cannot bring the scan forward.
    needed: usize,
    argc: usize,
    /// Arguments not scanned.
    left: usize,
    /// Where the name starts, and its length.
    name: (usize, usize),
}

impl Scanner {
    /// A scanner at the start of a request.
    pub fn new(limits: Limits) -> Self {
        Self { limits, fast: fast::is_within(&limits), partial: Partial::default() }
    }

    /// Looks for a complete request at the front of `input`.
    ///
    /// `input` starts at the first byte that is not consumed. `None` asks for more: call again with the same bytes and more
    /// behind them. Otherwise the caller consumes `Request::bytes().len()` bytes before the next call.
    ///
    /// # Errors
    /// When the bytes are no request or are beyond the limits, at the same offset wherever they were cut.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<Option<Request<'a>>, Error> {
        if self.fast
            && self.partial.needed == 0
            && let Some(request) = fast::request(input)
        {
            return Ok(Some(request));
        }
        self.resume(input)
    }

    /// The least number of bytes of the incomplete request with which [`next`](Self::next) can get further, within
    /// `max_request`; 0 between requests. It tells how large a buffer must be, not how long the request is.
    pub fn needed(&self) -> usize {
        self.partial.needed
    }

    fn resume<'a>(&mut self, input: &'a [u8]) -> Result<Option<Request<'a>>, Error> {
        if input.len() < self.partial.needed {
            return Ok(None);
        }
        let found = match input {
            [] => Ok(None),
            [b'*', ..] => self.array(input),
            _ => self.inline(input),
        };
        if let Ok(Some(_)) = found {
            self.partial = Partial::default();
        }
        found
    }

    fn array<'a>(&mut self, input: &'a [u8]) -> Result<Option<Request<'a>>, Error> {
        let p = &mut self.partial;
        if p.scanned == 0 {
            let Some((argc, end)) = header_at(input, 0, -1)? else { return Ok(want(p, input)) };
            if argc <= 0 {
                return Ok(whole(input, end, b"", 0));
            }
            let limit = self.limits.max_args;
            let too_many = Error::TooLarge { at: 0, what: "arguments", limit };
            p.argc = usize::try_from(argc).ok().filter(|&n| n as u64 <= limit).ok_or(too_many)?;
            p.left = p.argc;
            p.scanned = end;
        }
        while p.left > 0 {
            let at = p.scanned;
            match input.get(at) {
                None => return Ok(want(p, input)),
                Some(b'$') => {}
                Some(_) => return Err(Error::Unexpected { at: at as u64, expected: "'$'" }),
            }
            let Some((len, start)) = header_at(input, at, 0)? else { return Ok(want(p, input)) };
            let limit = self.limits.max_bulk;
            let too_long = Error::TooLarge { at: at as u64, what: "bytes in an argument", limit };
            let len = usize::try_from(len).ok().filter(|&n| n as u64 <= limit).ok_or(too_long)?;

            let limit = self.limits.max_request;
            let too_long = Error::TooLarge { at: at as u64, what: "bytes in a request", limit };
            let end = start.checked_add(len).and_then(|n| n.checked_add(2));
            let end = end.filter(|&n| n as u64 <= limit).ok_or(too_long)?;
            if input.len() < end {
                p.needed = end;
                return Ok(None);
            }
            let crlf = end.saturating_sub(2);
            if input.get(crlf) != Some(&b'\r') {
                return Err(Error::Unexpected { at: crlf as u64, expected: "CR after the argument" });
            }
            if input.get(crlf.saturating_add(1)) != Some(&b'\n') {
                return Err(Error::Unexpected { at: crlf.saturating_add(1) as u64, expected: "LF after the argument" });
            }
            if p.left == p.argc {
                p.name = (start, len);
            }
            p.left = p.left.saturating_sub(1);
            p.scanned = end;
        }
        let (start, len) = p.name;
        let name = input.get(start..start.saturating_add(len)).unwrap_or_default();
        Ok(whole(input, p.scanned, name, p.argc))
    }

    /// A line: blank, or words of printable ASCII without quotes that start with a letter.
    ///
    /// A server takes more (networking.c processInlineBuffer, Redis 7.2), but no primary sends more than `PING`, and a
    /// stream that has lost its step shall not pass for commands.
    fn inline<'a>(&mut self, input: &'a [u8]) -> Result<Option<Request<'a>>, Error> {
        let p = &mut self.partial;
        while let Some(&b) = input.get(p.scanned) {
            let at = p.scanned as u64;
            let is_first = p.name.1 == 0;
            if at >= INLINE_MAX.min(self.limits.max_request) {
                let limit = INLINE_MAX.min(self.limits.max_request);
                return Err(Error::TooLarge { at: 0, what: "bytes in an inline request", limit });
            }
            let next = p.scanned.saturating_add(1);
            match b {
                b'\n' => {
                    let (name, _) = next_word(input);
                    return Ok(whole(input, next, name, count_words(input)));
                }
                b'\r' => match input.get(next) {
                    None => break,
                    Some(b'\n') => {}
                    Some(_) => return Err(Error::Unexpected { at: next as u64, expected: "LF" }),
                },
                b if is_blank(b) => {}
                b if is_first && !b.is_ascii_alphabetic() => {
                    return Err(Error::Unexpected { at, expected: "'*', LF or a command name" });
                }
                b'"' | b'\'' => return Err(Error::Unexpected { at, expected: "an inline request without quotes" }),
                0x21..=0x7e => p.name.1 = 1,
                _ => return Err(Error::Unexpected { at, expected: "a printable character" }),
            }
            p.scanned = next;
        }
        Ok(want(p, input))
    }
}

/// The number of the header at `at`, and where the header ends.
fn header_at(input: &[u8], at: usize, least: i64) -> Result<Option<(i64, usize)>, Error> {
    let from = at.saturating_add(1);
    let found = header::length(input.get(from..).unwrap_or_default(), least).map_err(|e| e.offset_by(from as u64))?;
    Ok(found.map(|(n, used)| (n, from.saturating_add(used))))
}

/// Asks for at least one byte more.
fn want<'a>(partial: &mut Partial, input: &[u8]) -> Option<Request<'a>> {
    partial.needed = input.len().saturating_add(1);
    None
}

fn whole<'a>(input: &'a [u8], end: usize, name: &'a [u8], argc: usize) -> Option<Request<'a>> {
    input.get(..end).map(|bytes| Request::new(bytes, name, argc))
}

fn count_words(line: &[u8]) -> usize {
    let mut n: usize = 0;
    let mut rest = line;
    loop {
        let (word, after) = next_word(rest);
        if word.is_empty() {
            return n;
        }
        n = n.saturating_add(1);
        rest = after;
    }
}
