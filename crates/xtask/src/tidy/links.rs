//! Relative links in Markdown files point to files that exist.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// Follows each relative link of each Markdown file.
pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let folder = path.parent().unwrap_or(root);
        for link in links(&fs::read_to_string(path)?) {
            let file = link.split('#').next().unwrap_or("");
            if !file.is_empty() && !folder.join(file).exists() {
                faults.push(format!("{} links to {link}, which does not exist", super::shown(root, path)));
            }
        }
    }
    Ok(faults)
}

/// The relative targets of `[text](target)` and `[text]: target`, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every other part between backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let defined = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
        links.extend(inline.chain(defined).filter(|link| is_relative(link)).map(str::to_owned));
    }
    links
}

fn is_relative(link: &str) -> bool {
    !(link.contains("://") || link.starts_with("mailto:") || link.starts_with('#') || link.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::links;

    #[test]
    fn only_relative_links_outside_of_code() {
        let text = "See [a](docs/a.md#part), [b](https://example.org/x) and [c](b.md \"title\").\n\
                    `[d](code.md)` and\n```\n[e](fenced.md)\n```\n[f]: f.md\n[g](#here)\n";
        assert_eq!(links(text), ["docs/a.md#part", "b.md", "f.md"]);
    }
}
