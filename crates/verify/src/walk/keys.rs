//! Many keys in one piece of memory.

use std::ops::Range;

/// Keys that Keyferry itself keeps on a target while it runs. They belong to no data set.
const OURS: [&[u8]; 2] = [b"__keyferry_checkpoint:", b"__keyferry_rebuild:"];

/// Whether a key is Keyferry's own.
pub(crate) fn is_ours(key: &[u8]) -> bool {
    OURS.iter().any(|prefix| key.starts_with(prefix))
}

/// Some keys in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    pub(crate) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The key at a place; nothing behind the last one.
    pub(crate) fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(at).copied().unwrap_or(start);
        self.bytes.get(start..end).unwrap_or_default()
    }

    pub(crate) fn iter(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = &[u8]> {
        range.map(|at| self.get(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        let mut keys = Keys::default();
        assert!(keys.is_empty());
        let names: [&[u8]; 4] = [b"a", b"", b"\r\n\0", b"long name"];
        names.iter().for_each(|name| keys.push(name));
        assert_eq!(keys.iter(0..keys.len()).collect::<Vec<_>>(), names);
        assert_eq!((keys.get(3), keys.get(4)), (&b"long name"[..], &b""[..]));
        assert!(is_ours(b"__keyferry_checkpoint:a") && is_ours(b"__keyferry_rebuild:0") && !is_ours(b"__keyferry"));
    }
}
