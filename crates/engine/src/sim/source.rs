//! What the source sends: a snapshot, perhaps, and a stream, as bytes; and as the writes that they are made of.

use super::{
    Rng,
    model::{Args, Model},
};
use crate::source::Framing;

/// Where the stream begins.
pub(super) const START: u64 = 10_000;
pub(super) const DATABASES: u64 = 3;
/// What is added to each deadline of the stream.
pub(super) const GRACE_MS: i64 = 7;
const MARK: [u8; 40] = *b"0123456789abcdefghijklmnopqrstuvwxyz!?#&";

/// A write as the target has to get it, once.
pub(super) struct Write {
    pub(super) db: u32,
    pub(super) args: Args,
    /// Of the snapshot: then `begin` and `end` are positions in it. Else they are offsets.
    pub(super) snapshot: bool,
    /// Where it begins, or the transaction that it is in.
    pub(super) begin: u64,
    pub(super) end: u64,
    /// It is in the same transaction as the one before it.
    pub(super) inside: bool,
}

pub(super) struct Source {
    /// Snapshot, mark and stream, one behind the other.
    pub(super) log: Vec<u8>,
    pub(super) framing: Framing,
    /// Where the stream begins in the log.
    pub(super) stream_from: u64,
    /// There is a snapshot.
    pub(super) copies: bool,
    pub(super) writes: Vec<Write>,
    /// From which offset on which database is selected.
    pub(super) selects: Vec<(u64, u32)>,
    /// Offsets between which the stream can be left: behind a command and outside of a transaction.
    pub(super) wholes: Vec<u64>,
    /// Offsets behind a MULTI whose EXEC comes later.
    pub(super) within: Vec<(u64, u64)>,
    /// What the target has to hold in the end.
    pub(super) model: Model,
}

impl Source {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut source = Self {
            log: Vec::new(),
            framing: Framing::Length(0),
            stream_from: 0,
            copies: rng.one_in(2),
            writes: Vec::new(),
            selects: vec![(START, 0)],
            wholes: vec![START],
            within: Vec::new(),
            model: Model::default(),
        };
        // A few large values, over batches and steps of the input; else many small ones.
        let large = rng.one_in(8);
        if source.copies {
            source.snapshot(rng, large);
        }
        source.stream_from = source.log.len() as u64;
        source.stream(rng, large);
        source
    }

    /// The database that is selected at `offset`.
    pub(super) fn db_at(&self, offset: u64) -> u32 {
        self.selects[self.selects.partition_point(|(from, _)| *from <= offset) - 1].1
    }

    /// The offset behind all that there is so far.
    pub(super) fn offset(&self) -> u64 {
        START + self.log.len() as u64 - self.stream_from
    }

    fn snapshot(&mut self, rng: &mut Rng, large: bool) {
        self.log.extend(b"REDIS0011\xfa\x09redis-ver\x057.0.0");
        let mut id = 0;
        for db in 0..DATABASES {
            self.log.extend([0xfe, db as u8]);
            for _ in 0..rng.below(25) {
                id += 1;
                let begin = self.log.len() as u64;
                let deadline = rng.one_in(4).then(|| 4_000_000_000_000 + rng.below(1_000_000_000));
                if let Some(at) = deadline {
                    self.log.push(0xfc);
                    self.log.extend(at.to_le_bytes());
                }
                let key = format!("k{id}").into_bytes();
                self.log.push(0);
                self.string(&key);
                let value = if rng.one_in(4) {
                    // An integer of one byte.
                    self.log.extend([0xc0, (id % 100) as u8]);
                    (id % 100).to_string().into_bytes()
                } else {
                    let value = filler(rng, id, large);
                    self.string(&value);
                    value
                };
                let mut args = vec![b"SET".to_vec(), key, value];
                if let Some(at) = deadline {
                    args.extend([b"PXAT".to_vec(), at.to_string().into_bytes()]);
                }
                args.push(b"NX".to_vec());
                self.model.write(db as u32, &args);
                let end = self.log.len() as u64;
                self.writes.push(Write { db: db as u32, args, snapshot: true, begin, end, inside: false });
            }
        }
        // A checksum of 0 is none.
        self.log.push(0xff);
        self.log.extend([0; 8]);
        self.framing = Framing::Length(self.log.len() as u64);
        if rng.one_in(2) {
            self.framing = Framing::Mark(MARK);
            self.log.extend(MARK);
        }
    }

    /// A string of a snapshot.
    fn string(&mut self, text: &[u8]) {
        let len = text.len();
        match len {
            0..64 => self.log.push(len as u8),
            64..16_384 => self.log.extend([0x40 | (len >> 8) as u8, len as u8]),
            _ => {
                self.log.push(0x80);
                self.log.extend((len as u32).to_be_bytes());
            }
        }
        self.log.extend_from_slice(text);
    }

    fn stream(&mut self, rng: &mut Rng, large: bool) {
        let mut db = 0;
        let mut id = 0;
        for _ in 0..20 + rng.below(100) {
            let begin = self.offset();
            let transaction = rng.one_in(5);
            let commands = if transaction { rng.below(6) } else { 1 };
            if transaction {
                self.command(&[b"MULTI".to_vec()]);
                self.within.push((self.offset(), 0));
            }
            let first = self.writes.len();
            for _ in 0..commands {
                if rng.one_in(6) {
                    db = rng.below(DATABASES) as u32;
                    self.command(&[b"SELECT".to_vec(), db.to_string().into_bytes()]);
                    self.selects.push((self.offset(), db));
                }
                id += 1;
                let args = self.write(rng, db, id, large);
                // A SELECT in front of it is not part of it.
                let begin = if transaction { begin } else { self.offset() };
                self.command(&args);
                let mut expected = args;
                if expected[0] == b"PEXPIREAT" {
                    let at: i64 = String::from_utf8_lossy(&expected[2]).parse().unwrap();
                    expected[2] = (at + GRACE_MS).to_string().into_bytes();
                }
                self.model.write(db, &expected);
                let inside = self.writes.len() > first;
                let end = self.offset();
                self.writes.push(Write { db, args: expected, snapshot: false, begin, end, inside });
            }
            if transaction {
                self.command(&[b"EXEC".to_vec()]);
                let end = self.offset();
                self.within.last_mut().unwrap().1 = end;
                if let Some(last) = self.writes[first..].last_mut() {
                    last.end = end;
                }
            }
            self.wholes.push(self.offset());
            if rng.one_in(8) {
                match rng.below(3) {
                    0 => self.command(&[b"REPLCONF".to_vec(), b"GETACK".to_vec(), b"*".to_vec()]),
                    1 => self.log.push(b'\n'),
                    _ => self.command(&[b"PING".to_vec()]),
                }
                self.wholes.push(self.offset());
            }
        }
    }

    fn write(&self, rng: &mut Rng, db: u32, id: u64, large: bool) -> Args {
        let key = |kind: &str, n: u64| format!("{kind}{n}").into_bytes();
        match rng.below(6) {
            0 | 1 => vec![b"INCR".to_vec(), key("n", rng.below(3))],
            2 => vec![b"APPEND".to_vec(), key("a", rng.below(2)), format!("{id},").into_bytes()],
            3 => vec![b"RPUSH".to_vec(), key("l", rng.below(2)), id.to_string().into_bytes()],
            4 => vec![b"SET".to_vec(), key("s", rng.below(5)), filler(rng, id, large)],
            _ => {
                let here: Vec<_> = self.model.keys.keys().filter(|(of, _)| *of == db).collect();
                if here.is_empty() {
                    return vec![b"INCR".to_vec(), key("n", 0)];
                }
                let at = 4_000_000_000_000 + rng.below(1_000_000_000);
                vec![b"PEXPIREAT".to_vec(), here[rng.index(here.len())].1.clone(), at.to_string().into_bytes()]
            }
        }
    }

    fn command(&mut self, args: &[Vec<u8>]) {
        self.log.extend(format!("*{}\r\n", args.len()).bytes());
        for arg in args {
            self.log.extend(format!("${}\r\n", arg.len()).bytes());
            self.log.extend_from_slice(arg);
            self.log.extend(b"\r\n");
        }
    }
}

/// A value that is found once.
fn filler(rng: &mut Rng, id: u64, large: bool) -> Vec<u8> {
    let len = match large && rng.one_in(3) {
        true => rng.below(60_000),
        false => rng.below(60),
    };
    let mut value = format!("v{id}-").into_bytes();
    value.resize(value.len() + len as usize, b'x');
    value
}
