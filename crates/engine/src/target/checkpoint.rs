//! What the target has: the position of a task, kept on the target in the same transaction as the data that it covers.
//!
//! Byte table, key names and the fence: docs/design/checkpoint.md.
//!
//! Invariants:
//! - It is written only together with what it covers, so that both are there or neither.
//! - What is not understood is refused, never guessed.
//! - A process that has not seen its own epoch in the checkpoint writes nothing.

use keyferry_keyspace::{ReplId, ReplOffset, objects::Objects};
use keyferry_model::{Error, ErrorKind, Result};
use keyferry_rdb::{self as rdb, Magic};

use crate::Counts;

/// The first bytes: format and its version.
const MAGIC: [u8; 4] = *b"KFC1";
const LEN: usize = 176;
/// Where it says whether counts follow the keys.
const COUNTED: usize = 31;
/// What is covered by the checksum begins here: epoch, sequence number and holder are changed on the target itself.
const COVERED: usize = 28;

/// How far a task is on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Which connection wrote it; each new one counts up, so that nothing applies that an older one has on its way.
    pub(crate) epoch: u64,
    /// Counts the batches of a connection: each one only applies on top of the one before it.
    pub(crate) seq: u64,
    /// Which process wrote it: a number by chance.
    pub(crate) holder: u64,
    /// The log in which positions are counted.
    pub(crate) log: LogId,
    /// The history that offsets belong to; differs from the log's after a fail-over of the source.
    pub(crate) replid: ReplId,
    /// The last stream offset that is applied; within the snapshot where the stream begins.
    pub(crate) offset: u64,
    /// Where to go on in the snapshot; `None` when all of it is applied.
    pub(crate) snapshot: Option<rdb::Position>,
    /// Database that the source has selected.
    pub(crate) source_db: u32,
    /// The one database of the source that is copied, when its URL says so, or [`Self::chosen_by`] of the rules; `None`
    /// for everything.
    pub(crate) chosen: Option<u32>,
    /// Keys of the snapshot so far that were chosen and can be held.
    pub(crate) keys: u64,
    /// What the snapshot has brought so far of the database in which its position is; `None` behind the snapshot.
    pub(crate) counts: Option<Counts>,
    pub(crate) flags: Flags,
}

/// Names a log: one full sync of one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogId {
    /// Two snapshots of a source that nobody writes to have the same offset: a number by chance tells them apart.
    pub(crate) number: u64,
    pub(crate) replid: ReplId,
    /// Where its stream begins.
    pub(crate) start: ReplOffset,
}

/// What is true of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags {
    /// The chosen databases held nothing when the task began: all that is in them is its own.
    pub(crate) owner: bool,
    /// Deadlines of keys, of fields, may be held.
    pub(crate) held_keys: bool,
    pub(crate) held_fields: bool,
    /// A command was refused behind what is covered here: both sides differ.
    pub(crate) broken: bool,
    /// The target is far behind: deadlines are being held, and none is settled.
    pub(crate) holding: bool,
    /// Deadlines lack the grace, from before the task or since a cut-over has lowered them: see `lift.rs`.
    pub(crate) exact: bool,
}

impl Flags {
    fn bits(self) -> u8 {
        let bits = [self.owner, self.held_keys, self.held_fields, self.broken, self.holding, self.exact];
        bits.iter().enumerate().fold(0, |byte, (i, &bit)| byte | u8::from(bit) << i)
    }

    fn from_bits(byte: u8) -> Option<Self> {
        let bit = |i: u8| byte & 1 << i != 0;
        let flags = Self {
            owner: bit(0),
            held_keys: bit(1),
            held_fields: bit(2),
            broken: bit(3),
            holding: bit(4),
            exact: bit(5),
        };
        (flags.bits() == byte).then_some(flags)
    }
}

const KEY: &[u8] = b"__keyferry_checkpoint:";

/// The key of a task's checkpoint.
pub fn key(task: &str) -> Vec<u8> {
    [KEY, task.as_bytes()].concat()
}

/// The key, on the source of a task, of the position from which it begins there: see `cutover/way_back.rs`. No task has a name
/// with a colon.
pub(crate) fn turn_key(task: &str) -> Vec<u8> {
    [KEY, task.as_bytes(), b":turn"].concat()
}

/// Whether `key` is that of a checkpoint, of whatever task: a source may be the target of another one. It is not copied.
pub(crate) fn is_key(key: &[u8]) -> bool {
    key.starts_with(KEY)
}

impl Checkpoint {
    /// Nothing is done yet, and nothing is kept.
    pub(crate) const BEGINNING: Self = Self {
        epoch: 0,
        seq: 0,
        holder: 0,
        log: LogId { number: 0, replid: ReplId::NONE, start: ReplOffset(0) },
        replid: ReplId::NONE,
        offset: 0,
        snapshot: Some(rdb::Position { magic: Magic::Redis, version: 0, db: 0, offset: 0 }),
        source_db: 0,
        chosen: None,
        keys: 0,
        counts: Some(Counts::NONE),
        flags: Flags {
            owner: false,
            held_keys: false,
            held_fields: false,
            broken: false,
            holding: false,
            exact: false,
        },
    };

    /// What stands for rules: never the number of a database, and the same only for the same rules, but by an accident
    /// of one in two billion.
    pub(crate) fn chosen_by(objects: &Objects) -> Option<u32> {
        let rules = objects.canonical();
        // Every type that this version knows, by name, is a rule too: a later one may know more.
        if rules.is_empty() {
            return None;
        }
        let sum = rdb::dump::checksum(&rules);
        // All ones say that there are no rules.
        Some((sum as u32 | 1 << 31).min(u32::MAX - 1))
    }

    /// Whose it is: epoch and holder.
    pub(crate) fn owner(&self) -> [u8; 16] {
        let mut owner = [0; 16];
        owner[..8].copy_from_slice(&self.epoch.to_le_bytes());
        owner[8..].copy_from_slice(&self.holder.to_le_bytes());
        owner
    }

    /// What the next batch must find: epoch and number of the one before it.
    pub(crate) fn turn(&self) -> [u8; 16] {
        let mut turn = [0; 16];
        turn[..8].copy_from_slice(&self.epoch.to_le_bytes());
        turn[8..].copy_from_slice(&self.seq.to_le_bytes());
        turn
    }

    /// The bytes on the target.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let counts = self.counts.filter(|_| self.snapshot.is_some());
        let mut out = Vec::with_capacity(LEN + Counts::LEN);
        out.extend(MAGIC);
        out.extend(self.turn());
        out.extend(self.holder.to_le_bytes());
        let at = self.snapshot.unwrap_or(rdb::Position { magic: Magic::Redis, version: 0, db: 0, offset: 0 });
        out.extend([self.flags.bits(), u8::from(self.snapshot.is_some()), u8::from(at.magic == Magic::Valkey)]);
        out.push(u8::from(counts.is_some()));
        out.extend(self.log.number.to_le_bytes());
        out.extend(self.log.replid.as_bytes());
        out.extend(self.log.start.0.to_le_bytes());
        out.extend(self.replid.as_bytes());
        out.extend(self.offset.to_le_bytes());
        out.extend(at.offset.to_le_bytes());
        for n in [at.version, at.db, self.source_db, self.chosen.unwrap_or(u32::MAX)] {
            out.extend(n.to_le_bytes());
        }
        out.extend(self.keys.to_le_bytes());
        if let Some(counts) = counts {
            counts.encode(&mut out);
        }
        let sum = rdb::dump::checksum(&out[COVERED..]);
        out.extend(sum.to_le_bytes());
        out
    }

    /// Reads what [`Self::encode`] has written.
    ///
    /// Errors: `Checkpoint` when it is damaged or of another version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let refuse = |what: &str| Error::new(ErrorKind::Checkpoint, format!("read the checkpoint: {what}"));
        if !bytes.starts_with(&MAGIC) {
            return Err(refuse("it is not one, or of another version of Keyferry"));
        }
        let counted = bytes.get(COUNTED) == Some(&1);
        let len = if counted { LEN + Counts::LEN } else { LEN };
        let Some((body, sum)) = bytes.split_last_chunk::<8>().filter(|_| bytes.len() == len) else {
            return Err(refuse("its length is wrong"));
        };
        if u64::from_le_bytes(*sum) != rdb::dump::checksum(&body[COVERED..]) {
            return Err(refuse("its checksum is wrong"));
        }
        let mut rest = &body[MAGIC.len()..];
        let [epoch, seq, holder] = [(); 3].map(|()| number(&mut rest));
        let [flags, snapshot, magic, counts] = take(&mut rest);
        let log = LogId { number: number(&mut rest), replid: id(&mut rest)?, start: ReplOffset(number(&mut rest)) };
        let (replid, offset) = (id(&mut rest)?, number(&mut rest));
        let at = number(&mut rest);
        let [version, db, source_db, chosen] = [(); 4].map(|()| u32::from_le_bytes(take(&mut rest)));
        let keys = number(&mut rest);
        let known = snapshot < 2 && magic < 2 && counts <= snapshot;
        let counts = counted.then(|| Counts::decode(|| number(&mut rest)));
        let (Some(flags), true) = (Flags::from_bits(flags), known) else {
            return Err(refuse("it says what this version of Keyferry does not know"));
        };
        let magic = if magic == 1 { Magic::Valkey } else { Magic::Redis };
        let snapshot = (snapshot == 1).then_some(rdb::Position { magic, version, db, offset: at });
        let chosen = (chosen != u32::MAX).then_some(chosen);
        Ok(Self { epoch, seq, holder, log, replid, offset, snapshot, source_db, chosen, keys, counts, flags })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_first_chunk().unwrap_or((&[0; N], &[]));
    *rest = tail;
    *head
}

fn number(rest: &mut &[u8]) -> u64 {
    u64::from_le_bytes(take(rest))
}

fn id(rest: &mut &[u8]) -> Result<ReplId> {
    let bytes: [u8; 40] = take(rest);
    ReplId::parse(&bytes)
        .map_err(|e| Error::new(ErrorKind::Checkpoint, "read the checkpoint: a replication id is none").caused_by(e))
}

#[cfg(test)]
mod tests {
    use keyferry_keyspace::{Kind, objects::Rule};

    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            epoch: 7,
            seq: 9,
            holder: 3,
            log: LogId { number: 5, replid: ReplId::parse(&[b'a'; 40]).unwrap(), start: ReplOffset(1 << 40) },
            replid: ReplId::parse(&[b'7'; 40]).unwrap(),
            offset: 0x0102_0304_0506_0708,
            snapshot: Some(rdb::Position { magic: Magic::Valkey, version: 80, db: 3, offset: 99 }),
            source_db: 15,
            chosen: Some(2),
            keys: 12,
            counts: None,
            flags: Flags { owner: true, held_fields: true, ..Flags::default() },
        }
    }

    fn counts() -> Counts {
        let mut counts = Counts::NONE;
        counts.add(Kind::String, 300);
        counts.add(Kind::Module, 1 << 40);
        counts
    }

    #[test]
    fn what_was_written_is_read() {
        for (snapshot, counts, len) in [
            (checkpoint().snapshot, Some(counts()), LEN + Counts::LEN),
            (checkpoint().snapshot, None, LEN),
            (None, None, LEN),
        ] {
            let checkpoint = Checkpoint { snapshot, counts, ..checkpoint() };
            let bytes = checkpoint.encode();
            assert_eq!((Checkpoint::decode(&bytes).unwrap(), bytes.len()), (checkpoint, len));
        }
        // Behind the snapshot there is nothing to count.
        let behind = Checkpoint { snapshot: None, counts: Some(counts()), ..checkpoint() };
        assert_eq!(Checkpoint::decode(&behind.encode()).unwrap().counts, None);
    }

    /// The layout is on targets of users: it does not change without another magic.
    #[test]
    fn the_layout_stays() {
        let bytes = checkpoint().encode();
        assert_eq!(&bytes[..24], b"KFC1\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x03\0\0\0");
        assert_eq!(&bytes[24..32], b"\0\0\0\0\x05\x01\x01\0");
        assert_eq!(&bytes[32..40], b"\x05\0\0\0\0\0\0\0");
        assert_eq!(&bytes[40..80], &[b'a'; 40]);
        assert_eq!(&bytes[80..88], &(1_u64 << 40).to_le_bytes());
        assert_eq!(&bytes[88..128], &[b'7'; 40]);
        assert_eq!(&bytes[128..136], &[8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(&bytes[136..152], b"\x63\0\0\0\0\0\0\0\x50\0\0\0\x03\0\0\0");
        assert_eq!(&bytes[152..168], b"\x0f\0\0\0\x02\0\0\0\x0c\0\0\0\0\0\0\0");
        let counted = Checkpoint { counts: Some(counts()), ..checkpoint() }.encode();
        assert_eq!((&counted[..31], counted[31], &counted[32..168]), (&bytes[..31], 1, &bytes[32..168]));
        assert_eq!(&counted[168..184], b"\x01\0\0\0\0\0\0\0\x2c\x01\0\0\0\0\0\0");
        assert_eq!(&counted[264..280], b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0");
    }

    /// It is on targets of users, too. The numbers were worked out by other code from what the documentation says.
    #[test]
    fn the_checksum_of_rules_stays() {
        let of = |rules: &[(Rule, &str)]| Checkpoint::chosen_by(&Objects::parse(rules.iter().copied()).unwrap());
        assert_eq!(of(&[]), None);
        for (rules, expected) in [
            (&[(Rule::Types, "hash,list")][..], 0xaf91_7b29),
            (&[(Rule::Types, "list"), (Rule::Types, "hash,set"), (Rule::BlockTypes, "set")], 0xaf91_7b29),
            (&[(Rule::BlockTypes, "hash,list")], 0xc334_6610),
            (&[(Rule::Types, "string,list,set,zset,hash,stream,module")], 0xaa32_98ab),
            (&[(Rule::Databases, "0,3:5"), (Rule::Prefix, "a:"), (Rule::BlockCommands, "@scripting")], 0xcf8c_5e87),
        ] {
            assert_eq!(of(rules), Some(expected), "{rules:?}");
        }
    }

    #[test]
    fn any_changed_byte_is_refused() {
        for counts in [None, Some(counts())] {
            let good = Checkpoint { counts, ..checkpoint() }.encode();
            for i in (0..MAGIC.len()).chain(COVERED..good.len()) {
                for bit in 0..8 {
                    let mut bad = good.clone();
                    bad[i] ^= 1 << bit;
                    assert_eq!(Checkpoint::decode(&bad).unwrap_err().kind(), ErrorKind::Checkpoint, "byte {i}");
                }
            }
            for len in 0..good.len() {
                assert!(Checkpoint::decode(&good[..len]).is_err());
            }
        }
    }
}
