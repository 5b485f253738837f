//! Whether the source is still what it was when it was told to take no writes: the same run of the same server, and nobody
//! has written behind the offset that was agreed on.
//!
//! A pause is kept in memory alone. A server that is started again, or another one that is promoted in its place and answers
//! under the same address, takes writes. Its run is named before the pause, so whatever is asked then speaks of that pause.

use keyferry_keyspace::{ReplId, info};
use keyferry_model::{Error, ErrorKind, Result, Side};
use keyferry_net::{Connection, Endpoint};

use crate::source::Attached;

/// What may come into the stream without a client: it is no data.
const NO_DATA: [&[u8]; 5] = [b"PING", b"REPLCONF", b"SELECT", b"PUBLISH", b"SPUBLISH"];

/// What a source has said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Which run of which server it is.
    run: Option<String>,
    role: Option<String>,
    history: ReplId,
    offset: u64,
}

impl Seen {
    /// Asks it now.
    ///
    /// Errors: those of the connection.
    pub(super) async fn ask(endpoint: &Endpoint) -> Result<Self> {
        // Before 4.0 a history is named by the server that wrote it, which stands in another section.
        let text = Connection::open(endpoint).await?.info("default").await?;
        let field = |name| info::field(text.as_bytes(), name);
        let history = field("master_replid").or(field("run_id")).and_then(|id| ReplId::parse(id.as_bytes()).ok());
        let offset = field("master_repl_offset").and_then(|n| n.parse().ok());
        let (Some(history), Some(offset)) = (history, offset) else {
            let what = format!("read INFO of the source {endpoint}: it does not tell its replication offset");
            return Err(Error::new(ErrorKind::Protocol(Side::Source), what));
        };
        let named = |name| field(name).map(str::to_owned);
        Ok(Self { run: named("run_id"), role: named("role"), history, offset })
    }

    /// What has become of it since that matters, where nobody is to have written behind `offset`; `None`: nothing. Without
    /// `writes`, this process has, and it is not looked at who else.
    ///
    /// Errors: those of the connection.
    pub(super) async fn changed(&self, endpoint: &Endpoint, offset: u64, writes: bool) -> Result<Option<String>> {
        let now = Self::ask(endpoint).await?;
        let what = match () {
            () if now.run != self.run => "it was started again, or another server answers in its place",
            () if now.role != self.role => "it has another role now",
            () if now.history != self.history => "it has another history now",
            () if now.offset < offset => "it is behind where it was",
            () if !writes => return Ok(None),
            () => return written(endpoint, now.history, offset, now.offset).await,
        };
        Ok(Some(what.into()))
    }
}

/// What was written between two offsets, if that is anything but what belongs to no data.
async fn written(endpoint: &Endpoint, history: ReplId, from: u64, to: u64) -> Result<Option<String>> {
    if from == to {
        return Ok(None);
    }
    let mut link = Attached::at(endpoint, history, from).await?;
    let mut commands = 0_u64;
    while link.offset < to {
        link.until(|request| {
            commands += u64::from(!NO_DATA.iter().any(|name| request.name().eq_ignore_ascii_case(name)));
            true
        })
        .await?;
    }
    Ok((commands > 0).then(|| format!("{commands} commands have come there")))
}
