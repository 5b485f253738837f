//! What differs.

use keyferry_model::Result;
use rusqlite::{Row, params};

use super::{Position, Store, failed, runs::set_position};
use crate::{
    check::Found,
    difference::{Difference, Kind},
    outcome::{Counts, Outcome},
    walk::Names,
};

impl Store {
    /// Keeps what was found in a batch that was walked, and how far the walk is now where that has changed.
    pub(crate) fn keep(
        &self,
        run: i64,
        db: u32,
        names: &Names,
        found: &[Found],
        position: Option<&Position>,
    ) -> Result<()> {
        let keep = || {
            let tx = self.db.unchecked_transaction()?;
            insert(&tx, run, db, names, found, 1)?;
            position.map_or(Ok(()), |position| set_position(&tx, run, position))?;
            tx.commit()
        };
        keep().map_err(failed)
    }

    /// Puts what was found now in the place of what was known of these keys.
    pub(crate) fn replace(&self, run: i64, db: u32, names: &Names, found: &[Found], round: u32) -> Result<()> {
        let replace = || {
            let tx = self.db.unchecked_transaction()?;
            let mut delete = tx.prepare_cached("DELETE FROM difference WHERE run = ?1 AND db = ?2 AND key = ?3")?;
            for key in names.iter(0..names.len()) {
                delete.execute(params![run, db, key])?;
            }
            drop(delete);
            insert(&tx, run, db, names, found, round)?;
            tx.commit()
        };
        replace().map_err(failed)
    }

    /// Up to `count` keys of one database that differ, behind `after`, in the order of databases and keys.
    pub(crate) fn differing(&self, run: i64, after: Option<(u32, &[u8])>, count: u64) -> Result<Option<(u32, Names)>> {
        let (db, key) = after.map_or((-1, &[][..]), |(db, key)| (i64::from(db), key));
        let find = || {
            let sql = "SELECT DISTINCT db, key FROM difference WHERE run = ?1 AND (db, key) > (?2, ?3) ORDER BY db, key LIMIT ?4";
            let mut statement = self.db.prepare_cached(sql)?;
            let mut rows = statement.query(params![run, db, key, count as i64])?;
            let mut page: Option<(u32, Names)> = None;
            while let Some(row) = rows.next()? {
                let db = row.get(0)?;
                let (of, names) = page.get_or_insert_with(|| (db, Names::default()));
                if *of != db {
                    break;
                }
                names.push(row.get_ref(1)?.as_blob()?);
            }
            Ok(page)
        };
        find().map_err(failed)
    }

    /// Whether the target lacks a key of a database.
    pub(crate) fn lacks(&self, run: i64, db: u32) -> Result<bool> {
        let sql = "SELECT EXISTS(SELECT 1 FROM difference WHERE run = ?1 AND db = ?2 AND kind = 'missing_on_target')";
        self.db.query_row(sql, params![run, db], |row| row.get(0)).map_err(failed)
    }

    /// How many keys differ.
    pub(crate) fn differing_keys(&self, run: i64) -> Result<u64> {
        let sql = "SELECT count(*) FROM (SELECT DISTINCT db, key FROM difference WHERE run = ?1)";
        let keys: i64 = self.db.query_row(sql, [run], |row| row.get(0)).map_err(failed)?;
        Ok(keys as u64)
    }

    pub(crate) fn counts(&self, run: i64) -> Result<Counts> {
        let count = || {
            let mut counts = Counts::default();
            let mut statement =
                self.db.prepare_cached("SELECT kind, count(*) FROM difference WHERE run = ?1 GROUP BY kind")?;
            let mut rows = statement.query([run])?;
            while let Some(row) = rows.next()? {
                if let Some(kind) = Kind::from_name(row.get_ref(0)?.as_str()?) {
                    counts.add(kind, row.get::<_, i64>(1)? as u64);
                }
            }
            Ok(counts)
        };
        count().map_err(failed)
    }

    /// Gives each difference of the last comparison to `show`, from the one with number `from` on, `count` at most; in the
    /// order of databases and keys. Gives how that comparison ended, as far as it is; `None` when there is none.
    ///
    /// Errors: `ResultStore`, and those of `show`.
    pub fn show(
        &self,
        from: u64,
        count: u64,
        mut show: impl FnMut(Difference) -> Result<()>,
    ) -> Result<Option<(Outcome, bool)>> {
        let Some(last) = self.last()? else { return Ok(None) };
        let sql = "SELECT db, key, kind, detail, round FROM difference WHERE run = ?1 ORDER BY db, key, kind LIMIT ?2 OFFSET ?3";
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        let most = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![last.run, most(count), most(from)]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            show(read(row).map_err(failed)?)?;
        }
        let counts = self.counts(last.run)?;
        let outcome = Outcome { keys: last.keys, counts, rounds: last.rounds, repaired: last.repaired };
        Ok(Some((outcome, last.finished)))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Difference> {
    Ok(Difference {
        db: row.get(0)?,
        key: row.get(1)?,
        kind: Kind::from_name(row.get_ref(2)?.as_str()?).unwrap_or(Kind::Value),
        detail: row.get(3)?,
        round: row.get(4)?,
    })
}

fn insert(
    tx: &rusqlite::Transaction<'_>,
    run: i64,
    db: u32,
    names: &Names,
    found: &[Found],
    round: u32,
) -> rusqlite::Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let sql = "INSERT OR REPLACE INTO difference(run, db, key, kind, detail, round) VALUES(?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = tx.prepare_cached(sql)?;
    for one in found {
        statement.execute(params![run, db, names.get(one.at), one.kind.name(), one.detail, round])?;
    }
    Ok(())
}
