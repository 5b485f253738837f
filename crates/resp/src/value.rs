//! Replies of a control connection, as values.
//!
//! For the few replies that are looked at: INFO, CONFIG GET, a checkpoint. RESP2 only, since such a connection never says
//! HELLO 3. A reply is decoded when all of it is there; an incomplete one is looked at anew each time, so this is not for
//! large replies that come in many small pieces.

use crate::{Error, Limits, header};

/// Levels of nesting allowed.
const MAX_DEPTH: usize = 32;

/// A RESP2 reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A simple string.
    Status(Vec<u8>),
    /// An error, the text after `-`.
    Error(Vec<u8>),
    /// An integer.
    Int(i64),
    /// No value: a nil bulk string or a nil array.
    Nil,
    /// A bulk string.
    Bulk(Vec<u8>),
    /// An array.
    Array(Vec<Value>),
}

impl Value {
    /// The bytes of a status or bulk string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Status(b) | Self::Bulk(b) => Some(b),
            Self::Error(_) | Self::Int(_) | Self::Nil | Self::Array(_) => None,
        }
    }
}

/// Decodes the reply at the front of `input`: its length on the wire and its value, or `None` when it is incomplete.
///
/// Memory grows with the bytes that are there, never with a length that was only announced.
///
/// # Errors
/// When the bytes are no RESP2 reply, are beyond `limits`, or nest deeper than 32 levels.
pub fn decode(input: &[u8], limits: Limits) -> Result<Option<(usize, Value)>, Error> {
    let mut reader = Reader { input, at: 0, limits };
    let value = reader.value(0)?;
    Ok(value.map(|value| (reader.at, value)))
}

struct Reader<'a> {
    input: &'a [u8],
    /// Offset of the next byte.
    at: usize,
    limits: Limits,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Option<Value>, Error> {
        let start = self.at as u64;
        let Some(&marker) = self.rest().first() else { return self.incomplete() };
        self.advance(1);
        match marker {
            b'+' => Ok(self.line()?.map(|text| Value::Status(text.to_vec()))),
            b'-' => Ok(self.line()?.map(|text| Value::Error(text.to_vec()))),
            b':' => Ok(self.number(i64::MIN)?.map(Value::Int)),
            b'$' => {
                let Some(len) = self.number(-1)? else { return Ok(None) };
                let Ok(len) = u64::try_from(len) else { return Ok(Some(Value::Nil)) };
                if len > self.limits.max_bulk {
                    let limit = self.limits.max_bulk;
                    return Err(Error::TooLarge { at: start, what: "bytes in a bulk string", limit });
                }
                Ok(self.contents(len, start)?.map(|b| Value::Bulk(b.to_vec())))
            }
            b'*' => {
                let Some(len) = self.number(-1)? else { return Ok(None) };
                let Ok(len) = u64::try_from(len) else { return Ok(Some(Value::Nil)) };
                if len > self.limits.max_args {
                    let limit = self.limits.max_args;
                    return Err(Error::TooLarge { at: start, what: "elements in an array", limit });
                }
                if len > 0 && depth >= MAX_DEPTH {
                    return Err(Error::TooDeep { at: start, limit: MAX_DEPTH as u64 });
                }
                let mut elements = Vec::new();
                for _ in 0..len {
                    let Some(element) = self.value(depth.saturating_add(1))? else { return Ok(None) };
                    elements.push(element);
                }
                Ok(Some(Value::Array(elements)))
            }
            _ => Err(Error::Unexpected { at: start, expected: "a RESP2 reply" }),
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, n: usize) {
        self.at = self.at.saturating_add(n);
    }

    /// Asks for more bytes, unless the reply is already as long as it may be.
    fn incomplete<T>(&self) -> Result<Option<T>, Error> {
        self.within(self.input.len() as u64).map(|()| None)
    }

    fn within(&self, end: u64) -> Result<(), Error> {
        let limit = self.limits.max_request;
        if end > limit { Err(Error::TooLarge { at: 0, what: "bytes in a reply", limit }) } else { Ok(()) }
    }

    /// A line of text up to the first CRLF.
    fn line(&mut self) -> Result<Option<&'a [u8]>, Error> {
        let rest = self.rest();
        let Some(end) = memchr::memmem::find(rest, b"\r\n") else { return self.incomplete() };
        self.advance(end.saturating_add(2));
        self.within(self.at as u64)?;
        Ok(rest.get(..end))
    }

    fn number(&mut self, least: i64) -> Result<Option<i64>, Error> {
        let found = header::length(self.rest(), least).map_err(|e| e.offset_by(self.at as u64))?;
        let Some((n, used)) = found else { return self.incomplete() };
        self.advance(used);
        self.within(self.at as u64)?;
        Ok(Some(n))
    }

    fn contents(&mut self, len: u64, header: u64) -> Result<Option<&'a [u8]>, Error> {
        let end = (self.at as u64).saturating_add(len).saturating_add(2);
        let limit = self.limits.max_request;
        if end > limit {
            return Err(Error::TooLarge { at: header, what: "bytes in a reply", limit });
        }
        let Some((contents, after)) = usize::try_from(len).ok().and_then(|len| self.rest().split_at_checked(len))
        else {
            return Ok(None);
        };
        self.advance(contents.len());
        let wrong =
            |offset: usize, expected| Err(Error::Unexpected { at: self.at.saturating_add(offset) as u64, expected });
        match after {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => {}
            [b'\r', ..] => return wrong(1, "LF after the string"),
            [..] => return wrong(0, "CR after the string"),
        }
        self.advance(2);
        Ok(Some(contents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8]) -> Value {
        let (used, value) = decode(input, Limits::default()).unwrap().unwrap();
        assert_eq!(used, input.len());
        value
    }

    #[test]
    fn values() {
        assert_eq!(whole(b"+PONG\r\n"), Value::Status(b"PONG".to_vec()));
        assert_eq!(whole(b"-ERR no\r\n"), Value::Error(b"ERR no".to_vec()));
        assert_eq!(whole(b":-5\r\n"), Value::Int(-5));
        assert_eq!(whole(b"$-1\r\n"), Value::Nil);
        assert_eq!(whole(b"*-1\r\n"), Value::Nil);
        assert_eq!(whole(b"$4\r\na\r\nb\r\n").as_bytes(), Some(&b"a\r\nb"[..]));
        let nested = whole(b"*2\r\n*1\r\n:1\r\n+a\r\n");
        assert_eq!(nested, Value::Array(vec![Value::Array(vec![Value::Int(1)]), Value::Status(b"a".to_vec())]));
        assert_eq!(decode(b"+A\r\n+B\r\n", Limits::default()), Ok(Some((4, Value::Status(b"A".to_vec())))));
    }

    #[test]
    fn wrong_bytes_say_where() {
        let at = |input: &[u8]| decode(input, Limits::default()).unwrap_err().at();
        assert_eq!(at(b"x"), 0);
        assert_eq!(at(b"_\r\n"), 0);
        assert_eq!(at(b"*2\r\n:1\r\nx"), 8);
        assert_eq!(at(b"*1\r\n:z\r\n"), 5);
        assert_eq!(at(b"$1\r\nabc"), 5);
        assert_eq!(at(b"$1\r\na\rc"), 6);
        assert_eq!(at(&b"*1\r\n".repeat(40)), 32 * 4);
    }

    #[test]
    fn limits_hold_before_the_bytes_come() {
        let limits = Limits { max_args: 2, max_bulk: 10, max_request: 20 };
        let error = |input: &[u8]| match decode(input, limits).unwrap_err() {
            Error::TooLarge { at, limit, .. } => (at, limit),
            e => panic!("{e}"),
        };
        assert_eq!(error(b"$11\r\n"), (0, 10));
        assert_eq!(error(b"*1\r\n*3\r\n"), (4, 2));
        assert_eq!(error(b"*2\r\n$10\r\n"), (4, 20));
        assert_eq!(error(&[b'+'; 21]), (0, 20));
        assert_eq!(error(&[&b"+"[..], &[b'x'; 18], b"\r\n"].concat()), (0, 20));
        assert!(decode(&[b'+'; 20], limits).unwrap().is_none());
        assert!(decode(&[&b"+"[..], &[b'x'; 17], b"\r\n"].concat(), limits).unwrap().is_some());
    }

    #[test]
    fn an_announced_length_is_not_allocated() {
        let limits = Limits { max_args: u64::MAX, max_bulk: u64::MAX, max_request: u64::MAX };
        assert_eq!(decode(b"*9223372036854775807\r\n$9223372036854775807\r\nabc", limits), Ok(None));
    }
}
