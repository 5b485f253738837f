//! The end of the socket in `keyferry sync`.
//!
//! Invariants:
//! - Whoever talks to a task, and however: nothing is waited for that holds up the work. Each client is a task of its own
//!   in one set, their number and the bytes that are held of each are bounded, and so is the time for which a client that
//!   does not read is waited for.
//! - Only the user who runs the task can connect, from the moment on at which there is something to connect to.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use keyferry_engine::{CutoverEvent, CutoverReport, CutoverSpec, Limits, Mark, Stats};
use keyferry_model::{Error, ErrorKind, Result, ResultExt as _, reverse_task};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixSocket, UnixStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    message::{MAX_REQUEST, Message, Reply, Request, Status, StepNews, VERSION, Version, unhex},
    socket::Address,
};
use crate::task_lock::TaskLock;

/// Clients at once: a few people and their scripts.
const CLIENTS: usize = 16;
/// A client that says nothing for this long is gone, and one that does not read.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a status counts its rates over; and how often it is shown to who watches.
const LOOK: Duration = Duration::from_millis(200);
const WATCH: Duration = Duration::from_secs(1);
/// For the last words to clients when the task ends.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// When no connection can be taken, as without free descriptors.
const AGAIN: Duration = Duration::from_millis(200);

/// The socket of a running task.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
    clients: JoinSet<()>,
    shared: Arc<Shared>,
}

/// What each client's task needs.
struct Shared {
    task: String,
    dir: PathBuf,
    stats: Arc<Stats>,
    ended: CancellationToken,
}

impl Server {
    /// Listens in the state directory of a task, whose lock must be held: what an earlier process has left is removed. A task
    /// runs without it, too: then the log says why.
    pub(crate) fn open(dir: &Path, task: &str, stats: &Arc<Stats>) -> Option<Self> {
        match listen(dir, task) {
            Ok((listener, path)) => {
                let (dir, task_name) = (dir.to_owned(), task.to_owned());
                let shared = Shared { task: task_name, dir, stats: Arc::clone(stats), ended: CancellationToken::new() };
                tracing::info!(task, socket = %path.display(), "the task can be talked to");
                Some(Self { listener, path, clients: JoinSet::new(), shared: Arc::new(shared) })
            }
            Err(e) => {
                tracing::warn!(error = %e, "the task cannot be talked to while it runs");
                None
            }
        }
    }

    /// Takes clients, for as long as it is polled. Dropping the future loses nothing.
    pub(crate) async fn run(&mut self) {
        loop {
            tokio::select! {
                biased;
                // 1: makes room for the next one.
                Some(_) = self.clients.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let full = self.clients.len() >= CLIENTS;
                        let client = Client { stream, input: Vec::new(), shared: Arc::clone(&self.shared) };
                        if !full {
                            self.clients.spawn(client.serve());
                        }
                    }
                    Err(_) => sleep(AGAIN).await,
                },
            }
        }
    }

    /// The task has ended: clients are told how, but not waited for.
    pub(crate) async fn finish(mut self) {
        let _ = fs::remove_file(&self.path);
        self.shared.ended.cancel();
        let told = async { while self.clients.join_next().await.is_some() {} };
        let _ = timeout(LAST_WORDS, told).await;
    }
}

fn listen(dir: &Path, task: &str) -> Result<(UnixListener, PathBuf)> {
    let address = Address::new(dir, task)?;
    let context = || format!("listen at {}", address.path.display());
    let opened = || -> io::Result<UnixListener> {
        match fs::remove_file(&address.name) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(&address.name)?;
        // Nobody can connect before it listens.
        fs::set_permissions(&address.name, fs::Permissions::from_mode(0o600))?;
        socket.listen(CLIENTS as u32)
    };
    let listener = opened().or_err(ErrorKind::Control, context)?;
    Ok((listener, address.path))
}

struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    shared: Arc<Shared>,
}

impl Client {
    /// Answers until the client goes, or has lost the patience of this end.
    async fn serve(mut self) {
        while let Some(line) = self.line().await {
            let said = match request(&line) {
                Ok(request) => self.answer(request).await,
                Err(e) => self.say(Reply::from(&e)).await,
            };
            if !said || self.shared.ended.is_cancelled() {
                break;
            }
        }
    }

    /// The next request; `None` when there is none.
    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.input.iter().position(|&b| b == b'\n') {
                return Some(self.input.drain(..=end).collect());
            }
            if self.input.len() > MAX_REQUEST {
                let error = Error::new(ErrorKind::Control, "read a request: it is too long");
                self.say(Reply::from(&error)).await;
                return None;
            }
            let mut piece = [0; 4096];
            let n = tokio::select! {
                biased;
                () = self.shared.ended.cancelled() => return None,
                n = timeout(PATIENCE, self.stream.read(&mut piece)) => n.ok()?.ok()?,
            };
            if n == 0 {
                return None;
            }
            self.input.extend_from_slice(&piece[..n]);
        }
    }

    /// Sends one line. `false` when the client does not take it.
    async fn say(&mut self, reply: Reply) -> bool {
        let line = Message::line(reply);
        matches!(timeout(PATIENCE, self.stream.write_all(&line)).await, Ok(Ok(())))
    }

    async fn answer(&mut self, request: Request) -> bool {
        let control = &self.shared.stats.control;
        match request {
            Request::Status { watch: false } => {
                let mark = self.shared.stats.mark();
                sleep(LOOK).await;
                self.say_status(&mark).await
            }
            Request::Status { watch: true } => self.watch().await,
            Request::Pause | Request::Resume => {
                control.set_paused(request == Request::Pause);
                self.say_status(&self.shared.stats.mark()).await
            }
            Request::Limit { read_bytes, write_bytes, write_commands } => {
                let before = control.limits();
                let changed = |new: Option<u64>, old| new.map_or(old, |n| Some(n).filter(|&n| n > 0));
                control.set_limits(Limits {
                    read_bytes: changed(read_bytes, before.read_bytes),
                    write_bytes: changed(write_bytes, before.write_bytes),
                    write_commands: changed(write_commands, before.write_commands),
                });
                self.say_status(&self.shared.stats.mark()).await
            }
            Request::Cutover { timeout_ms, source_pause_ms, reverse } => {
                // The other task is to begin in this process.
                if reverse && let Err(e) = TaskLock::take(Some(&self.shared.dir), &reverse_task(&self.shared.task)) {
                    return self.say(Reply::from(&e)).await;
                }
                let spec = CutoverSpec {
                    timeout: Duration::from_millis(timeout_ms),
                    source_pause: source_pause_ms.map(Duration::from_millis),
                    reverse,
                };
                self.cut_over(spec).await
            }
            Request::Repair { db, keys } => match self.repair(db, &keys).await {
                Ok(Some(reply)) => self.say(reply).await,
                Ok(None) => false,
                Err(e) => self.say(Reply::from(&e)).await,
            },
        }
    }

    /// Has keys copied again; `None` when the client has gone, by which it lets go of those that are not begun with.
    async fn repair(&mut self, db: u32, keys: &[String]) -> Result<Option<Reply>> {
        let names: Option<Vec<Vec<u8>>> = keys.iter().map(|name| unhex(name)).collect();
        let odd = || Error::new(ErrorKind::Control, "read a request: a name is no name");
        let said = self.shared.stats.control.repair(db, names.ok_or_else(odd)?)?;
        let ended = || "repair through the task: it has ended, or begins again".into();
        let mut piece = [0; 64];
        let said = tokio::select! {
            biased;
            said = said => said,
            _ = self.stream.read(&mut piece) => return Ok(None),
        };
        Ok(Some(Reply::Repaired { reasons: said.or_err(ErrorKind::RepairRefused, ended)? }))
    }

    /// Hands on what is said of a cut-over until its end. A client that goes, or does not read, lets go of it by that.
    async fn cut_over(&mut self, spec: CutoverSpec) -> bool {
        let mut said = match self.shared.stats.control.cut_over(spec) {
            Ok(said) => said,
            Err(e) => return self.say(Reply::from(&e)).await,
        };
        loop {
            let mut piece = [0; 64];
            let event = tokio::select! {
                biased;
                // 1: what is said, also when the task ends with it.
                event = said.recv() => event,
                // 2: a client has nothing to say until then.
                _ = self.stream.read(&mut piece) => return false,
            };
            let (reply, last) = match event {
                Some(CutoverEvent::Step(step, state, detail, took)) => {
                    let (step, state) = (step.name().into(), state.name().into());
                    (Reply::Step(StepNews { step, state, ms: ms(took), detail }), false)
                }
                Some(CutoverEvent::Done(report)) => {
                    let CutoverReport {
                        write_pause,
                        offset,
                        unpause,
                        reverse_task,
                        late_writes,
                        source_changed,
                        replicas,
                        stops,
                    } = report;
                    let (write_pause_ms, target_replicas) = (ms(write_pause), replicas.map(Into::into));
                    let reply = Reply::CutOver {
                        write_pause_ms,
                        offset,
                        unpause,
                        reverse_task,
                        late_writes,
                        source_changed,
                        target_replicas,
                        stops,
                    };
                    (reply, true)
                }
                Some(CutoverEvent::Failed(error)) => (Reply::from(&error), true),
                None => {
                    let error = Error::new(ErrorKind::CutoverRefused, "cut over: the task has ended, or begins again");
                    (Reply::from(&error), true)
                }
            };
            if !self.say(reply).await || last {
                return last;
            }
        }
    }

    async fn say_status(&mut self, since: &Mark) -> bool {
        let Shared { task, stats, .. } = &*self.shared;
        let status = Status::new(task, stats.control.is_paused(), stats.control.limits(), &stats.progress(since));
        self.say(Reply::Status(status)).await
    }

    /// A status each second until the task ends, and one for that.
    async fn watch(&mut self) -> bool {
        let mut every = LOOK;
        loop {
            let mark = self.shared.stats.mark();
            let ended = timeout(every, self.shared.ended.cancelled()).await.is_ok();
            if !self.say_status(&mark).await || ended {
                return false;
            }
            every = WATCH;
        }
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn request(line: &[u8]) -> Result<Request> {
    let odd = || "read a request: it is not known here".to_owned();
    let Version { v } = serde_json::from_slice(line).or_err(ErrorKind::Control, odd)?;
    if v != VERSION {
        return Err(Error::new(ErrorKind::Control, format!("read a request of version {v}: this task has {VERSION}")));
    }
    let message: Message<Request> = serde_json::from_slice(line).or_err(ErrorKind::Control, odd)?;
    Ok(message.body)
}
