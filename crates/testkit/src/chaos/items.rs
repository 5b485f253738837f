//! What is counted: each item is written step by step, and whoever reads it can tell exactly how many steps it has seen,
//! or that one of them is missing, doubled or in the wrong place.

use anyhow::{Context as _, Result, bail, ensure};
use redis::{Connection, Pipeline, cmd};

/// Databases that are written.
const DATABASES: u32 = 3;
/// Items of each kind in each database.
const EACH: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// INCR.
    Counter,
    /// HINCRBY.
    Hash,
    /// APPEND of the number of the step.
    Text,
    /// RPUSH of the number of the step, where LMOVE also moves them on to a second list.
    List,
    /// XADD with the number of the step.
    Stream,
    /// A transaction of two counters and a list.
    Pair,
    /// A transaction of counters in two databases.
    Across,
}

/// Something that is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    kind: Kind,
    pub(super) db: u32,
    n: u32,
}

/// All items.
pub(super) fn all() -> Vec<Item> {
    let kinds = [Kind::Counter, Kind::Hash, Kind::Text, Kind::List, Kind::Stream, Kind::Pair, Kind::Across];
    let places = (0..DATABASES).flat_map(|db| (0..EACH).map(move |n| (db, n)));
    places.flat_map(|(db, n)| kinds.map(|kind| Item { kind, db, n })).collect()
}

impl Item {
    fn key(&self, part: &str) -> String {
        format!("chaos:{:?}:{}:{part}", self.kind, self.n)
    }

    fn other_db(&self) -> u32 {
        (self.db + 1) % DATABASES
    }

    /// Adds the commands of step number `step`, counted from 0; the item's database is selected.
    pub(super) fn step(&self, pipe: &mut Pipeline, step: u64) {
        let key = |part| self.key(part);
        match self.kind {
            Kind::Counter => pipe.cmd("INCR").arg(key("")),
            Kind::Hash => pipe.cmd("HINCRBY").arg(key("")).arg("field").arg(1),
            Kind::Text => pipe.cmd("APPEND").arg(key("")).arg(format!("{step},")),
            Kind::List => {
                pipe.cmd("RPUSH").arg(key("new")).arg(step);
                match step % 3 {
                    0 => pipe,
                    _ => pipe.cmd("LMOVE").arg(key("new")).arg(key("old")).arg("LEFT").arg("RIGHT"),
                }
            }
            Kind::Stream => pipe.cmd("XADD").arg(key("")).arg("*").arg("n").arg(step),
            Kind::Pair => {
                pipe.cmd("MULTI").cmd("INCR").arg(key("a")).cmd("RPUSH").arg(key("list")).arg(step);
                pipe.cmd("INCR").arg(key("b")).cmd("EXEC")
            }
            Kind::Across => {
                pipe.cmd("MULTI").cmd("INCR").arg(key("a")).cmd("SELECT").arg(self.other_db());
                pipe.cmd("INCR").arg(key(&self.db.to_string())).cmd("SELECT").arg(self.db).cmd("EXEC")
            }
        };
    }

    /// How many steps a server has seen.
    ///
    /// Errors: those of the connection, and a step that is missing, doubled or in the wrong place.
    pub(super) fn measure(&self, conn: &mut Connection) -> Result<u64> {
        cmd("SELECT").arg(self.db).exec(conn)?;
        let found = match self.kind {
            Kind::Counter => number(conn, &self.key(""))?,
            Kind::Hash => cmd("HGET").arg(self.key("")).arg("field").query::<Option<u64>>(conn)?.unwrap_or(0),
            Kind::Text => {
                let text: String = cmd("GET").arg(self.key("")).query::<Option<String>>(conn)?.unwrap_or_default();
                self.in_order(text.split_terminator(',').map(String::from).collect())?
            }
            Kind::List => {
                let mut all = list(conn, &self.key("old"))?;
                all.append(&mut list(conn, &self.key("new"))?);
                self.in_order(all)?
            }
            Kind::Stream => {
                let entries: Vec<(String, Vec<String>)> =
                    cmd("XRANGE").arg(self.key("")).arg("-").arg("+").query(conn)?;
                self.in_order(entries.into_iter().map(|(_, mut fields)| fields.pop().unwrap_or_default()).collect())?
            }
            Kind::Pair => {
                let (a, b) = (number(conn, &self.key("a"))?, number(conn, &self.key("b"))?);
                let pushed = list(conn, &self.key("list"))?;
                let pushed = self.in_order(pushed)?;
                ensure!(a == b && b == pushed, "{self:?}: the counters are {a} and {b}, the list has {pushed}");
                a
            }
            Kind::Across => {
                let a = number(conn, &self.key("a"))?;
                cmd("SELECT").arg(self.other_db()).exec(conn)?;
                let b = number(conn, &self.key(&self.db.to_string()))?;
                ensure!(a == b, "{self:?}: the counters of two databases are {a} and {b}");
                a
            }
        };
        Ok(found)
    }

    /// Looks at two counters of one transaction in another transaction; false when they are not there.
    ///
    /// Errors: those of the connection, and two counters that differ.
    pub(super) fn sample(&self, conn: &mut Connection) -> Result<bool> {
        if self.kind != Kind::Pair {
            return Ok(false);
        }
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("SELECT").arg(self.db).ignore();
        let (a, b) = (self.key("a"), self.key("b"));
        let (found,): ((Option<u64>, Option<u64>),) = pipe.cmd("MGET").arg(a).arg(b).query(conn)?;
        match found {
            // While all is copied, one may be there before the other.
            (None, _) | (_, None) => Ok(false),
            (a, b) if a == b => Ok(true),
            (a, b) => bail!("SPLIT {self:?}: two counters of one transaction are {a:?} and {b:?}"),
        }
    }

    fn in_order(&self, found: Vec<String>) -> Result<u64> {
        for (i, text) in found.iter().enumerate() {
            let n: u64 = text.parse().with_context(|| format!("{self:?}: {text:?} is no number"))?;
            if n != i as u64 {
                let around = &found[i.saturating_sub(3)..found.len().min(i + 4)];
                bail!("WRONG {self:?}: step {n} stands in place {i}: {around:?}");
            }
        }
        Ok(found.len() as u64)
    }
}

fn number(conn: &mut Connection, key: &str) -> Result<u64> {
    Ok(cmd("GET").arg(key).query::<Option<u64>>(conn)?.unwrap_or(0))
}

fn list(conn: &mut Connection, key: &str) -> Result<Vec<String>> {
    Ok(cmd("LRANGE").arg(key).arg(0).arg(-1).query(conn)?)
}
