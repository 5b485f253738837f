//! The end of the socket in the commands that talk to a running task.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    process::ExitCode,
    time::Duration,
};

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};

use super::{
    args::{Command, CutoverArgs, LimitArgs, Output, StatusArgs, TaskArgs},
    message::{Message, Reply, Report, Request, StepNews, VERSION, Version},
    show,
    socket::Address,
};
use crate::{sync::say, task_lock};

/// A task answers at once, also while it is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does what the command says.
///
/// Errors: `NotRunning`, `Control`, `CutoverUnknown`.
pub(super) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Status(StatusArgs { task, watch, output }) => {
            let mut talk = Talk::begin(task, &Request::Status { watch: *watch })?;
            loop {
                let Some((reply, line)) = talk.next()? else { return Ok(ExitCode::SUCCESS) };
                let Reply::Status(status) = reply else { return Ok(refused(&reply)) };
                let text = if *output == Output::Json { line } else { show::status(&status) };
                // Nobody reads any more.
                if writeln!(io::stdout().lock(), "{}", text.trim_end()).is_err() || !watch {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        Command::Pause(task) => change(task, &Request::Pause),
        Command::Resume(task) => change(task, &Request::Resume),
        Command::Limit(LimitArgs { task, limits }) => {
            let (read_bytes, write_bytes) = (limits.read_bytes, limits.write_bytes);
            change(task, &Request::Limit { read_bytes, write_bytes, write_commands: limits.write_commands })
        }
        Command::Cutover(args) => cut_over(args),
    }
}

/// Follows a cut-over to its end. Each step is shown as it comes, on stderr when the report is for a script.
fn cut_over(args: &CutoverArgs) -> Result<ExitCode> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let request = Request::Cutover {
        timeout_ms: ms(args.timeout),
        source_pause_ms: args.source_pause.0.map(ms),
        reverse: args.reverse,
    };
    let mut talk = Talk::begin(&args.task, &request)?;
    // It ends by itself, and how is what was asked for.
    talk.wait_for_ever()?;
    let mut steps: Vec<StepNews> = Vec::new();
    loop {
        let Some((reply, _)) = talk.next()? else {
            let what = format!("follow the cut-over of task `{}`: the task ended without a word", talk.task);
            return Err(Error::new(ErrorKind::CutoverUnknown, what));
        };
        match reply {
            Reply::Step(news) => {
                match args.output {
                    Output::Text => drop(writeln!(io::stdout().lock(), "{}", show::step(&news))),
                    Output::Json => say(&show::step(&news)),
                }
                match steps.last_mut().filter(|last| last.step == news.step) {
                    Some(last) => *last = news,
                    None => steps.push(news),
                }
            }
            Reply::CutOver {
                write_pause_ms,
                offset,
                unpause,
                reverse_task,
                late_writes,
                source_changed,
                target_replicas,
                stops,
            } => {
                let text = match args.output {
                    Output::Text => {
                        let after =
                            show::behind(&unpause, args.source_pause.0, reverse_task.as_deref(), late_writes, stops);
                        let changed =
                            source_changed.map(|what| show::source_changed(&what, offset)).unwrap_or_default();
                        let behind = target_replicas.map(show::replicas_behind).unwrap_or_default();
                        format!("{}\n{changed}{behind}{after}", show::cut_over(write_pause_ms, offset))
                    }
                    Output::Json => {
                        let report = Report {
                            write_pause_ms,
                            offset,
                            steps,
                            unpause,
                            reverse_task,
                            late_writes,
                            source_changed,
                            target_replicas,
                            stops,
                        };
                        serde_json::to_string(&report).unwrap_or_default()
                    }
                };
                let _ = writeln!(io::stdout().lock(), "{text}");
                return Ok(ExitCode::SUCCESS);
            }
            reply => return Ok(refused(&reply)),
        }
    }
}

/// Asks for a change and shows how it is then.
fn change(task: &TaskArgs, request: &Request) -> Result<ExitCode> {
    let mut talk = Talk::begin(task, request)?;
    match talk.next()? {
        Some((Reply::Status(status), _)) => {
            let _ = writeln!(io::stdout().lock(), "{}", show::settings(&status));
            Ok(ExitCode::SUCCESS)
        }
        Some((reply, _)) => Ok(refused(&reply)),
        None => Err(talk.ended()),
    }
}

/// Says why the task did not do it.
fn refused(reply: &Reply) -> ExitCode {
    if let Reply::Error { code, error, remedy } = reply {
        say(&format!("error {code}: {error}"));
        say(&format!("remedy: {remedy}"));
    }
    ExitCode::FAILURE
}

/// A connection to a task.
pub(super) struct Talk {
    lines: BufReader<UnixStream>,
    task: String,
}

impl Talk {
    pub(super) fn begin(task: &TaskArgs, request: &Request) -> Result<Self> {
        let dir = task_lock::state_dir(task.state_dir.as_deref())?;
        let TaskArgs { task, .. } = task;
        let address = Address::new(&dir, task)?;
        let stream = UnixStream::connect(&address.name).map_err(|e| {
            let kind = match e.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ErrorKind::NotRunning,
                _ => ErrorKind::Control,
            };
            Error::new(kind, format!("talk to task `{task}` at {}", address.path.display())).caused_by(e)
        })?;
        let context = || format!("talk to task `{task}`");
        stream.set_read_timeout(Some(PATIENCE)).or_err(ErrorKind::Control, context)?;
        stream.set_write_timeout(Some(PATIENCE)).or_err(ErrorKind::Control, context)?;
        (&stream).write_all(&Message::line(request)).or_err(ErrorKind::Control, context)?;
        Ok(Self { lines: BufReader::new(stream), task: task.clone() })
    }

    /// From now on an answer may take any time.
    pub(super) fn wait_for_ever(&self) -> Result<()> {
        self.set_patience(None)
    }

    /// From now on an answer may take so long.
    pub(super) fn wait_for(&self, time: Duration) -> Result<()> {
        self.set_patience(Some(time))
    }

    fn set_patience(&self, time: Option<Duration>) -> Result<()> {
        let context = || format!("talk to task `{}`", self.task);
        self.lines.get_ref().set_read_timeout(time).or_err(ErrorKind::Control, context)
    }

    /// The next reply and its line; `None` when the task has ended.
    pub(super) fn next(&mut self) -> Result<Option<(Reply, String)>> {
        let context = || format!("read the answer of task `{}`", self.task);
        let mut line = String::new();
        if self.lines.read_line(&mut line).or_err(ErrorKind::Control, context)? == 0 {
            return Ok(None);
        }
        let Version { v } = serde_json::from_str(&line).or_err(ErrorKind::Control, context)?;
        if v != VERSION {
            let what = format!("read the answer of task `{}`: it speaks version {v}, and this is {VERSION}", self.task);
            return Err(Error::new(ErrorKind::Control, what));
        }
        let message: Message<Reply> = serde_json::from_str(&line).or_err(ErrorKind::Control, context)?;
        Ok(Some((message.body, line)))
    }

    /// The connection was closed before there was an answer.
    fn ended(&self) -> Error {
        let what = format!("talk to task `{}`: it has ended, or too many others talk to it", self.task);
        Error::new(ErrorKind::Control, what)
    }
}
