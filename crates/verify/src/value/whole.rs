//! Small values, each in one reply.

use std::cmp::Ordering;

use super::{Diff, ON_SOURCE, ON_TARGET, OTHER, Verdict, hyperloglog};
use crate::{
    deadline::{Deadline, Rules},
    flat::elements,
};

/// Strings; HyperLogLogs by their registers.
pub(crate) fn string(source: &[u8], target: &[u8]) -> Option<String> {
    if source == target || hyperloglog::same(source, target) {
        return None;
    }
    let at = source.iter().zip(target).take_while(|(a, b)| a == b).count();
    Some(format!("{} / {} bytes, the first that differs is {at}", source.len(), target.len()))
}

/// Replies of LRANGE.
pub(crate) fn list(source: &[u8], target: &[u8]) -> Verdict {
    let mut diff = Diff::new("element");
    elements_at(&mut diff, 0, source, target);
    Verdict::value(diff.detail())
}

/// Compares elements place by place from `first` on; gives how many each side has.
pub(super) fn elements_at(diff: &mut Diff, first: u64, source: &[u8], target: &[u8]) -> (u64, u64) {
    let (mut ours, mut theirs) = (elements(source), elements(target));
    let (mut place, mut counts) = (first, (0, 0));
    loop {
        let (a, b) = (ours.next(), theirs.next());
        counts.0 += u64::from(a.is_some());
        counts.1 += u64::from(b.is_some());
        match (a, b) {
            (None, None) => return counts,
            (Some(_), None) => diff.note_at(place, ON_SOURCE),
            (None, Some(_)) => diff.note_at(place, ON_TARGET),
            (Some(a), Some(b)) if a != b => diff.note_at(place, OTHER),
            _ => {}
        }
        place += 1;
    }
}

/// Replies of SMEMBERS.
pub(crate) fn set(source: &[u8], target: &[u8]) -> Verdict {
    let read = |raw| elements(raw).flatten().map(|member| (member, ())).collect();
    let mut diff = Diff::new("member");
    merge(read(source), read(target), &mut diff, |(), ()| true);
    Verdict::value(diff.detail())
}

/// Replies of ZRANGE WITHSCORES.
pub(crate) fn scores(source: &[u8], target: &[u8]) -> Verdict {
    let read = |raw| pairs(raw).map(|(member, text)| (member, score(text))).collect();
    let mut diff = Diff::new("member");
    merge(read(source), read(target), &mut diff, |a, b| a == b);
    Verdict::value(diff.detail())
}

/// The bits of a score. -0 is 0, as it is for servers, some of which print both alike.
pub(super) fn score(text: &[u8]) -> Option<u64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(if number == 0.0 { 0 } else { number.to_bits() })
}

/// A reply of HGETALL, with the deadlines of its fields in the same order where they were asked for, and the time at which
/// they were.
pub(crate) struct Fields<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) at: &'a [Deadline],
    pub(crate) now: i64,
}

type Field<'a> = (&'a [u8], (&'a [u8], Deadline));

impl<'a> Fields<'a> {
    fn sorted(&self) -> Vec<Field<'a>> {
        let at = self.at.iter().copied().chain(std::iter::repeat(Deadline::Never));
        let mut all: Vec<Field<'a>> =
            pairs(self.raw).zip(at).map(|((field, value), at)| (field, (value, at))).collect();
        all.sort_unstable_by_key(|(field, _)| *field);
        all
    }
}

/// Fields with their values and deadlines. A field whose time is over may be missing on one side.
pub(crate) fn fields(source: &Fields<'_>, target: &Fields<'_>, rules: Rules) -> Verdict {
    let (mut ours, mut theirs) = (source.sorted(), target.sorted());
    let mut late = Diff::new("field");
    let other = |all: &[Field<'_>], field: &[u8]| {
        let i = all.binary_search_by_key(&field, |(field, _)| *field).ok()?;
        all.get(i).map(|(_, (_, at))| *at)
    };
    for (field, (_, at)) in &ours {
        if let Some(how) = other(&theirs, field).and_then(|other| rules.fields(*at, other)) {
            late.note(field, &how);
        }
    }
    let gone =
        |(field, (_, at)): &Field<'_>| other(&theirs, field).is_none() && rules.field_is_over(*at, source.now, false);
    let mut kept: Vec<Field<'_>> = ours.iter().copied().filter(|field| !gone(field)).collect();
    std::mem::swap(&mut ours, &mut kept);
    theirs.retain(|(field, (_, at))| other(&kept, field).is_some() || !rules.field_is_over(*at, target.now, true));
    let mut diff = Diff::new("field");
    merge(ours, theirs, &mut diff, |a, b| a.0 == b.0);
    Verdict { value: diff.detail(), ttl: late.detail() }
}

/// Elements two by two.
pub(crate) fn pairs(raw: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut elements = elements(raw);
    std::iter::from_fn(move || Some((elements.next()??, elements.next()??)))
}

/// Compares what has the same name.
fn merge<V: Copy>(
    mut source: Vec<(&[u8], V)>,
    mut target: Vec<(&[u8], V)>,
    diff: &mut Diff,
    same: impl Fn(V, V) -> bool,
) {
    source.sort_unstable_by_key(|(name, _)| *name);
    target.sort_unstable_by_key(|(name, _)| *name);
    let (mut ours, mut theirs) = (source.into_iter().peekable(), target.into_iter().peekable());
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        match order {
            Ordering::Less => ours.next().into_iter().for_each(|(name, _)| diff.note(name, ON_SOURCE)),
            Ordering::Greater => theirs.next().into_iter().for_each(|(name, _)| diff.note(name, ON_TARGET)),
            Ordering::Equal => {
                if let (Some((name, a)), Some((_, b))) = (ours.next(), theirs.next())
                    && !same(a, b)
                {
                    diff.note(name, OTHER);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keyferry_resp::encode;

    use super::*;

    fn raw(items: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        encode::command(&mut out, items);
        out
    }

    fn detail(verdict: Verdict) -> String {
        verdict.value.unwrap_or_else(|| "equal".into())
    }

    #[test]
    fn lists_by_place() {
        let a = raw(&[b"a", b"b", b"c"]);
        assert_eq!(detail(list(&a, &a)), "equal");
        assert_eq!(detail(list(&a, &raw(&[b"a", b"x"]))), "2 elements: 1 (differs), 2 (missing on the target)");
        assert_eq!(detail(list(&raw(&[]), &raw(&[b"z"]))), "1 element: 0 (missing on the source)");
    }

    #[test]
    fn sets_without_order() {
        assert_eq!(detail(set(&raw(&[b"a", b"b"]), &raw(&[b"b", b"a"]))), "equal");
        let text = detail(set(&raw(&[b"a", b"b"]), &raw(&[b"b", b"c"])));
        assert_eq!(text, "2 members: a (missing on the target), c (missing on the source)");
    }

    #[test]
    fn scores_to_the_last_bit() {
        let next = f64::from_bits(1.1_f64.to_bits() + 1).to_string();
        assert_eq!(detail(scores(&raw(&[b"m", b"1.1000000000000001"]), &raw(&[b"m", b"1.1"]))), "equal");
        assert_eq!(detail(scores(&raw(&[b"m", b"1.1"]), &raw(&[b"m", next.as_bytes()]))), "1 member: m (differs)");
        assert_eq!(detail(scores(&raw(&[b"m", b"-0"]), &raw(&[b"m", b"0"]))), "equal");
        assert_eq!(detail(scores(&raw(&[b"m", b"inf"]), &raw(&[b"m", b"-inf"]))), "1 member: m (differs)");
        assert_eq!(detail(scores(&raw(&[b"m", b"1e+20"]), &raw(&[b"m", b"100000000000000000000"]))), "equal");
    }

    #[test]
    fn fields_and_their_deadlines() {
        let rules = Rules::new(Duration::from_secs(1), Duration::from_secs(30));
        let now = 1_000_000;
        let far = Deadline::At(now + 500_000);
        let (one, two) = (raw(&[b"a", b"1", b"b", b"2"]), raw(&[b"b", b"2", b"a", b"1"]));
        let ours = Fields { raw: &one, at: &[far, Deadline::Never], now };
        let same = Fields { raw: &two, at: &[Deadline::Never, far], now };
        let verdict = fields(&ours, &same, rules);
        assert!(verdict.value.is_none() && verdict.ttl.is_none());
        let never = Fields { raw: &two, at: &[], now };
        let verdict = fields(&ours, &never, rules);
        assert!(verdict.value.is_none());
        assert!(verdict.ttl.unwrap().starts_with("1 field: a (expires at 1500000 on the source, never on the target)"));
        // A field that is over by now may be missing, one that is not may not.
        let less = raw(&[b"b", b"2"]);
        let over = Fields { raw: &one, at: &[Deadline::At(now), Deadline::Never], now };
        let without = Fields { raw: &less, at: &[], now };
        assert!(fields(&over, &without, rules).value.is_none() && fields(&without, &over, rules).value.is_none());
        assert_eq!(fields(&ours, &without, rules).value.unwrap(), "1 field: a (missing on the target)");
        assert_eq!(fields(&without, &ours, rules).value.unwrap(), "1 field: a (missing on the source)");
    }
}
