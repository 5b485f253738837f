//! The PSYNC handshake: from a connection to the first byte of the snapshot, or of the stream.
//!
//! Each step consumes what the one before it has returned, so a wrong order cannot be written:
//! [`psync`] -> `announce` -> `ask` -> `Framing::read`. Replication is not RESP here: bare newlines may stand before
//! any line, and the length line of the snapshot is no bulk string.

use std::time::Duration;

use keyferry_keyspace::{ReplId, ReplOffset};
use keyferry_model::{Error, ErrorKind, Result, Side};
use keyferry_net::{Connection, Endpoint, Stream, Value};

/// A source sends a newline every second or so while it prepares a snapshot, and a PING every
/// `repl-ping-replica-period` (10 s) on the stream. 60 s is its own limit for a silent replica (`repl-timeout`).
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// A replication link after its handshake.
pub(crate) struct Link {
    pub(crate) stream: Stream,
    /// Bytes that came behind the handshake's last line.
    pub(crate) first: Vec<u8>,
    pub(crate) start: Start,
}

/// What the source has agreed to.
pub(crate) enum Start {
    /// A snapshot comes first; the stream behind it begins after `offset`.
    Full { replid: ReplId, offset: ReplOffset, framing: Framing },
    /// The stream goes on right after the offset that was asked for; the source may have taken on a new id.
    Continue { replid: Option<ReplId> },
}

/// How the end of the snapshot is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// It has this many bytes.
    Length(u64),
    /// These 40 bytes follow it.
    Mark([u8; 40]),
}

/// Opens a link. `position` is what has been received so far; `None` asks for a full copy.
///
/// Errors: those of [`Connection::open`], `NoMasterLink`, `Loading`, `PsyncRefused`, `Permission`.
pub(crate) async fn psync(endpoint: &Endpoint, position: Option<(ReplId, ReplOffset)>) -> Result<Link> {
    let mut conn = Connection::open(endpoint).await?;
    announce(&mut conn).await?;
    let start = ask(&mut conn, position).await?;
    let (stream, first) = conn.into_parts();
    Ok(Link { stream, first, start })
}

/// Asks for a snapshot that is not wanted: a server begins its backlog with its first replica. It may be dropped as soon as
/// there is one.
///
/// Errors: those of [`Connection::open`].
pub(crate) async fn ask_for_backlog(endpoint: &Endpoint) -> Result<Connection> {
    let mut conn = Connection::open(endpoint).await?;
    announce(&mut conn).await?;
    conn.send(&[b"PSYNC", b"?", b"-1"]).await?;
    Ok(conn)
}

/// Says what this replica can do. None of it is needed by the source: errors of old servers are not fatal.
async fn announce(conn: &mut Connection) -> Result<()> {
    // Port 0 says that nobody can connect to this replica, so that no sentinel takes it for a candidate.
    let port: [&[u8]; 3] = [b"REPLCONF", b"listening-port", b"0"];
    let capa: [&[u8]; 5] = [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"];
    // Valkey 9.1 sends what its own version has only to those who say that they read it, and closes the link to others
    // when it must. The number is that of the first server that writes the newest format the reader knows.
    let version: [&[u8]; 3] = [b"REPLCONF", b"version", b"9.0.0"];
    for args in [port.as_slice(), capa.as_slice(), version.as_slice()] {
        if let Value::Error(text) = conn.ask(args).await? {
            if matches!(conn.kind_of(&text), ErrorKind::Auth(_) | ErrorKind::Permission(_)) {
                return Err(conn.refused(conn.kind_of(&text), "REPLCONF", &text));
            }
            tracing::debug!(option = %String::from_utf8_lossy(args[1]), "the source does not know a REPLCONF option");
        }
    }
    Ok(())
}

async fn ask(conn: &mut Connection, position: Option<(ReplId, ReplOffset)>) -> Result<Start> {
    let (id, next) = match position {
        // replication.c slaveTryPartialResynchronization, Redis 7.2: the offset asked for is the first missing byte.
        Some((id, received)) => (id.to_string(), (received.0 + 1).to_string()),
        None => ("?".into(), "-1".into()),
    };
    conn.send(&[b"PSYNC", id.as_bytes(), next.as_bytes()]).await?;
    let line = line(conn).await?;
    let words: Vec<&[u8]> = line.split(|&b| b == b' ').filter(|w| !w.is_empty()).collect();
    match words.as_slice() {
        [b"+FULLRESYNC", id, offset] => {
            let (Some(replid), Some(offset)) = (replid(id), number(offset)) else {
                return Err(odd(conn, &line));
            };
            tracing::info!(%replid, offset, "the source prepares a snapshot");
            let framing = Framing::read(conn).await?;
            Ok(Start::Full { replid, offset: ReplOffset(offset), framing })
        }
        [b"+CONTINUE"] => Ok(Start::Continue { replid: None }),
        [b"+CONTINUE", id] => match replid(id) {
            Some(replid) => Ok(Start::Continue { replid: Some(replid) }),
            None => Err(odd(conn, &line)),
        },
        [first, ..] if first.starts_with(b"-") => Err(refusal(conn, &line[1..])),
        _ => Err(odd(conn, &line)),
    }
}

impl Framing {
    /// Reads `$<length>` or `$EOF:<40 bytes>`.
    async fn read(conn: &mut Connection) -> Result<Self> {
        let line = line(conn).await?;
        let framing = match line.strip_prefix(b"$EOF:") {
            Some(mark) => mark.try_into().ok().map(Self::Mark),
            None => line.strip_prefix(b"$").and_then(number).map(Self::Length),
        };
        match line.strip_prefix(b"-") {
            Some(text) => Err(refusal(conn, text)),
            None => framing.ok_or_else(|| odd(conn, &line)),
        }
    }
}

/// The next line that is not a keepalive.
async fn line(conn: &mut Connection) -> Result<Vec<u8>> {
    loop {
        let line = conn.line(SILENCE).await?;
        if !line.is_empty() {
            return Ok(line);
        }
    }
}

fn refusal(conn: &Connection, text: &[u8]) -> Error {
    let kind = match conn.kind_of(text) {
        ErrorKind::Protocol(_) => ErrorKind::PsyncRefused,
        kind => kind,
    };
    conn.refused(kind, "PSYNC", text)
}

fn odd(conn: &Connection, line: &[u8]) -> Error {
    conn.refused(ErrorKind::Protocol(Side::Source), "PSYNC", line)
}

fn replid(text: &[u8]) -> Option<ReplId> {
    ReplId::parse(text).ok()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
