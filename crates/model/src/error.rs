//! The one error type above the codecs.
//!
//! An error is a kind (which decides code, retry and remedy, see `policy.rs`), a context that says what was being
//! done, and the cause. Neither context nor cause ever holds a key, a value or a secret.

use std::{error::Error as StdError, fmt};

/// Which server an error speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The server that is read.
    Source,
    /// The server that is written.
    Target,
}

impl Side {
    /// `source` or `target`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What went wrong. Each kind has one row in `policy.rs` and one page under `docs/errors/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The URL cannot be read.
    BadUrl,
    /// The URL is well formed, but this kind of data source is not supported yet.
    UnsupportedScheme,
    /// A password or certificate file cannot be read.
    SecretFile,
    /// The rules that say what is migrated cannot be, or do not go together with other options.
    BadObjects,
    /// The state directory cannot be used.
    StateDir,
    /// Another process on this machine runs the task of this name.
    TaskRunning,
    /// Source and target are the same server.
    SameInstance,
    /// A dump file cannot be read, or what was made of it cannot be written.
    DumpFile,
    /// The file with the results of a comparison cannot be used.
    ResultStore,
    /// An item of the precheck has failed.
    Precheck,
    /// A defect of Keyferry itself: a promise inside the program was broken.
    Internal,

    /// No process on this machine runs the task of this name.
    NotRunning,
    /// The running task cannot be talked to.
    Control,
    /// A cut-over cannot begin, or has not changed anything when it ended.
    CutoverRefused,
    /// A cut-over did not get to its end, and was taken back.
    CutoverUndone,
    /// Nobody knows whether the last step of a cut-over was done.
    CutoverUnknown,

    /// The host name has no address.
    Resolve(Side),
    /// No connection could be made.
    Connect(Side),
    /// The TLS handshake failed.
    Tls(Side),
    /// User name or password are wrong, or missing.
    Auth(Side),
    /// The other end does not speak the Redis protocol, or broke it.
    Protocol(Side),
    /// The server is loading its data.
    Loading(Side),
    /// The user may not run a command that is needed.
    Permission(Side),
    /// The server has been silent for too long.
    Timeout(Side),
    /// The connection was lost.
    Lost(Side),
    /// The server is part of a cluster.
    Cluster(Side),
    /// The server is older than what is supported.
    TooOld(Side),

    /// Nothing is known of a task of this name.
    NoHistory,
    /// A report, or what it is made of, cannot be read or written.
    ReportFile,
    /// A key to sign or verify with cannot be used.
    ReportKey,
    /// A report is not what was written, or not signed with that key.
    ReportAltered,

    /// The source is a replica that has no link to its own primary.
    NoMasterLink,
    /// The source refuses to replicate.
    PsyncRefused,
    /// The source no longer has the bytes that are needed to go on.
    BacklogLost,
    /// A command goes between what is chosen and what is not.
    OutsideObjects,

    /// The RDB is corrupt.
    RdbCorrupt,
    /// The RDB holds a value type that is not known.
    RdbUnknownType,
    /// The RDB has a version that is not known.
    RdbVersion,
    /// A value is larger than the limit.
    RdbTooLarge,

    /// The spool's disk gives an error, other than that it is full.
    SpoolDisk,
    /// The spool holds other bytes than were written.
    SpoolCorrupt,
    /// The spool was written by a Keyferry with another format.
    SpoolVersion,
    /// The spool no longer holds the bytes that are needed.
    SpoolDropped,

    /// The target holds keys already.
    NotEmpty,
    /// The target is a replica.
    TargetReplica,
    /// A key that is to be copied has appeared on the target.
    KeyExists,
    /// The target has no memory left.
    TargetFull,
    /// The target has become a replica while it was written to.
    TargetDemoted,
    /// A key was gone on the target before its deadline was moved.
    DeadlineMissed,
    /// The target cannot persist and refuses writes.
    TargetMisconf,
    /// The target cannot hold a value of this type.
    UnsupportedByTarget,
    /// The target refused a command.
    CommandRefused,
    /// The target has fewer databases than the source uses.
    NoSuchDatabase,
    /// The checkpoint on the target cannot be read.
    Checkpoint,
    /// The checkpoint is not the one that was written: somebody else has changed it, or the target has fallen back.
    CheckpointChanged,
    /// Another process has taken the task over.
    TakenOver,
    /// A command was refused behind the checkpoint: both sides differ.
    Broken,
    /// A repair beside a task that writes to the same target.
    RepairRefused,
    /// A server of an older version answers in the place of the target.
    TargetChanged,
}

/// An error that a user can act on.
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Result with the [`Error`] of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `context` says in the present tense what was being done, with addresses, offsets and counts.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        let mut cause = self.source.as_deref().map(|s| s as &dyn StdError);
        while let Some(c) = cause {
            write!(f, ": {c}")?;
            cause = c.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self})", self.kind.policy().code)
    }
}

// The causes are part of `Display`, so `source()` stays empty: a report that walks the chain prints each once.
impl StdError for Error {}

/// Turns foreign errors into ours.
pub trait ResultExt<T> {
    /// Adds a kind and a context to an error.
    fn or_err(self, kind: ErrorKind, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> ResultExt<T> for std::result::Result<T, E> {
    fn or_err(self, kind: ErrorKind, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::new(kind, context()).caused_by(e))
    }
}
