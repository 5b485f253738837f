//! What is known of a log as a whole, and the few things that become known later.

use keyferry_keyspace::{ReplId, ReplOffset, ServerVersion};

/// How a snapshot ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With these 40 bytes. They are part of the log: the stream begins behind them.
    Mark([u8; 40]),
    /// There is none: the log begins in the stream.
    Stream,
}

/// What a log begins with. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The replication id of `+FULLRESYNC`, or the one that is followed when the log begins in the stream.
    pub replid: ReplId,
    /// The offset at which the stream begins: that of `+FULLRESYNC`, or the one behind which the log begins.
    pub offset: ReplOffset,
    /// How the snapshot in front of the stream ends.
    pub framing: Framing,
    /// What the source was: its commands can be applied while nobody can ask it.
    pub source: ServerVersion,
}

impl Head {
    /// The offset of the source at `position`, when the stream begins at position `stream_from`. `None` in front of the
    /// stream.
    pub fn offset_at(&self, stream_from: u64, position: u64) -> Option<ReplOffset> {
        self.offset.advance(position.checked_sub(stream_from)?)
    }

    /// The position of an offset of the source, when the stream begins at position `stream_from`. `None` for an offset
    /// from before the log.
    pub fn position_of(&self, stream_from: u64, offset: ReplOffset) -> Option<u64> {
        stream_from.checked_add(offset.since(self.offset)?)
    }
}

/// What becomes known while the log grows. It has its place among the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// From here on the lineage has this id (`+CONTINUE` with another one).
    Replid(ReplId),
    /// The stream begins at this position. Known only when everything in front of it has been decoded, so this note
    /// comes later than the position it names.
    StreamFrom(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_positions() {
        let replid = ReplId::parse(&[b'a'; 40]).unwrap();
        let source = ServerVersion::from_info(b"redis_version:7.0.15").unwrap();
        let head = Head { replid, offset: ReplOffset(1000), framing: Framing::Length(300), source };
        assert_eq!(head.offset_at(300, 300), Some(ReplOffset(1000)));
        assert_eq!(head.offset_at(300, 310), Some(ReplOffset(1010)));
        assert_eq!(head.offset_at(300, 299), None);
        assert_eq!(head.position_of(300, ReplOffset(1010)), Some(310));
        assert_eq!(head.position_of(300, ReplOffset(999)), None);
        assert_eq!(head.position_of(u64::MAX, ReplOffset(1001)), None);
    }
}
