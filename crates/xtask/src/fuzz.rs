//! Builds and runs the fuzz targets with the stable compiler.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{servers, shell};

/// Named, so that build scripts are built without the flags.
const HOST: &str = "x86_64-unknown-linux-gnu";
/// Counters of edges, a table of their addresses, and compared values: what libFuzzer is guided by.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Runs each target for so many seconds on a copy of its corpus; fails when one crashes.
pub(crate) fn run(seconds: u64) -> Result<()> {
    servers::require(&["g++"])?;
    let folder = shell::root().join("fuzz");
    let targets = targets(&folder)?;
    let build = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(_) => shell::target_dir().join("fuzz"),
        None => folder.join("target"),
    };
    let mut cargo = shell::cargo(&["build", "--release", "--locked", "--bins", "--target", HOST]);
    cargo.current_dir(&folder).arg("--target-dir").arg(&build).env("RUSTFLAGS", FLAGS);
    shell::run(&mut cargo)?;
    for target in targets {
        run_one(&target, &build, &folder.join("corpus").join(&target), seconds)?;
    }
    Ok(())
}

/// The names of the `[[bin]]` targets.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(folder.join("Cargo.toml")).context("read fuzz/Cargo.toml")?;
    let manifest: toml::Table = text.parse()?;
    let bins = manifest.get("bin").and_then(toml::Value::as_array).context("fuzz/Cargo.toml has no [[bin]]")?;
    Ok(bins.iter().filter_map(|bin| bin.get("name")?.as_str()).map(str::to_owned).collect())
}

fn run_one(target: &str, build: &Path, corpus: &Path, seconds: u64) -> Result<()> {
    // What libFuzzer finds goes into the first folder it is given; the committed one stays as it is.
    let copy = tempfile::tempdir()?;
    for entry in corpus.read_dir().with_context(|| format!("read {}", corpus.display()))? {
        let path = entry?.path();
        fs::copy(&path, copy.path().join(path.file_name().context("a file without a name")?))?;
    }
    let found: PathBuf = build.join("found").join(target);
    fs::create_dir_all(&found)?;
    let mut command = shell::command(build.join(HOST).join("release").join(target));
    command
        .arg(format!("-max_total_time={seconds}"))
        .args(["-rss_limit_mb=512", "-timeout=10", "-max_len=8192", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg(copy.path());
    eprintln!("fuzz target {target}: {seconds} s");
    let output = command.output().with_context(|| format!("run fuzz target {target}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        bail!("fuzz target {target} found a fault; the input is in {} (run the target with it)", found.display());
    }
    for line in log.lines().filter_map(|line| line.strip_prefix("stat::")) {
        eprintln!("  {line}");
    }
    Ok(())
}
