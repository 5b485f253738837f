//! The decoder against what real servers read from the golden dumps with the commands of each type; see
//! `tests/golden/values.py`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use super::*;
use crate::crc;

fn number(value: Option<u64>) -> Vec<u8> {
    value.map_or(b"-".to_vec(), |value| value.to_string().into_bytes())
}

fn id_text(id: StreamId) -> Vec<u8> {
    format!("{}-{}", id.ms, id.seq).into_bytes()
}

/// What is told of a group.
#[derive(Default)]
struct Told {
    head: Vec<Vec<u8>>,
    consumers: BTreeSet<Vec<u8>>,
    pending: BTreeMap<StreamId, Vec<Vec<u8>>>,
}

/// The number of elements and the parts of a value, in the form of `tests/golden/values.py`.
pub(super) fn parts(group: Group, events: Vec<Event>, times: bool) -> (usize, Vec<Vec<u8>>) {
    let mut items: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut tail = Vec::new();
    let mut groups: BTreeMap<Vec<u8>, Told> = BTreeMap::new();
    let mut known = false;
    for event in events {
        match event {
            Event::Chunk(bytes, _) => match items.first_mut() {
                Some(first) => first[0].extend(bytes),
                None => items.push(vec![bytes]),
            },
            Event::List(element) | Event::Set(element) => items.push(vec![element]),
            Event::Zset(member, score) => {
                // Servers lose the sign of zero where they load a small sorted set.
                let score = f64::from_bits(score) + 0.0;
                items.push(vec![member, score.to_le_bytes().to_vec()]);
            }
            Event::Hash(field, value, expiry) => items.push(vec![field, value, number(expiry)]),
            Event::Entry(id, fields) => items.push([vec![id_text(id)], fields].concat()),
            Event::Info(info) => {
                assert_eq!(info.length, items.len() as u64);
                known = info.history.is_some();
                let history = info.history;
                tail.extend([b"last".to_vec(), id_text(info.last_id), number(history.map(|h| h.entries_added))]);
                tail.push(history.map_or(b"-".to_vec(), |h| id_text(h.max_deleted_id)));
            }
            Event::Group(name, last, read) => {
                let head = vec![b"group".to_vec(), name.clone(), id_text(last), number(read.filter(|_| known))];
                groups.insert(name, Told { head, ..Told::default() });
            }
            Event::Consumer(group, name, ..) => {
                groups.get_mut(&group).unwrap().consumers.insert(name);
            }
            Event::Pending(group, consumer, id, time, count) => {
                let time = if times { time } else { 0 };
                let all = vec![id_text(id), consumer, number(Some(count)), number(Some(time))];
                groups.get_mut(&group).unwrap().pending.insert(id, all);
            }
            Event::Idempotency(..) | Event::Produced(..) | Event::Module(_) | Event::End => {}
        }
    }
    let count = if group == Group::String { items[0][0].len() } else { items.len() };
    if matches!(group, Group::Set | Group::Zset | Group::Hash) {
        items.sort();
    }
    let mut all = items.concat();
    all.extend(tail);
    for told in groups.into_values() {
        all.extend(told.head);
        all.push(b"consumers".to_vec());
        all.extend(told.consumers);
        all.extend(told.pending.into_values().flatten());
    }
    (count, all)
}

#[test]
fn golden_values_are_what_their_servers_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for golden in golden::all("").iter().filter(|golden| golden.name != "redis-4.0-hellotype") {
        let text = fs::read_to_string(folder.join(format!("{}.values", golden.name))).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        let times = lines.remove(0) == "times yes";
        let mut found = Vec::new();
        each_value(golden, |db, key, kind, raw| {
            if kind.group() == Group::Module {
                return;
            }
            let (count, parts) = parts(kind.group(), whole(kind, raw), times);
            let mut text = Vec::new();
            for part in parts {
                text.extend(format!("{}:", part.len()).into_bytes());
                text.extend(part);
                text.push(b',');
            }
            let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            let key = if key.is_empty() { "-" } else { &key };
            found.push(format!("{db} {key} {count} {:016x}", crc::checksum(&text)));
        });
        found.sort();
        lines.sort_unstable();
        let wrong: Vec<_> = found.iter().zip(&lines).filter(|(found, line)| found != line).collect();
        assert!(wrong.is_empty() && found.len() == lines.len(), "{} {wrong:?}", golden.name);
    }
}
