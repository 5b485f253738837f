//! `keyferry sync`: options, signals, exit codes.

use std::{
    fs,
    future::pending,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use keyferry_engine::{Limits, Outcome, Stats, load, reversed, run};
use keyferry_model::{Error, ErrorKind, Result, ResultExt as _, Side, SyncSpec, reverse_task};
use keyferry_net::Endpoint;
use keyferry_precheck::{self as precheck, Item, Request};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    args::SyncArgs,
    check::{BeforeStart, LEFT_TO_SYNC, SHORT_SAMPLE},
    chosen::turned,
    control::Server,
    history::{Entry, History, Settings},
    logging,
    report::{Reporter, summary},
    secrets::AccessArgs,
    task_lock::TaskLock,
};

/// As a shell reports a process that SIGINT has ended (128 + 2).
const INTERRUPTED: u8 = 130;
/// See [`rest`]. At 100 MB/s a socket holds what comes in this time.
const REST: Duration = Duration::from_millis(1);
/// With so few bytes between two rests, some 8 MB/s, it may be longer: it is most of the delay then, and delays below 10 ms
/// are short.
const FEW: u64 = 64 * 1024;
const LONG_REST: Duration = Duration::from_millis(4);
/// Times are busy when there was something to do so shortly ago.
const BUSY: Duration = Duration::from_millis(2);

pub(crate) fn main(args: SyncArgs) -> ExitCode {
    let reporter = Reporter::new(args.progress);
    logging::init(args.log_level, args.log_format, reporter.log_writer());
    let begun = Instant::now();
    let mut stats = Arc::new(Stats::default());
    match sync(&args, &mut stats, &reporter) {
        Ok(outcome) => {
            say(&summary(outcome, &stats, begun.elapsed()));
            match outcome {
                Outcome::Copied | Outcome::Synced | Outcome::CutOver => ExitCode::SUCCESS,
                Outcome::Interrupted | Outcome::TurnedRound => ExitCode::from(INTERRUPTED),
            }
        }
        Err(e) => {
            if !stats.is_settled() {
                say("expiries are still held on the target (TTL shows more than 100,000 years)");
            }
            failed(&e)
        }
    }
}

/// Says what is wrong and what to do; gives the exit code.
pub(crate) fn failed(e: &Error) -> ExitCode {
    let policy = e.kind().policy();
    say(&format!("error {}: {e}", policy.code));
    say(&format!("remedy: {}", policy.remedy));
    ExitCode::from(policy.exit as u8)
}

/// The last words; a reader of stderr that has gone does not change how the process ends.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "keyferry: {line}");
}

/// `stats`: those of the task that ran last.
fn sync(args: &SyncArgs, stats: &mut Arc<Stats>, reporter: &Reporter) -> Result<Outcome> {
    let mut source = Source::parse(&args.source, &args.access)?;
    let mut target = args.access.endpoint(Side::Target, &args.target)?;
    if matches!(source, Source::File(_)) && (args.stop_when_synced || target.db.is_some()) {
        let what = "load a file: there is nothing to follow, and its databases keep their numbers";
        return Err(Error::new(ErrorKind::BadUrl, what));
    }
    let of_urls = match &source {
        Source::Server(source) => source.db.map(|db| (db, target.db.unwrap_or(db))),
        Source::File(_) => None,
    };
    let objects = args.chosen.objects(of_urls, args.on_conflict)?;
    let task = args.task.clone().unwrap_or_else(|| default_task(source.server(), &target));
    let mut lock = TaskLock::take(args.state_dir.as_deref(), &task)?;
    let mut rules = args.chosen.rules(of_urls);
    let mut spec = SyncSpec {
        objects,
        on_conflict: args.on_conflict,
        on_unsupported: args.on_unsupported,
        full_only: args.full_only,
        stop_when_synced: args.stop_when_synced,
        ttl_grace: args.ttl_grace,
        retry_window: args.retry_window.0,
        on_lost_backlog: args.on_lost_backlog,
        restart: args.restart,
        spool_dir: lock.dir().join(format!("{task}.spool")),
        spool_limit: args.spool_limit,
        task,
    };
    let skip = [&LEFT_TO_SYNC, args.skip.as_slice()].concat();

    let limit = |n: u64| Some(n).filter(|&n| n > 0);
    stats.control.set_limits(Limits {
        read_bytes: limit(args.limit_read_bytes),
        write_bytes: limit(args.limit_write_bytes),
        write_commands: limit(args.limit_write_commands),
    });

    // One thread: all parts of a stream take turns on it, and the servers' own work is far more than theirs.
    let running = Arc::new(Mutex::new(Arc::clone(stats)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park({
            let running = Arc::clone(&running);
            rest(move || running.lock().map_or((0, false), |stats| (stats.moved(), stats.asks())))
        })
        .build()
        .or_err(ErrorKind::Internal, || "start the runtime".into())?;
    let result = runtime.block_on(async {
        let mut signals = Signals::listen().or_err(ErrorKind::Internal, || "listen for signals".into())?;
        let stop = CancellationToken::new();
        let mut goes_on = false;
        loop {
            let task = Running {
                source: &source,
                target: &target,
                spec: &spec,
                rules: &rules,
                skip: &skip,
                goes_on,
                dir: lock.dir(),
            };
            let outcome = task.run(stats, reporter, &mut signals, &stop).await?;
            let (Outcome::TurnedRound, Source::Server(server)) = (outcome, &source) else { return Ok(outcome) };
            if stop.is_cancelled() {
                return Ok(outcome);
            }
            let ends = reversed(server, &target);
            let odd = || Error::new(ErrorKind::Internal, "turn round: the rules have no inverse");
            spec = spec.reversed().ok_or_else(odd)?;
            tracing::info!(task = spec.task, source = %ends.0, target = %ends.1, "the other direction begins");
            lock = TaskLock::take(Some(lock.dir()), &spec.task)?;
            (source, target, goes_on) = (Source::Server(ends.0), ends.1, true);
            rules.iter_mut().for_each(|rule| *rule = turned(rule));
            reporter.turn(stats);
            *stats = Arc::new(Stats::default());
            if let Ok(mut running) = running.lock() {
                *running = Arc::clone(stats);
            }
        }
    });
    // Not waited for: a name service that does not answer must not hold up the end.
    runtime.shutdown_background();
    reporter.last(stats);
    result
}

/// One task of this process. Behind a cut-over another one may follow.
struct Running<'a> {
    source: &'a Source,
    target: &'a Endpoint,
    spec: &'a SyncSpec,
    /// As options, for people.
    rules: &'a [String],
    skip: &'a [Item],
    /// Something of it is there already.
    goes_on: bool,
    /// The state directory.
    dir: &'a Path,
}

impl Running<'_> {
    async fn run(
        &self,
        stats: &Arc<Stats>,
        reporter: &Reporter,
        signals: &mut Signals,
        stop: &CancellationToken,
    ) -> Result<Outcome> {
        let Self { source, target, spec, rules, skip, goes_on, dir } = *self;
        let history = Arc::new(History::open(dir, &spec.task));
        history.note(Entry::Started(Settings {
            keyferry: env!("CARGO_PKG_VERSION").into(),
            source: source.shown(),
            target: target.to_string(),
            rules: rules.to_vec(),
            on_conflict: format!("{:?}", spec.on_conflict).to_lowercase(),
            on_unsupported: format!("{:?}", spec.on_unsupported).to_lowercase(),
            restart: spec.restart,
        }));
        stats.listen({
            let history = Arc::clone(&history);
            move |event| history.on_event(event)
        });
        let run = async {
            let request = Request {
                source: source.checked(),
                target,
                objects: &spec.objects,
                on_conflict: spec.on_conflict,
                on_unsupported: spec.on_unsupported,
                ttl_grace: spec.ttl_grace,
                task: &spec.task,
                reverse_tasks: &reverse_tasks(&spec.task, source.server(), target),
                spool_dir: &spec.spool_dir,
                spool_limit: spec.spool_limit,
                sample: SHORT_SAMPLE,
                skip,
            };
            let before = BeforeStart::new(request, &history);
            match source {
                Source::Server(source) => run(source, target, spec, stats, &before, goes_on, stop).await,
                Source::File(path) => load(path, target, spec, stats, &before, stop).await,
            }
        };
        let watch = history.watch(stats);
        tokio::pin!(run, watch);
        let mut server = Server::open(dir, &spec.task, stats);
        let result = loop {
            tokio::select! {
                biased;
                // 1: a signal asks for a clean stop; the work then ends by itself.
                () = signals.next() => {
                    tracing::info!("asked to stop");
                    stop.cancel();
                }
                // 2: the work.
                result = &mut run => break result,
                // 3: once a second, in which the work may be busy.
                () = reporter.tick(stats) => {}
                // 4: whoever talks to the task can wait.
                () = talk(server.as_mut()) => {}
                // 5: never.
                () = &mut watch => {}
            }
        };
        if let Some(server) = server {
            server.finish().await;
        }
        history.ended(&result, stats);
        result
    }
}

/// Runs each time nothing is left to do but to wait. A busy server writes in many small pieces, and waking up for each
/// costs far more than its bytes do; so in busy times the thread rests a moment first, and then takes what has come at once.
/// Measured in a full copy of 2 million strings: half as many waits for events, an eighth less CPU; and at 20 000 writes a
/// second with the long rest half the CPU. It adds at most the moment to the delay, and only while there is work.
/// `work`: a count of bytes that grows as they come and go, and whether somebody waits for answers.
fn rest(work: impl Fn() -> (u64, bool)) -> impl Fn() {
    let begun = Instant::now();
    let (last, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let now = move || begun.elapsed().as_micros() as u64;
    move || {
        if now() - last.load(Relaxed) < BUSY.as_micros() as u64 {
            let (moved, asks) = work();
            let few = (1..FEW).contains(&moved.wrapping_sub(bytes.swap(moved, Relaxed)));
            thread::sleep(if few && !asks { LONG_REST } else { REST });
        }
        last.store(now(), Relaxed);
    }
}

/// Answers those who talk to the task.
async fn talk(server: Option<&mut Server>) {
    match server {
        Some(server) => server.run().await,
        None => pending().await,
    }
}

/// Where the data comes from.
pub(crate) enum Source {
    Server(Endpoint),
    File(PathBuf),
}

impl Source {
    /// A URL, or `file:` and a path.
    pub(crate) fn parse(text: &str, access: &AccessArgs) -> Result<Self> {
        Ok(match text.strip_prefix("file:") {
            Some(path) => Self::File(path.trim_start_matches("//").into()),
            None => Self::Server(access.endpoint(Side::Source, text)?),
        })
    }

    /// For a precheck. Why a file cannot be read is for whoever reads it to say.
    pub(crate) fn checked(&self) -> precheck::Source<'_> {
        match self {
            Self::Server(server) => precheck::Source::Server(server),
            Self::File(path) => precheck::Source::File(fs::metadata(path).map_or(0, |file| file.len())),
        }
    }

    pub(crate) fn server(&self) -> Option<&Endpoint> {
        match self {
            Self::Server(server) => Some(server),
            Self::File(_) => None,
        }
    }

    /// Without a user and a password.
    fn shown(&self) -> String {
        match self {
            Self::Server(server) => server.to_string(),
            Self::File(path) => format!("file:{}", path.display()),
        }
    }
}

/// The same two endpoints are the same task, whoever starts it. `source`: `None` for a file.
pub(crate) fn default_task(source: Option<&Endpoint>, target: &Endpoint) -> String {
    let name = |e: &Endpoint| {
        let host: String =
            e.host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
        format!("{host}_{}{}", e.port, e.db.map_or_else(String::new, |db| format!("_{db}")))
    };
    match source {
        Some(source) => format!("{}-to-{}", name(source), name(target)),
        None => format!("file-to-{}", name(target)),
    }
}

/// How a task may be called that goes the other way: what a cut-over calls it, and the name of one that was given none.
/// Nothing goes back into a file, `None`.
pub(crate) fn reverse_tasks(task: &str, source: Option<&Endpoint>, target: &Endpoint) -> Vec<String> {
    source.map(|source| vec![reverse_task(task), default_task(Some(target), source)]).unwrap_or_default()
}

/// Ctrl-C and the stop request of a service manager.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
