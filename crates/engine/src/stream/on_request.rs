//! What is done with each command of the stream.
//!
//! Nearly all are passed on as the bytes that came; deadlines are changed on the way (`expiry.rs`), and what the target's
//! version does not know (`older/`). Looked at more closely are those that move the source's selected database, mark
//! transactions, only keep the link alive, or concern other databases than the selected one. What is chosen of the rest
//! is decided in `chosen.rs`.

use std::sync::atomic::Ordering::Relaxed;

use keyferry_keyspace::{
    Db,
    command::{Class, CommandName, classify},
};
use keyferry_model::{Error, ErrorKind, OnConflict, OnUnsupported, Result, Side};
use keyferry_resp::{
    Limits,
    request::{Request, Scanner},
};

use super::{
    apply::Apply,
    expiry::Rewritten,
    older::{Lesser, Verdict},
};
use crate::target::{What, settle_at_once};

impl Apply<'_> {
    pub(super) fn on_request(&mut self, request: &Request<'_>) -> Result<()> {
        self.offset += request.bytes().len() as u64;
        match classify(request.name()) {
            _ if request.is_newline() => {}
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
            // They stay within one batch, which is a transaction itself.
            Class::Multi => self.begin_transaction(request.bytes().len()),
            // Outside a transaction a replica answers an error to nobody. Redis up to 6.0 sends an EXEC without its MULTI
            // where a command that counts as no write wrote first.
            Class::Exec => self.in_transaction = false,
            Class::Discard if !self.in_transaction => {}
            // No primary sends it.
            Class::Discard => return Err(self.odd(request)),
            class => self.judge(class, request)?,
        }
        if !self.in_transaction {
            self.batch.applied = Some(self.offset);
        }
        Ok(())
    }

    /// Passes on a command that concerns what is chosen, as the target is to have it. `db`: the target's database for
    /// what belongs to the selected one.
    pub(super) fn on_chosen(&mut self, class: Class, request: &Request<'_>, db: Option<u32>) -> Result<()> {
        let whole_server = matches!(class, Class::FlushAll | Class::SwapDb | Class::ScriptCache | Class::Function);
        if let Some(db) = db.filter(|_| !whole_server) {
            self.select(db, self.offset);
        }
        match class {
            Class::Other => {
                self.pass_always(request)?;
                if self.stats.is_settling() {
                    self.moved(request);
                }
            }
            Class::Script => {
                self.stats.moves.add(1);
                self.note_script(request);
                self.pass_always(request)?;
            }
            Class::FlushAll => self.flush(b"FLUSHALL", request)?,
            Class::FlushDb if db.is_some() && self.guard.as_ref().map(|guard| guard.db) == db => {
                self.flush(b"FLUSHDB", request)?;
            }
            Class::SwapDb => {
                self.stats.moves.add(1);
                let db = |i| request.arg(i).and_then(Db::parse).ok_or_else(|| self.odd(request));
                let (a, b) = (db(1)?, db(2)?);
                self.pass_always(request)?;
                self.leave_checkpoint(a.0, b.0);
            }
            Class::Move => {
                self.pass_always(request)?;
                self.settle(request.arg(2), request.arg(1));
            }
            Class::Copy => {
                self.pass_always(request)?;
                let db = request.args().skip(3).skip_while(|a| !a.eq_ignore_ascii_case(b"DB")).nth(1);
                self.settle(db, request.arg(2));
            }
            _ => self.pass_always(request)?,
        }
        Ok(())
    }

    /// While deadlines are being settled: one that is held may have gone to where nobody looks any more.
    fn moved(&mut self, request: &Request<'_>) {
        let is = |other: &[u8]| request.name().eq_ignore_ascii_case(other);
        match request.name().len() {
            6 if is(b"RENAME") => self.settle(None, request.arg(2)),
            8 if is(b"RENAMENX") => self.settle(None, request.arg(2)),
            _ => {}
        }
    }

    /// Settles the deadline of `key` in database `db`, or the selected one.
    fn settle(&mut self, db: Option<&[u8]>, key: Option<&[u8]>) {
        if !self.stats.is_settling() {
            return;
        }
        // Fields may be many.
        if self.stats.held_fields.load(Relaxed) {
            self.stats.moves.add(1);
        }
        let db = db.map_or(self.lane_db, |db| Db::parse(db).map(|db| db.0));
        if let (Some(db), Some(key)) = (db, key) {
            self.select(db, self.offset);
            let (grace, guard) = (self.expiry.grace_ms.to_string(), self.guard.as_ref());
            let checkpoint = guard.map_or(key, |guard| &guard.key);
            self.batch.command(What::Setup, self.offset, &settle_at_once(checkpoint, key, grace.as_bytes(), b"0"));
        }
    }

    /// Passes on a command in a form that the target knows.
    #[inline]
    fn pass_always(&mut self, request: &Request<'_>) -> Result<()> {
        let Some(rule) = self.older.rule_for(request) else {
            self.pass_known(request);
            return Ok(());
        };
        let mut written = Vec::new();
        let verdict = self.older.rewrite(rule, request, &mut written);
        self.pass_as(verdict, request, &written)
    }

    /// Passes on what has become of a command.
    fn pass_as(&mut self, verdict: Verdict, request: &Request<'_>, written: &[u8]) -> Result<()> {
        match verdict {
            Verdict::Known => {
                self.pass_known(request);
                Ok(())
            }
            Verdict::Written => self.pass_written(written),
            Verdict::Payload => self.pass_payload(request),
            Verdict::Lacks { what, lesser } => {
                if lesser == Lesser::Degraded && self.restore.on_unsupported == OnUnsupported::Degrade {
                    self.restore.degraded(what);
                    return self.pass_written(written);
                }
                let context = || {
                    let name = CommandName::new(request.name());
                    let target = self.restore.server;
                    format!(
                        "follow {name} at offset {}: the target, {target}, has nothing for it ({what})",
                        self.offset
                    )
                };
                self.restore.lacks(what, context)?;
                match lesser {
                    Lesser::WithoutOption => self.pass_written(written),
                    Lesser::Nothing | Lesser::Degraded => Ok(()),
                }
            }
        }
    }

    /// Passes on whole commands of ours, each of which may be too new itself.
    fn pass_written(&mut self, commands: &[u8]) -> Result<()> {
        self.each_written(commands, Self::pass_always)
    }

    /// Does something with each of some whole commands of ours.
    pub(super) fn each_written(
        &mut self,
        mut commands: &[u8],
        mut pass: impl FnMut(&mut Self, &Request<'_>) -> Result<()>,
    ) -> Result<()> {
        while !commands.is_empty() {
            let Ok(Some(request)) = Scanner::new(Limits::default()).next(commands) else {
                return Err(Error::new(ErrorKind::Internal, "write a command in another form: it is not whole"));
            };
            commands = &commands[request.bytes().len()..];
            pass(self, &request)?;
        }
        Ok(())
    }

    /// Passes on a command that the target knows.
    pub(super) fn pass_known(&mut self, request: &Request<'_>) {
        if let Some(pair) = plain_set(request) {
            self.batch.set(What::Command, self.offset, |out| out.extend_from_slice(pair));
            return;
        }
        self.batch.expect(What::Command, self.offset);
        match self.expiry.rewrite(request, self.now_ms, &mut self.batch.bytes) {
            Rewritten::No => self.batch.bytes.extend_from_slice(request.bytes()),
            Rewritten::Yes => {}
            Rewritten::Field => self.stats.note_field_deadline(),
            // What was left out cannot be found.
            Rewritten::Deadline if self.objects.may_lack_keys() => {}
            Rewritten::Deadline => self.batch.last_is(What::Deadline),
            Rewritten::FieldDeadline => {
                self.stats.note_field_deadline();
                self.must_find();
            }
            Rewritten::Proof => {
                self.batch.bytes.extend_from_slice(request.bytes());
                self.must_find();
            }
        }
    }

    /// The last command must find its key with a deadline, or one of its fields. A key that the target has kept of its own may
    /// lack both, and what was left out is missed anyway.
    fn must_find(&mut self) {
        if self.restore.on_conflict != OnConflict::Ignore && !self.objects.may_lack_keys() {
            self.batch.last_is(What::Deadline);
        }
    }

    /// Empties what the checkpoint is in; the count of batches stays.
    fn flush(&mut self, name: &[u8], request: &Request<'_>) -> Result<()> {
        let Some(guard) = &self.guard else { return self.pass_always(request) };
        let background = self.restore.server.async_flush()
            && request.arg(1).is_some_and(|option| option.eq_ignore_ascii_case(b"ASYNC"));
        let (key, db) = (guard.key.clone(), guard.db.to_string());
        let option: &[u8] = if background { b"ASYNC" } else { b"" };
        let args: [&[u8]; 7] = [b"EVAL", FLUSH, b"1", &key, db.as_bytes(), name, option];
        self.batch.command(What::Command, self.offset, &args);
        Ok(())
    }

    /// The checkpoint has gone along with its database, and comes back.
    fn leave_checkpoint(&mut self, a: u32, b: u32) {
        let Some(guard) = self.guard.as_ref().filter(|guard| a != b && (guard.db == a || guard.db == b)) else {
            return;
        };
        let (key, db) = (guard.key.clone(), if guard.db == a { b } else { a });
        let home = guard.db.to_string();
        self.select(db, self.offset);
        self.batch.command(What::Setup, 0, &[b"MOVE", &key, home.as_bytes()]);
    }

    /// The target runs the script itself: it may do something else than on the source.
    fn note_script(&self, request: &Request<'_>) {
        if self.stats.scripts.get() == 0 {
            let (name, offset) = (CommandName::new(request.name()), self.offset);
            tracing::warn!(%name, offset, "the source sends scripts as they were called, and the target runs them itself");
        }
        self.stats.scripts.add(1);
    }

    fn odd(&self, request: &Request<'_>) -> Error {
        let name = CommandName::new(request.name());
        let what = format!("read the stream at offset {}: {name} with {} arguments", self.offset, request.argc());
        Error::new(ErrorKind::Protocol(Side::Source), what)
    }
}

/// Runs `ARGV[2]`, with the option `ARGV[3]`, in database `ARGV[1]`.
const FLUSH: &[u8] = b"redis.call('SELECT',ARGV[1]) local n=redis.call('HGET',KEYS[1],'n') \
    if ARGV[3]=='' then redis.call(ARGV[2]) else redis.call(ARGV[2],ARGV[3]) end \
    if n then redis.call('HSET',KEYS[1],'n',n) end";

/// Key and value of a SET without options, as they came.
#[inline]
fn plain_set<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let rest = request.bytes().strip_prefix(b"*3\r\n$3\r\n")?;
    let (name, pair) = rest.split_at_checked(3)?;
    (name.eq_ignore_ascii_case(b"SET")).then(|| pair.get(2..)).flatten()
}
