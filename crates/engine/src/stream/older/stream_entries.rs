//! XADD and XTRIM. Servers say more to their replicas than they take from a client: how far a trim may go (`LIMIT`),
//! together with an exact threshold, and which producer has written an entry, together with its ID.

use keyferry_resp::{encode, request::Request};

use super::{Abilities, Lesser, Older, Verdict, eval, is, lacks, scripts, streams::STREAM};

/// How a stream is trimmed.
#[derive(Clone, Copy)]
struct Trim<'a> {
    /// `MAXLEN` or `MINID`.
    how: &'a [u8],
    /// `=` or `~`.
    exactness: Option<&'a [u8]>,
    threshold: &'a [u8],
}

/// What stands behind the key.
#[derive(Default)]
struct Options<'a> {
    trim: Option<Trim<'a>>,
    limit: bool,
    no_mkstream: bool,
    /// `KEEPREF`, `DELREF` or `ACKED`.
    refs: Option<&'a [u8]>,
    /// The producer; without the ID that it has given when that follows from the fields.
    producer: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// How many arguments behind the key are options.
    len: usize,
}

impl<'a> Trim<'a> {
    fn args(self) -> impl Iterator<Item = &'a [u8]> {
        [Some(self.how), self.exactness, Some(self.threshold)].into_iter().flatten()
    }

    fn by_script(self, older: &Older, key: &[u8], refs: Option<&[u8]>, out: &mut Vec<u8>) {
        let refs = refs.map_or(b"KEEPREF".to_vec(), <[u8]>::to_ascii_uppercase);
        let how = self.how.to_ascii_uppercase();
        let before = if how == b"MINID" { before(self.threshold) } else { Some(String::new()) };
        // Nothing is in front of the first ID.
        let Some(before) = before else { return };
        let knows: &[u8] = if older.lacks(Abilities::OF_6_2) { b"0" } else { b"1" };
        eval(out, &scripts::trim(), &[key], &[&refs, &how, self.threshold, before.as_bytes(), knows]);
    }
}

impl<'a> Options<'a> {
    /// `args`: what stands behind the key. Ends at the ID of XADD.
    fn read(args: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut args = args.peekable();
        let mut found = Self::default();
        while let Some(&arg) = args.peek() {
            let mut take = || {
                found.len += 1;
                args.next().unwrap_or_default()
            };
            match arg {
                _ if is(arg, "MAXLEN") || is(arg, "MINID") => {
                    let (how, mut threshold) = (take(), take());
                    let mut exactness = None;
                    if threshold == b"=" || threshold == b"~" {
                        (exactness, threshold) = (Some(threshold), take());
                    }
                    found.trim = Some(Trim { how, exactness, threshold });
                }
                _ if is(arg, "LIMIT") => {
                    take();
                    take();
                    found.limit = true;
                }
                _ if is(arg, "NOMKSTREAM") => {
                    take();
                    found.no_mkstream = true;
                }
                _ if is(arg, "KEEPREF") || is(arg, "DELREF") || is(arg, "ACKED") => found.refs = Some(take()),
                _ if is(arg, "IDMP") => {
                    take();
                    found.producer = Some((take(), Some(take())));
                }
                _ if is(arg, "IDMPAUTO") => {
                    take();
                    found.producer = Some((take(), None));
                }
                _ => break,
            }
        }
        found
    }
}

/// Whether a client's command has to be another one.
pub(super) fn applies(lacks: Abilities, request: &Request<'_>) -> bool {
    // The most common XADD has no options, and an ID that is a number.
    if !lacks.any_of(Abilities::STREAMS) && request.arg(2).and_then(|arg| arg.first()).is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let found = Options::read(request.args().skip(2));
    let min_id = found.trim.is_some_and(|trim| is(trim.how, "MINID"));
    lacks.any_of(Abilities::STREAMS)
        || found.limit && found.trim.is_none_or(|trim| trim.exactness != Some(b"~"))
        || found.producer.is_some()
        || (found.no_mkstream || min_id) && lacks.any_of(Abilities::OF_6_2)
        || found.refs.is_some() && lacks.any_of(Abilities::STREAM_REFS)
}

/// `XADD key [options] id field value ...`, `XTRIM key [options]`
pub(super) fn write(older: &Older, args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    if older.lacks(Abilities::STREAMS) {
        return lacks(STREAM, Lesser::Nothing);
    }
    let [name, key, rest @ ..] = args else { return Verdict::Known };
    let found = Options::read(rest.iter().copied());
    let Some(entry) = rest.get(found.len..) else { return Verdict::Known };
    // What a producer has written before is sent without an ID, and adds nothing.
    if found.producer.is_some() && entry.first() == Some(&b"*".as_slice()) {
        return Verdict::Written;
    }
    let refs = found.refs.filter(|_| older.lacks(Abilities::STREAM_REFS));
    let alone = found.trim.filter(|trim| {
        refs.is_some_and(|refs| !is(refs, "KEEPREF")) || is(trim.how, "MINID") && older.lacks(Abilities::OF_6_2)
    });
    let mut plain: Vec<&[u8]> = vec![name, key];
    if found.no_mkstream && !older.lacks(Abilities::OF_6_2) {
        plain.push(b"NOMKSTREAM");
    }
    if refs.is_none() {
        plain.extend(found.refs);
    }
    // A producer is noted on the entry, which a trim may take away.
    let later = alone.is_some() || found.producer.is_some();
    if let Some(trim) = found.trim.filter(|_| !later) {
        plain.extend(trim.args());
    }
    let adds = !entry.is_empty();
    if adds || !later {
        plain.extend(entry);
        encode::command(out, &plain);
    }
    let mut verdict = Verdict::Written;
    if let (Some((producer, id)), Some(&at)) = (found.producer, entry.first()) {
        match id.filter(|_| older.records_producers) {
            Some(id) => encode::command(out, &[b"XIDMPRECORD", key, producer, id, at]),
            None => verdict = lacks("stream producer ids", Lesser::WithoutOption),
        }
    }
    match (alone, found.trim) {
        (Some(trim), _) => trim.by_script(older, key, refs, out),
        (None, Some(trim)) if later => {
            let mut all: Vec<&[u8]> = vec![b"XTRIM", key];
            all.extend(trim.args());
            if refs.is_none() {
                all.extend(found.refs);
            }
            encode::command(out, &all);
        }
        _ => {}
    }
    verdict
}

/// The ID in front of another one.
fn before(id: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(id).ok()?;
    let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
    let (ms, seq): (u64, u64) = (ms.parse().ok()?, seq.parse().ok()?);
    match seq.checked_sub(1) {
        Some(seq) => Some(format!("{ms}-{seq}")),
        None => Some(format!("{}-{}", ms.checked_sub(1)?, u64::MAX)),
    }
}
