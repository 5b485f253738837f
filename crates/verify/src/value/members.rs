//! Large hashes, sets and sorted sets: what a scan of one side gives is asked of the other by name.
//!
//! A scan gives every member that is there all the time at least once, in constant memory. When all members of the source are
//! on the target and the target has no more than that, nothing is missing on the source either; else the target is scanned
//! too.

use keyferry_model::{Result, Side as Which};

use super::{
    Diff, ON_SOURCE, ON_TARGET, OTHER, Verdict,
    pieces::{fewer, keep_last},
    whole::{pairs, score},
};
use crate::{
    asker::{Answer, Answers},
    deadline::Deadline,
    flat::{elements, scanned},
    pair::{Half, Link, Pair},
    side::Side,
    value::Fields,
    walk::Key,
};

/// Members in one piece, where they are small enough to be kept.
const COUNT: u64 = 1_000;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Members {
    Hash,
    Set,
    Zset,
}

impl Members {
    fn scan(self) -> &'static [u8] {
        match self {
            Self::Hash => b"HSCAN",
            Self::Set => b"SSCAN",
            Self::Zset => b"ZSCAN",
        }
    }

    fn ask(self) -> &'static [u8] {
        match self {
            Self::Hash => b"HGET",
            Self::Set => b"SISMEMBER",
            Self::Zset => b"ZSCORE",
        }
    }

    pub(crate) fn count(self) -> &'static [u8] {
        match self {
            Self::Hash => b"HLEN",
            Self::Set => b"SCARD",
            Self::Zset => b"ZCARD",
        }
    }

    fn word(self) -> &'static str {
        if self == Self::Hash { "field" } else { "member" }
    }
}

/// What the two scans have found so far.
struct Found {
    value: Diff,
    ttl: Diff,
    /// Members that the other side does not have, those included whose time is over.
    absent: u64,
}

/// Compares two values of any size.
pub(crate) async fn compare(pair: &Pair<'_>, link: &mut Link, members: Members, key: Key<'_>) -> Result<Verdict> {
    let mut found = Found { value: Diff::new(members.word()), ttl: Diff::new(members.word()), absent: 0 };
    if !scan(pair, link, members, key, Which::Source, &mut found).await? {
        return Ok(Verdict::moved());
    }
    link.push(&[members.count()], key, &[]);
    link.ask().await?;
    let counts = (link.source.answers.next(), link.target.answers.next());
    let (Answer::Int(ours), Answer::Int(theirs)) = counts else { return Ok(Verdict::moved()) };
    if (ours != theirs || found.absent > 0) && !scan(pair, link, members, key, Which::Target, &mut found).await? {
        return Ok(Verdict::moved());
    }
    Ok(Verdict { value: found.value.detail(), ttl: found.ttl.detail() })
}

/// Scans one side and asks the other. From the target only what the source does not have is noted. `false` when the key has
/// changed in a way that ends it.
async fn scan(
    pair: &Pair<'_>,
    link: &mut Link,
    members: Members,
    key: Key<'_>,
    which: Which,
    found: &mut Found,
) -> Result<bool> {
    let (mut cursor, mut count) = (b"0".to_vec(), COUNT);
    loop {
        keep_last(link, count);
        let (one, other) = sides(link, which);
        let (scanned_key, other_key) = match which {
            Which::Source => (key.source, key.target),
            Which::Target => (key.target, key.source),
        };
        one.batch.push(&[members.scan(), scanned_key, &cursor, b"COUNT", count.to_string().as_bytes()]);
        one.ask().await?;
        let page = match one.answers.next() {
            Answer::Array(raw) => raw,
            Answer::Skipped(_) => {
                count = fewer(count);
                continue;
            }
            _ => return Ok(false),
        };
        let Some((next, items)) = scanned(page) else { return Err(one.asker.unexpected("SCAN")) };
        let (next, items) = (next.to_vec(), items.to_vec());
        let names = names(members, &items);
        for name in &names {
            other.batch.push(&[members.ask(), other_key, name]);
        }
        other.ask().await?;
        if (0..names.len()).any(|i| matches!(other.answers.at(i), Answer::Skipped(_))) {
            count = fewer(count);
            continue;
        }
        let mut theirs = std::mem::take(&mut other.answers);
        let verdict = match members {
            Members::Hash => hash(pair, link, key, which, &items, &mut theirs, found).await,
            Members::Set | Members::Zset => Ok(plain(members, which, &items, &mut theirs, found)),
        };
        sides(link, which).1.answers = theirs;
        if !verdict? {
            return Ok(false);
        }
        if next == b"0" {
            return Ok(true);
        }
        cursor = next;
    }
}

fn sides(link: &mut Link, scanned: Which) -> (&mut Half, &mut Half) {
    match scanned {
        Which::Source => (&mut link.source, &mut link.target),
        Which::Target => (&mut link.target, &mut link.source),
    }
}

fn names(members: Members, items: &[u8]) -> Vec<&[u8]> {
    match members {
        Members::Set => elements(items).flatten().collect(),
        Members::Hash | Members::Zset => pairs(items).map(|(name, _)| name).collect(),
    }
}

/// Members of sets, and of sorted sets with their scores.
fn plain(members: Members, which: Which, items: &[u8], theirs: &mut Answers, found: &mut Found) -> bool {
    let missing = if which == Which::Source { ON_SOURCE } else { ON_TARGET };
    let with_scores = pairs(items).map(|(_, text)| score(text));
    let mut scores = with_scores.chain(std::iter::repeat(None));
    for name in names(members, items) {
        let ours = if members == Members::Zset { scores.next().flatten() } else { None };
        match theirs.next() {
            Answer::Int(0) | Answer::Nil => {
                found.absent += 1;
                found.value.note(name, missing);
            }
            Answer::Int(_) => {}
            Answer::Bytes(text) if which == Which::Target || score(text) == ours => {}
            Answer::Bytes(_) => found.value.note(name, OTHER),
            _ => return false,
        }
    }
    true
}

/// Fields of hashes, with their deadlines where a side tells them.
async fn hash(
    pair: &Pair<'_>,
    link: &mut Link,
    key: Key<'_>,
    which: Which,
    items: &[u8],
    theirs: &mut Answers,
    found: &mut Found,
) -> Result<bool> {
    let fields: Vec<(&[u8], &[u8])> = pairs(items).collect();
    let names: Vec<&[u8]> = fields.iter().map(|(name, _)| *name).collect();
    let times = deadlines(pair, link, &[(key.source, &names)], &[(key.target, &names)]).await?;
    let Some(((ours_now, ours), (theirs_now, others))) = times else { return Ok(false) };
    let at =
        |all: &[Vec<Deadline>], i: usize| all.first().and_then(|all| all.get(i)).copied().unwrap_or(Deadline::Never);
    for (i, (name, value)) in fields.iter().enumerate() {
        let answer = theirs.next();
        match (which, answer) {
            (Which::Source, Answer::Nil) => {
                found.absent += 1;
                if !pair.rules.field_is_over(at(&ours, i), ours_now, false) {
                    found.value.note(name, ON_SOURCE);
                }
            }
            (Which::Target, Answer::Nil) => {
                if !pair.rules.field_is_over(at(&others, i), theirs_now, true) {
                    found.value.note(name, ON_TARGET);
                }
            }
            (Which::Source, Answer::Bytes(other)) => {
                if other != *value {
                    found.value.note(name, OTHER);
                }
                if let Some(how) = pair.rules.fields(at(&ours, i), at(&others, i)) {
                    found.ttl.note(name, &how);
                }
            }
            (Which::Target, Answer::Bytes(_)) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The time of a side, and the deadlines of the fields of each hash.
type FieldTimes = (i64, Vec<Vec<Deadline>>);

/// Keys of hashes and names of their fields.
type Asked<'a> = [(&'a [u8], &'a [&'a [u8]])];

/// Asks both sides for the deadlines of fields; nothing for a side that does not know them. `None` when a key is no hash any
/// more.
async fn deadlines(
    pair: &Pair<'_>,
    link: &mut Link,
    source: &Asked<'_>,
    target: &Asked<'_>,
) -> Result<Option<(FieldTimes, FieldTimes)>> {
    push_deadlines(&pair.source, &mut link.source, source);
    push_deadlines(&pair.target, &mut link.target, target);
    link.ask().await?;
    let ours = read_deadlines(&pair.source, &mut link.source, source)?;
    Ok(ours.zip(read_deadlines(&pair.target, &mut link.target, target)?))
}

fn push_deadlines(side: &Side, half: &mut Half, hashes: &Asked<'_>) {
    if !side.tells_fields {
        return;
    }
    half.batch.push(&[b"TIME"]);
    for (key, names) in hashes.iter().filter(|(_, names)| !names.is_empty()) {
        let count = names.len().to_string();
        let mut args: Vec<&[u8]> = vec![b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
        args.extend_from_slice(names);
        half.batch.push(&args);
    }
}

fn read_deadlines(side: &Side, half: &mut Half, hashes: &Asked<'_>) -> Result<Option<FieldTimes>> {
    if !side.tells_fields {
        return Ok(Some((0, Vec::new())));
    }
    let (now, _) = side.deadlines(&half.asker, &mut half.answers, 0)?;
    let mut all = Vec::with_capacity(hashes.len());
    for (_, names) in hashes {
        if names.is_empty() {
            all.push(Vec::new());
            continue;
        }
        let raw = match half.answers.next() {
            Answer::Array(raw) => raw,
            Answer::Error(text) if !text.starts_with(b"WRONGTYPE") => {
                return Err(half.asker.refused("HPEXPIRETIME", text));
            }
            _ => return Ok(None),
        };
        let number = |item: Option<&[u8]>| std::str::from_utf8(item?).ok()?.parse().ok();
        all.push(elements(raw).map(|item| Deadline::read(number(item).unwrap_or(-1), None)).collect());
    }
    Ok(Some((now, all)))
}

/// Compares small hashes, of which the replies of HGETALL are there.
pub(crate) async fn compare_hashes(
    pair: &Pair<'_>,
    link: &mut Link,
    hashes: &[(Key<'_>, &[u8], &[u8])],
) -> Result<Vec<Verdict>> {
    let names = |raw| pairs(raw).map(|(name, _)| name).collect::<Vec<&[u8]>>();
    let ours: Vec<_> = hashes.iter().map(|(_, raw, _)| names(raw)).collect();
    let theirs: Vec<_> = hashes.iter().map(|(_, _, raw)| names(raw)).collect();
    let mut verdicts = Vec::with_capacity(hashes.len());
    let keys = || hashes.iter().map(|(key, ..)| *key);
    let source_asked: Vec<(&[u8], &[&[u8]])> =
        keys().map(|key| key.source).zip(ours.iter().map(|names| &names[..])).collect();
    let target_asked: Vec<(&[u8], &[&[u8]])> =
        keys().map(|key| key.target).zip(theirs.iter().map(|names| &names[..])).collect();
    let Some((ours, theirs)) = deadlines(pair, link, &source_asked, &target_asked).await? else {
        return Ok(hashes.iter().map(|_| Verdict::moved()).collect());
    };
    for (i, (_, source, target)) in hashes.iter().enumerate() {
        let at = |times: &FieldTimes| times.1.get(i).cloned().unwrap_or_default();
        verdicts.push(super::fields(
            &Fields { raw: source, at: &at(&ours), now: ours.0 },
            &Fields { raw: target, at: &at(&theirs), now: theirs.0 },
            pair.rules,
        ));
    }
    Ok(verdicts)
}
