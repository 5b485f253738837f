//! What differs.

/// In what a key differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Only the source has the key.
    MissingOnTarget,
    /// Only the target has the key.
    MissingOnSource,
    /// Both have it, with values of different types.
    Type,
    /// The values differ.
    Value,
    /// The deadlines differ, of the key or of a field.
    Ttl,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::MissingOnTarget, Self::MissingOnSource, Self::Type, Self::Value, Self::Ttl];

    /// The word in every output and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingOnTarget => "missing_on_target",
            Self::MissingOnSource => "missing_on_source",
            Self::Type => "type",
            Self::Value => "value",
            Self::Ttl => "ttl",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One difference of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Database of the source.
    pub db: u32,
    /// The key.
    pub key: Vec<u8>,
    /// In what it differs.
    pub kind: Kind,
    /// What the difference is, in words; what it says of the user's is escaped as [`readable`] does.
    pub detail: String,
    /// The round in which it was found last.
    pub round: u32,
}

/// Bytes as text that gives them back: UTF-8 stays, except that a backslash is `\\`, and control characters and bytes
/// that are not UTF-8 are `\xHH`.
pub fn readable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let escape = |out: &mut String, b: u8| out.push_str(&format!("\\x{b:02x}"));
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_ascii_control() => escape(&mut out, c as u8),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|&b| escape(&mut out, b));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_gives_the_bytes_back() {
        assert_eq!(readable(b"plain:1"), "plain:1");
        assert_eq!(readable("\u{e9}\\".as_bytes()), "\u{e9}\\\\");
        assert_eq!(readable(b"a\r\n\0\xff\xe9z"), "a\\x0d\\x0a\\x00\\xff\\xe9z");
        // Text that looks like an escape is told apart from one.
        assert_eq!(readable(b"\\xff"), "\\\\xff");
    }

    #[test]
    fn names_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }
}
