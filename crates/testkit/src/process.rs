//! Child processes that never outlive the process that started them.
//!
//! A child is stopped in three ways, each for another end of its owner: `Drop` kills and reaps it, also while a panic
//! unwinds; `setpriv --pdeathsig KILL` has the kernel kill it when the owner is killed or exits without unwinding.
//!
//! The kernel ties that death signal to the *thread* that started the child, not to its process. So all children are
//! started by one thread that lives as long as the process does; a child may be started and used from any thread.

use std::{
    io,
    path::Path,
    process::{Child, Command, ExitStatus},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};

use crate::wait;

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// A running child process. It is killed and reaped on drop.
#[derive(Debug)]
pub struct Supervised {
    child: Mutex<Child>,
    pid: u32,
    group: bool,
    killed: AtomicBool,
}

/// A command for `program` under the death signal. Add arguments, environment and streams, then hand it to
/// [`Supervised::spawn`].
pub fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Supervised {
    /// Starts a command made by [`command`]. The child gets its own process group when `group` is set; then signals
    /// that end it reach its children too.
    pub fn spawn(mut command: Command, group: bool) -> Result<Self> {
        if group {
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        let what = format!("{command:?}");
        let (reply, answer) = mpsc::channel();
        spawner().send((command, reply)).map_err(|_| anyhow!("the thread that starts processes has ended"))?;
        let child = answer.recv()?.with_context(|| format!("start {what}"))?;
        let pid = child.id();
        Ok(Self { child: Mutex::new(child), pid, group, killed: AtomicBool::new(false) })
    }

    /// The process id. `setpriv` becomes the program it starts, so this is the program's own.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Takes the streams out of the child, to read them elsewhere.
    pub fn with_child<T>(&self, f: impl FnOnce(&mut Child) -> T) -> T {
        f(&mut self.child.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// The exit status when the process has ended. The first such call reaps it.
    pub fn status(&self) -> Result<Option<ExitStatus>> {
        Ok(self.with_child(Child::try_wait)?)
    }

    /// Sends a signal to the process alone. Fails when the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Under the lock nobody reaps the child in between, so the pid cannot be another process's by now.
        self.with_child(|child| {
            if child.try_wait()?.is_some() {
                return Err(anyhow!("process {} has ended already", self.pid));
            }
            Ok(kill_process(id(child)?, signal)?)
        })
    }

    /// Waits until the process has ended by itself.
    pub fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        wait::poll(&format!("exit of process {}", self.pid), timeout, || self.status())
    }

    /// Kills the process (and its group) and reaps it. Does nothing when it has ended.
    pub fn kill(&self) {
        self.with_child(|child| {
            if self.killed.swap(true, Ordering::Relaxed) {
                return;
            }
            if self.group
                && let Ok(pid) = id(child)
            {
                // Children of the process, such as one that saves a snapshot, have no death signal of their own.
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        });
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.kill();
    }
}

fn id(child: &Child) -> Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("process id out of range")
}

fn spawner() -> &'static mpsc::Sender<Order> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                // The one who ordered may have gone; then the child is dropped with the reply, and must not stay.
                if let Err(mpsc::SendError(Ok(mut orphan))) = reply.send(command.spawn()) {
                    let _ = orphan.kill();
                    let _ = orphan.wait();
                }
            }
        });
        orders
    })
}
