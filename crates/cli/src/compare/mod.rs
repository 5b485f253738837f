//! `keyferry compare`: options, progress, exit codes.

mod args;
mod output;

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    process::ExitCode,
    time::Duration,
};

pub(crate) use args::Args;
use args::ProgressMode;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use keyferry_model::{Error, ErrorKind, Result, ResultExt as _, Side};
use keyferry_verify::{Copier, Spec, Stage, Stats, Store, run};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{control::RunningTask, logging, report::LogWriter, sync};

/// Differences on one page of `--show`.
const PAGE: u64 = 1_000;
/// Between two pictures of the bar.
const TICK: Duration = Duration::from_millis(200);

/// How the process ends.
enum End {
    Equal = 0,
    Different = 1,
    Failed = 2,
    Interrupted = 130,
}

pub(crate) fn main(args: &Args) -> ExitCode {
    let bar = bar(args.progress);
    logging::init(args.log_level, args.log_format, LogWriter(bar.clone()));
    let end = match &args.show {
        Some(path) => show(args, path),
        None => compare(args, bar.as_ref()),
    };
    let end = end.unwrap_or_else(|e| {
        sync::failed(&e);
        End::Failed
    });
    ExitCode::from(end as u8)
}

fn show(args: &Args, path: &Path) -> Result<End> {
    if !path.exists() {
        return Err(Error::new(
            ErrorKind::ResultStore,
            format!("open the results in {}: no such file", path.display()),
        ));
    }
    let store = Store::open(Some(path))?;
    let part = args.page.map_or((0, u64::MAX), |page| ((page - 1).saturating_mul(PAGE), PAGE));
    match output::write(&store, args.output, part, false)? {
        Some((outcome, true)) if outcome.is_equal() => Ok(End::Equal),
        Some(_) => Ok(End::Different),
        None => {
            let what = format!("show the results in {}: there is no comparison in it", path.display());
            Err(Error::new(ErrorKind::ResultStore, what))
        }
    }
}

fn compare(args: &Args, bar: Option<&ProgressBar>) -> Result<End> {
    let side = |side, url: &Option<String>| args.access.endpoint(side, url.as_deref().unwrap_or_default());
    let (source, target) = (side(Side::Source, &args.source)?, side(Side::Target, &args.target)?);
    if target.db.is_some() && source.db.is_none() {
        let what = "read the URLs: a database is chosen on the target but not on the source";
        return Err(Error::new(ErrorKind::BadUrl, what));
    }
    let of_urls = source.db.map(|db| (db, target.db.unwrap_or(db)));
    let spec = Spec {
        objects: args.data.objects(of_urls)?,
        mode: args.mode,
        big_key_limit: args.big_key_limit,
        sample: args.sample,
        rounds: args.rounds,
        interval: args.interval,
        ttl_tolerance: args.ttl_tolerance,
        ttl_grace: args.ttl_grace,
        rate: args.rate,
        repair: args.repair,
    };
    let history = args.history.find(&source, &target)?;
    let task = match args.history.task(&source, &target)?.filter(|_| args.repair) {
        Some((dir, task)) => RunningTask::find(&dir, &task)?,
        None => None,
    };
    let copier = task.as_ref().map(|task| task as &dyn Copier);
    let store = Store::open_to_write(args.store.as_deref())?;
    let stats = Stats::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_err(ErrorKind::Internal, || "start the runtime".into())?;
    let result = runtime.block_on(async {
        let listen = |kind| signal(kind).or_err(ErrorKind::Internal, || "listen for signals".into());
        let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let run = Box::pin(run(&source, &target, &spec, &stats, &store, copier));
        tokio::pin!(run);
        loop {
            tokio::select! {
                biased;
                // 1: a signal. What is done is in the store.
                _ = interrupt.recv() => return Ok(None),
                _ = terminate.recv() => return Ok(None),
                // 2: the work.
                result = &mut run => return result.map(Some),
                // 3: a picture of it.
                () = sleep(TICK), if bar.is_some() => picture(bar, &stats),
            }
        }
    });
    // Not waited for: a name service that does not answer must not hold up the end.
    runtime.shutdown_background();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let Some(outcome) = result? else {
        let again = if args.store.is_some() { "; the same command goes on with it" } else { "" };
        sync::say(&format!("interrupted{again}"));
        return Ok(End::Interrupted);
    };
    if let Some(history) = history {
        let rules = args.data.rules(of_urls);
        history.compared([&source, &target], args.how(), rules, &output::object(&outcome, true, args.repair));
    }
    output::write(&store, args.output, (0, u64::MAX), args.repair)?;
    Ok(if outcome.is_equal() { End::Equal } else { End::Different })
}

fn bar(mode: ProgressMode) -> Option<ProgressBar> {
    let wanted = match mode {
        ProgressMode::Auto => io::stderr().is_terminal(),
        ProgressMode::Bar => true,
        ProgressMode::None => false,
    };
    wanted.then(|| {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:30} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.with_style(style)
    })
}

fn picture(bar: Option<&ProgressBar>, stats: &Stats) {
    let Some(bar) = bar else { return };
    let differing = format!("{} keys differ", HumanCount(stats.differing()));
    let (walked, expected) = (stats.walked(), stats.expected().max(1));
    bar.set_length(expected);
    bar.set_position(walked.min(expected));
    bar.set_message(match stats.stage() {
        Stage::Source | Stage::Target => format!("{} of both sides' keys, {differing}", HumanCount(walked)),
        Stage::Rounds => format!("round {}: {differing}", stats.round()),
        Stage::Repair => format!("repair: {differing}"),
    });
}
