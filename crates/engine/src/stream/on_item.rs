//! What is done with each item of the snapshot.

use keyferry_keyspace::{
    Kind, ServerVersion,
    objects::{Choice, Objects},
};
use keyferry_model::{Error, ErrorKind, OnConflict, Result};
use keyferry_rdb::{Entry, Item, Position};

use super::{apply::Apply, chosen::kind_of};
use crate::{
    Counts, Event,
    target::{Rebuild, What, checkpoint},
};

impl Apply<'_> {
    pub(super) fn on_item(&mut self, item: Item<'_>) -> Result<()> {
        match item {
            // The source has begun to send: now, and not earlier, the target is emptied when the user wants that.
            Item::Header { version, .. } => {
                tracing::info!(version, "the snapshot begins");
                // With a checkpoint that is done before the first one: see `begin.rs`.
                if self.guard.is_none() && self.restore.on_conflict == OnConflict::Clear {
                    self.clear_target();
                }
            }
            Item::Function { code } => self.load_functions(code)?,
            // rdb.c rdbPopulateSaveInfo, Redis 7.2: the stream of a replica goes on in this database without a SELECT.
            Item::Aux { key: b"repl-stream-db", value } => {
                let db = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok());
                self.source_db = db.unwrap_or(self.source_db);
            }
            // Before 7.0, scripts that were loaded are kept here, since the stream may name them by digest.
            Item::Aux { key: b"lua", value } => {
                self.batch.command(What::Setup, 0, &[b"SCRIPT", b"LOAD", value]);
            }
            // Who has written values of modules, which alone knows their layout.
            Item::Aux { key: b"redis-ver", value } => {
                let info = [b"redis_version:", value, b"\r\n"].concat();
                if let Some(version) = ServerVersion::from_info(&info) {
                    self.restore.modules.written_by(&version);
                }
            }
            // What a killed run may have left in its middle.
            Item::SelectDb(db) => {
                self.end_of_database();
                self.checkpoint.counts = self.checkpoint.counts.map(|_| Counts::NONE);
                self.remove_unfinished(db);
            }
            Item::Aux { .. } | Item::ResizeDb { .. } | Item::SlotInfo { .. } => {}
            Item::SlotImport { .. } => {
                let what = "read the snapshot: the source is importing slots of a cluster";
                return Err(Error::new(ErrorKind::RdbUnknownType, what));
            }
            Item::ModuleAux { module } => {
                let name = String::from_utf8_lossy(&module).into_owned();
                tracing::warn!(module = name, "data that a module keeps beside its keys is not copied");
            }
            Item::End { .. } => {
                self.end_of_database();
                self.stats.tell(Event::ReadAll { keys: self.checkpoint.keys });
            }
            Item::Entry(_) => {}
        }
        Ok(())
    }

    /// Adds the command for a key; gives its value back when it must be rebuilt.
    pub(super) fn on_entry(&mut self, entry: &Entry<'_>) -> Result<Option<Rebuild>> {
        let mut name = Vec::new();
        let (kind, bytes) = (kind_of(entry.kind.group()), entry.key.len() + entry.raw.len());
        let Some((db, entry)) = chosen(self.objects, entry, &mut name)? else { return Ok(None) };
        self.select(db, 0);
        if self.restore.entry(&mut self.batch, &entry, self.now_ms)? {
            self.count(kind, bytes as u64);
            return Ok(None);
        }
        Rebuild::begin_whole(&self.restore, &entry).map(Some)
    }

    /// Begins a value that is too large to be held in memory.
    pub(super) fn begin_value(&mut self, entry: &Entry<'_>) -> Result<Rebuild> {
        let mut name = Vec::new();
        let Some((db, entry)) = chosen(self.objects, entry, &mut name)? else { return Ok(Rebuild::leave_out(entry)) };
        self.select(db, 0);
        Rebuild::begin(&self.restore, &entry)
    }

    fn count(&mut self, kind: Kind, bytes: u64) {
        self.checkpoint.keys += 1;
        if let Some(counts) = &mut self.checkpoint.counts {
            counts.add(kind, bytes);
        }
    }

    /// All of a value is in batches. No checkpoint counts it earlier.
    pub(super) fn is_rebuilt(&mut self, rebuild: &Rebuild, at: Position) {
        if let Some((group, bytes)) = rebuild.written() {
            self.count(kind_of(group), bytes);
        }
        self.checkpoint.snapshot = Some(at);
    }

    /// Tells what the database has brought in which the position in the snapshot is: nothing more of it follows.
    fn end_of_database(&mut self) {
        let Some(counts) = self.checkpoint.counts else { return };
        let db = self.checkpoint.snapshot.map_or(0, |at| at.db);
        if let (Some(to), false) = (self.objects.database(db), counts.is_empty()) {
            self.stats.tell(Event::Read { db, to, counts });
        }
    }

    /// Removes what a process that has ended may have left in its middle.
    pub(super) fn remove_unfinished(&mut self, db: u32) {
        if let Some(db) = self.objects.database(db) {
            self.select(db, 0);
            self.batch.command(What::Setup, 0, &[b"DEL", &self.restore.place]);
        }
    }

    /// A value may go over many batches, and each begins in the checkpoint's database.
    pub(super) fn select_for(&mut self, rebuild: &Rebuild) {
        if let Some(db) = self.objects.database(rebuild.db) {
            self.select(db, 0);
        }
    }

    /// Makes the lane write to `db` of the target.
    pub(super) fn select(&mut self, db: u32, offset: u64) {
        if db >= self.target_databases {
            self.missing_database = Some(db);
        }
        if self.lane_db != Some(db) {
            self.batch.select(db, offset);
            self.lane_db = Some(db);
        }
    }

    fn clear_target(&mut self) {
        let databases = self.objects.databases();
        let mut command: Vec<&[u8]> = vec![if databases.is_some() { b"FLUSHDB" } else { b"FLUSHALL" }];
        // A large target would be deaf for seconds.
        if self.restore.server.async_flush() {
            command.push(b"ASYNC");
        }
        // Libraries belong to no database, and a function of the same name in another one is refused. They go first: a target
        // with `save` points writes its snapshot within FLUSHALL (db.c flushAllDataAndResetRDB, Redis 7.2), also in the
        // middle of a transaction, and one that comes back with it has to be empty, since the checkpoint is gone too.
        if databases.is_none() && self.restore.server.functions() {
            self.batch.command(What::Setup, 0, &[b"FUNCTION", b"FLUSH"]);
        }
        let Some(databases) = databases else { return self.batch.command(What::Setup, 0, &command) };
        for (_, db) in databases {
            self.select(*db, 0);
            self.batch.command(What::Setup, 0, &command);
        }
    }

    fn load_functions(&mut self, code: &[u8]) -> Result<()> {
        if !self.restore.server.functions() {
            return self.restore.lacks("function library", || {
                format!("load a function library: the target, {}, has no functions", self.restore.server)
            });
        }
        let mut command: Vec<&[u8]> = vec![b"FUNCTION", b"LOAD"];
        // Where all is ours, what is there was left by an earlier copy.
        if self.restore.overwrites() || self.checkpoint.flags.owner {
            command.push(b"REPLACE");
        }
        command.push(code);
        self.batch.command(What::Setup, 0, &command);
        Ok(())
    }
}

/// The database of the target for a key of the snapshot, and the key under its name there, which is kept in `name` when
/// it is another one. `None` when it is not chosen.
fn chosen<'e>(objects: &Objects, entry: &Entry<'e>, name: &'e mut Vec<u8>) -> Result<Option<(u32, Entry<'e>)>> {
    let chosen = !checkpoint::is_key(entry.key) && objects.allows_type(kind_of(entry.kind.group()));
    let Some(db) = objects.database(entry.db).filter(|_| chosen) else { return Ok(None) };
    match objects.key(entry.key) {
        Choice::Out => Ok(None),
        Choice::Same => Ok(Some((db, *entry))),
        Choice::New(start, end) => {
            *name = [start, end].concat();
            Ok(Some((db, Entry { key: name, ..*entry })))
        }
        Choice::Clash => {
            let what =
                format!("copy a key of database {}: its name is one that a new prefix gives to another key", entry.db);
            Err(Error::new(ErrorKind::OutsideObjects, what))
        }
    }
}
