//! Whether the source is still what it was when it was told to take no writes: the same run of the same server, and nobody
//! has written behind the offset that was agreed on.
//!
//! A pause is kept in memory alone. A server that is started again, or another one that is promoted in its place and answers
//! under the same address, takes writes. Its run is named before the pause, so whatever is asked then speaks of that pause.

use keyferry_keyspace::{ReplId, info};
use keyferry_model::{Error, ErrorKind, Result, Side};
use keyferry_net::{Connection, Endpoint};

use super::Pause;
use crate::source::Attached;

/// What may come into the stream without a client: it is no data.
const NO_DATA: [&[u8]; 5] = [b"PING", b"REPLCONF", b"SELECT", b"PUBLISH", b"SPUBLISH"];
/// What has run out: it goes from the target by itself. Where clients are refused ([`Pause::Replicas`]) it is nothing else; in
/// `CLIENT PAUSE` nothing runs out; and where the writers are stopped by hand, nobody can tell it from what GETDEL or SPOP
/// have given to one that was forgotten.
const RUN_OUT: [&[u8]; 4] = [b"DEL", b"UNLINK", b"MULTI", b"EXEC"];
/// So many bytes are looked at. Every backlog holds them: a source that is asked for more than it holds makes a snapshot.
const FEW: u64 = 16 << 10;

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
    pub(super) async fn ask(conn: &mut Connection) -> Result<Self> {
        // Before 4.0 a history is named by the server that wrote it, which stands in another section.
        let text = conn.info("default").await?;
        let field = |name| info::field(text.as_bytes(), name);
        let history = field("master_replid").or(field("run_id")).and_then(|id| ReplId::parse(id.as_bytes()).ok());
        let offset = field("master_repl_offset").and_then(|n| n.parse().ok());
        let (Some(history), Some(offset)) = (history, offset) else {
            let what = "read INFO of the source: it does not tell its replication offset";
            return Err(Error::new(ErrorKind::Protocol(Side::Source), what));
        };
        let named = |name| field(name).map(str::to_owned);
        Ok(Self { run: named("run_id"), role: named("role"), history, offset })
    }

    /// What has become of it since that matters, where nobody is to have written behind `offset`, in this
    /// pause; `None`: nothing. Without a pause, this process has, and it is not looked at who else.
    ///
    /// Errors: those of the connection.
    pub(super) async fn changed(
        &self,
        conn: &mut Connection,
        endpoint: &Endpoint,
        offset: u64,
        pause: Option<&Pause>,
    ) -> Result<Option<String>> {
        let now = Self::ask(conn).await?;
        let what = match pause {
            _ if now.run != self.run => "it was started again, or another server answers in its place".into(),
            _ if now.role != self.role => "it has another role now".into(),
            _ if now.history != self.history => "it has another history now".into(),
            _ if now.offset < offset => "it is behind where it was".into(),
            Some(_) if is_much([offset, now.offset]) => "more than a few commands have come there".into(),
            Some(pause) if now.offset > offset => {
                match written(endpoint, now.history, [offset, now.offset], pause).await? {
                    0 => return Ok(None),
                    commands => format!("{commands} commands have come there"),
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(what))
    }
}

/// Whether it is more than is looked at.
pub(super) fn is_much([from, to]: [u64; 2]) -> bool {
    to.saturating_sub(from) > FEW
}

/// How many commands that clients may have written are between two offsets, which are at most [`FEW`] bytes apart.
///
/// Errors: those of the connection; `BacklogLost`.
pub(super) async fn written(endpoint: &Endpoint, history: ReplId, [from, to]: [u64; 2], pause: &Pause) -> Result<u64> {
    let mut link = Attached::at(endpoint, history, from).await?;
    let mut commands = 0;
    while link.offset < to {
        link.until(|request| {
            let is_of = |names: &[&[u8]]| names.iter().any(|name| request.name().eq_ignore_ascii_case(name));
            let runs_out = matches!(pause, Pause::Replicas { .. }) && is_of(&RUN_OUT);
            commands += u64::from(!runs_out && !is_of(&NO_DATA));
            true
        })
        .await?;
    }
    Ok(commands)
}
