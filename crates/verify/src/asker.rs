//! A connection that sends many questions at once and keeps the answers.
//!
//! Invariants:
//! - What is kept of the answers to one [`Batch`] is bounded, whatever the server sends: an answer that would pass the
//!   bound is read to its end and dropped ([`Answer::Skipped`]).
//! - Writing never waits for reading or the other way round, so that long questions with long answers cannot block.

use std::time::Duration;

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _, Side};
use keyferry_net::{Connection, Endpoint, ReadHalf, WriteHalf, safe_text};
use keyferry_resp::{
    encode,
    reply::{Kind, Scanner},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

/// Bytes kept of the answers to one batch. Four workers ask two sides each.
const KEPT: usize = 4 << 20;
/// Bytes read at once.
const READ: usize = 64 << 10;
/// A command on a value of millions of elements takes seconds; a server that is silent for so long has hung.
const SILENCE: Duration = Duration::from_secs(60);

/// Questions to be sent at once.
#[derive(Default)]
pub(crate) struct Batch {
    out: Vec<u8>,
    /// For each answer, whether its elements count as answers of their own, and how many.
    expected: Vec<Option<usize>>,
    /// An answer is kept however long it is. For one element that cannot be had in pieces.
    pub(crate) whole: bool,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.out.clear();
        self.expected.clear();
        self.whole = false;
    }

    /// A command with one answer.
    pub(crate) fn push(&mut self, args: &[&[u8]]) {
        encode::command(&mut self.out, args);
        self.expected.push(None);
    }

    /// A command on one key with one answer: what stands in front of the key, the key, and what stands behind it.
    pub(crate) fn push_on(&mut self, command: &[&[u8]], key: &[u8], args: &[&[u8]]) {
        encode::array(&mut self.out, command.len() + 1 + args.len());
        command.iter().chain([&key]).chain(args).for_each(|part| encode::bulk(&mut self.out, part));
        self.expected.push(None);
    }

    /// Commands that are encoded already, with one answer each.
    pub(crate) fn push_encoded(&mut self, commands: &[u8], count: usize) {
        self.out.extend_from_slice(commands);
        self.expected.extend(std::iter::repeat_n(None, count));
    }

    /// A command that answers an array of one element per key, which are answers of their own.
    pub(crate) fn push_per_key<'k>(&mut self, name: &[u8], keys: impl ExactSizeIterator<Item = &'k [u8]>) {
        self.expected.push(Some(keys.len()));
        self.variadic(name, keys);
    }

    /// A command on many keys with one answer.
    pub(crate) fn push_over<'k>(&mut self, name: &[u8], keys: impl ExactSizeIterator<Item = &'k [u8]>) {
        self.expected.push(None);
        self.variadic(name, keys);
    }

    fn variadic<'k>(&mut self, name: &[u8], keys: impl ExactSizeIterator<Item = &'k [u8]>) {
        encode::array(&mut self.out, keys.len() + 1);
        encode::bulk(&mut self.out, name);
        keys.for_each(|key| encode::bulk(&mut self.out, key));
    }
}

/// The answers to a batch, in its order.
#[derive(Default)]
pub(crate) struct Answers {
    buf: Vec<u8>,
    items: Vec<(Kind, usize, usize)>,
    next: usize,
}

/// The end of an item that was not kept; its start is its length then.
const SKIPPED: usize = usize::MAX;

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    Nil,
    Int(i64),
    /// The contents of a bulk string or the text of a status.
    Bytes(&'a [u8]),
    /// An array as it came.
    Array(&'a [u8]),
    /// The text of an error.
    Error(&'a [u8]),
    /// It was too long, by about so many bytes in all.
    Skipped(usize),
}

impl Answers {
    /// The next answer. There are as many as were asked for.
    pub(crate) fn next(&mut self) -> Answer<'_> {
        let at = self.next;
        self.next += 1;
        self.at(at)
    }

    /// Passes over so many answers.
    pub(crate) fn skip(&mut self, count: usize) {
        self.next += count;
    }

    pub(crate) fn at(&self, i: usize) -> Answer<'_> {
        let Some(&(kind, start, end)) = self.items.get(i) else { return Answer::Error(b"no answer") };
        if end == SKIPPED {
            return Answer::Skipped(start);
        }
        let raw = self.buf.get(start..end).unwrap_or_default();
        match kind {
            Kind::Nil => Answer::Nil,
            Kind::Int(n) => Answer::Int(n),
            Kind::Bulk => {
                let body = memchr::memchr(b'\n', raw).map_or(0, |at| at + 1);
                Answer::Bytes(raw.get(body..raw.len().saturating_sub(2)).unwrap_or_default())
            }
            Kind::Status => Answer::Bytes(raw.get(1..raw.len().saturating_sub(2)).unwrap_or_default()),
            Kind::Error => Answer::Error(raw.get(1..raw.len().saturating_sub(2)).unwrap_or_default()),
            Kind::Array(_) | Kind::Push | Kind::Other => Answer::Array(raw),
        }
    }
}

/// An authenticated connection with one selected database.
pub(crate) struct Asker {
    read: ReadHalf,
    write: WriteHalf,
    endpoint: Endpoint,
    db: u32,
}

impl Asker {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self> {
        let (stream, rest) = Connection::open(endpoint).await?.into_parts();
        if !rest.is_empty() {
            return Err(broken(endpoint, "it speaks without being asked"));
        }
        let (read, write) = stream.into_split();
        Ok(Self { read, write, endpoint: endpoint.clone(), db: 0 })
    }

    pub(crate) fn side(&self) -> Side {
        self.endpoint.side
    }

    /// Selects a database, where another one is selected.
    pub(crate) async fn select(&mut self, db: u32, answers: &mut Answers) -> Result<()> {
        if self.db == db {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.push(&[b"SELECT", db.to_string().as_bytes()]);
        self.ask(&batch, answers).await?;
        if let Answer::Error(text) = answers.next() {
            return Err(match text.starts_with(b"ERR DB index") || text.starts_with(b"ERR invalid DB") {
                true => {
                    let what = format!("select database {db} of the {} {}: it has fewer", self.side(), self.endpoint);
                    let kind =
                        if self.side() == Side::Source { ErrorKind::BadObjects } else { ErrorKind::NoSuchDatabase };
                    Error::new(kind, what)
                }
                false => self.refused("SELECT", text),
            });
        }
        self.db = db;
        Ok(())
    }

    /// Sends the batch and reads all answers to it. Errors in answers are answers.
    pub(crate) async fn ask(&mut self, batch: &Batch, answers: &mut Answers) -> Result<()> {
        let Self { read, write, endpoint, .. } = self;
        let side = endpoint.side;
        let sent = async {
            let sent = async {
                write.write_all(&batch.out).await?;
                write.flush().await
            };
            sent.await.or_err(ErrorKind::Lost(side), || format!("write to the {side} {endpoint}"))
        };
        answers.buf.clear();
        // What one large element has taken is given back.
        answers.buf.shrink_to(2 * KEPT);
        answers.items.clear();
        answers.next = 0;
        let kept = if batch.whole { usize::MAX } else { KEPT };
        tokio::try_join!(sent, receive(read, endpoint, &batch.expected, answers, kept)).map(|_| ())
    }

    /// The error that an error answer to `command` stands for.
    pub(crate) fn refused(&self, command: &str, text: &[u8]) -> Error {
        let side = self.side();
        let kind = match text.split(|&b| b == b' ').next().unwrap_or_default() {
            b"NOAUTH" | b"WRONGPASS" => ErrorKind::Auth(side),
            b"NOPERM" => ErrorKind::Permission(side),
            b"LOADING" => ErrorKind::Loading(side),
            b"BUSY" => ErrorKind::Timeout(side),
            b"MASTERDOWN" => ErrorKind::Lost(side),
            b"OOM" => ErrorKind::TargetFull,
            b"READONLY" => ErrorKind::TargetReplica,
            b"MISCONF" | b"NOREPLICAS" => ErrorKind::TargetMisconf,
            b"MOVED" | b"ASK" | b"CROSSSLOT" | b"CLUSTERDOWN" => ErrorKind::Cluster(side),
            _ => ErrorKind::Protocol(side),
        };
        // What a task needs, which the remedy says, is something else.
        let needs = match kind {
            ErrorKind::Permission(_) => {
                "; to compare takes +@read +info +select +time +ping on all keys that are compared"
            }
            _ => "",
        };
        Error::new(kind, format!("the {side} {} answers {command} with `{}`{needs}", self.endpoint, safe_text(text)))
    }

    /// The error for an answer of another form than the command has.
    pub(crate) fn unexpected(&self, command: &str) -> Error {
        broken(&self.endpoint, &format!("{command} has an unexpected reply"))
    }
}

async fn receive(
    read: &mut ReadHalf,
    endpoint: &Endpoint,
    expected: &[Option<usize>],
    answers: &mut Answers,
    kept: usize,
) -> Result<()> {
    let side = endpoint.side;
    let mut scanner = Scanner::new();
    // The current answer begins at `start`; the scanner has seen all before `seen`; so much of it is dropped already.
    let (mut start, mut seen, mut dropped) = (0, 0, 0);
    for &elements in expected {
        let mut due = 1;
        if elements.is_some() {
            scanner.open_next();
        }
        let mut is_header = elements.is_some();
        while due > 0 {
            if seen == answers.buf.len() {
                if answers.buf.len() > kept {
                    dropped += seen - start;
                    answers.buf.truncate(start);
                    seen = start;
                }
                answers.buf.reserve(READ);
                let n = timeout(SILENCE, read.read_buf(&mut answers.buf))
                    .await
                    .map_err(|_| {
                        let what = format!("wait for the {side} {endpoint}: no answer in {} s", SILENCE.as_secs());
                        Error::new(ErrorKind::Timeout(side), what)
                    })?
                    .or_err(ErrorKind::Lost(side), || format!("read from the {side} {endpoint}"))?;
                if n == 0 {
                    let what = format!("read from the {side} {endpoint}: it closed the connection");
                    return Err(Error::new(ErrorKind::Lost(side), what));
                }
            }
            let bytes = answers.buf.get(seen..).unwrap_or_default();
            let kind = match whole_bulk(bytes) {
                Some(len) if scanner.is_between() => {
                    seen += len;
                    Kind::Bulk
                }
                _ => {
                    let (used, summary) =
                        scanner.feed(bytes).map_err(|e| broken(endpoint, "its reply is not RESP").caused_by(e))?;
                    seen += used;
                    let Some(summary) = summary else { continue };
                    summary.kind
                }
            };
            due -= 1;
            match (is_header, kind, elements) {
                (true, Kind::Array(n), Some(elements)) => {
                    if n != elements as u64 {
                        return Err(broken(endpoint, "an array has an unexpected length"));
                    }
                    due = elements;
                }
                // Whoever asked for the elements finds the error instead of the first, and no others.
                _ if dropped > 0 => {
                    let len = dropped + (seen - start);
                    answers.buf.drain(start..seen);
                    seen = start;
                    dropped = 0;
                    answers.items.push((kind, len, SKIPPED));
                }
                _ => answers.items.push((kind, start, seen)),
            }
            is_header = false;
            start = seen;
        }
    }
    match seen == answers.buf.len() {
        true => Ok(()),
        false => Err(broken(endpoint, "it sends more replies than it was asked for")),
    }
}

/// The length of the bulk string in front, header and end included, where it is there as a whole: nearly all answers are such
/// ones. Anything else is left to the scanner.
fn whole_bulk(bytes: &[u8]) -> Option<usize> {
    let mut len = 0_usize;
    // More digits than these are more than is kept.
    for (at, byte) in bytes.iter().enumerate().take(9) {
        match byte {
            b'$' if at == 0 => {}
            b'0'..=b'9' if at > 0 => len = len * 10 + usize::from(byte - b'0'),
            b'\r' if at > 1 => {
                let body = at + 2;
                let ends = bytes.get(at + 1) == Some(&b'\n') && bytes.get(body + len..body + len + 2) == Some(b"\r\n");
                return ends.then_some(body + len + 2);
            }
            _ => return None,
        }
    }
    None
}

fn broken(endpoint: &Endpoint, what: &str) -> Error {
    Error::new(ErrorKind::Protocol(endpoint.side), format!("talk to the {} {endpoint}: {what}", endpoint.side))
}

#[cfg(test)]
mod tests {
    use super::whole_bulk;

    #[test]
    fn whole_bulk_strings_in_front() {
        for (bytes, len) in [
            (&b"$3\r\nabc\r\n$1\r\nx\r\n"[..], Some(9)),
            (b"$0\r\n\r\n", Some(6)),
            (b"$12\r\n\r\n0123456789\r\n", Some(19)),
            (b"$3\r\nabc\r", None),
            (b"$3\r\nabcd\r\n", None),
            (b"$3", None),
            (b"$-1\r\n", None),
            (b"$\r\n\r\n", None),
            (b"$3\rxabc\r\n", None),
            (b":1\r\n", None),
            (b"3\r\nabc\r\n", None),
            (b"", None),
        ] {
            assert_eq!(whole_bulk(bytes), len, "{bytes:?}");
        }
    }
}
