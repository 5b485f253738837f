//! Whole migrations from one server to several others at once, through the product, judged by the oracle.
//!
//! A row has one source: it gets data of all types, every target gets it through a process of its own, and then every
//! family of write commands is sent to the source, plainly, in transactions and from scripts. Some families are sent in
//! two parts, before the copy and behind it. After the oracle has looked, the server is emptied, and it looks again.

mod cell;
mod losses;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
pub use cell::{Cell, Passed};
pub use losses::Losses;

use crate::{
    Server, data,
    families::{EMPTYING, FAMILIES, Form, Runner, Trail, serve_waiting},
    server,
};

/// All servers that can be both source and target: the oldest one cannot be a target.
pub const SERVERS: &[&str] = match server::SERVERS.split_first() {
    Some((_, others)) => others,
    None => &[],
};

/// Bounds each wait of a cell; many of them share few processors.
const PATIENCE: Duration = Duration::from_secs(90);
/// Keys of the mixed data set: enough that each family of it is there, small and large.
const KEYS: u64 = 200;
const SEED: u64 = 7;
/// Runs that are sent in two parts, and how many quarters of each family come before the copy.
const PARTS: [(&str, usize); 3] = [("early", 1), ("middle", 2), ("late", 3)];

/// Migrates from one source to each target with the product's binary at a path, and says how each went. Fails when the
/// row itself cannot be run, such as when the source refuses a command.
///
/// Calls that contain one of the texts in `without` are left out.
pub fn row(binary: &Path, source: &str, targets: &[&str], without: &[String]) -> Result<Vec<Cell>> {
    let started = Instant::now();
    let state = tempfile::tempdir()?;
    let (source, servers) = thread::scope(|scope| {
        let starting: Vec<_> = targets.iter().map(|name| scope.spawn(move || Server::start(name))).collect();
        let source = start_source(source);
        let join = |thread: thread::ScopedJoinHandle<'_, Result<Server>>| thread.join().expect("a server is started");
        Ok::<_, anyhow::Error>((source?, starting.into_iter().map(join).collect::<Result<Vec<_>>>()?))
    })?;
    data::fill_mixed(&source.url(), KEYS, SEED).context("fill the source")?;
    let mut parts = before(&source, without)?;
    let mut cells: Vec<Cell> = Vec::new();
    for target in servers {
        cells.push(Cell::start(binary, state.path(), &source, target)?);
    }
    on_each(&mut cells, |cell| cell.copied());
    let mut trail = behind(&source, &mut parts, without)?;
    on_each(&mut cells, |cell| cell.judge(&source));
    let mut runner = Runner::connect(&source, "after", Form::Plain)?;
    runner.note_offsets(&source)?;
    runner.family(&EMPTYING)?;
    trail.append(runner.take_trail());
    on_each(&mut cells, |cell| cell.judge_emptied(&source));
    on_each(&mut cells, |cell| cell.stop(without.is_empty()));
    cells.iter_mut().for_each(|cell| cell.explain(&trail));
    cells.iter_mut().for_each(|cell| cell.took = started.elapsed());
    Ok(cells)
}

fn start_source(name: &str) -> Result<Server> {
    // Many replicas at once, on a busy machine: none of them is to be cut off.
    Server::builder(name).arg("client-output-buffer-limit slave 0 0 0").arg("repl-timeout 600").start()
}

/// What is there before the copy: each family once, and the first part of those that are sent in two.
fn before(source: &Server, without: &[String]) -> Result<Vec<Runner>> {
    let mut copied = Runner::connect(source, "copied", Form::Plain)?.without(without);
    FAMILIES.iter().try_for_each(|family| copied.family(family))?;
    let mut parts = Vec::new();
    for (run, quarters) in PARTS {
        let mut runner = Runner::connect(source, run, Form::Plain)?.without(without);
        for family in FAMILIES.iter().filter(|family| !family.server_wide) {
            runner.calls(&family.calls[..family.calls.len() * quarters / 4])?;
        }
        parts.push(runner);
    }
    Ok(parts)
}

/// What is written behind the copy.
fn behind(source: &Server, parts: &mut [Runner], without: &[String]) -> Result<Trail> {
    let mut trail = Trail::default();
    for ((_, quarters), runner) in PARTS.into_iter().zip(parts) {
        runner.note_offsets(source)?;
        for family in FAMILIES.iter().filter(|family| !family.server_wide) {
            runner.calls(&family.calls[family.calls.len() * quarters / 4..])?;
        }
        trail.append(runner.take_trail());
    }
    let mut forms = vec![("plain", Form::Plain), ("multi", Form::Transactions)];
    // Older ones replicate scripts, not what they do.
    if source.version().has(5, 0) {
        forms.push(("lua", Form::Scripts));
    }
    for (run, form) in forms {
        let mut runner = Runner::connect(source, run, form)?.without(without);
        runner.note_offsets(source)?;
        FAMILIES.iter().try_for_each(|family| runner.family(family))?;
        trail.append(runner.take_trail());
    }
    serve_waiting(source, "waiting")?;
    Ok(trail)
}

/// Runs the same work on all cells that have not failed, at once.
fn on_each(cells: &mut [Cell], work: impl Fn(&mut Cell) -> Result<()> + Sync) {
    thread::scope(|scope| {
        for cell in cells {
            let work = &work;
            scope.spawn(move || cell.attempt(work));
        }
    });
}
