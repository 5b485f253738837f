//! Real servers, by version, on free loopback ports.
//!
//! ```no_run
//! use keyferry_testkit::Server;
//!
//! let server = Server::start("redis-7.0")?;
//! redis::cmd("SET").arg("key").arg("value").exec(&mut server.conn()?)?;
//! # anyhow::Ok(())
//! ```

mod builder;
mod catalog;
mod console;
mod every;
mod files;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
pub use builder::{Builder, Tls};
pub use catalog::{Version, program, servers_dir};
pub use every::{SERVERS, faults_on_each};
use files::Folder;

use crate::{
    process::{self, Signal, Supervised},
    wait,
};

/// How long a server may take until it answers. Small data is there in milliseconds; two busy cores are slow.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any reply takes on a busy machine, so that a hanging server fails a test instead of stopping it.
const REPLY_TIMEOUT: Duration = Duration::from_secs(120);

/// A running server. It is stopped on drop, and dies with the process that started it.
#[derive(Debug)]
pub struct Server {
    version: Version,
    program: PathBuf,
    port: u16,
    tls_port: Option<u16>,
    user: Option<String>,
    password: Option<String>,
    /// Counts as started while it still answers LOADING.
    ready_when_loading: bool,
    folder: Folder,
    process: Supervised,
}

impl Server {
    /// Starts a server by its name, such as `redis-7.0` or `valkey-8.1`, with an empty data set and no persistence.
    pub fn start(name: &str) -> Result<Self> {
        Self::builder(name).start()
    }

    /// Starts building a server that needs more than its version.
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// The name and version that were asked for.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The port without TLS, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port with TLS, when the builder was given certificates.
    pub fn tls_port(&self) -> Option<u16> {
        self.tls_port
    }

    /// `redis://[user:password@]127.0.0.1:port`, for the product, the oracle and the generators.
    pub fn url(&self) -> String {
        let user = self.user.as_deref().unwrap_or("");
        match &self.password {
            Some(password) => format!("redis://{user}:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The server's working folder, which holds its configuration, log and snapshots.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// A new connection, authenticated as the builder was told.
    pub fn conn(&self) -> Result<redis::Connection> {
        let client = redis::Client::open(self.url())?;
        let conn = client
            .get_connection_with_timeout(CONNECT_TIMEOUT)
            .with_context(|| format!("connect to {} at {}", self.version, self.address()))?;
        conn.set_read_timeout(Some(REPLY_TIMEOUT))?;
        Ok(conn)
    }

    /// What it answers, in one database, to a command whose words stand between blanks.
    pub fn ask<T: redis::FromRedisValue>(&self, db: u32, words: &str) -> Result<T> {
        let mut conn = self.conn()?;
        if db != 0 {
            redis::cmd("SELECT").arg(db).exec(&mut conn)?;
        }
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            command.arg(word);
        });
        Ok(command.query(&mut conn)?)
    }

    /// Sets one configuration parameter of the running server.
    pub fn config_set(&self, name: &str, value: &str) -> Result<()> {
        redis::cmd("CONFIG")
            .arg("SET")
            .arg(name)
            .arg(value)
            .exec(&mut self.conn()?)
            .with_context(|| format!("set {name} on {}", self.version))
    }

    /// The fields of one section of INFO.
    pub fn info(&self, section: &str) -> Result<BTreeMap<String, String>> {
        let text: String = redis::cmd("INFO").arg(section).query(&mut self.conn()?)?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }

    /// Keys in all databases, expired ones that have not been removed included.
    pub fn keys(&self) -> Result<u64> {
        let databases = self.info("keyspace")?;
        Ok(databases
            .values()
            .filter_map(|value| value.strip_prefix("keys=")?.split(',').next()?.parse::<u64>().ok())
            .sum())
    }

    /// Ends the server as a crash would, together with a child that saves a snapshot.
    pub fn kill_9(&mut self) {
        self.process.kill();
    }

    /// Asks the server to end by SIGTERM and waits for it; it saves when it was told to persist.
    pub fn shutdown(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        self.process.wait(START_TIMEOUT).with_context(|| self.trouble("does not end"))?;
        Ok(())
    }

    /// Starts the server again on the same port and folder. A server that still runs is killed first.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        // The port may be taken for a moment by a connection that the system has chosen it for.
        let mut attempts = 0;
        loop {
            self.process = spawn(&self.program, &self.folder)?;
            match self.wait_ready() {
                Ok(()) => return Ok(()),
                Err(error) if attempts < 20 && console::port_taken(&self.folder) => {
                    attempts += 1;
                    drop(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Stops the server's execution (SIGSTOP): connections stay, nothing is answered.
    pub fn stop_signal(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets a stopped server go on (SIGCONT).
    pub fn cont_signal(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self) -> String {
        console::tail(&self.folder)
    }

    /// Makes this server a replica of another one and waits until the link is up.
    pub fn replicate(&self, of: &Server) -> Result<()> {
        let mut conn = self.conn()?;
        if let Some(password) = &of.password {
            self.config_set("masterauth", password)?;
        }
        if let Some(user) = &of.user {
            self.config_set("masteruser", user)?;
        }
        redis::cmd("SLAVEOF").arg("127.0.0.1").arg(of.port).exec(&mut conn)?;
        wait::poll("replication link up", START_TIMEOUT, || {
            let info = self.info("replication")?;
            Ok(info.get("master_link_status").is_some_and(|status| status == "up").then_some(()))
        })
        .with_context(|| self.trouble("does not follow its primary"))
    }

    /// Waits until PING is answered by this very process.
    fn wait_ready(&self) -> Result<()> {
        wait::poll("answer to PING", START_TIMEOUT, || {
            if let Some(status) = self.process.status()? {
                bail!("{}", self.trouble(&format!("has ended at once ({status})")));
            }
            console::ready(self.port, self.user.as_deref(), self.password.as_deref(), self.pid())
                .map(|answer| answer.ready(self.ready_when_loading).then_some(()))
        })
        .with_context(|| self.trouble("does not start"))
    }

    fn trouble(&self, what: &str) -> String {
        format!("{} on port {} {what}; its log ends with:\n{}", self.version, self.port, self.log_tail())
    }
}

/// Starts `program` with the configuration file in `folder`.
fn spawn(program: &Path, folder: &Folder) -> Result<Supervised> {
    let console = std::fs::File::options().create(true).append(true).open(folder.console())?;
    let mut command = process::command(program);
    command
        .arg(folder.config())
        .current_dir(folder.path())
        .stdin(std::process::Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console);
    Supervised::spawn(command, true)
}

/// The error for a server that has not been fetched.
fn missing(name: &str, path: &Path) -> anyhow::Error {
    anyhow!("{name} is not at {}; fetch it with: cargo xtask servers {name}", path.display())
}
