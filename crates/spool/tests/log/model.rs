//! Any order of steps gives what a plain list of bytes would.

use keyferry_model::ErrorKind;
use keyferry_spool::{Item, Limits, Next, Note, Spool, create, open};
use proptest::{collection::vec, prelude::*};

use crate::sample::{byte, bytes, head, replid};

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Note(u8),
    StreamFrom,
    Read(usize),
    /// In thousandths of what there is.
    Seek(u64),
    Release(u64),
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..600_usize).prop_map(Step::Append),
        1 => (b'a'..=b'f').prop_map(Step::Note),
        1 => Just(Step::StreamFrom),
        8 => (0..8_usize).prop_map(Step::Read),
        2 => (0..1050_u64).prop_map(Step::Seek),
        2 => (0..1000_u64).prop_map(Step::Release),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

/// What the log should hold.
#[derive(Default)]
struct Model {
    end: u64,
    /// With the position of each.
    notes: Vec<(u64, Note)>,
    /// Where the reader stands, in bytes and notes.
    read: u64,
    read_notes: usize,
    released: u64,
    /// The first position that was kept at the last seek. Notes that stand there may be gone.
    start: u64,
}

impl Model {
    fn id_before(&self, position: u64) -> u8 {
        let mut ids = self.notes.iter().filter(|(at, _)| *at < position).filter_map(|(_, note)| match note {
            Note::Replid(id) => Some(id.as_bytes()[0]),
            Note::StreamFrom(_) => None,
        });
        ids.next_back().unwrap_or(b'a')
    }

    fn go_to(&mut self, position: u64, start: u64) {
        self.start = start;
        self.read = position;
        self.read_notes = self.notes.iter().filter(|(at, _)| *at < position).count();
    }

    fn read(&mut self, spool: &mut Spool) {
        let next = spool.reader.try_next().unwrap();
        let is = |expected: &(u64, Note)| matches!(next, Next::Item(Item::Note { position, note }) if (position, note) == *expected);
        while self.start > 0 && self.notes.get(self.read_notes).is_some_and(|note| note.0 == self.start && !is(note)) {
            self.read_notes += 1;
        }
        let note = self.notes.get(self.read_notes);
        match next {
            Next::Item(Item::Block(block)) => {
                assert_eq!(block.position, self.read);
                assert!(note.is_none_or(|(at, _)| *at > self.read), "a note was left out");
                assert!(block.bytes.iter().zip(self.read..).all(|(b, at)| *b == byte(at)));
                assert_eq!(block.received_ms % 3, 2);
                self.read += block.bytes.len() as u64;
            }
            Next::Item(Item::Note { position, note: found }) => {
                assert_eq!(Some(&(position, found)), note);
                self.read_notes += 1;
            }
            Next::Empty => assert_eq!((self.read.max(self.end), self.read_notes), (self.read, self.notes.len())),
            Next::Ended => panic!("the writer is there"),
        }
    }
}

async fn run(steps: Vec<Step>, limits: Limits) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.spool");
    let mut spool = create(&dir, head(), limits).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(len) => {
                assert!(spool.writer.append(bytes(model.end, len), model.end * 3 + 2).await.unwrap());
                model.end += len as u64;
            }
            Step::Note(id) => {
                let note = Note::Replid(replid(id));
                spool.writer.note(note);
                model.notes.push((model.end, note));
            }
            Step::StreamFrom => {
                let note = Note::StreamFrom(model.end / 2);
                spool.writer.note(note);
                model.notes.push((model.end, note));
            }
            Step::Read(n) => (0..n).for_each(|_| model.read(&mut spool)),
            Step::Seek(part) => {
                let position = model.end * part / 1000;
                match spool.reader.seek(position) {
                    Ok(id) => {
                        let start = spool.handle.start();
                        assert!(position >= start);
                        if position > start {
                            assert_eq!(id, replid(model.id_before(position)), "before {position}");
                        }
                        model.go_to(position, start);
                    }
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::SpoolDropped);
                        assert!(position < spool.handle.start());
                        let start = spool.handle.start();
                        spool.reader.seek(start).unwrap();
                        model.go_to(start, start);
                    }
                }
            }
            Step::Release(part) => {
                model.released = model.released.max(model.end * part / 1000);
                spool.handle.release(model.end * part / 1000);
                assert!(spool.handle.start() <= model.released);
                assert!(spool.handle.start() <= model.read);
            }
            Step::Flush => {
                spool.writer.flush().await.unwrap();
                assert!(spool.handle.memory_bytes() <= limits.tail);
            }
            Step::Reopen => {
                spool.writer.close().await.unwrap();
                let start = spool.handle.start();
                let opened = open(&dir, limits).unwrap().unwrap();
                assert_eq!((opened.start, opened.end, opened.cut), (start, model.end, 0));
                assert_eq!(opened.replid, replid(model.id_before(u64::MAX)));
                let from = model.notes.iter().rev().find_map(|(_, note)| match note {
                    Note::StreamFrom(from) => Some(*from),
                    Note::Replid(_) => None,
                });
                assert_eq!(opened.stream_from, from);
                spool = opened.spool;
                spool.reader.seek(start).unwrap();
                model.go_to(start, start);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn as_a_list_of_bytes(
        steps in vec(step(), 1..120),
        segment in 400..4000_u64,
        margin in 0..3000_u64,
        tail in 200..6000_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(steps, Limits { max_bytes: 1 << 20, margin, segment, tail }));
    }
}
