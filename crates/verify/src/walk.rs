//! From one end of a database to the other, by SCAN, on several connections at once.
//!
//! A scanner hands batches to workers, so that both servers and this process work at the same time, and a long way to a
//! server costs little. Batches end in any order; the position only moves over those that are all done. Every key that is
//! there all the time is seen; SCAN may give one twice, which then counts twice.

mod keys;

use std::{borrow::Cow, cell::RefCell, collections::BTreeMap};

use self::keys::is_ours;
pub(crate) use self::keys::{Key, Keys, Names};
use keyferry_keyspace::objects::{Choice, Objects};
use keyferry_model::{Error, ErrorKind, Result, Side as Which};
use tokio::sync::{Mutex, mpsc};

use crate::{
    asker::Answer,
    check::{Checker, Found, places},
    flat::{elements, scanned},
    outcome::{Stage, Stats},
    pair::{Dbs, Half, Pair},
    rate::Rate,
    store::{Position, Store},
};

/// Keys that SCAN is asked for at once: it takes the server less than a millisecond.
const COUNT: u64 = 1_000;
/// Connections to each side that batches are compared on.
const WORKERS: usize = 4;
/// Batches that wait for a worker.
const WAITING: usize = 2;

/// What all walks of a comparison share.
pub(crate) struct Walks<'a> {
    pub(crate) pair: &'a Pair<'a>,
    pub(crate) store: &'a Store,
    pub(crate) stats: &'a Stats,
    pub(crate) rate: &'a Rate,
    pub(crate) run: i64,
}

/// A batch on its way to a worker.
struct Work {
    number: u64,
    keys: Keys,
    /// The cursor behind it.
    cursor: Vec<u8>,
}

/// Walks one database of one side, from where it was. With the source's keys both sides are compared; of the target's it is
/// only asked whether the source has them.
///
/// Errors: those of the connections and the store. What is done by then is kept.
pub(crate) async fn walk(walks: &Walks<'_>, dbs: Dbs, which: Which) -> Result<()> {
    let at = walks.store.position(walks.run, which.name(), dbs.source)?;
    // A cursor of an earlier start of the server means nothing, and what was compared with an earlier start may be lost.
    let servers = format!("{} {}", walks.pair.source.start.kept(), walks.pair.target.start.kept());
    let at = match at.filter(|at| at.servers == servers) {
        Some(at) => at,
        None => {
            let start =
                Position { side: which.name(), db: dbs.source, servers, cursor: "0".into(), keys: 0, done: false };
            walks.store.begin_walk(walks.run, &start)?;
            start
        }
    };
    if at.done {
        return Ok(());
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    let receiver = Mutex::new(receiver);
    let start = at.cursor.clone();
    let progress = RefCell::new(Progress { at, next: 0, ended: BTreeMap::new() });
    let scan = Box::pin(scan(walks, dbs, which, start, sender));
    let worker = || Box::pin(work(walks, dbs, which, &receiver, &progress));
    const { assert!(WORKERS == 4) };
    tokio::try_join!(scan, worker(), worker(), worker(), worker()).map(|_| ())
}

async fn scan(walks: &Walks<'_>, dbs: Dbs, which: Which, start: String, sender: mpsc::Sender<Work>) -> Result<()> {
    let (side, db) = match which {
        Which::Source => (&walks.pair.source, dbs.source),
        Which::Target => (&walks.pair.target, dbs.target),
    };
    let mut half = Half::open(side).await?;
    half.select(db).await?;
    let count = walks.rate.batch(COUNT);
    let (mut cursor, mut number) = (start.into_bytes(), 0);
    loop {
        half.batch.push(&[b"SCAN", &cursor, b"COUNT", count.to_string().as_bytes()]);
        half.ask().await?;
        let page = match half.answers.next() {
            Answer::Array(page) => page,
            Answer::Error(text) => return Err(half.asker.refused("SCAN", text)),
            _ => return Err(half.asker.unexpected("SCAN")),
        };
        let Some((next, found)) = scanned(page) else { return Err(half.asker.unexpected("SCAN")) };
        let (mut keys, mut seen) = (Keys::default(), 0);
        for name in elements(found).flatten().filter(|name| !is_ours(name)) {
            seen += 1;
            choose(&mut keys, name, which, &walks.pair.spec.objects)?;
        }
        cursor = next.to_vec();
        let done = next == b"0";
        // Also those that are not chosen were work.
        walks.rate.take(seen).await;
        let work = Work { number, keys, cursor: cursor.clone() };
        if sender.send(work).await.is_err() {
            return Err(Error::new(ErrorKind::Internal, "hand a batch on: nobody takes it"));
        }
        if done {
            return Ok(());
        }
        number += 1;
    }
}

/// Adds a key that a side has named, when it is chosen.
///
/// Errors: `OutsideObjects` for a key of the source whose name another one may have on the target.
fn choose(keys: &mut Keys, name: &[u8], which: Which, objects: &Objects) -> Result<()> {
    match which {
        Which::Source => match objects.key(name) {
            Choice::Out => {}
            Choice::Same => keys.push(name),
            Choice::New(start, end) => keys.push_as(name, &[start, end].concat()),
            Choice::Clash => {
                let what = "compare a key of the source: its name is one that a new prefix gives to another key";
                return Err(Error::new(ErrorKind::OutsideObjects, what));
            }
        },
        Which::Target => match objects.source_key(name) {
            None => {}
            Some(Cow::Borrowed(source)) => keys.push(source),
            Some(Cow::Owned(source)) => keys.push_as(&source, name),
        },
    }
    Ok(())
}

async fn work(
    walks: &Walks<'_>,
    dbs: Dbs,
    which: Which,
    receiver: &Mutex<mpsc::Receiver<Work>>,
    progress: &RefCell<Progress>,
) -> Result<()> {
    let mut checker = Checker::open(walks.pair).await?;
    loop {
        let work = receiver.lock().await.recv().await;
        let Some(Work { number, keys, cursor }) = work else { return Ok(()) };
        let found = match which {
            _ if keys.is_empty() => Vec::new(),
            Which::Source => checker.check(dbs, &keys, true).await?,
            Which::Target => checker.check_absent(dbs, &keys).await?,
        };
        // Counted are those that were compared.
        let count = keys.len() as u64 - std::mem::take(&mut checker.left_out);
        let moved = progress.borrow_mut().end(number, cursor, count);
        keep(walks, dbs, &keys, &found, moved.as_ref())?;
    }
}

fn keep(walks: &Walks<'_>, dbs: Dbs, keys: &Keys, found: &[Found], moved: Option<&Position>) -> Result<()> {
    let store = walks.store;
    store.keep(walks.run, dbs.source, keys.on_source(), found, moved)?;
    walks.stats.add_differing(places(found).len() as u64);
    let Some(moved) = moved else { return Ok(()) };
    let stage = if moved.side == Which::Source.name() { Stage::Source } else { Stage::Target };
    walks.stats.set_walked(stage, store.walked(walks.run, moved.side)?);
    Ok(())
}

/// Which batches are done.
struct Progress {
    at: Position,
    /// The first batch that is not.
    next: u64,
    /// Those behind it: their cursors and keys.
    ended: BTreeMap<u64, (Vec<u8>, u64)>,
}

impl Progress {
    /// A batch is done. Gives the position when it has moved.
    fn end(&mut self, number: u64, cursor: Vec<u8>, keys: u64) -> Option<Position> {
        self.ended.insert(number, (cursor, keys));
        let before = self.next;
        while let Some((cursor, keys)) = self.ended.remove(&self.next) {
            self.next += 1;
            self.at.keys += keys;
            self.at.cursor = String::from_utf8_lossy(&cursor).into_owned();
            self.at.done = self.at.cursor == "0";
        }
        (self.next > before).then(|| self.at.clone())
    }
}

/// How many keys there are to walk, of both sides.
pub(crate) fn expected(pair: &Pair<'_>, databases: &[Dbs]) -> u64 {
    databases.iter().map(|dbs| pair.source.keys(dbs.source).0 + pair.target.keys(dbs.target).0).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_never_passes_a_batch_that_is_not_done() {
        let at = Position { side: "source", db: 0, servers: String::new(), cursor: "0".into(), keys: 5, done: false };
        let mut progress = Progress { at, next: 0, ended: BTreeMap::new() };
        assert!(progress.end(1, b"20".to_vec(), 10).is_none());
        assert!(progress.end(2, b"0".to_vec(), 1).is_none());
        let at = progress.end(0, b"10".to_vec(), 100).unwrap();
        assert_eq!((&at.cursor[..], at.keys, at.done), ("0", 116, true));
    }
}
