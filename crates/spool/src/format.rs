//! The bytes of a segment: its header and its records. The byte tables are in `docs/design/spool.md`.

use std::{fmt, io};

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use keyferry_keyspace::{Flavor, ReplId, ReplOffset, ServerVersion};

use crate::head::{Framing, Head, Note};

const MAGIC: [u8; 8] = *b"KFSPOOL\n";
const VERSION: u32 = 2;
pub(crate) const SEGMENT_HEADER: usize = 216;
pub(crate) const RECORD_HEADER: usize = 40;
/// Largest payload. It bounds what a reader holds before it knows the checksum.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;

/// What is wrong with a segment.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The system says so.
    Io(io::Error),
    /// The bytes at `at` are not what was written.
    Broken { at: u64, what: &'static str },
    /// The header was never written: the file is shorter, or only zeros.
    Torn,
    /// Another format.
    Version(u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => e.fmt(f),
            Self::Broken { at, what } => write!(f, "byte {at}: {what}"),
            Self::Torn => f.write_str("byte 0: the header is missing"),
            Self::Version(v) => write!(f, "byte 8: format version {v}, and only {VERSION} is known"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

fn broken(at: usize, what: &'static str) -> Fault {
    Fault::Broken { at: at as u64, what }
}

/// Fixed-size fields of a header. The lengths are those of the tables, so nothing is out of range.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

/// The header of a segment: what holds in front of its first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Drawn when the log was created; the same in all its segments.
    pub(crate) log: u64,
    /// Position of its first byte.
    pub(crate) base: u64,
    /// Number of its first record.
    pub(crate) seq: u64,
    /// Everything in front of this position had reached the disk when the segment was created.
    pub(crate) durable: u64,
    pub(crate) head: Head,
    /// The id at `base`.
    pub(crate) replid: ReplId,
    pub(crate) stream_from: Option<u64>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let (framing, value) = match self.head.framing {
            Framing::Stream => (0, [0; 40]),
            Framing::Length(n) => {
                let mut value = [0; 40];
                value[..8].copy_from_slice(&n.to_le_bytes());
                (1_u64, value)
            }
            Framing::Mark(mark) => (2, mark),
        };
        let mut out = [0; SEGMENT_HEADER];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&VERSION.to_le_bytes());
        put(&(SEGMENT_HEADER as u32).to_le_bytes());
        for n in [self.log, self.base, self.seq, self.durable, self.head.offset.0, framing] {
            put(&n.to_le_bytes());
        }
        put(&value);
        put(self.head.replid.as_bytes());
        put(self.replid.as_bytes());
        put(&self.stream_from.unwrap_or(u64::MAX).to_le_bytes());
        put(&version_bytes(&self.head.source));
        let crc = checksum(0, &[&out[..SEGMENT_HEADER - 8]]);
        out[SEGMENT_HEADER - 8..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads what a file begins with.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() < SEGMENT_HEADER || bytes[..SEGMENT_HEADER].iter().all(|b| *b == 0) {
            return Err(Fault::Torn);
        }
        if bytes[..8] != MAGIC {
            return Err(broken(0, "not a segment of a spool"));
        }
        let version = u32::from_le_bytes(field(bytes, 8));
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        if number(bytes, SEGMENT_HEADER - 8) != checksum(0, &[&bytes[..SEGMENT_HEADER - 8]]) {
            return Err(broken(0, "the checksum of the header does not match"));
        }
        if u32::from_le_bytes(field(bytes, 12)) as usize != SEGMENT_HEADER {
            return Err(broken(12, "another length of the header"));
        }
        let framing = match number(bytes, 56) {
            0 => Framing::Stream,
            1 => Framing::Length(number(bytes, 64)),
            2 => Framing::Mark(field(bytes, 64)),
            _ => return Err(broken(56, "unknown framing of the snapshot")),
        };
        let source = version_of(field(bytes, 192)).ok_or_else(|| broken(192, "unknown kind of server"))?;
        let replid = |at: usize| ReplId::parse(&bytes[at..at + 40]).map_err(|_| broken(at, "not a replication id"));
        Ok(Self {
            log: number(bytes, 16),
            base: number(bytes, 24),
            seq: number(bytes, 32),
            durable: number(bytes, 40),
            head: Head { replid: replid(104)?, offset: ReplOffset(number(bytes, 48)), framing, source },
            replid: replid(144)?,
            stream_from: Some(number(bytes, 184)).filter(|n| *n != u64::MAX),
        })
    }
}

/// In the order of their numbers in the file.
const FLAVORS: [Flavor; 4] = [Flavor::Redis, Flavor::Valkey, Flavor::Redict, Flavor::Other];

/// Flavor, own version, that of the Redis it is compatible with, and a zero: 2 bytes each.
fn version_bytes(version: &ServerVersion) -> [u8; 16] {
    let flavor = FLAVORS.iter().position(|flavor| *flavor == version.flavor).unwrap_or_default();
    let (own, redis) = (version.own, version.redis);
    let mut out = [0; 16];
    let numbers = [flavor as u32, own.0, own.1, own.2, redis.0, redis.1, redis.2];
    for (to, n) in out.chunks_exact_mut(2).zip(numbers) {
        to.copy_from_slice(&u16::try_from(n).unwrap_or(u16::MAX).to_le_bytes());
    }
    out
}

fn version_of(bytes: [u8; 16]) -> Option<ServerVersion> {
    let n = |i: usize| u32::from(u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]));
    let flavor = *FLAVORS.get(n(0) as usize)?;
    Some(ServerVersion { flavor, own: (n(1), n(2), n(3)), redis: (n(4), n(5), n(6)) })
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bytes = 1,
    Replid = 2,
    StreamFrom = 3,
    /// The last record of a segment that has been finished. It takes no number.
    Seal = 4,
}

/// One entry of the log, in memory and in a file.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    /// Counts the records of a log from 0.
    pub(crate) seq: u64,
    /// Of its first byte; for others than bytes, of the next one.
    pub(crate) position: u64,
    pub(crate) received_ms: u64,
    pub(crate) payload: Bytes,
}

impl Record {
    pub(crate) fn note(seq: u64, position: u64, note: Note) -> Self {
        let (kind, payload) = match note {
            Note::Replid(id) => (Kind::Replid, Bytes::copy_from_slice(id.as_bytes())),
            Note::StreamFrom(from) => (Kind::StreamFrom, Bytes::copy_from_slice(&from.to_le_bytes())),
        };
        Self { kind, seq, position, received_ms: 0, payload }
    }

    pub(crate) fn seal(seq: u64, position: u64) -> Self {
        Self { kind: Kind::Seal, seq, position, received_ms: 0, payload: Bytes::new() }
    }

    /// The note that it is; `None` for bytes and seals.
    pub(crate) fn as_note(&self) -> Option<Note> {
        match self.kind {
            Kind::Replid => ReplId::parse(&self.payload).ok().map(Note::Replid),
            Kind::StreamFrom => {
                Some(Note::StreamFrom(u64::from_le_bytes(self.payload.as_ref().try_into().unwrap_or_default())))
            }
            Kind::Bytes | Kind::Seal => None,
        }
    }

    /// The position behind it.
    pub(crate) fn end(&self) -> u64 {
        match self.kind {
            Kind::Bytes => self.position + self.payload.len() as u64,
            Kind::Replid | Kind::StreamFrom | Kind::Seal => self.position,
        }
    }

    /// Whether it lies in front of `position` as a whole.
    pub(crate) fn is_before(&self, position: u64) -> bool {
        match self.kind {
            Kind::Bytes => self.end() <= position,
            Kind::Replid | Kind::StreamFrom | Kind::Seal => self.position < position,
        }
    }

    /// What it takes in a file, and about what it takes in memory.
    pub(crate) fn cost(&self) -> usize {
        RECORD_HEADER + self.payload.len()
    }

    pub(crate) fn header(&self, log: u64) -> [u8; RECORD_HEADER] {
        let mut out = [0; RECORD_HEADER];
        out[..4].copy_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out[4] = self.kind as u8;
        out[8..16].copy_from_slice(&self.seq.to_le_bytes());
        out[16..24].copy_from_slice(&self.position.to_le_bytes());
        out[24..32].copy_from_slice(&self.received_ms.to_le_bytes());
        let crc = checksum(log, &[&out[..32], &self.payload]);
        out[32..].copy_from_slice(&crc.to_le_bytes());
        out
    }
}

/// The header of a record, before its payload is at hand.
pub(crate) struct RecordHeader {
    kind: Kind,
    pub(crate) len: usize,
    pub(crate) seq: u64,
    pub(crate) position: u64,
    received_ms: u64,
}

impl RecordHeader {
    /// Reads a header that is `at` in its file.
    pub(crate) fn decode(bytes: &[u8; RECORD_HEADER], at: u64) -> Result<Self, Fault> {
        let broken = |what| Fault::Broken { at, what };
        let len = u32::from_le_bytes(field(bytes, 0)) as usize;
        if len > MAX_PAYLOAD || bytes[5..8] != [0; 3] {
            return Err(broken("not the header of a record"));
        }
        let kind = match (bytes[4], len) {
            (1, 1..) => Kind::Bytes,
            (2, 40) => Kind::Replid,
            (3, 8) => Kind::StreamFrom,
            (4, 0) => Kind::Seal,
            _ => return Err(broken("a record of an unknown kind")),
        };
        let (seq, position, received_ms) = (number(bytes, 8), number(bytes, 16), number(bytes, 24));
        Ok(Self { kind, len, seq, position, received_ms })
    }

    /// The record, when header and payload match the checksum.
    pub(crate) fn with(self, log: u64, bytes: &[u8], payload: Bytes, at: u64) -> Result<Record, Fault> {
        if number(bytes, 32) != checksum(log, &[&bytes[..32], &payload]) {
            return Err(Fault::Broken { at, what: "the checksum of a record does not match" });
        }
        let Self { kind, seq, position, received_ms, .. } = self;
        let record = Record { kind, seq, position, received_ms, payload };
        match kind {
            Kind::Replid if record.as_note().is_none() => Err(Fault::Broken { at, what: "not a replication id" }),
            _ => Ok(record),
        }
    }
}

/// CRC-64/NVME, preceded by the id of the log: what belongs to another log does not match. A CRC finds every change
/// within 64 bits that follow each other, so every single damaged byte.
fn checksum(log: u64, parts: &[&[u8]]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    digest.update(&log.to_le_bytes());
    for part in parts {
        digest.update(part);
    }
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replid(c: u8) -> ReplId {
        ReplId::parse(&[c; 40]).unwrap()
    }

    fn header(framing: Framing) -> SegmentHeader {
        let source = ServerVersion { flavor: Flavor::Valkey, own: (8, 1, 255), redis: (7, 2, 4) };
        let head = Head { replid: replid(b'a'), offset: ReplOffset(7), framing, source };
        SegmentHeader { log: 1, base: 2, seq: 3, durable: 4, head, replid: replid(b'b'), stream_from: Some(5) }
    }

    #[test]
    fn headers_of_segments() {
        for framing in [Framing::Stream, Framing::Length(9), Framing::Mark([b'm'; 40])] {
            let header = header(framing);
            let bytes = header.encode();
            assert_eq!(SegmentHeader::decode(&bytes).unwrap(), header);
            for i in 0..SEGMENT_HEADER {
                assert!(matches!(SegmentHeader::decode(&bytes[..i]), Err(Fault::Torn)));
                let mut flipped = bytes;
                flipped[i] ^= 0x10;
                assert!(SegmentHeader::decode(&flipped).is_err(), "byte {i}");
            }
        }
        assert!(matches!(SegmentHeader::decode(&[0; SEGMENT_HEADER]), Err(Fault::Torn)));
        let mut next = header(Framing::Stream).encode();
        next[8] = 3;
        assert!(matches!(SegmentHeader::decode(&next), Err(Fault::Version(3))));
    }

    #[test]
    fn records_belong_to_their_log() {
        let payload = Bytes::from_static(b"payload");
        let record = Record { kind: Kind::Bytes, seq: 1, position: 10, received_ms: 99, payload };
        let bytes = record.header(5);
        let decode = |log| RecordHeader::decode(&bytes, 0).unwrap().with(log, &bytes, record.payload.clone(), 0);
        let read = decode(5).unwrap();
        assert_eq!((read.kind, read.seq, read.position, read.received_ms), (Kind::Bytes, 1, 10, 99));
        assert!(decode(6).is_err());
    }

    #[test]
    fn notes() {
        for note in [Note::Replid(replid(b'c')), Note::StreamFrom(77)] {
            let record = Record::note(0, 5, note);
            let bytes = record.header(1);
            let read = RecordHeader::decode(&bytes, 0).unwrap().with(1, &bytes, record.payload.clone(), 0).unwrap();
            assert_eq!(read.as_note(), Some(note));
            assert_eq!(read.end(), 5);
        }
    }
}
