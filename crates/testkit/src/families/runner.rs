//! Sends the calls of a family to a server.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use redis::{Connection, Value, cmd};

use super::{Call, Family, Known, fill::Filler};
use crate::Server;

/// Calls in one transaction.
const TRANSACTION: usize = 5;
/// Calls the command that it is given. Its effects are replicated from 5.0 on.
const SCRIPT: &str = "return redis.call(unpack(ARGV))";

/// In what form calls are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Plain,
    /// Some at a time between MULTI and EXEC.
    Transactions,
    /// Each from a script, where scripts may call it. For servers that replicate what a script does: 5.0 and later.
    Scripts,
}

/// Sends calls under a name that keeps its keys apart from those of others.
pub struct Runner {
    known: Known,
    conn: Connection,
    filler: Filler,
    run: String,
    form: Form,
    /// Calls of an open transaction.
    open: Vec<&'static str>,
    exercised: BTreeSet<String>,
    options: BTreeSet<(String, String)>,
    /// Asked for changes after each call, where that is checked.
    witness: Option<Connection>,
    /// Asked for the offset after each call, where that is noted.
    offsets: Option<Connection>,
    trail: Trail,
    without: Vec<String>,
}

/// Where calls end in the stream of their server, in the order in which they were sent.
#[derive(Debug, Clone, Default)]
pub struct Trail(Vec<(u64, String)>);

impl Trail {
    /// The call that wrote the byte at an offset, when it is among these.
    pub fn at(&self, offset: u64) -> Option<&str> {
        let next = self.0.partition_point(|(end, _)| *end < offset);
        self.0.get(next).map(|(_, text)| text.as_str())
    }

    /// Adds those that were sent behind.
    pub fn append(&mut self, mut later: Trail) {
        self.0.append(&mut later.0);
    }
}

impl Runner {
    /// `run` becomes part of the keys: letters and digits only.
    pub fn connect(server: &Server, run: &str, form: Form) -> Result<Self> {
        Ok(Self {
            known: Known::of(server)?,
            conn: server.conn()?,
            filler: Filler::new(server.conn()?),
            run: run.into(),
            form,
            open: Vec::new(),
            exercised: BTreeSet::new(),
            options: BTreeSet::new(),
            witness: None,
            offsets: None,
            trail: Trail::default(),
            without: Vec::new(),
        })
    }

    /// From here on, a call that changes nothing and is not marked so is an error. For servers that save nothing
    /// meanwhile, not for a replica either, since a snapshot sets the count of changes back; and for [`Form::Plain`].
    pub fn check_effects(&mut self, server: &Server) -> Result<()> {
        self.witness = Some(server.conn()?);
        Ok(())
    }

    /// Leaves out the calls that contain one of these texts: to see what comes behind a known fault.
    #[must_use]
    pub fn without(mut self, texts: &[String]) -> Self {
        self.without = texts.to_vec();
        self
    }

    /// From here on, it is noted where each call ends in the server's stream.
    pub fn note_offsets(&mut self, server: &Server) -> Result<()> {
        self.offsets = Some(server.conn()?);
        Ok(())
    }

    /// What was noted since this was asked the last time.
    pub fn take_trail(&mut self) -> Trail {
        std::mem::take(&mut self.trail)
    }

    /// Sends all calls of a family that the server knows.
    pub fn family(&mut self, family: &Family) -> Result<()> {
        self.calls(family.calls).with_context(|| format!("the family of {}", family.name))
    }

    /// Sends those that the server knows; fails with all that went wrong.
    pub fn calls(&mut self, calls: &[Call]) -> Result<()> {
        let mut faults = Vec::new();
        for call in calls {
            let left_out = self.without.iter().any(|part| call.text().contains(part));
            if left_out || !call.known_to(self.known.version()) {
                continue;
            }
            if let Err(error) = self.call(call).and_then(|()| self.note(call)) {
                faults.push(format!("{} ({:?}): {}: {error:#}", self.known.version(), self.form, call.text()));
            }
        }
        let end = match calls.last() {
            Some(call) => self.commit().and_then(|()| self.note(call)),
            None => Ok(()),
        };
        faults.extend(end.err().map(|error| format!("{}: {error:#}", self.known.version())));
        if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
    }

    /// The names of all commands that were sent.
    pub fn exercised(&self) -> &BTreeSet<String> {
        &self.exercised
    }

    /// All pairs of a command that was sent and a word of it, in capitals.
    pub fn words(&self) -> &BTreeSet<(String, String)> {
        &self.options
    }

    fn call(&mut self, call: &Call) -> Result<()> {
        let words = call.words(&self.run);
        let Some(name) = self.known.name(&words) else { return Ok(()) };
        if words.iter().any(|word| Filler::asks(word)) {
            self.commit()?;
        }
        let words_of = words.iter().map(|word| (name.clone(), word.to_uppercase().replace("{DOLLAR}", "$")));
        self.options.extend(words_of);
        let args = words.iter().map(|word| self.filler.word(word)).collect::<Result<Vec<_>>>()?;
        match self.form {
            Form::Scripts if !(call.in_scripts() && self.known.in_scripts(&name)) => return Ok(()),
            // A script's database is its own.
            Form::Scripts if name != "select" => {
                ask(&mut self.conn, cmd("EVAL").arg(SCRIPT).arg(0).arg(&args))?;
            }
            Form::Plain | Form::Scripts => {
                let before = self.changes()?;
                ask(&mut self.conn, redis::Cmd::new().arg(&args))?;
                if call.has_effect() && before.is_some() && before == self.changes()? {
                    bail!("it has changed nothing");
                }
            }
            Form::Transactions => {
                if self.open.is_empty() {
                    ask(&mut self.conn, &cmd("MULTI"))?;
                }
                ask(&mut self.conn, redis::Cmd::new().arg(&args))?;
                self.open.push(call.text());
                if self.open.len() == TRANSACTION {
                    self.commit()?;
                }
            }
        }
        self.exercised.insert(name);
        Ok(())
    }

    fn note(&mut self, call: &Call) -> Result<()> {
        let Some(offsets) = &mut self.offsets else { return Ok(()) };
        let info: String = cmd("INFO").arg("replication").query(offsets)?;
        let line = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
        let offset = line.context("INFO has no offset")?.trim().parse()?;
        let text = format!("{} ({}, {:?})", call.text(), self.run, self.form);
        self.trail.0.push((offset, text));
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let open = std::mem::take(&mut self.open);
        match ask(&mut self.conn, &cmd("EXEC")).with_context(|| format!("in one transaction: {open:#?}"))? {
            Value::Array(replies) if replies.len() == open.len() => Ok(()),
            other => bail!("not the replies of {} commands: {other:?}", open.len()),
        }
    }

    /// How often the server's data has changed since it was saved.
    fn changes(&mut self) -> Result<Option<i64>> {
        let Some(witness) = &mut self.witness else { return Ok(None) };
        let info: String = cmd("INFO").arg("persistence").query(witness)?;
        let line = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
        Ok(Some(line.context("INFO has no count of changes")?.trim().parse()?))
    }
}

/// One command; an error anywhere in its reply is an error.
fn ask(conn: &mut Connection, command: &redis::Cmd) -> Result<Value> {
    fn check(value: &Value) -> Result<()> {
        match value {
            Value::ServerError(error) => bail!("refused: {error}"),
            Value::Array(items) | Value::Set(items) => items.iter().try_for_each(check),
            _ => Ok(()),
        }
    }
    let value: Value = command.query(conn)?;
    check(&value)?;
    Ok(value)
}
