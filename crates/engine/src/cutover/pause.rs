//! Pausing writes at the source, and allowing them again.
//!
//! Invariant: what is behind the answer to the pause in the source's stream is no write of a client. Two exceptions, both in the
//! user's manual: writers that only the user can stop, and, before 6.2, scripts and transactions that were begun before the
//! pause, which a source that lacks replicas does not refuse (scripting.c luaRedisGenericCommand, Redis 5.0).

use std::time::Duration;

use keyferry_keyspace::{ServerVersion, info};
use keyferry_model::{Error, ErrorKind, Result, Side, failpoint};
use keyferry_net::{Connection, Endpoint, Value};

/// More replicas than anybody has.
const MANY: &str = "1000000";

/// A pause of the source, and how it is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pause {
    /// `CLIENT PAUSE`: writers wait. It ends by itself.
    Clients(Duration),
    /// The source wants more replicas than it has: writers get an error. Behind the name of the setting, what it was, and what
    /// the longest lag was if that had to be set, too.
    Replicas { setting: &'static str, before: String, lag: Option<&'static str> },
    /// The user has stopped the writers.
    Manual,
}

impl Pause {
    /// Looks which kind of pause the source knows, without changing anything.
    ///
    /// Errors: `CutoverRefused` when it is a replica; those of the connection.
    pub(super) async fn choose(endpoint: &Endpoint, version: &ServerVersion, time: Option<Duration>) -> Result<Self> {
        let Some(time) = time else { return Ok(Self::Manual) };
        let mut conn = Connection::open(endpoint).await?;
        if info::field(conn.info("replication").await?.as_bytes(), "role") == Some("slave") {
            let what = "pause writes at the source: it is a replica, and they come to its primary; stop the writers and use --source-pause manual";
            return Err(Error::new(ErrorKind::CutoverRefused, what));
        }
        if version.redis >= (6, 2, 0) {
            return Ok(Self::Clients(time));
        }
        let (setting, lag) = match version.redis >= (5, 0, 0) {
            true => ("min-replicas-to-write", "min-replicas-max-lag"),
            false => ("min-slaves-to-write", "min-slaves-max-lag"),
        };
        // What an earlier one has set and did not live to set back, was not what the user wanted.
        let before = Some(config(&mut conn, setting).await?).filter(|now| now != MANY).unwrap_or_else(|| "0".into());
        let off = config(&mut conn, lag).await? == "0";
        Ok(Self::Replicas { setting, before, lag: off.then_some(lag) })
    }

    /// Pauses writes, or makes the pause last longer again.
    pub(super) async fn begin(&self, endpoint: &Endpoint) -> Result<()> {
        match self {
            Self::Clients(time) => {
                let ms = time.as_millis().to_string();
                let mut conn = Connection::open(endpoint).await?;
                failpoint("before-pause");
                conn.command(&[b"CLIENT", b"PAUSE", ms.as_bytes(), b"WRITE"]).await.map(drop)
            }
            Self::Replicas { setting, lag, .. } => {
                let mut conn = Connection::open(endpoint).await?;
                if let Some(lag) = lag {
                    set(&mut conn, lag, "10").await?;
                }
                set(&mut conn, setting, MANY).await
            }
            Self::Manual => Ok(()),
        }
    }

    /// Allows writes again.
    pub(super) async fn end(&self, endpoint: &Endpoint) -> Result<()> {
        match self {
            Self::Clients(_) => {
                let mut conn = Connection::open(endpoint).await?;
                conn.command(&[b"CLIENT", b"UNPAUSE"]).await.map(drop)
            }
            Self::Replicas { setting, before, lag } => {
                let mut conn = Connection::open(endpoint).await?;
                set(&mut conn, setting, before).await?;
                match lag {
                    Some(lag) => set(&mut conn, lag, "0").await,
                    None => Ok(()),
                }
            }
            Self::Manual => Ok(()),
        }
    }

    /// Asks, without changing anything, whether clients may be sent away.
    pub(super) async fn try_out_end(&self, conn: &mut Connection) -> Result<()> {
        match self {
            Self::Manual => Ok(()),
            _ => conn.command(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub", b"ADDR", b"0.0.0.0:0"]).await.map(drop),
        }
    }

    /// Closes the connections of all clients, and allows writes again: what they wait with is never executed.
    pub(super) async fn end_without_clients(&self, endpoint: &Endpoint) -> Result<()> {
        if *self == Self::Manual {
            return Ok(());
        }
        self.send_clients_away(&mut Connection::open(endpoint).await?).await?;
        self.end(endpoint).await
    }

    /// Closes the connections of all clients.
    pub(super) async fn send_clients_away(&self, conn: &mut Connection) -> Result<()> {
        // Those that subscribe may write, too (RESP3).
        for kind in [b"pubsub".as_slice(), b"normal"] {
            conn.command(&[b"CLIENT", b"KILL", b"TYPE", kind]).await?;
        }
        Ok(())
    }

    /// What a person sends to the source to allow writes again.
    pub(super) fn command_to_end(&self) -> String {
        match self {
            Self::Clients(_) => "CLIENT UNPAUSE".into(),
            Self::Replicas { setting, before, lag: None } => format!("CONFIG SET {setting} {before}"),
            Self::Replicas { setting, before, lag: Some(lag) } => {
                format!("CONFIG SET {setting} {before}, and CONFIG SET {lag} 0")
            }
            Self::Manual => "nothing: the writers were stopped by hand".into(),
        }
    }
}

async fn config(conn: &mut Connection, setting: &str) -> Result<String> {
    match conn.command(&[b"CONFIG", b"GET", setting.as_bytes()]).await? {
        Value::Array(pair) if pair.len() == 2 => {
            Ok(String::from_utf8_lossy(pair[1].as_bytes().unwrap_or_default()).into_owned())
        }
        _ => {
            let what = format!("pause writes at the source: it does not tell {setting}");
            Err(Error::new(ErrorKind::Protocol(Side::Source), what))
        }
    }
}

async fn set(conn: &mut Connection, setting: &str, value: &str) -> Result<()> {
    conn.command(&[b"CONFIG", b"SET", setting.as_bytes(), value.as_bytes()]).await.map(drop)
}
