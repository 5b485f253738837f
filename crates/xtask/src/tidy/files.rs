//! Sizes and names of files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// Lines of a source file. Nearly all are much shorter; what grows past it has become two things.
const LINES: usize = 400;

/// Files that may be longer, each with its reason. A file that no longer needs it must leave the list.
const LONG: &[(&str, &str)] = &[];

/// Names that say nothing of what is inside.
const VAGUE: [&str; 5] = ["utils", "common", "helpers", "misc", "types"];

/// Looks at the name and length of each source file.
pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in files {
        let shown = super::shown(root, path);
        let parts = Path::new(&shown).iter().filter_map(|part| part.to_str());
        for part in parts.map(|part| part.strip_suffix(".rs").unwrap_or(part)) {
            if VAGUE.contains(&part) {
                faults.push(format!("{shown}: {part:?} does not say what is inside"));
            }
        }
        if path.extension().is_some_and(|extension| extension == "rs") {
            let lines = fs::read_to_string(path)?.lines().count();
            faults.extend(too_long(&shown, lines, LONG));
        }
    }
    for (path, _) in LONG {
        if !root.join(path).exists() {
            faults.push(format!("{path} is named as a long file and does not exist"));
        }
    }
    Ok(faults)
}

fn too_long(path: &str, lines: usize, long: &[(&str, &str)]) -> Option<String> {
    match (lines > LINES, long.iter().any(|(name, _)| *name == path)) {
        (true, false) => Some(format!("{path} has {lines} lines, more than {LINES}")),
        (false, true) => Some(format!("{path} is named as a long file and has only {lines} lines")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES, too_long};

    #[test]
    fn length_and_exceptions() {
        let long: &[(&str, &str)] = &[("table.rs", "a table")];
        assert!(too_long("a.rs", LINES, long).is_none());
        assert!(too_long("a.rs", LINES + 1, long).is_some());
        assert!(too_long("table.rs", LINES + 1, long).is_none());
        assert!(too_long("table.rs", LINES, long).is_some());
    }
}
