//! What is done with each command of the stream.
//!
//! Nearly all are passed on as the bytes that came; deadlines are changed on the way (`expiry.rs`). Looked at more closely are those that move the source's selected
//! database, mark transactions, only keep the link alive, or concern other databases than the selected one.

use std::sync::atomic::Ordering::Relaxed;

use keyferry_keyspace::{
    Db,
    command::{Class, CommandName, classify},
};
use keyferry_model::{Error, ErrorKind, OnConflict, Result, Side};
use keyferry_resp::request::Request;

use super::{apply::Apply, databases::Databases, expiry::Rewritten};
use crate::target::{FIELDS, SETTLE_KEYS, What};

impl Apply<'_> {
    pub(super) fn on_request(&mut self, request: &Request<'_>) -> Result<()> {
        self.offset += request.bytes().len() as u64;
        match classify(request.name()) {
            _ if request.is_newline() => {}
            Class::Other => {
                self.pass(request);
                if self.stats.is_settling() {
                    self.moved(request)
                }
            }
            Class::Ping => {}
            // REPLCONF is for replicas: GETACK wants an answer, TIMESTAMP of a managed source none. Never passed on.
            Class::Replconf => {
                if request.arg(1).is_some_and(|a| a.eq_ignore_ascii_case(b"GETACK")) {
                    self.batch.wants_ack = true;
                }
            }
            Class::Select => match request.arg(1).and_then(Db::parse) {
                Some(db) => self.source_db = db.0,
                None => return Err(self.odd(request)),
            },
            Class::Multi => {
                self.in_transaction = true;
                self.pass_always(request);
            }
            Class::Exec | Class::Discard => {
                self.in_transaction = false;
                self.pass_always(request);
            }
            Class::FlushAll => match self.databases {
                Databases::All => self.pass_always(request),
                Databases::One { target, .. } => {
                    self.select(target, self.offset);
                    self.batch.command(What::Command, self.offset, &[b"FLUSHDB"]);
                }
            },
            Class::FlushDb => self.pass(request),
            Class::SwapDb => {
                self.stats.moves.add(1);
                self.swap(request)?;
            }
            Class::Move => {
                self.across_databases(request, request.arg(2))?;
                self.settle(request.arg(2), request.arg(1));
            }
            Class::Copy => {
                let db = request.args().skip(3).skip_while(|a| !a.eq_ignore_ascii_case(b"DB")).nth(1);
                self.across_databases(request, db)?;
                self.settle(db, request.arg(2));
            }
            Class::Script | Class::Function => self.pass_always(request),
        }
        if !self.in_transaction {
            self.batch.applied = Some(self.offset);
        }
        Ok(())
    }

    /// Passes on what belongs to the selected database, when that is chosen.
    fn pass(&mut self, request: &Request<'_>) {
        match self.databases.target_of(self.source_db) {
            Some(db) => {
                self.select(db, self.offset);
                self.pass_always(request);
            }
            // Messages belong to no database.
            None if is_message(request.name()) => self.pass_always(request),
            None => {}
        }
    }

    /// While deadlines are being settled: one that is held may have gone to where nobody looks any more.
    fn moved(&mut self, request: &Request<'_>) {
        let is = |other: &[u8]| request.name().eq_ignore_ascii_case(other);
        match request.name().len() {
            6 if is(b"RENAME") => self.settle(None, request.arg(2)),
            8 if is(b"RENAMENX") => self.settle(None, request.arg(2)),
            4 if is(b"EVAL") => self.stats.moves.add(1),
            7 if is(b"EVALSHA") => self.stats.moves.add(1),
            _ => {}
        }
    }

    /// Settles the deadline of `key` in database `db` of the source, or the selected one.
    fn settle(&mut self, db: Option<&[u8]>, key: Option<&[u8]>) {
        if !self.stats.is_settling() {
            return;
        }
        // Fields may be many.
        if self.stats.held_fields.load(Relaxed) {
            self.stats.moves.add(1);
        }
        let db = db.map_or(Some(Db(self.source_db)), Db::parse).and_then(|db| self.databases.target_of(db.0));
        if let (Some(db), Some(key)) = (db, key) {
            self.select(db, self.offset);
            let grace = self.expiry.grace_ms.to_string();
            let args: [&[u8]; 7] = [b"EVAL", SETTLE_KEYS, b"1", key, grace.as_bytes(), b"0", FIELDS];
            self.batch.command(What::Setup, self.offset, &args);
        }
    }

    fn pass_always(&mut self, request: &Request<'_>) {
        self.batch.expect(What::Command, self.offset);
        match self.expiry.rewrite(request, self.now_ms, &mut self.batch.bytes) {
            Rewritten::No => self.batch.bytes.extend_from_slice(request.bytes()),
            Rewritten::Yes => {}
            Rewritten::Deadline => self.batch.last_is(What::Deadline),
            Rewritten::Proof => {
                self.batch.bytes.extend_from_slice(request.bytes());
                // A key that the target has kept of its own may have had no deadline.
                if self.restore.on_conflict != OnConflict::Ignore {
                    self.batch.last_is(What::Deadline);
                }
            }
        }
    }

    /// SWAPDB: the whole of two databases.
    fn swap(&mut self, request: &Request<'_>) -> Result<()> {
        let db = |i| request.arg(i).and_then(Db::parse).ok_or_else(|| self.odd(request));
        let (a, b) = (db(1)?, db(2)?);
        match self.databases {
            Databases::All => self.pass_always(request),
            Databases::One { source, .. } if a != b && (a.0 == source || b.0 == source) => {
                return Err(self.crossing(request, source));
            }
            Databases::One { .. } => {}
        }
        Ok(())
    }

    /// MOVE or COPY: from the selected database to `other`, or within it when `other` is missing.
    fn across_databases(&mut self, request: &Request<'_>, other: Option<&[u8]>) -> Result<()> {
        let (Databases::One { source, .. }, Some(other)) = (self.databases, other) else {
            self.pass(request);
            return Ok(());
        };
        let other = Db::parse(other).ok_or_else(|| self.odd(request))?.0;
        if other == self.source_db && other == source {
            // A COPY that names its own database, which may have another number on the target.
            if let (Some(db), Some(from), Some(to)) = (self.databases.target_of(source), request.arg(1), request.arg(2))
            {
                self.select(db, self.offset);
                let replace = request.args().skip(3).any(|a| a.eq_ignore_ascii_case(b"REPLACE"));
                let args: [&[u8]; 4] = [b"COPY", from, to, b"REPLACE"];
                self.batch.command(What::Command, self.offset, &args[..if replace { 4 } else { 3 }]);
            }
            return Ok(());
        }
        match self.source_db == source || other == source {
            true => Err(self.crossing(request, source)),
            false => Ok(()),
        }
    }

    fn crossing(&self, request: &Request<'_>, chosen: u32) -> Error {
        let name = CommandName::new(request.name());
        let what =
            format!("follow {name} at offset {}: it crosses the border of the chosen database {chosen}", self.offset);
        Error::new(ErrorKind::CrossDatabase, what)
    }

    fn odd(&self, request: &Request<'_>) -> Error {
        let name = CommandName::new(request.name());
        let what = format!("read the stream at offset {}: {name} with {} arguments", self.offset, request.argc());
        Error::new(ErrorKind::Protocol(Side::Source), what)
    }
}

fn is_message(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"PUBLISH") || name.eq_ignore_ascii_case(b"SPUBLISH")
}
