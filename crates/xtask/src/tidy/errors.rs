//! Each error code has its page, and each page its code.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

/// Where codes are declared, as string literals.
const SOURCES: &str = "crates/model/src";
/// Where the pages are.
const PAGES: &str = "docs/errors";
/// What each page must say.
const HEADINGS: [&str; 3] = ["## Cause", "## What Keyferry did", "## What to do"];

/// Compares the codes in the sources with the pages.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut codes = BTreeSet::new();
    for path in super::tree(&root.join(SOURCES))? {
        if path.extension().is_some_and(|extension| extension == "rs") {
            codes.extend(codes_in(&fs::read_to_string(&path)?));
        }
    }
    let mut faults = Vec::new();
    for code in &codes {
        let page = root.join(PAGES).join(format!("{code}.md"));
        match fs::read_to_string(&page) {
            Err(_) => faults.push(format!("{code} has no page {}", super::shown(root, &page))),
            Ok(text) => {
                let missing = HEADINGS.iter().filter(|heading| !text.lines().any(|line| line == **heading));
                faults.extend(missing.map(|heading| format!("{} has no {heading:?}", super::shown(root, &page))));
            }
        }
    }
    let pages = root.join(PAGES);
    for entry in pages.read_dir().with_context(|| format!("read {}", pages.display()))? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if let Some(code) = name.strip_suffix(".md").filter(|code| is_code(code))
            && !codes.contains(code)
        {
            faults.push(format!("{PAGES}/{name} is about a code that {SOURCES} does not declare"));
        }
    }
    Ok(faults)
}

/// The codes that stand as whole string literals in a source text.
fn codes_in(text: &str) -> impl Iterator<Item = String> {
    text.split('"').filter(|part| is_code(part)).map(str::to_owned)
}

/// Three capital letters, a hyphen, four digits.
fn is_code(text: &str) -> bool {
    let (letters, rest) = text.as_bytes().split_at(text.len().min(3));
    matches!(rest, [b'-', digits @ ..] if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit))
        && letters.iter().all(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::{codes_in, is_code};

    #[test]
    fn codes() {
        assert!(is_code("SRC-0012"));
        for other in ["SRC-012", "src-0012", "SRC-00123", "SR-0012", "SRC_0012", ""] {
            assert!(!is_code(other), "{other}");
        }
        let text = "row(\"CFG-0001\", \"see SRC-0002\"), // TGT-0003\n\"RDB-0004\"";
        assert_eq!(codes_in(text).collect::<Vec<_>>(), ["CFG-0001", "RDB-0004"]);
    }
}
