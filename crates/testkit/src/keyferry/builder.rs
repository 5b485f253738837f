//! How `keyferry` is to be started.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Result;

use super::{Keyferry, output::Output};
use crate::process::{Supervised, command};

/// Builds a [`Keyferry`].
#[derive(Debug, Clone)]
pub struct Builder {
    binary: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    progress: Option<String>,
    inherit: bool,
}

impl Builder {
    pub(super) fn new(binary: &Path, source: &str, target: &str) -> Self {
        Self {
            binary: binary.into(),
            args: ["sync", source, target].map(OsString::from).to_vec(),
            env: Vec::new(),
            progress: Some("json".into()),
            inherit: false,
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// One environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Another `--progress` than `json`; [`Keyferry::wait_for`] then has nothing to look at.
    #[must_use]
    pub fn progress(mut self, kind: &str) -> Self {
        self.progress = Some(kind.into());
        self
    }

    /// No `--progress` at all.
    #[must_use]
    pub fn no_progress(mut self) -> Self {
        self.progress = None;
        self
    }

    /// Shows stdout and stderr where the caller's go, instead of capturing them.
    #[must_use]
    pub fn inherit_output(mut self) -> Self {
        self.inherit = true;
        self
    }

    /// Starts it.
    pub fn spawn(self) -> Result<Keyferry> {
        let mut command = command(&self.binary);
        command.args(&self.args).envs(self.env).stdin(Stdio::null());
        if let Some(progress) = &self.progress {
            command.args(["--progress", progress]);
        }
        if !self.inherit {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let process = Supervised::spawn(command, false)?;
        let (stdout, stderr) = process.with_child(|child| (child.stdout.take(), child.stderr.take()));
        let json = self.progress.as_deref() == Some("json");
        Ok(Keyferry { process, output: Output::read(stdout, stderr, json) })
    }
}
