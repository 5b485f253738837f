//! The control connection: one command, one reply. For handshakes and questions, never for data.

use std::time::Duration;

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};
use keyferry_resp::{Limits, Value, encode};
use secrecy::ExposeSecret as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{Endpoint, Stream, connect::connect, safe_text};

/// For one reply: twice the 5 s in which a server under a slow script usually answers again, and well below the
/// 60 s after which a source drops a silent replica.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// An authenticated connection that asks one question at a time.
pub struct Connection {
    stream: Stream,
    endpoint: Endpoint,
    /// Bytes that were read and not yet decoded.
    input: Vec<u8>,
    limits: Limits,
}

impl Connection {
    /// Connects, authenticates when the endpoint has a password, and checks with PING that the server speaks Redis
    /// and takes commands.
    ///
    /// Errors: `Resolve`, `Connect`, `Tls`, `Auth`, `Loading`, `Protocol`, `Timeout`, `Lost` of the endpoint's side.
    pub async fn open(endpoint: &Endpoint) -> Result<Self> {
        let stream = connect(endpoint).await?;
        let mut conn = Self { stream, endpoint: endpoint.clone(), input: Vec::new(), limits: Limits::default() };
        conn.authenticate().await?;
        match conn.ask(&[b"PING"]).await? {
            Value::Status(_) | Value::Bulk(_) => Ok(conn),
            // A replica that has lost its primary and serves no stale data still answers what is needed of it.
            Value::Error(text) if text.starts_with(b"MASTERDOWN") => Ok(conn),
            Value::Error(text) => Err(conn.refused(conn.kind_of(&text), "PING", &text)),
            _ => Err(Error::new(
                ErrorKind::Protocol(endpoint.side),
                format!("greet the {} {endpoint}: PING has an unexpected reply", endpoint.side),
            )),
        }
    }

    /// Over a stream that is connected and asks for no password, for tests.
    #[cfg(feature = "memory")]
    pub fn over(stream: Stream, endpoint: &Endpoint) -> Self {
        Self { stream, endpoint: endpoint.clone(), input: Vec::new(), limits: Limits::default() }
    }

    /// From now on a reply of more bytes is an error, before they are read.
    pub fn limit_replies(&mut self, bytes: u64) {
        self.limits.max_request = bytes;
    }

    /// A user without a password may be one that needs none (`nopass`).
    async fn authenticate(&mut self) -> Result<()> {
        let endpoint = self.endpoint.clone();
        let password = endpoint.password.as_ref().map_or("", |p| p.expose_secret()).as_bytes();
        let reply = match &endpoint.user {
            Some(user) => self.ask(&[b"AUTH", user.as_bytes(), password]).await?,
            None if endpoint.password.is_some() => self.ask(&[b"AUTH", password]).await?,
            None => return Ok(()),
        };
        let Value::Error(text) = reply else { return Ok(()) };
        let kind = match self.kind_of(&text) {
            ErrorKind::Protocol(side) => ErrorKind::Auth(side),
            kind => kind,
        };
        Err(self.refused(kind, "AUTH", &text))
    }

    /// Sends one command and waits for its reply, which may be an error reply.
    pub async fn ask(&mut self, args: &[&[u8]]) -> Result<Value> {
        self.send(args).await?;
        self.reply().await
    }

    /// Sends these commands at once and gives their replies in order, which may be error replies. So few of them that
    /// a server that answers before it has read them all cannot block.
    pub async fn ask_all<'a>(&mut self, commands: &[impl AsRef<[&'a [u8]]>]) -> Result<Vec<Value>> {
        let mut out = Vec::new();
        for args in commands {
            encode::command(&mut out, args.as_ref());
        }
        self.write(&out).await?;
        let mut replies = Vec::with_capacity(commands.len());
        for _ in commands {
            replies.push(self.reply().await?);
        }
        Ok(replies)
    }

    /// Like [`Self::ask`]; an error reply becomes an error whose kind is read from its text.
    pub async fn command(&mut self, args: &[&[u8]]) -> Result<Value> {
        match self.ask(args).await? {
            Value::Error(text) => {
                let name = String::from_utf8_lossy(args.first().copied().unwrap_or_default()).into_owned();
                Err(self.refused(self.kind_of(&text), &name, &text))
            }
            value => Ok(value),
        }
    }

    /// `INFO <section>` as text.
    pub async fn info(&mut self, section: &str) -> Result<String> {
        match self.command(&[b"INFO", section.as_bytes()]).await? {
            Value::Bulk(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            _ => Err(self.broken("INFO has an unexpected reply")),
        }
    }

    /// Sends one command without waiting.
    pub async fn send(&mut self, args: &[&[u8]]) -> Result<()> {
        let mut out = Vec::with_capacity(64);
        encode::command(&mut out, args);
        self.write(&out).await
    }

    async fn write(&mut self, out: &[u8]) -> Result<()> {
        let side = self.endpoint.side;
        let sent = async {
            self.stream.write_all(out).await?;
            self.stream.flush().await
        };
        timeout(REPLY_TIMEOUT, sent)
            .await
            .map_err(|_| self.silent())?
            .or_err(ErrorKind::Lost(side), || format!("write to the {side} {}", self.endpoint))
    }

    /// One line without its line end, for handshakes whose replies are not RESP. At most 512 bytes.
    pub async fn line(&mut self, silence: Duration) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = self.input.iter().position(|&b| b == b'\n') {
                let mut line: Vec<u8> = self.input.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.input.len() > 512 {
                return Err(self.broken("a line has no end"));
            }
            self.fill(silence).await?;
        }
    }

    /// The stream and what was read from it and not used.
    pub fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.input)
    }

    /// The kind that an error reply stands for, where it is the same whatever was asked.
    pub fn kind_of(&self, text: &[u8]) -> ErrorKind {
        let side = self.endpoint.side;
        match text.split(|&b| b == b' ').next().unwrap_or_default() {
            b"NOAUTH" | b"WRONGPASS" => ErrorKind::Auth(side),
            b"NOPERM" => ErrorKind::Permission(side),
            b"LOADING" => ErrorKind::Loading(side),
            b"NOMASTERLINK" => ErrorKind::NoMasterLink,
            // Before 6.0: "-ERR operation not permitted", "-DENIED Redis is running in protected mode ...".
            b"DENIED" => ErrorKind::Connect(side),
            // A script that runs too long; it ends some time.
            b"BUSY" => ErrorKind::Timeout(side),
            _ if text.starts_with(b"ERR max number of clients") => ErrorKind::Connect(side),
            // How a replica before 4.0 says NOMASTERLINK.
            _ if text.starts_with(b"ERR Can't SYNC while not connected") => ErrorKind::NoMasterLink,
            _ if text.starts_with(b"ERR operation not permitted") => ErrorKind::Auth(side),
            _ => ErrorKind::Protocol(side),
        }
    }

    /// An error of `kind` that says that `command` was refused with `text`.
    pub fn refused(&self, kind: ErrorKind, command: &str, text: &[u8]) -> Error {
        let shown = safe_text(text);
        Error::new(kind, format!("the {} {} answers {command} with `{shown}`", self.endpoint.side, self.endpoint))
    }

    async fn reply(&mut self) -> Result<Value> {
        loop {
            match keyferry_resp::decode(&self.input, self.limits) {
                Ok(Some((used, value))) => {
                    self.input.drain(..used);
                    return Ok(value);
                }
                Ok(None) => self.fill(REPLY_TIMEOUT).await?,
                Err(e @ keyferry_resp::Error::TooLarge { .. }) => {
                    return Err(self.broken("its reply is too large").caused_by(e));
                }
                Err(e) => return Err(self.broken("its reply is not RESP").caused_by(e)),
            }
        }
    }

    async fn fill(&mut self, silence: Duration) -> Result<()> {
        let side = self.endpoint.side;
        self.input.reserve(16 * 1024);
        let n = timeout(silence, self.stream.read_buf(&mut self.input))
            .await
            .map_err(|_| self.silent())?
            .or_err(ErrorKind::Lost(side), || format!("read from the {side} {}", self.endpoint))?;
        if n == 0 {
            let what = format!("read from the {side} {}: it closed the connection", self.endpoint);
            return Err(Error::new(ErrorKind::Lost(side), what));
        }
        Ok(())
    }

    fn silent(&self) -> Error {
        let what = format!("wait for the {} {}: no answer in time", self.endpoint.side, self.endpoint);
        Error::new(ErrorKind::Timeout(self.endpoint.side), what)
    }

    fn broken(&self, what: &str) -> Error {
        let what = format!("talk to the {} {}: {what}", self.endpoint.side, self.endpoint);
        Error::new(ErrorKind::Protocol(self.endpoint.side), what)
    }
}
