//! What is not a plain string on both sides: in steps, each for all such keys of a batch at once.
//!
//! 1. Types and deadlines: what is missing, of another type, or expires at another time.
//! 2. Lengths and sizes: enough where no more is wanted, and what tells small values from large ones.
//! 3. Payloads (DUMP), where both servers write the same one for nearly all equal values. Unequal ones prove nothing.
//! 4. Small values as a whole; streams and large values one by one, in pieces.

use keyferry_keyspace::Kind as Group;
use keyferry_model::Result;

use super::{Checker, Found, deadlines, lengths_differ};
use crate::{
    asker::Answer,
    difference::Kind,
    pair::{Half, Link},
    value::{self, Members, Verdict},
    walk::{Key, Keys},
};

/// Larger values are compared in pieces.
const BIG: u64 = 1 << 20;
/// Values that are asked for at once have so many bytes on a side, as far as the servers tell.
const AT_ONCE: u64 = 1 << 20;
/// Above this, hashes and sets are kept in the order of a hash table with a seed of its own (hash-max-listpack-entries and its
/// kin), so that their payloads differ anyhow.
const ORDERED: u64 = 128;
/// Bytes of an element, where a server does not tell the size of the value.
const ELEMENT: u64 = 100;
/// Bytes after the value in a payload, which name the version that wrote it (cluster.c createDumpPayload).
const FOOTER: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    String,
    List,
    Stream,
    Members(Members),
    /// Of a module: only the payload can be compared.
    Other(Vec<u8>),
}

impl Type {
    /// `None` for a key that is not there.
    fn read(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"none" => return None,
            b"string" => Self::String,
            b"list" => Self::List,
            b"stream" => Self::Stream,
            b"hash" => Self::Members(Members::Hash),
            b"set" => Self::Members(Members::Set),
            b"zset" => Self::Members(Members::Zset),
            other => Self::Other(other.to_vec()),
        })
    }

    /// Its kind as rules name it.
    pub(crate) fn group(&self) -> Group {
        match self {
            Self::String => Group::String,
            Self::List => Group::List,
            Self::Stream => Group::Stream,
            Self::Members(Members::Hash) => Group::Hash,
            Self::Members(Members::Set) => Group::Set,
            Self::Members(Members::Zset) => Group::SortedSet,
            Self::Other(_) => Group::Module,
        }
    }

    fn length(&self) -> Option<&'static [u8]> {
        match self {
            Self::String => Some(b"STRLEN"),
            Self::List => Some(b"LLEN"),
            Self::Stream => Some(b"XLEN"),
            Self::Members(members) => Some(members.count()),
            Self::Other(_) => None,
        }
    }

    /// The command that answers the whole value.
    fn push_whole(&self, link: &mut Link, key: Key<'_>) {
        match self {
            Self::List => link.push(&[b"LRANGE"], key, &[b"0", b"-1"]),
            Self::Members(Members::Hash) => link.push(&[b"HGETALL"], key, &[]),
            Self::Members(Members::Set) => link.push(&[b"SMEMBERS"], key, &[]),
            Self::Members(Members::Zset) => link.push(&[b"ZRANGE"], key, &[b"0", b"-1", b"WITHSCORES"]),
            Self::String | Self::Stream | Self::Other(_) => {}
        }
    }
}

/// A key that both sides have, with values of the same type.
struct Same {
    at: usize,
    kind: Type,
    /// The larger of both lengths.
    elements: u64,
    /// The larger of both sizes in bytes, or a guess.
    bytes: u64,
}

impl Checker<'_> {
    /// Compares the keys at these places. With `presence` only whether both sides have them.
    pub(super) async fn others(
        &mut self,
        keys: &Keys,
        places: &[usize],
        presence: bool,
        found: &mut Vec<Found>,
    ) -> Result<()> {
        let same = self.types(keys, places, presence, found).await?;
        if presence {
            return Ok(());
        }
        let mut same = self.lengths(keys, same, found).await?;
        same.sort_by_key(|one| self.is_single(one));
        let single = same.split_off(same.partition_point(|one| !self.is_single(one)));
        let mut small = same.into_iter().peekable();
        while small.peek().is_some() {
            let (mut group, mut bytes) = (Vec::new(), 0);
            while let Some(one) = small.next_if(|one| bytes == 0 || bytes + one.bytes <= AT_ONCE) {
                bytes += one.bytes.max(1);
                group.push(one);
            }
            self.group(keys, group, found).await?;
        }
        for one in single {
            let verdict = self.single(keys.get(one.at), &one.kind).await?;
            note(found, one.at, verdict);
        }
        Ok(())
    }

    /// Step 1.
    async fn types(
        &mut self,
        keys: &Keys,
        places: &[usize],
        presence: bool,
        found: &mut Vec<Found>,
    ) -> Result<Vec<(usize, Type)>> {
        let pair = self.pair;
        let both = [
            (&pair.source, &mut self.link.source, keys.on_source()),
            (&pair.target, &mut self.link.target, keys.on_target()),
        ];
        for (side, half, names) in both {
            side.ask_deadlines(&mut half.batch, places.iter().map(|&at| names.get(at)));
            places.iter().for_each(|&at| half.batch.push(&[b"TYPE", names.get(at)]));
        }
        self.link.ask().await?;
        let (now, ours) = deadlines(&pair.source, &mut self.link.source, places.len())?;
        let (target_now, theirs) = deadlines(&pair.target, &mut self.link.target, places.len())?;
        let chosen = |kind: &Type| pair.spec.objects.allows_type(kind.group());
        let mut same = Vec::new();
        for ((&at, a), b) in places.iter().zip(ours).zip(theirs) {
            let types = match (read_type(&mut self.link.source)?, read_type(&mut self.link.target)?) {
                (Some(ours), theirs) if chosen(&ours) => (Some(ours), theirs),
                // What is left out on the source has no image, which could only be a value of a chosen type.
                (ours, theirs) => {
                    self.left_out += u64::from(ours.is_some());
                    (None, theirs.filter(chosen))
                }
            };
            let mut differs = |kind, detail: String| found.push(Found { at, kind, detail });
            match types {
                (None, None) => {}
                (Some(_), None) if pair.rules.is_over(a, now, false) => {}
                (None, Some(_)) if pair.rules.is_over(b, target_now, true) => {}
                (Some(_), None) => differs(Kind::MissingOnTarget, String::new()),
                (None, Some(_)) => differs(Kind::MissingOnSource, String::new()),
                _ if presence => {}
                (Some(ours), Some(theirs)) if ours != theirs => {
                    differs(Kind::Type, format!("{} / {}", word(&ours), word(&theirs)));
                }
                (Some(kind), Some(_)) => {
                    if let Some(detail) = pair.rules.keys(a, b) {
                        differs(Kind::Ttl, detail);
                    }
                    same.push((at, kind));
                }
            }
        }
        Ok(same)
    }

    /// Step 2. Gives what has to be looked at whole.
    async fn lengths(&mut self, keys: &Keys, same: Vec<(usize, Type)>, found: &mut Vec<Found>) -> Result<Vec<Same>> {
        let memory = self.pair.source.tells_memory() && self.pair.target.tells_memory();
        for (at, kind) in &same {
            let key = keys.get(*at);
            if let Some(length) = kind.length() {
                self.link.push(&[length], key, &[]);
                if memory {
                    self.link.push(&[b"MEMORY", b"USAGE"], key, &[]);
                }
            }
        }
        self.link.ask().await?;
        let mut whole = Vec::new();
        for (at, kind) in same {
            let wanted = self.wants_whole(keys.get(at).source);
            if kind.length().is_none() {
                if wanted {
                    whole.push(Same { at, kind, elements: 0, bytes: 0 });
                }
                continue;
            }
            let lengths = (self.link.source.answers.next(), self.link.target.answers.next());
            let lengths = if let (Answer::Int(a), Answer::Int(b)) = lengths { Some((a, b)) } else { None };
            let mut bytes = 0;
            if memory {
                let sizes = (self.link.source.answers.next(), self.link.target.answers.next());
                for size in [sizes.0, sizes.1] {
                    // A user who may not ask for it only loses the better guess.
                    bytes = bytes.max(if let Answer::Int(n) = size { n as u64 } else { 0 });
                }
            }
            let Some((a, b)) = lengths else {
                note(found, at, Verdict::moved());
                continue;
            };
            if !wanted {
                found.extend(lengths_differ(a, b).map(|detail| Found { at, kind: Kind::Value, detail }));
                continue;
            }
            let elements = a.max(b) as u64;
            let bytes = if bytes > 0 { bytes } else { elements.saturating_mul(ELEMENT) };
            whole.push(Same { at, kind, elements, bytes });
        }
        Ok(whole)
    }

    /// Whether a value is compared by itself.
    fn is_single(&self, one: &Same) -> bool {
        let dumps = self.pair.same_dumps();
        match one.kind {
            // What comes here did not fit between others.
            Type::String => true,
            Type::Stream if !dumps => true,
            Type::Other(_) => false,
            _ => one.elements > self.pair.spec.big_key_limit || one.bytes > BIG,
        }
    }

    /// Steps 3 and 4 for small values.
    async fn group(&mut self, keys: &Keys, group: Vec<Same>, found: &mut Vec<Found>) -> Result<()> {
        let mut unequal = Vec::new();
        let mut dumped = Vec::new();
        for one in group {
            let unordered = matches!(one.kind, Type::Members(Members::Hash | Members::Set)) && one.elements > ORDERED;
            let dump = matches!(one.kind, Type::Other(_)) || self.pair.same_dumps() && !unordered;
            if dump {
                self.link.push(&[b"DUMP"], keys.get(one.at), &[]);
                dumped.push(one);
            } else {
                unequal.push(one);
            }
        }
        self.link.ask().await?;
        for one in dumped {
            let equal = match (self.link.source.answers.next(), self.link.target.answers.next()) {
                (Answer::Bytes(a), Answer::Bytes(b)) => same_payload(a, b),
                _ => false,
            };
            match one.kind {
                _ if equal => {}
                Type::Other(_) => {
                    let detail = "the payloads of a module's value differ, which can be the form alone".into();
                    note(found, one.at, Verdict::value(Some(detail)));
                }
                _ => unequal.push(one),
            }
        }
        let (whole, streams): (Vec<_>, Vec<_>) = unequal.into_iter().partition(|one| one.kind != Type::Stream);
        self.whole(keys, &whole, found).await?;
        for one in streams {
            let verdict = self.single(keys.get(one.at), &one.kind).await?;
            note(found, one.at, verdict);
        }
        Ok(())
    }

    /// Step 4 for small values.
    async fn whole(&mut self, keys: &Keys, group: &[Same], found: &mut Vec<Found>) -> Result<()> {
        for one in group {
            one.kind.push_whole(&mut self.link, keys.get(one.at));
        }
        self.link.ask().await?;
        let (mut hashes, mut large) = (Vec::new(), Vec::new());
        for one in group {
            let replies = (self.link.source.answers.next(), self.link.target.answers.next());
            let verdict = match (replies, &one.kind) {
                ((Answer::Skipped(_), _) | (_, Answer::Skipped(_)), _) => {
                    large.push(one);
                    continue;
                }
                ((Answer::Array(a), Answer::Array(b)), Type::Members(Members::Hash)) => {
                    hashes.push((one.at, a.to_vec(), b.to_vec()));
                    continue;
                }
                ((Answer::Array(a), Answer::Array(b)), Type::Members(Members::Set)) => value::set(a, b),
                ((Answer::Array(a), Answer::Array(b)), Type::Members(Members::Zset)) => value::scores(a, b),
                ((Answer::Array(a), Answer::Array(b)), _) => value::list(a, b),
                _ => Verdict::moved(),
            };
            note(found, one.at, verdict);
        }
        let keyed = hashes.iter().map(|(at, a, b)| (keys.get(*at), &a[..], &b[..])).collect::<Vec<_>>();
        let verdicts = value::compare_hashes(self.pair, &mut self.link, &keyed).await?;
        for ((at, ..), verdict) in hashes.iter().zip(verdicts) {
            note(found, *at, verdict);
        }
        for one in large {
            let verdict = self.single(keys.get(one.at), &one.kind).await?;
            note(found, one.at, verdict);
        }
        Ok(())
    }

    /// Step 4 for one value of any size.
    async fn single(&mut self, key: Key<'_>, kind: &Type) -> Result<Verdict> {
        let (pair, link) = (self.pair, &mut self.link);
        match kind {
            Type::String => value::compare_string(link, key).await,
            Type::List => value::compare_list(link, key).await,
            Type::Stream => value::compare_stream(pair, link, key).await,
            Type::Members(members) => value::compare_members(pair, link, *members, key).await,
            Type::Other(_) => Ok(Verdict::default()),
        }
    }
}

fn note(found: &mut Vec<Found>, at: usize, verdict: Verdict) {
    let Verdict { value, ttl } = verdict;
    found.extend(value.map(|detail| Found { at, kind: Kind::Value, detail }));
    // A key has one difference of a kind.
    if let Some(detail) = ttl {
        match found.iter_mut().find(|found| found.at == at && found.kind == Kind::Ttl) {
            Some(other) => other.detail = format!("{}; {detail}", other.detail),
            None => found.push(Found { at, kind: Kind::Ttl, detail }),
        }
    }
}

/// The next answer, to TYPE; `None` for a key that is not there.
pub(crate) fn read_type(half: &mut Half) -> Result<Option<Type>> {
    match half.answers.next() {
        Answer::Bytes(name) => Ok(Type::read(name)),
        Answer::Error(text) => Err(half.asker.refused("TYPE", text)),
        _ => Err(half.asker.unexpected("TYPE")),
    }
}

fn word(kind: &Type) -> String {
    match kind {
        Type::String => "string".into(),
        Type::List => "list".into(),
        Type::Stream => "stream".into(),
        Type::Members(Members::Hash) => "hash".into(),
        Type::Members(Members::Set) => "set".into(),
        Type::Members(Members::Zset) => "zset".into(),
        Type::Other(name) => crate::difference::readable(name),
    }
}

fn same_payload(source: &[u8], target: &[u8]) -> bool {
    let body = |payload: &[u8]| payload.len().checked_sub(FOOTER);
    body(source).is_some_and(|len| body(target) == Some(len) && source.get(..len) == target.get(..len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_without_their_footers() {
        assert!(same_payload(b"abc0123456789", b"abc9876543210"));
        assert!(!same_payload(b"abd0123456789", b"abc0123456789"));
        assert!(!same_payload(b"short", b"short"));
    }

    #[test]
    fn one_difference_of_a_kind() {
        let mut found = vec![Found { at: 3, kind: Kind::Ttl, detail: "key".into() }];
        note(&mut found, 3, Verdict { value: None, ttl: Some("field".into()) });
        note(&mut found, 4, Verdict { value: Some("v".into()), ttl: Some("t".into()) });
        let kinds: Vec<_> = found.iter().map(|found| (found.at, found.kind, &found.detail[..])).collect();
        assert_eq!(kinds, [(3, Kind::Ttl, "key; field"), (4, Kind::Value, "v"), (4, Kind::Ttl, "t")]);
    }
}
