//! The decoder against what real servers say of the golden dumps, in every cutting, and against bytes no server writes.

use proptest::prelude::*;

use super::*;
use crate::{
    Group, Item, Limits, Magic,
    golden::{self, Golden},
    packed::{Scalar, tests as made},
};

mod golden_values;
mod layouts;

use golden_values::parts;

/// What a decoder gives, with all it holds.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    Chunk(Vec<u8>, bool),
    List(Vec<u8>),
    Set(Vec<u8>),
    Zset(Vec<u8>, u64),
    Hash(Vec<u8>, Vec<u8>, Option<u64>),
    Entry(StreamId, Vec<Vec<u8>>),
    Info(StreamInfo),
    Group(Vec<u8>, StreamId, Option<u64>),
    Consumer(Vec<u8>, Vec<u8>, u64, Option<u64>),
    Pending(Vec<u8>, Vec<u8>, StreamId, u64, u64),
    Idempotency(u64, u64),
    Produced(Vec<u8>, Vec<u8>, StreamId),
    Module([u8; 9]),
    End,
}

fn bytes(scalar: Scalar<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    scalar.append_to(&mut out);
    out
}

fn event(element: Element<'_>) -> Event {
    match element {
        Element::StringChunk { bytes, last } => Event::Chunk(bytes.to_vec(), last),
        Element::ListElement(element) => Event::List(bytes(element)),
        Element::SetMember(member) => Event::Set(bytes(member)),
        Element::ZsetMember { member, score } => Event::Zset(bytes(member), score.to_bits()),
        Element::HashField { field, value, expire_ms } => Event::Hash(bytes(field), bytes(value), expire_ms),
        Element::StreamEntry { id, fields } => {
            let count = fields.left();
            let all: Vec<_> = fields.flat_map(|(field, value)| [bytes(field), bytes(value)]).collect();
            assert_eq!(all.len() as u64, 2 * count);
            Event::Entry(id, all)
        }
        Element::StreamInfo(info) => Event::Info(info),
        Element::Group { group, last_id, entries_read } => Event::Group(group.to_vec(), last_id, entries_read),
        Element::Consumer { group, consumer, seen_ms, active_ms } => {
            Event::Consumer(group.to_vec(), consumer.to_vec(), seen_ms, active_ms)
        }
        Element::Pending { group, consumer, id, delivered_ms, deliveries } => {
            Event::Pending(group.to_vec(), consumer.to_vec(), id, delivered_ms, deliveries)
        }
        Element::Idempotency { duration_s, max_entries } => Event::Idempotency(duration_s, max_entries),
        Element::Produced { producer, iid, id } => Event::Produced(producer.to_vec(), bytes(iid), id),
        Element::Module { name } => Event::Module(name),
        Element::End => Event::End,
    }
}

/// The elements of a value that arrives in pieces of the lengths that `cut` gives, and the error that ended it.
fn decode(
    kind: ValueType,
    raw: &[u8],
    limits: DecodeLimits,
    mut cut: impl FnMut() -> usize,
) -> (Vec<Event>, Option<Error>) {
    let mut decoder = ValueDecoder::new(kind, limits);
    let (mut events, mut start, mut end) = (Vec::new(), 0, 0);
    while !decoder.is_finished() {
        match decoder.next(&raw[start..end]) {
            Err(error) => {
                assert_eq!(decoder.next(&raw[start..end]), Err(error.clone()));
                return (events, Some(error));
            }
            Ok((used, element)) => {
                start += used;
                assert!(start <= end);
                match element {
                    Some(element) => events.push(event(element)),
                    None if end == raw.len() => break,
                    None => end = raw.len().min(end + cut().max(1)),
                }
            }
        }
        assert_eq!(decoder.offset(), start as u64);
    }
    if decoder.is_finished() {
        assert_eq!(decoder.next(b"more"), Ok((0, None)));
    }
    (events, None)
}

fn whole(kind: ValueType, raw: &[u8]) -> Vec<Event> {
    let (events, error) = decode(kind, raw, DecodeLimits::default(), || usize::MAX);
    assert_eq!((error, events.last()), (None, Some(&Event::End)), "{kind}");
    events
}

/// Calls `see` with the values of a dump: database, key, type and raw value.
fn each_value(golden: &Golden, mut see: impl FnMut(u32, &[u8], ValueType, &[u8])) {
    golden::read(
        &golden.bytes,
        Limits::default(),
        || usize::MAX,
        |item| {
            if let Item::Entry(entry) = item {
                see(entry.db, entry.key, entry.kind, entry.raw);
            }
        },
    );
}

#[test]
fn one_byte_at_a_time_gives_the_same_elements() {
    for golden in golden::all("") {
        each_value(&golden, |_, _, kind, raw| {
            let whole = decode(kind, raw, DecodeLimits::default(), || usize::MAX);
            assert_eq!(decode(kind, raw, DecodeLimits::default(), || 1), whole, "{} {kind}", golden.name);
            assert_eq!(whole.1, None, "{} {kind}", golden.name);
        });
    }
}

#[test]
fn a_truncated_value_never_ends() {
    for golden in golden::all("redis-8.6").iter().chain(&golden::all("redis-2.8")) {
        each_value(golden, |_, _, kind, raw| {
            for len in 0..raw.len() {
                let (events, error) = decode(kind, &raw[..len], DecodeLimits::default(), || usize::MAX);
                assert_eq!(error, None, "{kind}");
                assert!(!events.contains(&Event::End), "{kind}");
            }
        });
    }
}

#[test]
fn strings_come_in_pieces_of_one_size() {
    let limits = DecodeLimits { chunk: 100, ..DecodeLimits::default() };
    for golden in golden::all("redis-7.2") {
        each_value(&golden, |_, _, kind, raw| {
            if kind.group() != Group::String {
                return;
            }
            let (events, error) = decode(kind, raw, limits, || 7);
            assert_eq!(error, None);
            let (_, whole) = parts(Group::String, events.clone(), true);
            let (count, expected) = parts(Group::String, decode(kind, raw, DecodeLimits::default(), || 1).0, true);
            assert_eq!(whole, expected);
            assert_eq!(events.len() - 1, count.div_ceil(100).max(1));
            for (i, event) in events.iter().rev().enumerate() {
                match event {
                    Event::Chunk(bytes, last) => assert!(*last == (i == 1) && (bytes.len() == 100 || *last)),
                    other => assert_eq!((i, other), (0, &Event::End)),
                }
            }
        });
    }
}

fn kind(byte: u8) -> ValueType {
    ValueType::from_byte(byte, Magic::Redis).unwrap()
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(0x80);
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

#[test]
fn what_no_server_at_hand_writes_is_read_all_the_same() {
    // Redis 2.4.
    let mut raw = Vec::new();
    string(&mut raw, &made::zipmap(&[b"f".to_vec(), b"v".to_vec(), b"g".to_vec(), vec![b'w'; 300]]));
    let field = |f: &[u8], v: &[u8], ms| Event::Hash(f.to_vec(), v.to_vec(), ms);
    assert_eq!(whole(kind(9), &raw), [field(b"f", b"v", None), field(b"g", &[b'w'; 300], None), Event::End]);
    // Release candidates of Redis 7.4: expiries are absolute.
    let raw = b"\x02\x00\x01f\x01v\x50\x00\x01g\x01w";
    assert_eq!(whole(kind(22), raw), [field(b"f", b"v", None), field(b"g", b"w", Some(0x1000)), Event::End]);
    let mut raw = Vec::new();
    let element = |text: &str| made::Element::Bytes(text.into());
    string(&mut raw, &made::listpack(&[element("f"), element("v"), made::Element::Int(77)]));
    assert_eq!(whole(kind(23), &raw), [field(b"f", b"v", Some(77)), Event::End]);
}

#[test]
fn errors_count_from_the_start_of_the_value() {
    let of = |byte, raw: &[u8]| decode(kind(byte), raw, DecodeLimits::default(), || 1).1.unwrap().at();
    assert_eq!(of(1, b"\x02\x01a\xc5"), 3);
    assert_eq!(of(3, b"\x02\x01a\x011\x01b\x01x"), 7);
    assert_eq!(of(3, b"\x01\x01a\xfd"), 3);
    assert_eq!(of(18, b"\x02\x01\x01a\x03\x01b"), 4);
    // A list node of one ziplist, whose element is no element.
    let mut node = made::ziplist(&[made::Element::Int(1), made::Element::Int(2)]);
    node[13] = 0xff;
    let mut raw = b"\x01".to_vec();
    string(&mut raw, &node);
    assert_eq!(of(14, &raw), 6 + 13);
    // The same, compressed: where the string starts.
    let mut raw = b"\x01\xc3".to_vec();
    raw.extend([node.len() as u8 + 1, node.len() as u8, node.len() as u8 - 1]);
    raw.extend(&node);
    assert_eq!(of(14, &raw), 1);
}

#[test]
fn limits_hold_before_anything_is_waited_for() {
    let limits = DecodeLimits { max_string: 100, max_pending: 3, chunk: 10 };
    let of = |byte, raw: &[u8]| match decode(kind(byte), raw, limits, || usize::MAX).1 {
        Some(Error::OverLimit { what, len, limit, at }) => (what, len, limit, at),
        other => panic!("{other:?}"),
    };
    assert_eq!(of(1, b"\x01\x40\x65"), (LimitKind::String, 101, 100, 1));
    assert_eq!(of(4, b"\x01\x01f\x40\x65"), (LimitKind::String, 101, 100, 3));
    assert_eq!(of(5, b"\x01\x40\x65"), (LimitKind::String, 101, 100, 1));
    assert_eq!(of(16, b"\x40\x65"), (LimitKind::String, 101, 100, 0));
    assert_eq!(of(16, b"\xc3\x05\x40\x65"), (LimitKind::String, 101, 100, 0));
    let stream = b"\x00\x00\x00\x00\x01\x01g\x00\x00\x04";
    assert_eq!(of(15, stream), (LimitKind::Pending, 4, 3, 9));
    // Plain strings have no limit: they are never whole in memory.
    let (events, error) = decode(kind(0), b"\x80\xff\xff\xff\xff01234567890123456789", limits, || 3);
    assert_eq!((events.len(), error), (2, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_cutting_gives_the_same_elements(pick in any::<prop::sample::Index>(), cuts in prop::collection::vec(1..90_usize, 1..20), chunk in 1..50_usize) {
        let all = golden::all("");
        let limits = DecodeLimits { chunk, ..DecodeLimits::default() };
        each_value(pick.get(&all), |_, _, kind, raw| {
            let mut cuts = cuts.iter().cycle();
            let cut = decode(kind, raw, limits, || *cuts.next().unwrap());
            assert_eq!(cut, decode(kind, raw, limits, || usize::MAX), "{kind}");
        });
    }

    #[test]
    fn mutated_values_give_elements_or_an_error(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in 1..300_usize,
    ) {
        let all = golden::all("");
        each_value(pick.get(&all), |_, _, kind, raw| {
            let mut raw = raw.to_vec();
            for (at, byte) in &changes {
                let at = at.index(raw.len());
                raw[at] = *byte;
            }
            bounded(kind, &raw, cut);
        });
    }

    #[test]
    fn arbitrary_bytes_give_elements_or_an_error(raw in prop::collection::vec(prop_oneof![0..9_u8, any::<u8>()], 0..200), cut in 1..99_usize) {
        for magic in [Magic::Redis, Magic::Valkey] {
            for kind in (0..=255).filter_map(|byte| ValueType::from_byte(byte, magic)) {
                bounded(kind, &raw, cut);
            }
        }
    }

    #[test]
    fn lists_in_nodes_come_back(nodes in prop::collection::vec(made::elements(), 0..6), cut in 1..5000_usize) {
        for (byte, pack) in [(14, made::ziplist as fn(&[made::Element]) -> Vec<u8>), (18, made::listpack)] {
            let mut raw = vec![nodes.len() as u8];
            let mut expected = Vec::new();
            for node in &nodes {
                match node.first() {
                    Some(made::Element::Bytes(bytes)) if byte == 18 && node.len() % 3 == 0 => {
                        raw.push(1);
                        string(&mut raw, bytes);
                        expected.push(Event::List(bytes.clone()));
                    }
                    _ => {
                        if byte == 18 {
                            raw.push(2);
                        }
                        string(&mut raw, &pack(node));
                        expected.extend(node.iter().map(|element| Event::List(match element {
                            made::Element::Bytes(bytes) => bytes.clone(),
                            made::Element::Int(value) => value.to_string().into_bytes(),
                        })));
                    }
                }
            }
            expected.push(Event::End);
            prop_assert_eq!(decode(kind(byte), &raw, DecodeLimits::default(), || cut), (expected, None));
        }
    }
}

/// Decodes with small limits; memory stays within them, errors lie in the value, and the cutting makes no difference.
fn bounded(kind: ValueType, raw: &[u8], cut: usize) {
    let limits = DecodeLimits { max_string: 300, max_pending: 4, chunk: 50 };
    let mut decoder = ValueDecoder::new(kind, limits);
    let (mut start, mut end) = (0, 0);
    loop {
        match decoder.next(&raw[start..end]) {
            Ok((used, element)) => {
                let waits = element.is_none();
                start += used;
                if waits && (end == raw.len() || decoder.is_finished()) {
                    break;
                }
                end = if waits { raw.len().min(end + cut) } else { end };
            }
            Err(error) => {
                assert!(error.at() <= raw.len() as u64, "{kind} {error}");
                break;
            }
        }
        let held = decoder.held();
        assert!(held <= 4 * 600 + 8 * 32 + 9000, "{kind} holds {held}");
    }
    assert_eq!(decode(kind, raw, limits, || cut), decode(kind, raw, limits, || usize::MAX), "{kind}");
}

impl ValueDecoder {
    /// Bytes of memory beside the decoder itself.
    fn held(&self) -> usize {
        self.scratch.iter().map(Vec::capacity).sum::<usize>()
            + self.block.capacity()
            + self.groups.capacity()
            + self.inflater.as_ref().map_or(0, |inflater| inflater.capacity())
    }
}

impl Groups {
    fn capacity(&self) -> usize {
        self.name.capacity() + self.held()
    }
}
