//! Is a server up, and what did it say when it is not?

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::Result;

use super::files::Folder;
use crate::wire;

/// Lines of the log that an error shows.
const TAIL: usize = 20;

/// What a port answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nobody listens, or no whole answer came.
    Silent,
    /// The server loads its data.
    Loading,
    /// The server works.
    Ready,
}

impl Answer {
    pub(super) fn ready(&self, loading_is_enough: bool) -> bool {
        match self {
            Self::Silent => false,
            Self::Loading => loading_is_enough,
            Self::Ready => true,
        }
    }
}

/// Asks the server on a port how it is. A port that another process has taken in between counts as silent.
pub(super) fn ready(port: u16, user: Option<&str>, password: Option<&str>, pid: u32) -> Result<Answer> {
    Ok(ask(port, user, password, pid).unwrap_or(Answer::Silent))
}

fn ask(port: u16, user: Option<&str>, password: Option<&str>, pid: u32) -> Result<Answer> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut send = |args: &[&[u8]]| -> Result<String> {
        let mut out = Vec::new();
        wire::encode(&mut out, args);
        (&stream).write_all(&out)?;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(len) = line.strip_prefix('$').and_then(|len| len.trim_end().parse::<usize>().ok()) {
            let mut body = vec![0; len + 2];
            std::io::Read::read_exact(&mut reader, &mut body)?;
            line = String::from_utf8_lossy(&body).into_owned();
        }
        Ok(line)
    };
    match (user, password) {
        (Some(user), Some(password)) => drop(send(&[b"AUTH", user.as_bytes(), password.as_bytes()])?),
        (None, Some(password)) => drop(send(&[b"AUTH", password.as_bytes()])?),
        _ => {}
    }
    let pong = send(&[b"PING"])?;
    let server = send(&[b"INFO", b"server"])?;
    Ok(if !server.lines().any(|line| line == format!("process_id:{pid}")) {
        Answer::Silent
    } else if pong.starts_with("-LOADING") {
        Answer::Loading
    } else {
        Answer::Ready
    })
}

/// The last lines of what the server printed and logged.
pub(super) fn tail(folder: &Folder) -> String {
    let mut lines = Vec::new();
    for path in [folder.console(), folder.log()] {
        if let Ok(bytes) = fs::read(path) {
            lines.extend(String::from_utf8_lossy(&bytes).lines().map(|line| format!("    {line}")));
        }
    }
    lines.split_off(lines.len().saturating_sub(TAIL)).join("\n")
}

/// Whether the server could not start because its port was in use.
pub(super) fn port_taken(folder: &Folder) -> bool {
    tail(folder).contains("Address already in use")
}
