//! One of the two servers: its connection, and the text of INFO. What it refuses or answers otherwise than expected is a
//! text for a reason, never an error that ends anything.

use std::time::Duration;

use keyferry_keyspace::{ServerVersion, info};
use keyferry_model::{Error, ErrorKind};
use keyferry_net::{Connection, Endpoint, Value, safe_text};
use tokio::time::Instant;

/// A server that answers.
pub(crate) struct Server {
    conn: Connection,
    /// Why the connection cannot be used any more: a reply that comes too late would be taken for the next one.
    lost: Option<String>,
    pub(crate) info: Vec<u8>,
    pub(crate) version: ServerVersion,
    /// From the question for INFO to its answer.
    pub(crate) round_trip: Duration,
}

impl Server {
    /// Errors: those of the connection, of INFO, and `Protocol` when INFO names no version.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let mut conn = Connection::open(endpoint).await?;
        let asked = Instant::now();
        let info = conn.info("all").await?.into_bytes();
        let round_trip = asked.elapsed();
        let Some(version) = ServerVersion::from_info(&info) else {
            let what = format!("read INFO of the {} {endpoint}: it names no version", endpoint.side);
            return Err(Error::new(ErrorKind::Protocol(endpoint.side), what));
        };
        Ok(Self { conn, lost: None, info, version, round_trip })
    }

    /// A reply, or why there is none: the server's refusal, or the end of the connection.
    pub(crate) async fn ask(&mut self, args: &[&[u8]]) -> Result<Value, String> {
        match self.ask_all(&[args]).await?.pop() {
            Some(Value::Error(text)) => {
                let command = String::from_utf8_lossy(args.first().copied().unwrap_or_default());
                Err(format!("it answers {command} with `{}`", refusal(&text)))
            }
            Some(value) => Ok(value),
            None => Err("it does not answer".into()),
        }
    }

    /// Like [`Connection::ask_all`]: replies may be refusals.
    pub(crate) async fn ask_all<'a>(&mut self, commands: &[impl AsRef<[&'a [u8]]>]) -> Result<Vec<Value>, String> {
        if let Some(why) = &self.lost {
            return Err(why.clone());
        }
        let replies = self.conn.ask_all(commands).await;
        replies.map_err(|e| self.give_up(e.to_string()))
    }

    /// Asks nothing more on this connection; gives the reason back.
    pub(crate) fn give_up(&mut self, why: String) -> String {
        self.lost.insert(why).clone()
    }

    /// One section of INFO as it is now.
    pub(crate) async fn info_now(&mut self, section: &str) -> Result<Vec<u8>, String> {
        match self.ask(&[b"INFO", section.as_bytes()]).await? {
            Value::Bulk(text) => Ok(text),
            _ => Err("INFO has an unexpected reply".into()),
        }
    }

    /// A field of INFO.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        info::field(&self.info, name)
    }

    /// A field of INFO that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    /// A setting, or why it is not known.
    pub(crate) async fn setting(&mut self, name: &str) -> Result<String, String> {
        match self.ask(&[b"CONFIG", b"GET", name.as_bytes()]).await? {
            Value::Array(pair) => match pair.get(1).and_then(Value::as_bytes) {
                Some(value) => Ok(String::from_utf8_lossy(value).into_owned()),
                None => Err(format!("it has no setting {name}")),
            },
            _ => Err("CONFIG GET has an unexpected reply".into()),
        }
    }

    /// Keys in the chosen databases.
    pub(crate) fn keys(&self, chosen: impl Fn(u32) -> bool) -> u64 {
        let chosen = info::keyspace(&self.info).filter(|k| chosen(k.db.0));
        chosen.fold(0, |sum, k| sum.saturating_add(k.keys))
    }

    /// Bytes of memory that the data of the chosen databases takes; by its share of the keys. `None` when the
    /// server does not tell.
    pub(crate) fn data_bytes(&self, chosen: impl Fn(u32) -> bool) -> Option<u64> {
        let data = self.number("used_memory")?.saturating_sub(self.other_bytes());
        let (chosen, all) = (self.keys(chosen), self.keys(|_| true));
        match all {
            0 => Some(0),
            all => u64::try_from(u128::from(data) * u128::from(chosen) / u128::from(all)).ok(),
        }
    }

    /// Bytes of memory that are no data, as far as the server tells.
    fn other_bytes(&self) -> u64 {
        let fields = [
            "used_memory_startup",
            "mem_clients_normal",
            "mem_clients_slaves",
            "mem_replication_backlog",
            "mem_aof_buffer",
        ];
        fields.iter().filter_map(|name| self.number(name)).fold(0, u64::saturating_add)
    }
}

/// What can be shown of a refusal.
pub(crate) fn refusal(text: &[u8]) -> String {
    let shown = safe_text(text);
    // Mostly it is the name of the command that is cut off with its quotes.
    if shown.len() < text.trim_ascii_end().len() { shown + " ..." } else { shown }
}
