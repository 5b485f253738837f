//! A bare pipelined connection for generators: commands go out as bytes through a large buffer, replies are only
//! counted. Nothing here understands a reply beyond its length.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use redis::{ConnectionAddr, IntoConnectionInfo};

/// Bytes collected before they are written. Large enough that a write holds some thousands of small commands.
const FLUSH_AT: usize = 256 * 1024;

/// The next command that a client has sent; `None` at the end, and where there is none.
pub fn read_command(input: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let mut line = String::new();
    input.read_line(&mut line).ok()?;
    let count: usize = line.trim().strip_prefix('*')?.parse().ok()?;
    (0..count)
        .map(|_| {
            let mut line = String::new();
            input.read_line(&mut line).ok()?;
            let len: usize = line.trim().strip_prefix('$')?.parse().ok()?;
            let mut word = vec![0; len + 2];
            input.read_exact(&mut word).ok()?;
            word.truncate(len);
            Some(word)
        })
        .collect()
}

/// A connection on which commands are collected, sent in bulk, and their replies counted.
#[derive(Debug)]
pub struct Wire {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    out: Vec<u8>,
    /// Commands ever collected.
    commands: u64,
    /// Commands whose reply has not been read, collected ones included.
    pending: u64,
    /// Commands in `out`.
    collected: u64,
    errors: BTreeMap<String, u64>,
}

impl Wire {
    /// Connects to a `redis://` URL, authenticates and selects its database.
    pub fn connect(url: &str) -> Result<Self> {
        let info = url.into_connection_info()?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { bail!("only redis:// URLs can be written to") };
        let stream = TcpStream::connect((host.as_str(), *port)).with_context(|| format!("connect to port {port}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let reader = BufReader::with_capacity(64 * 1024, stream.try_clone()?);
        let mut wire = Self {
            reader,
            writer: stream,
            out: Vec::new(),
            commands: 0,
            pending: 0,
            collected: 0,
            errors: BTreeMap::new(),
        };
        let settings = info.redis_settings();
        if let Some(password) = settings.password() {
            match settings.username() {
                Some(user) => wire.command(&[b"AUTH", user.as_bytes(), password.as_bytes()])?,
                None => wire.command(&[b"AUTH", password.as_bytes()])?,
            }
        }
        wire.command(&[b"SELECT", settings.db().to_string().as_bytes()])?;
        wire.finish()?;
        Ok(wire)
    }

    /// Collects one command; sends what has been collected when it is much.
    pub fn command(&mut self, args: &[&[u8]]) -> Result<()> {
        encode(&mut self.out, args);
        self.commands += 1;
        self.pending += 1;
        self.collected += 1;
        if self.out.len() < FLUSH_AT {
            return Ok(());
        }
        // The replies of this batch are read after the next one has been sent, so that the server is never idle.
        let before = self.pending - self.collected;
        self.send()?;
        self.read(before)
    }

    /// Sends what has been collected and reads replies until none is awaited.
    pub fn turn(&mut self) -> Result<()> {
        self.send()?;
        self.read(self.pending)
    }

    /// Like [`Wire::turn`], and fails when any reply since the last call was an error.
    pub fn finish(&mut self) -> Result<()> {
        self.turn()?;
        match std::mem::take(&mut self.errors).pop_first() {
            Some((error, count)) => bail!("the server refused {count} commands: {error}"),
            None => Ok(()),
        }
    }

    /// Commands collected so far, sent or not.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// Commands whose replies are awaited.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Error replies so far, counted by their first words, and forgotten here.
    pub fn take_errors(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.errors)
    }

    fn send(&mut self) -> Result<()> {
        self.writer.write_all(&self.out).context("send commands")?;
        self.out.clear();
        self.collected = 0;
        Ok(())
    }

    fn read(&mut self, replies: u64) -> Result<()> {
        for _ in 0..replies {
            self.skip_reply()?;
            self.pending -= 1;
        }
        Ok(())
    }

    fn skip_reply(&mut self) -> Result<()> {
        // Elements of nested arrays still to be read, this reply included.
        let mut left = 1u64;
        let mut line = Vec::new();
        while left > 0 {
            left -= 1;
            line.clear();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                bail!("the server has closed the connection");
            }
            match line.first() {
                Some(b'*') => left += u64::try_from(number(&line)?).unwrap_or(0),
                Some(b'$') => {
                    if let Ok(len) = u64::try_from(number(&line)?) {
                        std::io::copy(&mut (&mut self.reader).take(len + 2), &mut std::io::sink())?;
                    }
                }
                Some(b'-') => {
                    let text = String::from_utf8_lossy(&line);
                    let words: Vec<&str> = text.trim_start_matches('-').split_whitespace().take(6).collect();
                    *self.errors.entry(words.join(" ")).or_default() += 1;
                }
                Some(b'+' | b':') => {}
                _ => bail!("not a reply: {}", String::from_utf8_lossy(&line)),
            }
        }
        Ok(())
    }
}

/// Appends one command as an array of bulk strings.
pub fn encode(out: &mut Vec<u8>, args: &[&[u8]]) {
    let _ = write!(out, "*{}\r\n", args.len());
    for arg in args {
        let _ = write!(out, "${}\r\n", arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn number(line: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(&line[1..])?;
    text.trim_end().parse().with_context(|| format!("length of a reply: {text:?}"))
}

/// Collects one command on a [`Wire`] from anything that is bytes.
macro_rules! send {
    ($wire:expr, $($arg:expr),+ $(,)?) => {
        // The arguments first, since they may need the one who holds the wire; `match` keeps them alive.
        match [$(::core::convert::AsRef::<[u8]>::as_ref(&$arg)),+] {
            args => $wire.command(&args),
        }
    };
}

pub(crate) use send;
