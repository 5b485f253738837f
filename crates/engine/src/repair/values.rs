//! What the source has under some keys, and at which offset.
//!
//! Its own transaction makes both one moment: nothing is written between the commands of an EXEC. What it does in passing, the
//! removal of a key whose time is over, comes behind the offset.

use keyferry_keyspace::{ReplId, ServerVersion, info};
use keyferry_model::{Error, ErrorKind, Result, Side};
use keyferry_net::{Connection, Endpoint};
use keyferry_rdb::{Group, dump};
use keyferry_resp::{Value as Reply, encode};

use super::{GROUP, MAX_VALUE, too_large};

/// Longest answer: what a key takes is a guess, and before 4.0 not even that.
const MAX_REPLY: u64 = GROUP + MAX_VALUE;

/// A connection to the source with the database selected.
pub(super) struct Source {
    conn: Connection,
    /// The part of INFO with history and offset.
    section: &'static [u8],
    /// It tells deadlines as times.
    absolute: bool,
    /// It tells how much memory a key takes, also of one whose time is over.
    tells_memory: bool,
}

/// What it had at an offset.
pub(super) struct Read {
    pub(super) history: Option<ReplId>,
    pub(super) offset: u64,
    pub(super) values: Vec<Value>,
}

/// What it had under a key.
pub(super) enum Value {
    Gone,
    /// Its time is over by the clock of a source that does not remove it: a replica, whose primary decides, or one whose
    /// clients are paused.
    Lapsed,
    Payload {
        payload: Vec<u8>,
        /// What RESTORE takes: a time or a time to live, in milliseconds; 0 for never.
        ttl: i64,
    },
}

impl Source {
    /// Errors: those of the connection, `NoSuchDatabase`.
    pub(super) async fn open(endpoint: &Endpoint, version: &ServerVersion, db: u32) -> Result<Self> {
        let mut conn = Connection::open(endpoint).await?;
        conn.command(&[b"SELECT", db.to_string().as_bytes()]).await?;
        conn.limit_replies(MAX_REPLY);
        let v4 = version.redis >= (4, 0, 0);
        // Before 4.0 a history is named by the server that wrote it.
        let section: &[u8] = if v4 { b"replication" } else { b"default" };
        Ok(Self { conn, section, absolute: version.tells_expiry(), tells_memory: v4 })
    }

    /// How much memory each key takes; `None` when it does not tell. 0 for a key that is not there.
    pub(super) async fn sizes(&mut self, keys: &[&[u8]]) -> Result<Option<Vec<u64>>> {
        if !self.tells_memory {
            return Ok(None);
        }
        let commands: Vec<[&[u8]; 3]> = keys.iter().map(|key| [&b"MEMORY"[..], b"USAGE", key]).collect();
        let size = |reply: &Reply| match reply {
            Reply::Int(bytes) => u64::try_from(*bytes).ok(),
            Reply::Nil => Some(0),
            _ => None,
        };
        let sizes: Option<Vec<u64>> = self.conn.ask_all(&commands).await?.iter().map(size).collect();
        // One that is not allowed, or not known, must not be in a transaction.
        self.tells_memory = sizes.is_some();
        Ok(sizes)
    }

    /// What it has under these keys, and its offset just then.
    pub(super) async fn read(&mut self, keys: &[&[u8]]) -> Result<Read> {
        let deadline: &[u8] = if self.absolute { b"PEXPIRETIME" } else { b"PTTL" };
        let mut commands: Vec<Vec<&[u8]>> = vec![vec![b"MULTI"], vec![b"INFO", self.section]];
        for key in keys {
            commands.push(vec![deadline, key]);
            commands.push(vec![b"DUMP", key]);
            // Behind DUMP, which removes a key whose time is over where the source decides that itself.
            commands.extend(self.tells_memory.then(|| vec![&b"MEMORY"[..], b"USAGE", key]));
        }
        commands.push(vec![b"EXEC"]);
        let mut replies = self.conn.ask_all(&commands).await?;
        let answers = replies.pop();
        for (reply, command) in replies.iter().zip(&commands) {
            self.must_be_fine(reply, command[0])?;
        }
        let Some(Reply::Array(answers)) = answers else { return Err(odd("EXEC")) };
        let mut answers = answers.into_iter();
        let mut next = |name: &[u8]| {
            let answer = answers.next().ok_or_else(|| odd("EXEC"))?;
            self.must_be_fine(&answer, name)?;
            Ok(answer)
        };
        let text = next(b"INFO")?;
        let text = text.as_bytes().ok_or_else(|| odd("INFO"))?;
        let field = |name| info::field(text, name);
        let history = field("master_replid").or(field("run_id")).and_then(|id| ReplId::parse(id.as_bytes()).ok());
        let offset = field("master_repl_offset").and_then(|n| n.parse().ok()).ok_or_else(|| odd("INFO"))?;
        let is_replica = field("role") == Some("slave");
        let mut values = Vec::with_capacity(keys.len());
        for _ in keys {
            let ttl = if let Reply::Int(ttl) = next(deadline)? { ttl } else { return Err(odd("PTTL")) };
            let payload = next(b"DUMP")?;
            let is_there = match self.tells_memory {
                true => matches!(next(b"MEMORY")?, Reply::Int(_)),
                // Nobody knows.
                false => is_replica,
            };
            values.push(match payload {
                // 0 would stand for no deadline; a time that is over becomes the shortest one.
                Reply::Bulk(payload) => Value::Payload { payload, ttl: if ttl < 0 { 0 } else { ttl.max(1) } },
                Reply::Nil if is_there => Value::Lapsed,
                Reply::Nil => Value::Gone,
                _ => return Err(odd("DUMP")),
            });
        }
        Ok(Read { history, offset, values })
    }

    fn must_be_fine(&self, reply: &Reply, command: &[u8]) -> Result<()> {
        match reply {
            Reply::Error(text) => {
                let name = String::from_utf8_lossy(command);
                Err(self.conn.refused(self.conn.kind_of(text), &name, text))
            }
            _ => Ok(()),
        }
    }
}

fn odd(command: &str) -> Error {
    let what = format!("read keys of the source: {command} has an unexpected reply");
    Error::new(ErrorKind::Protocol(Side::Source), what)
}

impl Value {
    /// The command that makes `key` so, as the source could have sent it; the reason when there is none that is safe.
    pub(super) fn command(&self, key: &[u8], source: &ServerVersion) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        match self {
            Self::Gone => encode::command(&mut out, &[b"DEL", key]),
            Self::Lapsed => {
                return Err(
                    "its time is over at the source, which may not remove it yet: it is a replica, or its clients are paused".into()
                );
            }
            Self::Payload { payload, ttl } => {
                if payload.len() as u64 > MAX_VALUE {
                    return Err(too_large(payload.len() as u64));
                }
                let kind = dump::verify(payload).map_err(|e| format!("its payload cannot be read: {e}"))?.0;
                // Whether the target can load it nobody knows before it has been tried, and it is not tried on a task.
                if kind.group() == Group::Module {
                    return Err("a value of a module".into());
                }
                let number = ttl.to_string();
                let args: [&[u8]; 6] = [b"RESTORE", key, number.as_bytes(), payload, b"REPLACE", b"ABSTTL"];
                let absolute = *ttl > 0 && source.tells_expiry();
                encode::command(&mut out, if absolute { &args } else { &args[..5] });
            }
        }
        Ok(out)
    }
}
