//! `keyferry check`: what would go wrong, before anything is written; and the same before `keyferry sync` begins anew.

use std::{
    cell::Cell,
    fs::File,
    future::Future,
    io::{self, Write as _},
    path::PathBuf,
    pin::Pin,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use keyferry_engine::Gate;
use keyferry_model::{Error, ErrorKind, OnConflict, OnUnsupported, Result, ResultExt as _, Side};
use keyferry_precheck::{self as precheck, Finding, Item, Report, Request, Status, check};

use crate::{
    args::{size, task_name, time},
    chosen::ChosenArgs,
    history::{Entry, History},
    secrets::AccessArgs,
    sync::{Source, default_task, failed, reverse_tasks},
    task_lock::state_dir,
};

/// As `sync` ends when it is refused before any write.
const NOT_OK: u8 = 3;
/// For how long the source's writes are watched: a second evens out what comes in bursts.
const SAMPLE: Duration = Duration::from_secs(1);
/// The same before `sync`, whose start is not to be felt.
pub(crate) const SHORT_SAMPLE: Duration = Duration::from_millis(100);
/// What `sync` has found out itself by then, or tries in the next moment, with error codes of its own.
pub(crate) const LEFT_TO_SYNC: [Item; 4] =
    [Item::SourceConnection, Item::TargetConnection, Item::SourcePermission, Item::TargetData];
/// Where `sync` has error codes of its own for what it meets then (TGT-0017, and TGT-0015, which is tried again while
/// somebody makes room), or waits for room itself, it begins, and the log says beforehand what is to be expected. A dump file
/// is not tried again: what does not fit is refused.
const ONLY_SAID_BY_SYNC: [Item; 3] = [Item::Modules, Item::MemoryHeadroom, Item::SpoolDisk];

/// Exit codes: 0 nothing stands in the way; 1 could not be run; 2 usage; 3 an item failed, or a warning is not accepted.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Where the data is: as for sync; of file:PATH only its size is looked at.
    source: String,
    /// Where it is to go: as for sync.
    target: String,
    /// How to show what was found.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Leave an item out; may be given several times, or as a list with commas.
    #[arg(long, value_name = "ITEM", value_delimiter = ',')]
    skip: Vec<Item>,
    /// End with 0 also when there are warnings.
    #[arg(long)]
    accept_warnings: bool,
    /// Name of the task, as for sync.
    #[arg(long, value_name = "NAME", value_parser = task_name)]
    task: Option<String>,
    #[command(flatten)]
    chosen: ChosenArgs,
    /// As for sync: abort, ignore, replace or clear.
    #[arg(long, value_name = "STRATEGY", default_value = "abort")]
    on_conflict: OnConflict,
    /// As for sync: fail, drop or degrade.
    #[arg(long, value_name = "POLICY", default_value = "fail")]
    on_unsupported: OnUnsupported,
    /// As for sync.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    ttl_grace: Duration,
    /// As for sync.
    #[arg(long, value_name = "DIR", env = "KEYFERRY_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// As for sync.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    spool_limit: Option<u64>,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line for each item, with reason and remedy where it has not passed.
    Text,
    /// One JSON object.
    Json,
}

pub(crate) fn main(args: &CheckArgs) -> ExitCode {
    let mut report = match look(args) {
        Ok(report) => report,
        Err(e) => return failed(&e),
    };
    if args.accept_warnings {
        report.accept_warnings();
    }
    let shown = match args.output {
        Output::Text => Ok(text(&report)),
        Output::Json => serde_json::to_string(&report).map(|line| line + "\n"),
    };
    let written = shown.map_err(io::Error::other).and_then(|text| {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    });
    match written {
        // A reader that goes away does not change how the process ends.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            return failed(&Error::new(ErrorKind::DumpFile, "write what was found").caused_by(e));
        }
        _ => {}
    }
    if report.ok { ExitCode::SUCCESS } else { ExitCode::from(NOT_OK) }
}

fn look(args: &CheckArgs) -> Result<Report> {
    let source = Source::parse(&args.source, &args.access)?;
    if let Source::File(path) = &source {
        let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok(()),
        });
        opened.or_err(ErrorKind::DumpFile, || format!("read the dump file {}", path.display()))?;
    }
    let target = args.access.endpoint(Side::Target, &args.target)?;
    let db = source.server().and_then(|source| source.db);
    if target.db.is_some() && db.is_none() {
        let what = "read the URLs: a database is chosen on the target but not on the source";
        return Err(Error::new(ErrorKind::BadUrl, what));
    }
    let of_urls = db.map(|db| (db, target.db.unwrap_or(db)));
    let objects = args.chosen.objects(of_urls, args.on_conflict)?;
    let task = args.task.clone().unwrap_or_else(|| default_task(source.server(), &target));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_err(ErrorKind::Internal, || "start the runtime".into())?;
    let request = Request {
        objects: &objects,
        on_conflict: args.on_conflict,
        on_unsupported: args.on_unsupported,
        ttl_grace: args.ttl_grace,
        reverse_tasks: &reverse_tasks(&task, source.server(), &target),
        spool_dir: &state_dir(args.state_dir.as_deref())?.join(format!("{task}.spool")),
        spool_limit: args.spool_limit,
        sample: SAMPLE,
        skip: &args.skip,
        task: &task,
        source: source.checked(),
        target: &target,
    };
    let report = runtime.block_on(check(&request));
    // Not waited for: a name service that does not answer must not hold up the end.
    runtime.shutdown_background();
    Ok(report)
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.items {
        let mark = match finding.status {
            Status::Passed => "ok  ",
            Status::Warning => "warn",
            Status::Failed => "FAIL",
            Status::Skipped => "skip",
        };
        let item = finding.item;
        text += &match finding.status {
            Status::Passed | Status::Skipped => format!("{mark}  {item}: {}\n", finding.reason),
            Status::Warning | Status::Failed => {
                format!("{mark}  {item}\n      reason: {}\n      remedy: {}\n", finding.reason, finding.remedy)
            }
        };
    }
    let Report { passed, warnings, failed, skipped, ok, .. } = report;
    let end = if *ok { "nothing stands in the way" } else { "not ready" };
    text += &format!("{passed} passed, {warnings} warnings, {failed} failed, {skipped} skipped: {end}\n");
    text
}

/// The check before a task begins anew: what fails refuses the start, warnings are lines of the log.
pub(crate) struct BeforeStart<'a> {
    request: Request<'a>,
    history: &'a History,
    /// It is not made again when the start is tried again.
    passed: Cell<bool>,
    /// A report is in the history.
    noted: Cell<bool>,
}

impl<'a> BeforeStart<'a> {
    pub(crate) fn new(request: Request<'a>, history: &'a History) -> Self {
        Self { request, history, passed: Cell::new(false), noted: Cell::new(false) }
    }

    async fn look(&self) -> Result<()> {
        if self.passed.get() {
            return Ok(());
        }
        let report = check(&self.request).await;
        let file = matches!(self.request.source, precheck::Source::File(_));
        let mut failed = Vec::new();
        for Finding { item, status, reason, remedy, .. } in &report.items {
            match status {
                Status::Failed if file || !ONLY_SAID_BY_SYNC.contains(item) => {
                    failed.push(format!("{item}: {reason} ({remedy})"))
                }
                Status::Failed | Status::Warning => tracing::warn!(item = item.name(), reason, remedy, "precheck"),
                Status::Passed | Status::Skipped => {}
            }
        }
        // The first one, and the one that lets the task begin.
        if failed.is_empty() || !self.noted.replace(true) {
            self.history.note(Entry::Precheck { report: serde_json::to_value(&report).unwrap_or_default() });
        }
        if !failed.is_empty() {
            return Err(Error::new(ErrorKind::Precheck, format!("check both sides: {}", failed.join("; "))));
        }
        self.passed.set(true);
        Ok(())
    }
}

impl Gate for BeforeStart<'_> {
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<()>> + '_>> {
        Box::pin(self.look())
    }
}
