//! What the rules of a task make of the commands of the stream: see `docs/design/objects.md`.
//!
//! Everything behind here speaks of the target: databases have its numbers, and keys their names there.

use keyferry_keyspace::{
    Kind,
    command::{Class, CommandName, classify},
    objects::{Sink, Verdict},
};
use keyferry_model::{Error, ErrorKind, Result};
use keyferry_rdb::{Group, dump};
use keyferry_resp::{encode, request::Request};

use super::apply::Apply;
use crate::target::checkpoint;

impl Apply<'_> {
    /// Hands on what becomes of a command that does something to data.
    pub(super) fn judge(&mut self, class: Class, request: &Request<'_>) -> Result<()> {
        // The position of another task, whose target the source is. A script has its keys behind its text and their number.
        let key = if class == Class::Script { request.arg(3) } else { request.arg(1) };
        if key.is_some_and(checkpoint::is_key) {
            return Ok(());
        }
        let objects = self.objects;
        if objects.is_all() {
            return self.on_chosen(class, request, Some(self.source_db));
        }
        let mut written = Vec::new();
        let verdict = objects.judge(self.source_db, request.args(), kind_of_payload, &mut Encoder(&mut written));
        let db = objects.database(self.source_db);
        match verdict {
            Verdict::Pass => self.on_chosen(class, request, db),
            Verdict::Skip => Ok(()),
            Verdict::Written => {
                self.each_written(&written, |apply, request| apply.on_chosen(classify(request.name()), request, db))
            }
            Verdict::Flush => self.flush_chosen(class, request),
            Verdict::Refuse(why) => Err(self.outside(request, &why.to_string())),
        }
    }

    /// FLUSHALL, or FLUSHDB of a chosen database, where not all is chosen.
    fn flush_chosen(&mut self, class: Class, request: &Request<'_>) -> Result<()> {
        // Others may have written what is not chosen, also where the task has found nothing.
        if !self.objects.is_whole() {
            return Err(
                self.outside(request, "keys and types are chosen, and others may have written to the same databases")
            );
        }
        let here = self.objects.database(self.source_db).map(|db| (self.source_db, db));
        let databases = match (class, self.objects.databases(), &here) {
            (Class::FlushAll, Some(databases), _) => databases,
            (Class::FlushAll, None, _) => return self.on_chosen(class, request, None),
            (_, _, here) => here.as_slice(),
        };
        let mut command: Vec<&[u8]> = vec![b"FLUSHDB"];
        command.extend(request.args().nth(1));
        let mut written = Vec::new();
        encode::command(&mut written, &command);
        for (_, db) in databases {
            self.each_written(&written, |apply, request| apply.on_chosen(Class::FlushDb, request, Some(*db)))?;
        }
        Ok(())
    }

    fn outside(&self, request: &Request<'_>, why: &str) -> Error {
        let name = CommandName::new(request.name());
        Error::new(ErrorKind::OutsideObjects, format!("follow {name} at offset {}: {why}", self.offset))
    }
}

struct Encoder<'o>(&'o mut Vec<u8>);

impl Sink for Encoder<'_> {
    fn command(&mut self, argc: usize) {
        encode::array(self.0, argc);
    }

    fn arg(&mut self, start: &[u8], end: &[u8]) {
        encode::bulk_header(self.0, start.len() + end.len());
        self.0.extend_from_slice(start);
        self.0.extend_from_slice(end);
        self.0.extend_from_slice(b"\r\n");
    }
}

/// The type of the value in a payload.
pub(super) fn kind_of_payload(payload: &[u8]) -> Option<Kind> {
    dump::verify(payload).ok().map(|(kind, ..)| kind_of(kind.group()))
}

/// The type of a value in a dump.
pub(super) fn kind_of(group: Group) -> Kind {
    match group {
        Group::String => Kind::String,
        Group::List => Kind::List,
        Group::Set => Kind::Set,
        Group::Zset => Kind::SortedSet,
        Group::Hash => Kind::Hash,
        Group::Stream => Kind::Stream,
        Group::Module => Kind::Module,
    }
}
