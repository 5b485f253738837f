//! Fetches real servers, after the tools for that are there.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, bail};
use keyferry_testkit::server::servers_dir;

use crate::shell;

const SCRIPT: &str = "scripts/get-servers.sh";

/// Fetches these servers, all without a name. Does nothing for those that are there.
pub(crate) fn fetch(versions: &[String]) -> Result<()> {
    let needs = script(&["--needs"], versions)?;
    install(&needs.lines().collect::<Vec<_>>())?;
    let paths = script(&[], versions)?;
    print!("{paths}");
    Ok(())
}

/// Fetches what the tests start: every server whose name stands in quotes somewhere in the crates.
pub(crate) fn fetch_for_tests() -> Result<()> {
    let names: Vec<String> = script(&["--list"], &[])?.lines().map(str::to_owned).collect();
    let mut used = BTreeSet::new();
    mentioned(&shell::root().join("crates"), &names, &mut used)?;
    let used: Vec<String> = used.into_iter().collect();
    eprintln!("servers of the tests: {}", used.join(" "));
    fetch(&used)
}

fn mentioned(dir: &Path, names: &[String], used: &mut BTreeSet<String>) -> Result<()> {
    for entry in dir.read_dir().with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            mentioned(&path, names, used)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            used.extend(names.iter().filter(|name| text.contains(&format!("\"{name}\""))).cloned());
        }
    }
    Ok(())
}

fn script(options: &[&str], versions: &[String]) -> Result<String> {
    let mut command = shell::command(shell::root().join(SCRIPT));
    command.args(options).args(versions).env("KEYFERRY_SERVERS_DIR", servers_dir()?);
    shell::output(&mut command)
}

/// Makes sure that these tools are there: installs what is missing as root, and says how otherwise.
fn install(tools: &[&str]) -> Result<()> {
    let missing: Vec<&str> = tools.iter().copied().filter(|tool| !is_there(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: BTreeSet<&str> = missing.iter().map(|tool| package(tool)).collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    let line = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !rustix::process::geteuid().is_root() || !shell::has("apt-get") {
        bail!("missing: {}; install with: sudo {line}", missing.join(", "));
    }
    eprintln!("missing: {}; installing them with: {line}", missing.join(", "));
    shell::run(shell::command("apt-get").args(["-q", "update"]))?;
    let mut command = shell::command("apt-get");
    command.args(["-q", "-y", "install", "--no-install-recommends"]).args(&packages);
    shell::run(command.env("DEBIAN_FRONTEND", "noninteractive"))?;
    match tools.iter().find(|tool| !is_there(tool)) {
        Some(tool) => bail!("{tool} is still missing after {line}"),
        None => Ok(()),
    }
}

fn is_there(tool: &str) -> bool {
    match tool {
        "pip" => shell::succeeds(shell::command("python3").args(["-m", "pip", "--version"])),
        tool => shell::has(tool),
    }
}

/// The Debian package that has a tool.
fn package(tool: &str) -> &str {
    match tool {
        "pip" => "python3-pip",
        "apt-get" => "apt",
        "dpkg-deb" => "dpkg",
        "flock" | "setpriv" => "util-linux",
        // A compiler without the C library's headers compiles nothing.
        "gcc" | "g++" => "build-essential",
        tool => tool,
    }
}

/// Makes sure that tools outside of the script's are there.
pub(crate) fn require(tools: &[&str]) -> Result<()> {
    install(tools)
}
