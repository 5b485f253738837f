//! A link that is only watched: the stream of a server from now on, command by command, without keeping any of it.
//!
//! Invariants:
//! - It begins in the server's backlog, so that no snapshot is made for it. A server that has no backlog is made to begin one:
//!   it is asked for a snapshot, which is not waited for.
//! - [`Attached::offset`] is the end of the last whole command that was seen.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use keyferry_keyspace::{ReplId, ReplOffset, info};
use keyferry_model::{Error, ErrorKind, Result, ResultExt as _, Side};
use keyferry_net::{Connection, Endpoint, ReadHalf, WriteHalf};
use keyferry_resp::{
    Limits, encode,
    request::{Request, Scanner},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant as Timer, sleep, sleep_until, timeout},
};

use super::handshake::{Start, ask_for_backlog, psync};

/// As often as a replica says that it is alive.
const ACK_EVERY: Duration = Duration::from_secs(1);
/// For the backlog of a server that is asked for one: it is there when the server has read the question.
const BACKLOG: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// What a server says of its backlog.
struct Backlog {
    replid: ReplId,
    offset: u64,
    /// There is one.
    active: bool,
    size: u64,
}

impl Backlog {
    async fn ask(conn: &mut Connection) -> Result<Self> {
        // Before 4.0 a history is named by the server that wrote it, which stands in another section.
        let text = conn.info("default").await?;
        let field = |name| info::field(text.as_bytes(), name);
        let number = |name| field(name).and_then(|n| n.parse().ok());
        let replid = field("master_replid").or(field("run_id")).and_then(|id| ReplId::parse(id.as_bytes()).ok());
        let (Some(replid), Some(offset)) = (replid, number("master_repl_offset")) else {
            let what = "read INFO: the server does not tell its replication offset";
            return Err(Error::new(ErrorKind::Protocol(Side::Source), what));
        };
        let active = field("repl_backlog_active") == Some("1");
        Ok(Self { replid, offset, active, size: number("repl_backlog_size").unwrap_or_default() })
    }
}

/// A link to a server whose stream is looked at.
pub(crate) struct Attached {
    pub(crate) replid: ReplId,
    pub(crate) offset: u64,
    /// Bytes that the server keeps for replicas that come back; 0 when it was not asked.
    pub(crate) backlog: u64,
    read: ReadHalf,
    write: WriteHalf,
    /// Of commands that are not whole yet.
    input: BytesMut,
    scanner: Scanner,
    ack_at: Timer,
}

impl Attached {
    /// Opens a link from the offset on at which the server is now.
    ///
    /// Errors: those of [`psync`]; `BacklogLost` when the server does not go on where it has just been.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self> {
        let mut conn = Connection::open(endpoint).await?;
        let mut backlog = Backlog::ask(&mut conn).await?;
        if !backlog.active {
            let _replica = ask_for_backlog(endpoint).await?;
            let begun = async {
                while !backlog.active {
                    sleep(LOOK).await;
                    backlog = Backlog::ask(&mut conn).await?;
                }
                Ok(())
            };
            let context = || "wait until a server keeps a backlog".to_owned();
            timeout(BACKLOG, begun).await.or_err(ErrorKind::Timeout(Side::Source), context)??;
        }
        let Backlog { replid, offset, size, .. } = backlog;
        Ok(Self { backlog: size, ..Self::at(endpoint, replid, offset).await? })
    }

    /// Opens a link behind `offset`.
    ///
    /// Errors: likewise.
    pub(crate) async fn at(endpoint: &Endpoint, replid: ReplId, offset: u64) -> Result<Self> {
        let link = psync(endpoint, Some((replid, ReplOffset(offset)))).await?;
        let Start::Continue { .. } = link.start else {
            return Err(Error::new(ErrorKind::BacklogLost, format!("follow {endpoint} from offset {offset} on")));
        };
        let (read, write) = link.stream.into_split();
        Ok(Self {
            replid,
            offset,
            backlog: 0,
            read,
            write,
            input: BytesMut::from(&link.first[..]),
            scanner: Scanner::new(Limits::default()),
            ack_at: Timer::now(),
        })
    }

    /// Reads until a command that is `wanted` has come; gives the offset behind it. Dropping the future loses nothing.
    ///
    /// Errors: `Lost`, `Protocol`.
    pub(crate) async fn until(&mut self, mut wanted: impl FnMut(&Request<'_>) -> bool) -> Result<u64> {
        let context = || "follow a server".to_owned();
        loop {
            while let Some(request) =
                self.scanner.next(&self.input).or_err(ErrorKind::Protocol(Side::Source), context)?
            {
                let (len, found) = (request.bytes().len(), wanted(&request));
                self.input.advance(len);
                self.offset += len as u64;
                if found {
                    return Ok(self.offset);
                }
            }
            self.input.reserve(16 * 1024);
            tokio::select! {
                biased;
                () = sleep_until(self.ack_at) => {
                    self.ack_at = Timer::now() + ACK_EVERY;
                    let mut out = Vec::with_capacity(64);
                    encode::command(&mut out, &[b"REPLCONF", b"ACK", self.offset.to_string().as_bytes()]);
                    self.write.write_all(&out).await.or_err(ErrorKind::Lost(Side::Source), context)?;
                    self.write.flush().await.or_err(ErrorKind::Lost(Side::Source), context)?;
                }
                n = self.read.read_buf(&mut self.input) => {
                    if n.or_err(ErrorKind::Lost(Side::Source), context)? == 0 {
                        let what = "follow a server: it closed the link";
                        return Err(Error::new(ErrorKind::Lost(Side::Source), what));
                    }
                }
            }
        }
    }

    /// Reads on. It only ends with an error.
    pub(crate) async fn go_on(&mut self) -> Error {
        match self.until(|_| false).await {
            Ok(_) => Error::new(ErrorKind::Internal, "follow a server: nothing was wanted"),
            Err(e) => e,
        }
    }
}
