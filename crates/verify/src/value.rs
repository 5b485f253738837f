//! Values in a form that is the same whatever server holds them, and in what two of them differ.
//!
//! Small values are compared from the replies that hold all of them (`whole`), large ones piece by piece (`pieces.rs`,
//! `members.rs`), streams always so (`stream.rs`).

mod hyperloglog;
mod members;
mod pieces;
mod stream;
mod whole;

pub(crate) use members::{Members, compare as compare_members, compare_hashes};
pub(crate) use pieces::{list as compare_list, string as compare_string};
pub(crate) use stream::compare as compare_stream;
use whole::{Fields, fields};
pub(crate) use whole::{list, scores, set, string};

use crate::difference::readable;

/// So many elements are named in a difference; all are counted.
const NAMED: usize = 10;
/// Of a long name so many bytes are shown.
const SHOWN: usize = 100;

/// The elements in which two values differ.
pub(crate) struct Diff {
    what: &'static str,
    count: u64,
    named: Vec<String>,
}

/// Why an element differs.
pub(crate) const ON_SOURCE: &str = "missing on the target";
pub(crate) const ON_TARGET: &str = "missing on the source";
pub(crate) const OTHER: &str = "differs";

impl Diff {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, count: 0, named: Vec::new() }
    }

    pub(crate) fn note(&mut self, name: &[u8], how: &str) {
        self.count += 1;
        if self.named.len() < NAMED {
            let cut = if name.len() > SHOWN { "..." } else { "" };
            let name = readable(name.get(..SHOWN).unwrap_or(name));
            self.named.push(format!("{name}{cut} ({how})"));
        }
    }

    pub(crate) fn note_at(&mut self, place: u64, how: &str) {
        self.note(place.to_string().as_bytes(), how);
    }

    /// `3 fields: a (differs), b (missing on the target), c (missing on the source)`; `None` when nothing differs.
    pub(crate) fn detail(self) -> Option<String> {
        let what = match (self.count, self.what.strip_suffix('y')) {
            (1, _) => self.what.to_owned(),
            (_, Some(stem)) => format!("{stem}ies"),
            (_, None) => format!("{}s", self.what),
        };
        let more = if self.count > self.named.len() as u64 { ", ..." } else { "" };
        (self.count > 0).then(|| format!("{} {what}: {}{more}", self.count, self.named.join(", ")))
    }
}

/// What a comparison of two values has found: in the value, and in the deadlines of its fields.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) value: Option<String>,
    pub(crate) ttl: Option<String>,
}

impl Verdict {
    pub(crate) fn value(value: Option<String>) -> Self {
        Self { value, ttl: None }
    }

    /// It changed between two questions, so nothing is known; the next round looks again.
    pub(crate) fn moved() -> Self {
        Self::value(Some("changed while it was compared".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_counted() {
        let mut diff = Diff::new("field");
        diff.note(b"a\n", OTHER);
        assert_eq!(Diff::new("field").detail(), None);
        for _ in 0..20 {
            diff.note(&[b'x'; 200], ON_SOURCE);
        }
        let text = diff.detail().unwrap();
        assert!(text.starts_with("21 fields: a\\x0a (differs), xxx"), "{text}");
        assert!(text.ends_with(", ...") && text.len() < 1_500, "{text}");
    }
}
