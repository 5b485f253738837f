//! Results in a SQLite file: comparisons, how far each is, and what differs. Without a file of the user's it is one without a
//! name, which SQLite keeps in memory while it is small, on disk else, and removes with the process.
//!
//! Invariants:
//! - What differs in a batch and the position behind the batch are one transaction, so that both are there or neither.
//! - A position is only behind batches that are all done.
//! - One process writes to a file.

mod differences;
mod runs;

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};
pub(crate) use runs::{Position, Run};
use rusqlite::Connection;

/// The format; another one is refused.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE run(
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        target TEXT NOT NULL,
        options TEXT NOT NULL,
        round INTEGER NOT NULL DEFAULT 1,
        keys INTEGER,
        repaired INTEGER NOT NULL DEFAULT 0,
        finished INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE position(
        run INTEGER NOT NULL,
        side TEXT NOT NULL,
        db INTEGER NOT NULL,
        servers TEXT NOT NULL,
        cursor TEXT NOT NULL,
        keys INTEGER NOT NULL,
        done INTEGER NOT NULL,
        PRIMARY KEY(run, side, db)
    ) WITHOUT ROWID;
    CREATE TABLE difference(
        run INTEGER NOT NULL,
        db INTEGER NOT NULL,
        key BLOB NOT NULL,
        kind TEXT NOT NULL,
        detail TEXT NOT NULL,
        round INTEGER NOT NULL,
        PRIMARY KEY(run, db, key, kind)
    ) WITHOUT ROWID;
";

/// Where results are kept.
pub struct Store {
    // Closed first: to close another handle of the file lets go of all that SQLite has locked there.
    db: Connection,
    _writer: Option<File>,
}

impl Store {
    /// Opens or creates a file; without one, the results are gone with the process.
    ///
    /// Errors: `ResultStore`.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let what = || path.map_or_else(|| "a temporary file".into(), |path| path.display().to_string());
        let fail = |e: rusqlite::Error| {
            Error::new(ErrorKind::ResultStore, format!("open the results in {}", what())).caused_by(e)
        };
        let db = match path {
            Some(path) => Connection::open(path),
            None => Connection::open(""),
        }
        .map_err(fail)?;
        let store = Self { db, _writer: None };
        let version = store.prepare(path.is_some()).map_err(fail)?;
        match version == VERSION {
            true => Ok(store),
            false => {
                let what = format!("open the results in {}: its format is {version}, not {VERSION}", what());
                Err(Error::new(ErrorKind::ResultStore, what))
            }
        }
    }

    /// Likewise, for the one process that may write to it: two would take each other's results for their own. Others can show
    /// them meanwhile.
    ///
    /// Errors: `ResultStore`, also while another process has it so.
    pub fn open_to_write(path: Option<&Path>) -> Result<Self> {
        let store = Self::open(path)?;
        let Some(path) = path else { return Ok(store) };
        let what = || format!("open the results in {}", path.display());
        let file = File::options().append(true).open(path).or_err(ErrorKind::ResultStore, what)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _writer: Some(file), ..store }),
            Err(TryLockError::WouldBlock) => {
                let what = format!("{}: another comparison writes to it", what());
                Err(Error::new(ErrorKind::ResultStore, what))
            }
            Err(TryLockError::Error(e)) => Err(Error::new(ErrorKind::ResultStore, what()).caused_by(e)),
        }
    }

    /// Makes the tables where there are none at all; gives the version of the format.
    fn prepare(&self, file: bool) -> rusqlite::Result<i64> {
        self.db.busy_timeout(std::time::Duration::from_secs(5))?;
        let version = || self.db.query_row("PRAGMA user_version", [], |row| row.get(0));
        let tables: i64 = self.db.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        if tables == 0 && version()? == 0 {
            self.db.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version={VERSION}; COMMIT;"))?;
        }
        if version()? == VERSION {
            // A process that is killed loses nothing with either; a machine that loses its power loses the last batches.
            let (journal, synchronous) = if file { ("WAL", "NORMAL") } else { ("MEMORY", "OFF") };
            self.db.pragma_update(None, "journal_mode", journal)?;
            self.db.pragma_update(None, "synchronous", synchronous)?;
        }
        version()
    }
}

fn failed(e: rusqlite::Error) -> Error {
    Error::new(ErrorKind::ResultStore, "keep the results").caused_by(e)
}

#[cfg(test)]
mod tests;
