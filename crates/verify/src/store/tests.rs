use super::*;
use crate::{
    check::Found,
    difference::Kind,
    outcome::{Counts, Outcome},
    walk::Names,
};

fn keys(names: &[&[u8]]) -> Names {
    let mut keys = Names::default();
    names.iter().for_each(|name| keys.push(name));
    keys
}

fn found(at: usize, kind: Kind) -> Found {
    Found { at, kind, detail: "why".into() }
}

#[test]
fn pages_in_order_and_replaces_what_was_known() {
    let store = Store::open(None).unwrap();
    let run = store.begin("a", "b", "o").unwrap().id;
    let names = keys(&[b"k2", b"k1", b"\xff\0"]);
    let all = [found(0, Kind::Value), found(0, Kind::Ttl), found(1, Kind::Type), found(2, Kind::MissingOnSource)];
    store.keep(run, 3, &names, &all, None).unwrap();
    store.keep(run, 9, &keys(&[b"other"]), &[found(0, Kind::Value)], None).unwrap();
    assert_eq!((store.differing_keys(run).unwrap(), store.counts(run).unwrap().all()), (4, 5));
    let page = |after: Option<(u32, &[u8])>| {
        let (db, keys) = store.differing(run, after, 2).unwrap().unwrap();
        (db, keys.iter(0..keys.len()).map(<[u8]>::to_vec).collect::<Vec<_>>())
    };
    assert_eq!(page(None), (3, vec![b"k1".to_vec(), b"k2".to_vec()]));
    assert_eq!(page(Some((3, b"k2"))), (3, vec![b"\xff\0".to_vec()]));
    assert_eq!(page(Some((3, b"\xff\0"))), (9, vec![b"other".to_vec()]));
    assert!(store.differing(run, Some((9, b"other")), 2).unwrap().is_none());

    store.replace(run, 3, &names, &[found(1, Kind::Ttl)], 2).unwrap();
    let mut shown = Vec::new();
    let (outcome, finished) = store
        .show(0, 10, |one| {
            shown.push((one.db, one.key, one.kind, one.round));
            Ok(())
        })
        .unwrap()
        .unwrap();
    assert_eq!(shown, [(3, b"k1".to_vec(), Kind::Ttl, 2), (9, b"other".to_vec(), Kind::Value, 1)]);
    assert_eq!((outcome.counts.of(Kind::Ttl), outcome.counts.all(), finished), (1, 2, false));
}

/// What a walk finds that begins anew was looked at once.
#[test]
fn a_walk_is_the_first_round() {
    let store = Store::open(None).unwrap();
    let run = store.begin("a", "b", "o").unwrap();
    store.set_round(run.id, 3).unwrap();
    assert_eq!((store.begin("a", "b", "o").unwrap().round, store.round(run.id).unwrap()), (3, 3));
    let at = Position { side: "target", db: 0, servers: "2".into(), cursor: "0".into(), keys: 0, done: false };
    store.begin_walk(run.id, &at).unwrap();
    assert_eq!((store.begin("a", "b", "o").unwrap().round, store.round(run.id).unwrap()), (1, 1));
}

#[test]
fn goes_on_only_with_the_same_comparison() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results");
    let position =
        Position { side: "source", db: 5, servers: "start".into(), cursor: "17".into(), keys: 12, done: false };
    let run = {
        let store = Store::open(Some(&path)).unwrap();
        let run = store.begin("a", "b", "o").unwrap();
        store.keep(run.id, 5, &keys(&[]), &[], Some(&position)).unwrap();
        store.set_round(run.id, 2).unwrap();
        run.id
    };
    let store = Store::open(Some(&path)).unwrap();
    assert_eq!(store.begin("a", "b", "o").unwrap(), Run { id: run, round: 2 });
    assert_eq!(store.position(run, "source", 5).unwrap(), Some(position));
    assert_eq!(store.position(run, "target", 5).unwrap(), None);
    assert_eq!(store.walked(run, "source").unwrap(), 12);
    let other = store.begin("a", "b", "others").unwrap();
    assert!(other.id != run && other.round == 1);
    let outcome = Outcome { keys: 7, counts: Counts::default(), rounds: 3, repaired: 1 };
    store.finish(other.id, &outcome).unwrap();
    assert_eq!(store.show(0, 1, |_| Ok(())).unwrap(), Some((outcome, true)));
    assert!(store.begin("a", "b", "others").unwrap().id != other.id);
}

#[test]
fn a_walk_that_begins_anew_forgets_what_it_found() {
    let store = Store::open(None).unwrap();
    let run = store.begin("a", "b", "o").unwrap().id;
    let names = keys(&[b"a", b"b"]);
    let all = [found(0, Kind::Value), found(1, Kind::MissingOnSource)];
    let at = |side| Position { side, db: 1, servers: "s".into(), cursor: "0".into(), keys: 3, done: true };
    for db in [1, 2] {
        store.keep(run, db, &names, &all, None).unwrap();
    }
    store.begin_walk(run, &at("target")).unwrap();
    assert_eq!(store.counts(run).unwrap().all(), 3);
    store.begin_walk(run, &at("source")).unwrap();
    assert_eq!(store.counts(run).unwrap().all(), 2);
    assert!(store.position(run, "target", 1).unwrap().is_none() && store.position(run, "source", 1).unwrap().is_some());
}

#[test]
fn refuses_what_is_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other");
    std::fs::write(&path, [b'x'; 4096]).unwrap();
    assert_eq!(Store::open(Some(&path)).err().unwrap().kind(), ErrorKind::ResultStore);
    let path = dir.path().join("database");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t(a)").unwrap();
    assert_eq!(Store::open(Some(&path)).err().unwrap().kind(), ErrorKind::ResultStore);
}
