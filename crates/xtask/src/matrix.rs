//! All pairs of servers: from each to each, every type and every family of write commands, judged by the oracle.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Result, bail};
use keyferry_testkit::matrix::{self, Passed, SERVERS};

use crate::{product, servers, stop};

/// How a cell went, by source and target.
type Outcomes = BTreeMap<(String, String), Result<Passed, String>>;

/// Runs the rows of these sources with these targets, all without a name, `jobs` rows at once, and prints a table.
/// Fails when a cell does, or when calls were left out.
pub(crate) fn run(sources: &[String], targets: &[String], without: &[String], jobs: NonZeroUsize) -> Result<()> {
    let (sources, targets) = (chosen(sources)?, chosen(targets)?);
    let binary = product::build_for_tests()?;
    servers::require(&["setpriv"])?;
    let needed: Vec<String> = SERVERS
        .iter()
        .filter(|name| sources.contains(name) || targets.contains(name))
        .map(|name| (*name).into())
        .collect();
    servers::fetch(&needed)?;
    stop::listen()?;
    let started = Instant::now();
    let outcomes = rows(&binary, &sources, &targets, without, jobs)?;
    print!("{}", table(&sources, &targets, &outcomes));
    let failed: Vec<_> = outcomes.iter().filter_map(|(cell, outcome)| Some((cell, outcome.as_ref().err()?))).collect();
    for ((source, target), error) in &failed {
        println!("\nFAILED {source} -> {target}: {error}");
    }
    for line in lists(&outcomes) {
        println!("{line}");
    }
    let (count, seconds) = (outcomes.len(), started.elapsed().as_secs());
    println!("\n{count} cells, {} failed, {seconds} s", failed.len());
    match (failed.len(), without) {
        (0, []) => Ok(()),
        (0, _) => bail!("not all calls were made"),
        (failed, _) => bail!("{failed} of {count} cells failed"),
    }
}

/// The servers of these names, in the order of the table; all of them without a name.
fn chosen(names: &[String]) -> Result<Vec<&'static str>> {
    if let Some(unknown) = names.iter().find(|name| !SERVERS.contains(&name.as_str())) {
        bail!("{unknown} is not in the matrix, which has: {}", SERVERS.join(" "));
    }
    Ok(SERVERS.iter().copied().filter(|name| names.is_empty() || names.iter().any(|chosen| chosen == name)).collect())
}

/// Runs the rows, several at once.
fn rows(binary: &Path, sources: &[&str], targets: &[&str], without: &[String], jobs: NonZeroUsize) -> Result<Outcomes> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Outcomes::new());
    let work = || -> Result<()> {
        while let Some(source) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
            stop::check()?;
            let started = Instant::now();
            let cells = matrix::row(binary, source, targets, without);
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            // A row that could not be run at all has failed in each of its cells.
            let results: Vec<_> = match cells {
                Ok(cells) => cells.into_iter().map(|cell| (cell.target, cell.outcome)).collect(),
                Err(error) => targets.iter().map(|target| ((*target).into(), Err(format!("{error:#}")))).collect(),
            };
            let failed = results.iter().filter(|(_, outcome)| outcome.is_err()).count();
            eprintln!("{source}: {} cells, {failed} failed, {:.1} s", results.len(), started.elapsed().as_secs_f64());
            outcomes.extend(results.into_iter().map(|(target, outcome)| (((*source).into(), target), outcome)));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.get()).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    stop::check()?;
    Ok(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A line for each source, a column for each target: `ok`, `ok` with the number of kinds of data that are listed as
/// lost, or `FAILED`.
fn table(sources: &[&str], targets: &[&str], outcomes: &Outcomes) -> String {
    let short = |name: &str| name.replace("redis-", "r").replace("valkey-", "v").replace("redict-", "rd");
    let mut text = format!("\n{:<12}", "from \\ to");
    targets.iter().for_each(|target| text += &format!("{:>8}", short(target)));
    for source in sources {
        text += &format!("\n{source:<12}");
        for target in targets {
            let outcome = outcomes.get(&((*source).to_owned(), (*target).to_owned()));
            let shown = match outcome {
                Some(Ok(passed)) if passed.listed.is_empty() => "ok".into(),
                Some(Ok(passed)) => format!("ok({})", passed.listed.len()),
                Some(Err(_)) => "FAILED".into(),
                None => "-".to_owned(),
            };
            text += &format!("{shown:>8}");
        }
    }
    text + "\n"
}

/// What was listed as lost, and between which servers.
fn lists(outcomes: &Outcomes) -> Vec<String> {
    let lost = outcomes.iter().filter_map(|(cell, outcome)| Some((cell, outcome.as_ref().ok()?)));
    let lost = lost.filter(|(_, passed)| !passed.listed.is_empty());
    let line = |((source, target), passed): (&(String, String), &Passed)| {
        let listed: Vec<String> = passed.listed.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        format!("  {source} -> {target}: {} ({} keys equal, {} not)", listed.join("; "), passed.keys, passed.lost)
    };
    lost.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(chosen(&[]).unwrap(), SERVERS);
        assert_eq!(chosen(&["valkey-9.0".into(), "redis-3.0".into()]).unwrap(), ["redis-3.0", "valkey-9.0"]);
        assert!(chosen(&["redis-2.8".into()]).is_err());
    }

    #[test]
    fn the_table_tells_the_three_outcomes_apart() {
        let mut outcomes = Outcomes::new();
        let mut put = |source: &str, target: &str, outcome| outcomes.insert((source.into(), target.into()), outcome);
        let listed = [("stream dropped".to_owned(), 3)].into();
        put("redis-5.0", "redis-4.0", Ok(Passed { keys: 9, lost: 3, listed }));
        put("redis-5.0", "valkey-9.0", Ok(Passed::default()));
        put("redict-7.3", "redis-4.0", Err("broken".into()));
        let table = table(&["redis-5.0", "redict-7.3"], &["redis-4.0", "valkey-9.0"], &outcomes);
        let lines: Vec<Vec<&str>> = table.trim().lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][3..], ["r4.0", "v9.0"]);
        assert_eq!(lines[1], ["redis-5.0", "ok(1)", "ok"]);
        assert_eq!(lines[2], ["redict-7.3", "FAILED", "-"]);
        assert_eq!(lists(&outcomes), ["  redis-5.0 -> redis-4.0: stream dropped: 3 (9 keys equal, 3 not)"]);
    }
}
