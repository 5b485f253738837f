//! How a server is to be started.

use std::{
    fmt::Write as _,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use super::{Folder, Server, Version, catalog, console, spawn};
use crate::Rng;

/// Ports are taken from here: below the range that Linux hands out to outgoing connections (32768 and up), so that a
/// port is still free when a killed server comes back to it, and with room for a cluster bus at port + 10000.
const PORTS: std::ops::Range<u64> = 12_000..22_000;

/// Servers that start at the same time may choose the same port; each attempt chooses anew.
const ATTEMPTS: u32 = 30;

/// Certificate files of a server with TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The server's certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authority that clients are checked against, and that replicas trust, PEM.
    pub ca: PathBuf,
}

/// Builds a [`Server`].
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    directives: Vec<String>,
    modules: Vec<String>,
    tls: Option<Tls>,
    user: Option<String>,
    password: Option<String>,
    ready_when_loading: bool,
    snapshot: Option<PathBuf>,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            directives: Vec::new(),
            modules: Vec::new(),
            tls: None,
            user: None,
            password: None,
            ready_when_loading: false,
            snapshot: None,
        }
    }

    /// One configuration directive, as on the command line (`--appendonly yes`) or in the file (`appendonly yes`).
    #[must_use]
    pub fn arg(mut self, directive: &str) -> Self {
        self.directives.push(directive.trim_start_matches("--").into());
        self
    }

    /// A password for the default user. Not for 5.0 and older together with [`Builder::user`].
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self.arg(&format!("requirepass {password}"))
    }

    /// A user with all rights and a password (6.0 and later); the default user is turned off.
    #[must_use]
    pub fn user(mut self, user: &str, password: &str) -> Self {
        self.user = Some(user.into());
        self.password = Some(password.into());
        self.arg("user default off").arg(&format!("user {user} on >{password} ~* &* +@all"))
    }

    /// A module: a path, or the name of one in the server's or the shared `modules` folder, such as `hellotype`.
    #[must_use]
    pub fn module(mut self, module: &str) -> Self {
        self.modules.push(module.into());
        self
    }

    /// A second port with TLS. Clients need no certificate.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// A snapshot file that the server loads when it starts; it is copied.
    #[must_use]
    pub fn snapshot(mut self, rdb: impl AsRef<Path>) -> Self {
        self.snapshot = Some(rdb.as_ref().into());
        self
    }

    /// Takes the server as started while it still loads its data.
    #[must_use]
    pub fn ready_when_loading(mut self) -> Self {
        self.ready_when_loading = true;
        self
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Result<Server> {
        let version = Version::parse(&self.name)?;
        let program = catalog::program(&self.name, "redis-server")?;
        let modules: Vec<PathBuf> =
            self.modules.iter().map(|module| catalog::module(&self.name, module)).collect::<Result<_>>()?;
        for _ in 0..ATTEMPTS {
            let folder = Folder::new()?;
            let port = free_port()?;
            let tls_port = self.tls.as_ref().map(|_| free_port()).transpose()?;
            fs::write(folder.config(), self.config(&version, &folder, port, tls_port, &modules))?;
            if let Some(snapshot) = &self.snapshot {
                fs::copy(snapshot, folder.path().join("dump.rdb"))
                    .with_context(|| format!("copy {}", snapshot.display()))?;
            }
            let process = spawn(&program, &folder)?;
            let server = Server {
                version: version.clone(),
                program: program.clone(),
                port,
                tls_port,
                user: self.user.clone(),
                password: self.password.clone(),
                ready_when_loading: self.ready_when_loading,
                folder,
                process,
            };
            match server.wait_ready() {
                Ok(()) => return Ok(server),
                Err(_) if console::port_taken(&server.folder) => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no free port for {} after {ATTEMPTS} attempts", self.name)
    }

    fn config(
        &self,
        version: &Version,
        folder: &Folder,
        port: u16,
        tls_port: Option<u16>,
        modules: &[PathBuf],
    ) -> String {
        let mut text = String::new();
        let mut line = |directive: &str| {
            let _ = writeln!(text, "{directive}");
        };
        line(&format!("port {port}"));
        line("bind 127.0.0.1");
        line(&format!("dir {}", folder.path().display()));
        line(&format!("logfile {}", folder.log().display()));
        line("save \"\"");
        line("appendonly no");
        if version.has(3, 0) {
            line("repl-diskless-sync-delay 0");
        }
        if version.has(7, 0) {
            line("enable-debug-command yes");
            line("enable-module-command yes");
        }
        if let (Some(tls), Some(port)) = (&self.tls, tls_port) {
            line(&format!("tls-port {port}"));
            line(&format!("tls-cert-file {}", tls.cert.display()));
            line(&format!("tls-key-file {}", tls.key.display()));
            line(&format!("tls-ca-cert-file {}", tls.ca.display()));
            line("tls-auth-clients no");
        }
        for module in modules {
            line(&format!("loadmodule {}", module.display()));
        }
        for directive in &self.directives {
            line(directive);
        }
        text
    }
}

/// A port that nobody listens on at this moment.
fn free_port() -> Result<u16> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let seed = now ^ (u64::from(process::id()) << 40) ^ CALLS.fetch_add(1, Ordering::Relaxed);
    let mut rng = Rng::new(seed);
    for _ in 0..1000 {
        let port = rng.range(PORTS.start, PORTS.end) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port in {PORTS:?}")
}
