//! One of the two servers: a connection, and what it can be asked.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use redis::{Cmd, Value, cmd};

/// Longer than any single answer takes, so that a hanging server fails a test instead of stopping it.
const REPLY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);

/// A connection to one server.
pub(super) struct Side {
    conn: redis::Connection,
    /// PEXPIRETIME: absolute expiries (Redis 7.0).
    pub(super) has_expire_time: bool,
    /// HPEXPIRETIME: expiries of hash fields (Redis 7.4, Valkey 9.0).
    pub(super) has_field_expiry: bool,
    /// XINFO STREAM FULL (Redis 6.0).
    pub(super) has_stream_full: bool,
    /// FUNCTION (Redis 7.0).
    pub(super) has_functions: bool,
}

/// Commands to be sent at once.
#[derive(Default)]
pub(super) struct Batch {
    packed: Vec<u8>,
    count: usize,
}

impl Batch {
    pub(super) fn add(&mut self, command: &Cmd) {
        command.write_packed_command(&mut self.packed);
        self.count += 1;
    }
}

impl Side {
    pub(super) fn connect(url: &str) -> Result<Self> {
        let conn = redis::Client::open(url)?.get_connection_with_timeout(std::time::Duration::from_secs(5))?;
        conn.set_read_timeout(Some(REPLY_TIMEOUT))?;
        let mut side = Self {
            conn,
            has_expire_time: false,
            has_field_expiry: false,
            has_stream_full: false,
            has_functions: false,
        };
        let known = |name: &str| -> Cmd { cmd("COMMAND").arg("INFO").arg(name).take() };
        let mut batch = Batch::default();
        for name in ["pexpiretime", "hpexpiretime", "function"] {
            batch.add(&known(name));
        }
        let answers = side.run(&batch)?;
        let has =
            |i: usize| matches!(&answers[i], Value::Array(items) if matches!(items.first(), Some(Value::Array(_))));
        (side.has_expire_time, side.has_field_expiry, side.has_functions) = (has(0), has(1), has(2));
        let info = side.text(cmd("INFO").arg("server"))?;
        let version =
            info.lines().find_map(|line| line.strip_prefix("redis_version:")).context("INFO has no version")?;
        side.has_stream_full = version.split('.').next().and_then(|major| major.parse::<u32>().ok()) >= Some(6);
        Ok(side)
    }

    /// Sends a batch and returns one value for each command; an error reply is a value too.
    pub(super) fn run(&mut self, batch: &Batch) -> Result<Vec<Value>> {
        if batch.count == 0 {
            return Ok(Vec::new());
        }
        self.conn.send_packed_command(&batch.packed)?;
        let answers: Result<Vec<Value>, _> = (0..batch.count).map(|_| self.conn.recv_response()).collect();
        Ok(answers?)
    }

    /// One command whose error reply is an error.
    pub(super) fn ask(&mut self, command: &Cmd) -> Result<Value> {
        let mut batch = Batch::default();
        batch.add(command);
        match self.run(&batch)?.pop() {
            Some(Value::ServerError(error)) => bail!("the server refused a command: {error}"),
            Some(value) => Ok(value),
            None => bail!("no answer"),
        }
    }

    /// One command that answers with text.
    pub(super) fn text(&mut self, command: &Cmd) -> Result<String> {
        Ok(String::from_utf8_lossy(&bytes(self.ask(command)?)?).into_owned())
    }

    pub(super) fn select(&mut self, db: u32) -> Result<()> {
        self.ask(cmd("SELECT").arg(db)).map(drop)
    }

    /// The databases that hold keys.
    pub(super) fn databases(&mut self) -> Result<BTreeSet<u32>> {
        let info = self.text(cmd("INFO").arg("keyspace"))?;
        Ok(info.lines().filter_map(|line| line.strip_prefix("db")?.split(':').next()?.parse().ok()).collect())
    }

    /// The next keys of a walk over the selected database, and where it goes on; 0 at the end.
    pub(super) fn scan(&mut self, cursor: u64, count: u64) -> Result<(u64, Vec<Vec<u8>>)> {
        let answer = self.ask(cmd("SCAN").arg(cursor).arg("COUNT").arg(count))?;
        let mut parts = array(answer)?.into_iter();
        let (cursor, keys) = parts.next().zip(parts.next()).context("SCAN answers with two elements")?;
        let cursor = String::from_utf8(bytes(cursor)?)?.parse()?;
        Ok((cursor, array(keys)?.into_iter().map(bytes).collect::<Result<_>>()?))
    }

    /// The server's clock, in milliseconds since 1970.
    pub(super) fn now_ms(&mut self) -> Result<i64> {
        clock(self.ask(&cmd("TIME"))?)
    }
}

/// Milliseconds of a reply to TIME.
pub(super) fn clock(value: Value) -> Result<i64> {
    let parts = array(value)?.into_iter().map(integer).collect::<Result<Vec<_>>>()?;
    match parts[..] {
        [seconds, micros] => Ok(seconds * 1000 + micros / 1000),
        _ => bail!("TIME answers with two numbers"),
    }
}

/// The bytes of a bulk or simple string.
pub(super) fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        other => bail!("expected a string, got {other:?}"),
    }
}

/// A number, also one that is written as a string.
pub(super) fn integer(value: Value) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(number),
        other => Ok(String::from_utf8(bytes(other)?)?.parse()?),
    }
}

/// The elements of an array; none for a nil.
pub(super) fn array(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        Value::Nil => Ok(Vec::new()),
        other => bail!("expected an array, got {other:?}"),
    }
}
