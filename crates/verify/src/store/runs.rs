//! Comparisons and how far they are.

use keyferry_model::Result;
use rusqlite::{OptionalExtension as _, params};

use super::{Store, failed};
use crate::outcome::Outcome;

/// A comparison in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: i64,
    /// The round that it is in, from 1 on.
    pub(crate) round: u32,
}

/// How far the walk of one database of one side is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// `source` or `target`.
    pub(crate) side: &'static str,
    /// Database of the source.
    pub(crate) db: u32,
    /// The starts of both servers that it belongs to.
    pub(crate) servers: String,
    pub(crate) cursor: String,
    /// Keys before it.
    pub(crate) keys: u64,
    pub(crate) done: bool,
}

/// How the last comparison in a file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) run: i64,
    pub(crate) finished: bool,
    pub(crate) keys: u64,
    pub(crate) rounds: u32,
    pub(crate) repaired: u64,
}

impl Store {
    /// The last comparison when it is the same and not at its end; else a new one.
    pub(crate) fn begin(&self, source: &str, target: &str, options: &str) -> Result<Run> {
        let last = self
            .db
            .query_row(
                "SELECT id, round, source = ?1 AND target = ?2 AND options = ?3 AND NOT finished FROM run \
                 ORDER BY id DESC LIMIT 1",
                params![source, target, options],
                |row| Ok((Run { id: row.get(0)?, round: row.get(1)? }, row.get::<_, bool>(2)?)),
            )
            .optional()
            .map_err(failed)?;
        if let Some((run, true)) = last {
            return Ok(run);
        }
        self.db
            .execute("INSERT INTO run(source, target, options) VALUES(?1, ?2, ?3)", params![source, target, options])
            .map_err(failed)?;
        Ok(Run { id: self.db.last_insert_rowid(), round: 1 })
    }

    /// The round that it is in.
    pub(crate) fn round(&self, run: i64) -> Result<u32> {
        self.db.query_row("SELECT round FROM run WHERE id = ?1", [run], |row| row.get(0)).map_err(failed)
    }

    pub(crate) fn set_round(&self, run: i64, round: u32) -> Result<()> {
        self.db.execute("UPDATE run SET round = ?2 WHERE id = ?1", params![run, round]).map_err(failed).map(|_| ())
    }

    pub(crate) fn finish(&self, run: i64, outcome: &Outcome) -> Result<()> {
        self.db
            .execute(
                "UPDATE run SET finished = 1, keys = ?2, repaired = ?3, round = ?4 WHERE id = ?1",
                params![run, outcome.keys as i64, outcome.repaired as i64, outcome.rounds],
            )
            .map_err(failed)
            .map(|_| ())
    }

    /// The last comparison in the file; `None` in an empty one.
    pub(crate) fn last(&self) -> Result<Option<Ending>> {
        self.db
            .query_row(
                "SELECT id, finished, coalesce(keys, (SELECT sum(keys) FROM position WHERE run = id AND side = 'source'), 0), \
                 round, repaired FROM run ORDER BY id DESC LIMIT 1",
                [],
                |row| {
                    Ok(Ending {
                        run: row.get(0)?,
                        finished: row.get(1)?,
                        keys: row.get::<_, i64>(2)? as u64,
                        rounds: row.get(3)?,
                        repaired: row.get::<_, i64>(4)? as u64,
                    })
                },
            )
            .optional()
            .map_err(failed)
    }

    /// How far the walk of a database is; `None` when it has not begun.
    pub(crate) fn position(&self, run: i64, side: &'static str, db: u32) -> Result<Option<Position>> {
        self.db
            .query_row(
                "SELECT servers, cursor, keys, done FROM position WHERE run = ?1 AND side = ?2 AND db = ?3",
                params![run, side, db],
                |row| {
                    let (servers, cursor, done) = (row.get(0)?, row.get(1)?, row.get(3)?);
                    Ok(Position { side, db, servers, cursor, keys: row.get::<_, i64>(2)? as u64, done })
                },
            )
            .optional()
            .map_err(failed)
    }

    /// All begins anew: forgets what was found, and how far that was.
    pub(crate) fn forget(&self, run: i64) -> Result<()> {
        let forget = || {
            let tx = self.db.unchecked_transaction()?;
            tx.execute("DELETE FROM difference WHERE run = ?1", [run])?;
            tx.execute("DELETE FROM position WHERE run = ?1", [run])?;
            tx.execute("UPDATE run SET round = 1 WHERE id = ?1", [run])?;
            tx.commit()
        };
        forget().map_err(failed)
    }

    /// A walk begins, perhaps anew: what an earlier one has found is forgotten, and how often that was looked at. Behind the source's own walk comes that of the
    /// target, also again.
    pub(crate) fn begin_walk(&self, run: i64, at: &Position) -> Result<()> {
        let begin = || {
            let tx = self.db.unchecked_transaction()?;
            let found = match at.side {
                "source" => "DELETE FROM difference WHERE run = ?1 AND db = ?2",
                _ => "DELETE FROM difference WHERE run = ?1 AND db = ?2 AND kind = 'missing_on_source'",
            };
            tx.execute(found, params![run, at.db])?;
            tx.execute("UPDATE run SET round = 1 WHERE id = ?1", [run])?;
            if at.side == "source" {
                tx.execute("DELETE FROM position WHERE run = ?1 AND db = ?2", params![run, at.db])?;
            }
            set_position(&tx, run, at)?;
            tx.commit()
        };
        begin().map_err(failed)
    }

    /// Keys of a side that were walked, in all databases.
    pub(crate) fn walked(&self, run: i64, side: &str) -> Result<u64> {
        let sum = "SELECT coalesce(sum(keys), 0) FROM position WHERE run = ?1 AND side = ?2";
        // Asked behind every batch.
        let sum = || self.db.prepare_cached(sum)?.query_row(params![run, side], |row| row.get::<_, i64>(0));
        Ok(sum().map_err(failed)? as u64)
    }
}

pub(super) fn set_position(db: &rusqlite::Connection, run: i64, at: &Position) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO position(run, side, db, servers, cursor, keys, done) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let values = params![run, at.side, at.db, at.servers, at.cursor, at.keys as i64, at.done];
    db.prepare_cached(sql)?.execute(values).map(|_| ())
}
