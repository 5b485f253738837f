//! Large strings and lists: the same piece of both sides at a time.

use keyferry_model::Result;

use super::{Diff, Verdict, whole};
use crate::{
    asker::Answer,
    flat::elements,
    pair::{Half, Link},
    walk::Key,
};

/// Bytes of a string in one piece.
const PIECE: u64 = 256 << 10;
/// Elements of a list in one piece, where they are small enough to be kept.
const ELEMENTS: u64 = 1_000;

/// Strings by GETRANGE.
pub(crate) async fn string(link: &mut Link, key: Key<'_>) -> Result<Verdict> {
    link.push(&[b"STRLEN"], key, &[]);
    link.ask().await?;
    let (Some(ours), Some(theirs)) = (length(&mut link.source), length(&mut link.target)) else {
        return Ok(Verdict::moved());
    };
    let mut at = 0;
    while at < ours.max(theirs) {
        link.push(&[b"GETRANGE"], key, &[at.to_string().as_bytes(), (at + PIECE - 1).to_string().as_bytes()]);
        link.ask().await?;
        let (Answer::Bytes(a), Answer::Bytes(b)) = (link.source.answers.next(), link.target.answers.next()) else {
            return Ok(Verdict::moved());
        };
        if a != b {
            let place = at + a.iter().zip(b).take_while(|(a, b)| a == b).count() as u64;
            let found = format!("{ours} / {theirs} bytes, the first that differs is {place}");
            return Ok(Verdict::value(Some(found)));
        }
        at += PIECE;
    }
    Ok(Verdict::default())
}

/// Lists by LRANGE.
pub(crate) async fn list(link: &mut Link, key: Key<'_>) -> Result<Verdict> {
    let mut diff = Diff::new("element");
    let (mut at, mut count) = (0, ELEMENTS);
    loop {
        link.push(&[b"LRANGE"], key, &[at.to_string().as_bytes(), (at + count - 1).to_string().as_bytes()]);
        keep_last(link, count);
        link.ask().await?;
        let found = match (link.source.answers.next(), link.target.answers.next()) {
            (Answer::Array(a), Answer::Array(b)) if a == b => elements(a).count() as u64,
            (Answer::Array(a), Answer::Array(b)) => {
                let (ours, theirs) = whole::elements_at(&mut diff, at, a, b);
                ours.max(theirs)
            }
            (Answer::Skipped(_), _) | (_, Answer::Skipped(_)) => {
                count = fewer(count);
                continue;
            }
            _ => return Ok(Verdict::moved()),
        };
        if found < count {
            return Ok(Verdict::value(diff.detail()));
        }
        at += count;
    }
}

/// After an answer that was too long: fewer elements at once.
pub(super) fn fewer(count: u64) -> u64 {
    (count / 16).max(1)
}

/// One element cannot be had in pieces: then the answer is kept whatever its length.
pub(super) fn keep_last(link: &mut Link, count: u64) {
    link.source.batch.whole = count == 1;
    link.target.batch.whole = count == 1;
}

fn length(half: &mut Half) -> Option<u64> {
    match half.answers.next() {
        Answer::Int(n) => u64::try_from(n).ok(),
        _ => None,
    }
}
