//! One batch of keys on both sides: what differs.
//!
//! Nearly all keys of nearly all data are small strings and take one round trip: MGET, and the deadlines where anything
//! expires. What is not a string there, or does not fit, is asked for in more steps (`check/others.rs`). Looking at a batch
//! changes nothing, so a batch whose connection broke is looked at again.

mod others;

pub(crate) use self::others::read_type;

use std::ops::Range;

use keyferry_keyspace::{Kind as Type, info};
use keyferry_model::Result;

use crate::{
    asker::Answer,
    deadline::Deadline,
    difference::Kind,
    pair::{Dbs, Half, Link, Pair},
    side::Side,
    spec::Mode,
    value,
    walk::Keys,
};

/// Values asked for at once have about so many bytes in all, judged by those before them.
const VALUES: usize = 1 << 20;
/// Where strings are longer than this on the average and only their length is wanted, only that is asked for. Below, the
/// string costs the server less than the second command.
const LONG: usize = 1_024;

/// A difference of the key at a place in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) at: usize,
    pub(crate) kind: Kind,
    pub(crate) detail: String,
}

/// The places at which something was found, in their order.
pub(crate) fn places(found: &[Found]) -> Vec<usize> {
    let mut places: Vec<usize> = found.iter().map(|found| found.at).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// Compares batches on connections of its own.
pub(crate) struct Checker<'a> {
    pair: &'a Pair<'a>,
    link: Link,
    /// Average bytes of a string.
    average: usize,
    /// The databases in which something expires, so that each key is asked.
    expiring: Option<Dbs>,
    /// Keys of the source that were looked at and have a type that is left out.
    pub(crate) left_out: u64,
}

impl<'a> Checker<'a> {
    pub(crate) async fn open(pair: &'a Pair<'a>) -> Result<Self> {
        Ok(Self { pair, link: pair.connect().await?, average: LONG, expiring: None, left_out: 0 })
    }

    /// Finds what differs, in both directions. With `scanned` the source has just named these keys: where only their presence is
    /// wanted, it is not asked again.
    pub(crate) async fn check(&mut self, dbs: Dbs, keys: &Keys, scanned: bool) -> Result<Vec<Found>> {
        self.link.select(dbs).await?;
        let mut found = Vec::new();
        if self.pair.spec.mode == Mode::Keys {
            if self.pair.leaves_out_types() || !self.all_there(keys, !scanned, true).await? {
                let all: Vec<usize> = (0..keys.len()).collect();
                self.others(keys, &all, true, &mut found).await?;
            }
            return Ok(found);
        }
        if !self.pair.spec.objects.allows_type(Type::String) {
            let all: Vec<usize> = (0..keys.len()).collect();
            self.others(keys, &all, false, &mut found).await?;
            return Ok(found);
        }
        let mut rest = Vec::new();
        let mut from = 0;
        while from < keys.len() {
            let to = (from + (VALUES / self.average.max(1)).max(8)).min(keys.len());
            self.plain(dbs, keys, from..to, &mut found, &mut rest).await?;
            from = to;
        }
        if !rest.is_empty() {
            self.others(keys, &rest, false, &mut found).await?;
        }
        Ok(found)
    }

    /// Finds what the source does not have of the keys of the target.
    pub(crate) async fn check_absent(&mut self, dbs: Dbs, keys: &Keys) -> Result<Vec<Found>> {
        self.link.select(dbs).await?;
        let mut found = Vec::new();
        if self.pair.leaves_out_types() || !self.all_there(keys, true, false).await? {
            let all: Vec<usize> = (0..keys.len()).collect();
            self.others(keys, &all, true, &mut found).await?;
            found.retain(|found| found.kind == Kind::MissingOnSource);
        }
        Ok(found)
    }

    /// Whether the sides that are asked have all of these keys. One answer for all of them; a server that is too
    /// old for that (before 3.0.3) only costs the questions one by one.
    async fn all_there(&mut self, keys: &Keys, source: bool, target: bool) -> Result<bool> {
        let both =
            [(source, &mut self.link.source, keys.on_source()), (target, &mut self.link.target, keys.on_target())];
        for (_, half, names) in both.into_iter().filter(|(asked, ..)| *asked) {
            half.batch.push_over(b"EXISTS", names.iter(0..names.len()));
        }
        self.link.ask().await?;
        let all = |half: &mut Half| half.answers.next() == Answer::Int(keys.len() as i64);
        Ok((!source || all(&mut self.link.source)) && (!target || all(&mut self.link.target)))
    }

    /// Compares what is a string on both sides; everything else goes to `rest`.
    async fn plain(
        &mut self,
        dbs: Dbs,
        keys: &Keys,
        range: Range<usize>,
        found: &mut Vec<Found>,
        rest: &mut Vec<usize>,
    ) -> Result<()> {
        let lengths = self.average > LONG && self.pair.spec.mode != Mode::Full;
        let deadlines = loop {
            let expiring = self.expiring == Some(dbs);
            self.push_plain(keys, &range, lengths, expiring);
            self.link.ask().await?;
            if expiring {
                // Behind the values.
                self.link.source.answers.skip(range.len());
                self.link.target.answers.skip(range.len());
                let (_, ours) = deadlines(&self.pair.source, &mut self.link.source, range.len())?;
                let (_, theirs) = deadlines(&self.pair.target, &mut self.link.target, range.len())?;
                break Some((ours, theirs));
            }
            // In front of them is what tells that nothing expires, which was so at that moment.
            let ours = expires(&mut self.link.source, dbs.source)?;
            if !expires(&mut self.link.target, dbs.target)? && !ours {
                break None;
            }
            self.expiring = Some(dbs);
        };
        let first = usize::from(deadlines.is_none());
        let (ours, theirs) = (&self.link.source, &self.link.target);
        for half in [ours, theirs] {
            if let (Answer::Error(text), false) = (half.answers.at(first), lengths) {
                return Err(half.asker.refused("MGET", text));
            }
        }
        let mut bytes = 0;
        for (i, at) in range.clone().enumerate() {
            let whole = self.wants_whole(keys.get(at).source);
            let (a, b) = (ours.answers.at(first + i), theirs.answers.at(first + i));
            bytes += size(a);
            let gone = |(a, b): &(Vec<Deadline>, Vec<Deadline>)| {
                a.get(i) == Some(&Deadline::Gone) || b.get(i) == Some(&Deadline::Gone)
            };
            let detail = match (a, b) {
                _ if deadlines.as_ref().is_some_and(gone) => {
                    rest.push(at);
                    continue;
                }
                (Answer::Bytes(a), Answer::Bytes(b)) if whole => value::string(a, b),
                (Answer::Bytes(a), Answer::Bytes(b)) => lengths_differ(a.len() as i64, b.len() as i64),
                (Answer::Int(a @ 1..), Answer::Int(b @ 1..)) if !whole => lengths_differ(a, b),
                _ => {
                    rest.push(at);
                    continue;
                }
            };
            found.extend(detail.map(|detail| Found { at, kind: Kind::Value, detail }));
            if let Some((Some(a), Some(b))) = deadlines.as_ref().map(|(a, b)| (a.get(i), b.get(i))) {
                let late = self.pair.rules.keys(*a, *b);
                found.extend(late.map(|detail| Found { at, kind: Kind::Ttl, detail }));
            }
        }
        self.average = (self.average * 7 + bytes / range.len().max(1)) / 8;
        Ok(())
    }

    fn push_plain(&mut self, keys: &Keys, range: &Range<usize>, lengths: bool, expiring: bool) {
        let both = [
            (&self.pair.source, &mut self.link.source, keys.on_source()),
            (&self.pair.target, &mut self.link.target, keys.on_target()),
        ];
        for (side, half, names) in both {
            if !expiring {
                half.batch.push(&[b"INFO", b"keyspace"]);
            }
            match lengths {
                true => names.iter(range.clone()).for_each(|key| half.batch.push(&[b"STRLEN", key])),
                false => half.batch.push_per_key(b"MGET", names.iter(range.clone())),
            }
            if expiring {
                side.ask_deadlines(&mut half.batch, names.iter(range.clone()));
            }
        }
    }

    /// Whether the whole value of a key is compared: of a sample of the keys, which is the same in every round.
    fn wants_whole(&self, key: &[u8]) -> bool {
        match self.pair.spec.mode {
            Mode::Full => true,
            Mode::Quick => {
                // FNV-1a: spreads keys that differ in one digit.
                let hash = key
                    .iter()
                    .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
                ((hash >> 32) % 100_000) as f64 / 1_000.0 < self.pair.spec.sample
            }
            Mode::Keys | Mode::Lengths => false,
        }
    }
}

/// Deadlines that were asked for with [`Side::ask_deadlines`].
fn deadlines(side: &Side, half: &mut Half, count: usize) -> Result<(i64, Vec<Deadline>)> {
    side.deadlines(&half.asker, &mut half.answers, count)
}

/// Whether any key of a database expires, from INFO.
fn expires(half: &mut Half, db: u32) -> Result<bool> {
    match half.answers.next() {
        Answer::Bytes(text) => Ok(info::keyspace(text).any(|found| found.db.0 == db && found.expires > 0)),
        Answer::Error(text) => Err(half.asker.refused("INFO", text)),
        _ => Err(half.asker.unexpected("INFO")),
    }
}

fn size(answer: Answer<'_>) -> usize {
    match answer {
        Answer::Bytes(value) => value.len(),
        Answer::Skipped(len) => len,
        Answer::Int(len) => usize::try_from(len).unwrap_or(0),
        _ => 0,
    }
}

fn lengths_differ(source: i64, target: i64) -> Option<String> {
    (source != target).then(|| format!("length {source} / {target}"))
}
