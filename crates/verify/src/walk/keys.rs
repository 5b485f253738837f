//! Many keys in one piece of memory, by their names on both sides.

use std::ops::Range;

use keyferry_keyspace::objects::{Choice, Objects};

/// Keys that Keyferry itself keeps on a target while it runs. They belong to no data set.
const OURS: [&[u8]; 2] = [b"__keyferry_checkpoint:", b"__keyferry_rebuild:"];

/// Whether a key is Keyferry's own.
pub(crate) fn is_ours(key: &[u8]) -> bool {
    OURS.iter().any(|prefix| key.starts_with(prefix))
}

/// Some names in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Names {
    pub(crate) fn push(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The name at a place; nothing behind the last one.
    pub(crate) fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(at).copied().unwrap_or(start);
        self.bytes.get(start..end).unwrap_or_default()
    }

    pub(crate) fn iter(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = &[u8]> {
        range.map(|at| self.get(at))
    }
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    pub(crate) source: &'a [u8],
    pub(crate) target: &'a [u8],
}

/// Some keys in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    source: Names,
    /// As many; `None` while all are called as on the source.
    target: Option<Names>,
}

impl Keys {
    /// Keys that are chosen, by their names on the source.
    pub(crate) fn of(source: Names, objects: &Objects) -> Self {
        let mut keys = Self::default();
        source.iter(0..source.len()).for_each(|name| match objects.key(name) {
            Choice::New(start, end) => keys.push_as(name, &[start, end].concat()),
            Choice::Same | Choice::Out | Choice::Clash => keys.push(name),
        });
        keys
    }

    /// A key that is called the same on both sides.
    pub(crate) fn push(&mut self, name: &[u8]) {
        self.source.push(name);
        if let Some(target) = &mut self.target {
            target.push(name);
        }
    }

    /// A key with another name on the target.
    pub(crate) fn push_as(&mut self, source: &[u8], target: &[u8]) {
        // All before were called the same.
        self.target.get_or_insert_with(|| self.source.clone()).push(target);
        self.source.push(source);
    }

    pub(crate) fn len(&self) -> usize {
        self.source.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key at a place; one without a name behind the last.
    pub(crate) fn get(&self, at: usize) -> Key<'_> {
        Key { source: self.source.get(at), target: self.on_target().get(at) }
    }

    /// The names on the source.
    pub(crate) fn on_source(&self) -> &Names {
        &self.source
    }

    /// The names on the target.
    pub(crate) fn on_target(&self) -> &Names {
        self.target.as_ref().unwrap_or(&self.source)
    }

    /// Those at these places.
    pub(crate) fn only(&self, places: &[usize]) -> Self {
        let names = |all: &Names| {
            let mut names = Names::default();
            places.iter().for_each(|&at| names.push(all.get(at)));
            names
        };
        Self { source: names(&self.source), target: self.target.as_ref().map(names) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let mut all = Names::default();
        let names: [&[u8]; 4] = [b"a", b"", b"\r\n\0", b"long name"];
        names.iter().for_each(|name| all.push(name));
        assert_eq!(all.iter(0..all.len()).collect::<Vec<_>>(), names);
        assert_eq!((all.get(3), all.get(4)), (&b"long name"[..], &b""[..]));
        assert!(is_ours(b"__keyferry_checkpoint:a") && is_ours(b"__keyferry_rebuild:0") && !is_ours(b"__keyferry"));
    }

    #[test]
    fn keys_by_both_names() {
        let mut keys = Keys::default();
        assert!(keys.is_empty());
        keys.push(b"a");
        keys.push_as(b"old:1", b"n:1");
        keys.push(b"b");
        let key = |source, target| Key { source, target };
        assert_eq!((keys.get(0), keys.get(1)), (key(b"a", b"a"), key(b"old:1", b"n:1")));
        assert_eq!((keys.get(2), keys.len()), (key(b"b", b"b"), 3));
        let some = keys.only(&[1, 2]);
        assert_eq!((some.get(0), some.get(1), some.len()), (key(b"old:1", b"n:1"), key(b"b", b"b"), 2));
    }
}
