//! The commands of a rebuild, as text, and their bounds. (That servers make the same value of them is what
//! `tests/rebuild.py` shows.)

use proptest::prelude::*;

use super::*;
use crate::{
    Item, Limits, Magic, ValueType, golden,
    object::{DecodeLimits, Hidden, StreamHistory, StreamId, StreamInfo, ValueDecoder},
    packed,
};

const NEWEST: fn() -> Target = || Target::redis(8, 6);

/// Reads commands back: each as its arguments joined by spaces.
fn lines(mut wire: &[u8]) -> Vec<String> {
    fn line<'a>(wire: &mut &'a [u8], marker: u8) -> &'a str {
        let end = wire.windows(2).position(|two| two == b"\r\n").unwrap();
        let (line, rest) = wire.split_at(end);
        assert_eq!(line[0], marker);
        *wire = &rest[2..];
        std::str::from_utf8(&line[1..]).unwrap()
    }
    let mut out = Vec::new();
    while !wire.is_empty() {
        let count: usize = line(&mut wire, b'*').parse().unwrap();
        let mut words = Vec::new();
        for _ in 0..count {
            let len: usize = line(&mut wire, b'$').parse().unwrap();
            words.push(String::from_utf8_lossy(&wire[..len]).into_owned());
            assert_eq!(&wire[len..len + 2], b"\r\n");
            wire = &wire[len + 2..];
        }
        out.push(words.join(" "));
    }
    out
}

fn rebuild(group: Group, target: Target, plan: Plan, elements: &[Element<'_>]) -> (Vec<String>, Losses) {
    let mut rebuilder = Rebuilder::new(b"k", group, target, plan).unwrap();
    let mut out = Vec::new();
    for element in elements.iter().chain([&Element::End]) {
        rebuilder.push(element, &mut out).unwrap();
    }
    let lines = lines(&out);
    assert_eq!(rebuilder.commands(), lines.len() as u64);
    (lines, rebuilder.losses())
}

fn word(text: &str) -> Scalar<'_> {
    Scalar::Bytes(text.as_bytes())
}

const fn at(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

#[test]
fn collections_are_removed_filled_in_batches_and_given_their_expiry() {
    let plan = Plan { batch_elements: 2, expire_ms: Some(77), ..Plan::default() };
    let list: Vec<_> = (0..5).map(|i| Element::ListElement(Scalar::Int(i))).collect();
    let (lines, _) = rebuild(Group::List, NEWEST(), plan, &list);
    assert_eq!(lines, ["UNLINK k", "RPUSH k 0 1", "RPUSH k 2 3", "RPUSH k 4", "PEXPIREAT k 77"]);
    let set = [Element::SetMember(word("a"))];
    let (lines, _) = rebuild(Group::Set, Target::redis(3, 2), Plan { replace: false, ..plan }, &set);
    assert_eq!(lines, ["SADD k a", "PEXPIREAT k 77"]);
    let zset = [(0.1, "a"), (f64::NEG_INFINITY, "b")].map(|(score, m)| Element::ZsetMember { member: word(m), score });
    let (lines, _) = rebuild(Group::Zset, Target::redis(3, 2), Plan::default(), &zset);
    assert_eq!(lines, ["DEL k", "ZADD k 0.1 a -inf b"]);
    let (lines, _) = rebuild(Group::Set, NEWEST(), plan, &[]);
    assert_eq!(lines, ["UNLINK k"], "what is empty has no expiry");
}

#[test]
fn strings_are_set_and_appended_to() {
    let chunk = |text: &'static str, last| Element::StringChunk { bytes: Hidden(text.as_bytes()), last };
    let plan = Plan { expire_ms: Some(9), ..Plan::default() };
    let (lines, _) = rebuild(Group::String, NEWEST(), plan, &[chunk("ab", false), chunk("c", true)]);
    assert_eq!(lines, ["SET k ab", "APPEND k c", "PEXPIREAT k 9"]);
}

#[test]
fn expiries_of_fields_follow_their_batch() {
    let field = |name, expire_ms| Element::HashField { field: word(name), value: word("v"), expire_ms };
    let hash = [field("a", Some(5)), field("b", None), field("c", Some(5)), field("d", Some(6))];
    let (lines, losses) = rebuild(Group::Hash, NEWEST(), Plan::default(), &hash);
    let expected = ["UNLINK k", "HSET k a v b v c v d v", "HPEXPIREAT k 5 FIELDS 2 a c", "HPEXPIREAT k 6 FIELDS 1 d"];
    assert_eq!((lines, losses), (expected.map(str::to_owned).to_vec(), Losses::default()));
    let plan = Plan { field_ttl: FieldTtl::Later { by_ms: 10, before_ms: 6 }, ..Plan::default() };
    let (lines, _) = rebuild(Group::Hash, Target::valkey(9, 0), plan, &hash);
    assert_eq!(lines[2..], ["HPEXPIREAT k 15 FIELDS 2 a c", "HPEXPIREAT k 6 FIELDS 1 d"]);
    let plan = Plan { field_ttl: FieldTtl::Drop, ..plan };
    let (lines, losses) = rebuild(Group::Hash, Target::redis(3, 0), plan, &hash);
    assert_eq!((lines[1..].to_vec(), losses.field_ttls), (vec!["HMSET k a v b v c v d v".to_owned()], 3));
    let mut rebuilder = Rebuilder::new(b"k", Group::Hash, Target::valkey(8, 1), Plan::default()).unwrap();
    assert_eq!(rebuilder.push(&hash[0], &mut Vec::new()), Err(Refusal::FieldTtl));
}

/// A stream without entries, one group, one consumer, three pending entries.
fn stream(history: Option<StreamHistory>) -> Vec<Element<'static>> {
    let pending = |ms, delivered_ms| Element::Pending {
        group: Hidden(b"g"),
        consumer: Hidden(b"c"),
        id: at(ms, 0),
        delivered_ms,
        deliveries: 3,
    };
    vec![
        Element::StreamInfo(StreamInfo { length: 0, last_id: at(9, 1), history }),
        Element::Group { group: Hidden(b"g"), last_id: at(8, 0), entries_read: Some(4) },
        Element::Consumer { group: Hidden(b"g"), consumer: Hidden(b"c"), seen_ms: 1, active_ms: None },
        pending(1, 100),
        pending(2, 100),
        pending(3, 101),
    ]
}

#[test]
fn streams_get_what_the_target_has_commands_for() {
    let history = StreamHistory { first_id: at(0, 0), max_deleted_id: at(7, 0), entries_added: 6 };
    let (lines, losses) = rebuild(Group::Stream, Target::redis(7, 0), Plan::default(), &stream(Some(history)));
    let expected = [
        "UNLINK k",
        "XADD k MAXLEN 0 9-1 x y",
        "XSETID k 9-1 ENTRIESADDED 6 MAXDELETEDID 7-0",
        "XGROUP CREATE k g 8-0 ENTRIESREAD 4",
        "XGROUP CREATECONSUMER k g c",
        "XCLAIM k g c 0 1-0 2-0 TIME 100 RETRYCOUNT 3 FORCE JUSTID",
        "XCLAIM k g c 0 3-0 TIME 101 RETRYCOUNT 3 FORCE JUSTID",
    ];
    assert_eq!(lines, expected);
    assert_eq!(losses, Losses { consumer_times: 1, ..Losses::default() });
    let (lines, _) = rebuild(Group::Stream, Target::redis(5, 0), Plan::default(), &stream(Some(history)));
    assert_eq!(lines[0], "DEL k");
    assert_eq!(lines[1], "XADD k MAXLEN 0 9-1 x y");
    assert_eq!(lines[2], "XGROUP CREATE k g 8-0");
    assert_eq!(lines[3], "XREADGROUP GROUP g c COUNT 1 STREAMS k 0");
    let (lines, _) = rebuild(Group::Stream, Target::redis(7, 2), Plan::default(), &stream(None));
    assert_eq!(lines[2], "XSETID k 9-1 ENTRIESADDED 0 MAXDELETEDID 0-0");
    assert_eq!(lines[3], "XGROUP CREATE k g 8-0 ENTRIESREAD 0");
}

#[test]
fn what_is_pending_and_gone_is_there_for_a_while() {
    let history = StreamHistory { first_id: at(0, 0), max_deleted_id: at(7, 0), entries_added: 6 };
    let elements = stream(Some(history));
    let mut pending = PendingIds::default();
    elements.iter().for_each(|element| pending.note(element));
    assert_eq!((pending.len(), pending.is_empty()), (3, false));
    let mut out = Vec::new();
    let mut rebuilder = Rebuilder::new(b"k", Group::Stream, Target::redis(7, 0), Plan::default()).unwrap();
    rebuilder = rebuilder.with_pending(pending);
    for element in elements.iter().chain([&Element::End]) {
        rebuilder.push(element, &mut out).unwrap();
    }
    let lines = lines(&out);
    assert_eq!(rebuilder.commands(), lines.len() as u64);
    assert_eq!(
        lines[1..5],
        ["XADD k 1-0 x y", "XADD k 2-0 x y", "XADD k 3-0 x y", "XSETID k 9-1 ENTRIESADDED 6 MAXDELETEDID 7-0"]
    );
    assert_eq!(lines[9..], ["XTRIM k MAXLEN 0", "XSETID k 9-1 ENTRIESADDED 6 MAXDELETEDID 7-0"]);
}

/// The ID of a node that starts at 4-0, behind the number of nodes.
const NODE_4: &[u8; 18] = b"\x01\x10\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\0";

#[test]
fn gaps_are_filled_where_they_are() {
    let mut pending = PendingIds::default();
    for ms in [7, 5, 4, 2] {
        let (group, consumer) = (Hidden(b"g"), Hidden(b"c"));
        pending.note(&Element::Pending { group, consumer, id: at(ms, 0), delivered_ms: 0, deliveries: 1 });
    }
    let (mut out, mut raw) = (Vec::new(), NODE_4.to_vec());
    let node = packed::tests::listpack(&[2, 0, 1, -1, 0, 2, 0, 0, -2, 4, 2, 2, 0, -3, 4].map(|n: i64| match n {
        -1 => packed::tests::Element::Bytes(b"f".to_vec()),
        -2 => packed::tests::Element::Bytes(b"a".to_vec()),
        -3 => packed::tests::Element::Bytes(b"b".to_vec()),
        _ => packed::tests::Element::Int(n),
    }));
    raw.push(node.len() as u8);
    raw.extend(node);
    raw.extend(b"\x02\x09\x01\x00");
    let mut decoder = ValueDecoder::new(ValueType::from_byte(15, Magic::Redis).unwrap(), DecodeLimits::default());
    let mut rebuilder = Rebuilder::new(b"k", Group::Stream, Target::redis(7, 0), Plan::default()).unwrap();
    rebuilder = rebuilder.with_pending(pending);
    let mut start = 0;
    while !decoder.is_finished() {
        let (used, element) = decoder.next(&raw[start..]).unwrap();
        rebuilder.push(&element.unwrap(), &mut out).unwrap();
        start += used;
    }
    let expected = [
        "UNLINK k",
        "XADD k 2-0 x y",
        "XADD k 4-0 f a",
        "XADD k 5-0 x y",
        "XADD k 6-0 f b",
        "XADD k 7-0 x y",
        "XSETID k 9-1 ENTRIESADDED 5 MAXDELETEDID 0-0",
        "XTRIM k MAXLEN 4",
        "XDEL k 5-0 7-0",
        "XSETID k 9-1 ENTRIESADDED 2 MAXDELETEDID 0-0",
    ];
    assert_eq!(lines(&out), expected);
}

#[test]
fn what_the_target_cannot_hold_is_refused() {
    let new = |group, target| Rebuilder::new(b"k", group, target, Plan::default()).map(|_| ());
    assert_eq!(new(Group::Stream, Target::redis(4, 0)), Err(Refusal::Streams));
    assert!(matches!(new(Group::Module, NEWEST()), Err(Refusal::Module { .. })));
    let mut rebuilder = Rebuilder::new(b"k", Group::Set, NEWEST(), Plan::default()).unwrap();
    assert_eq!(rebuilder.push(&Element::ListElement(word("a")), &mut Vec::new()), Err(Refusal::OutOfPlace));
    assert!(!format!("{:?}", Rebuilder::new(b"secret", Group::Set, NEWEST(), Plan::default())).contains("secret"));
}

#[test]
fn every_golden_value_becomes_commands() {
    for golden in golden::all("") {
        golden::read(
            &golden.bytes,
            Limits::default(),
            || usize::MAX,
            |item| {
                let Item::Entry(entry) = item else { return };
                let plan = Plan { expire_ms: entry.expire_ms, ..Plan::default() };
                let Ok(mut rebuilder) = Rebuilder::new(entry.key, entry.kind.group(), NEWEST(), plan) else {
                    assert_eq!(entry.kind.group(), Group::Module);
                    return;
                };
                let mut decoder = ValueDecoder::new(entry.kind, DecodeLimits::default());
                let (mut out, mut start) = (Vec::new(), 0);
                while !decoder.is_finished() {
                    let (used, element) = decoder.next(&entry.raw[start..]).unwrap();
                    rebuilder.push(&element.unwrap(), &mut out).unwrap();
                    start += used;
                }
                assert_eq!(lines(&out).len() as u64, rebuilder.commands());
            },
        );
    }
}

proptest! {
    #[test]
    fn batches_keep_to_their_bounds(lens in prop::collection::vec(0..200_usize, 1..200), bytes in 1..2000_usize, elements in 1..50_usize) {
        let plan = Plan { batch_bytes: bytes, batch_elements: elements, ..Plan::default() };
        let mut rebuilder = Rebuilder::new(b"k", Group::Hash, NEWEST(), plan).unwrap();
        let mut all = Vec::new();
        for (i, &len) in lens.iter().enumerate() {
            let mut out = Vec::new();
            let value = vec![b'v'; len];
            let expire_ms = (i % 3 == 0).then_some(i as u64);
            let field = Element::HashField { field: Scalar::Int(i as i64), value: Scalar::Bytes(&value), expire_ms };
            rebuilder.push(&field, &mut out).unwrap();
            // A batch, what removes the key, and expiries of as many fields.
            prop_assert!(out.len() <= 2 * bytes.max(300) + 200 + 100 * elements);
            all.extend(out);
        }
        rebuilder.push(&Element::End, &mut all).unwrap();
        let lines = lines(&all);
        let mut fields = 0;
        for line in lines.iter().filter(|line| line.starts_with("HSET ")) {
            let count = (line.split(' ').count() - 2) / 2;
            prop_assert!(count <= elements && (count == 1 || line.len() <= bytes));
            fields += count;
        }
        prop_assert_eq!(fields, lens.len());
    }
}
