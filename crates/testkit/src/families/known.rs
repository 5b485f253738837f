//! What a server says of its own commands.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use redis::{Value, cmd};

use crate::{Server, server::Version};

/// The commands of a server with their flags, as COMMAND tells them. Subcommands are written `xgroup|create`.
#[derive(Debug, Clone)]
pub struct Known {
    commands: BTreeMap<String, BTreeSet<String>>,
    version: Version,
}

impl Known {
    /// Asks a server.
    pub fn of(server: &Server) -> Result<Self> {
        let answer: Value = cmd("COMMAND").query(&mut server.conn()?).context("ask for the commands")?;
        let mut commands = BTreeMap::new();
        collect(answer, &mut commands)?;
        Ok(Self { commands, version: server.version().clone() })
    }

    /// The server they are of.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The commands that may write, subcommands among them.
    pub fn writes(&self) -> BTreeSet<&str> {
        self.flagged("write")
    }

    /// The commands with a flag.
    pub fn flagged(&self, flag: &str) -> BTreeSet<&str> {
        let with = self.commands.iter().filter(|(_, flags)| flags.contains(flag));
        with.map(|(name, _)| name.as_str()).collect()
    }

    /// Whether the server has a command or subcommand.
    pub fn has(&self, name: &str) -> bool {
        self.commands.contains_key(name)
    }

    /// The name under which the server knows the command that begins with these words; None where it does not.
    pub fn name(&self, words: &[impl AsRef<str>]) -> Option<String> {
        let first = words.first()?.as_ref().to_lowercase();
        let prefix = format!("{first}|");
        let container = self.commands.range(prefix.clone()..).next().is_some_and(|(name, _)| name.starts_with(&prefix));
        let name = if container { prefix + &words.get(1)?.as_ref().to_lowercase() } else { first };
        self.commands.contains_key(&name).then_some(name)
    }

    /// Whether scripts may call a command of a name that [`Known::name`] gave.
    pub(super) fn in_scripts(&self, name: &str) -> bool {
        self.commands.get(name).is_some_and(|flags| !flags.contains("noscript"))
    }

    /// The options of all commands that write, as the server documents them (7.0 and later): pairs of a command and a
    /// word. None for a server that documents nothing.
    pub fn options(&self, server: &Server) -> Result<Option<BTreeSet<(String, String)>>> {
        if !self.has("command|docs") {
            return Ok(None);
        }
        let answer: Value = cmd("COMMAND").arg("DOCS").query(&mut server.conn()?)?;
        let mut options = BTreeSet::new();
        documented(answer, &mut options)?;
        let writes = self.writes();
        options.retain(|(name, _)| writes.contains(name.as_str()));
        Ok(Some(options))
    }
}

/// Each command as name, arity, flags, keys and, from 7.0 on, further down its subcommands in the same form.
fn collect(answer: Value, commands: &mut BTreeMap<String, BTreeSet<String>>) -> Result<()> {
    for command in items(answer)? {
        let mut parts = items(command)?.into_iter();
        let name = text(parts.next().context("a command has a name")?)?.to_lowercase();
        let flags = items(parts.nth(1).context("a command has flags")?)?;
        commands.insert(name, flags.into_iter().map(text).collect::<Result<_>>()?);
        if let Some(subcommands) = parts.nth(6) {
            collect(subcommands, commands)?;
        }
    }
    Ok(())
}

/// Names and what is said of them, in turn.
fn documented(answer: Value, options: &mut BTreeSet<(String, String)>) -> Result<()> {
    for (name, said) in pairs(answer)? {
        for (what, value) in pairs(said)? {
            match what.as_str() {
                "arguments" => tokens(&name.to_lowercase(), value, options)?,
                "subcommands" => documented(value, options)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn tokens(name: &str, arguments: Value, options: &mut BTreeSet<(String, String)>) -> Result<()> {
    for argument in items(arguments)? {
        for (what, value) in pairs(argument)? {
            match what.as_str() {
                "token" => drop(options.insert((name.to_owned(), text(value)?))),
                "arguments" => tokens(name, value, options)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn pairs(value: Value) -> Result<Vec<(String, Value)>> {
    let mut items = items(value)?.into_iter();
    let mut pairs = Vec::new();
    while let Some(name) = items.next() {
        pairs.push((text(name)?, items.next().context("a value for each name")?));
    }
    Ok(pairs)
}

fn items(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        other => bail!("expected an array, got {other:?}"),
    }
}

fn text(value: Value) -> Result<String> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8(bytes)?),
        Value::SimpleString(text) => Ok(text),
        other => bail!("expected a text, got {other:?}"),
    }
}
