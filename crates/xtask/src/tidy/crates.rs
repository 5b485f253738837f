//! The direction of dependencies: each crate only knows what is below it.

use std::{fs, path::Path};

use anyhow::{Context, Result};

const PREFIX: &str = "keyferry-";

/// Each crate of the workspace, from the bottom up, with the crates of the workspace that it may use.
const LAYERS: [(&str, &[&str]); 12] = [
    // L0, pure.
    ("keyferry-keyspace", &[]),
    ("keyferry-resp", &[]),
    ("keyferry-rdb", &[]),
    // L1 and the words that all above share.
    ("keyferry-model", &["keyferry-keyspace"]),
    ("keyferry-net", &["keyferry-keyspace", "keyferry-resp", "keyferry-model"]),
    ("keyferry-spool", &["keyferry-keyspace", "keyferry-model"]),
    // L2.
    (
        "keyferry-engine",
        &["keyferry-keyspace", "keyferry-resp", "keyferry-rdb", "keyferry-model", "keyferry-net", "keyferry-spool"],
    ),
    ("keyferry-precheck", &["keyferry-keyspace", "keyferry-model", "keyferry-net", "keyferry-spool"]),
    ("keyferry-verify", &["keyferry-keyspace", "keyferry-resp", "keyferry-rdb", "keyferry-model", "keyferry-net"]),
    // L3.
    (
        "keyferry-cli",
        &[
            "keyferry-keyspace",
            "keyferry-rdb",
            "keyferry-model",
            "keyferry-net",
            "keyferry-engine",
            "keyferry-precheck",
            "keyferry-verify",
        ],
    ),
    // For development. The test kit knows nothing of the product, or it could not contradict it.
    ("keyferry-testkit", &[]),
    ("xtask", &["keyferry-testkit"]),
];

/// Pure crates: no I/O, no runtime, no clock. What they must not depend on, also not for tests.
const PURE: [&str; 3] = ["keyferry-keyspace", "keyferry-resp", "keyferry-rdb"];
const NOT_IN_PURE: [&str; 7] = ["tokio", "tokio-util", "rustls", "tokio-rustls", "socket2", "jiff", "tracing"];

/// Compares each Cargo.toml with the table.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for entry in root.join("crates").read_dir()? {
        let path = entry?.path().join("Cargo.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        faults.extend(check_manifest(&text).with_context(|| format!("in {}", path.display()))?);
    }
    Ok(faults)
}

fn check_manifest(text: &str) -> Result<Vec<String>> {
    let manifest: toml::Table = text.parse()?;
    let name = manifest.get("package").and_then(|package| package.get("name")?.as_str()).context("no package name")?;
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
        return Ok(vec![format!("{name} has no place in the layers of crates/xtask/src/tidy/crates.rs")]);
    };
    let mut faults = Vec::new();
    let tables = ["dependencies", "build-dependencies", "dev-dependencies"];
    let targets =
        manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(|targets| targets.values());
    let places = targets.filter_map(toml::Value::as_table).chain([&manifest]);
    for (place, table) in places.flat_map(|place| tables.map(|table| (place, table))) {
        let dev = table == "dev-dependencies";
        let Some(dependencies) = place.get(table).and_then(toml::Value::as_table) else { continue };
        for dependency in dependencies.keys().map(String::as_str) {
            let ours = dependency.starts_with(PREFIX) || dependency == "xtask";
            let test_kit = dev && dependency == "keyferry-testkit" && !PURE.contains(&name);
            if ours && !test_kit && !allowed.contains(&dependency) {
                faults.push(format!("{name} must not depend on {dependency} ({table})"));
            }
            if PURE.contains(&name) && NOT_IN_PURE.contains(&dependency) {
                faults.push(format!("{name} is pure and must not depend on {dependency} ({table})"));
            }
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::{LAYERS, check_manifest};

    fn faults(text: &str) -> Vec<String> {
        check_manifest(text).unwrap()
    }

    #[test]
    fn the_table_points_down() {
        for (i, (name, allowed)) in LAYERS.iter().enumerate() {
            for below in *allowed {
                assert!(LAYERS[..i].iter().any(|(lower, _)| lower == below), "{name} uses {below}, which is above it");
            }
        }
    }

    #[test]
    fn wrong_directions_are_found() {
        let package = |name: &str, rest: &str| format!("[package]\nname = \"keyferry-{name}\"\n{rest}");
        let up = package("resp", "[dependencies]\nkeyferry-net.workspace = true\n");
        assert_eq!(faults(&up), ["keyferry-resp must not depend on keyferry-net (dependencies)"]);
        let kit = package("engine", "[dependencies]\nkeyferry-testkit.workspace = true\n");
        assert_eq!(faults(&kit).len(), 1);
        let dev = package("engine", "[dev-dependencies]\nkeyferry-testkit.workspace = true\n");
        assert!(faults(&dev).is_empty());
        let io = package("rdb", "[target.'cfg(unix)'.dependencies]\ntokio = \"1\"\n");
        assert_eq!(faults(&io).len(), 1);
        assert_eq!(faults(&package("unknown", "")).len(), 1);
    }
}
