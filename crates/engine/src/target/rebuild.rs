//! A value as the commands that build it: for a target that cannot read its payload, and for values too large to be
//! held in memory.
//!
//! Invariants:
//! - Nobody sees a value in part: it is built under a name of our own and takes its place in one step at the end, which
//!   also decides what becomes of a key that is there.
//! - Memory does not grow with the value: commands go out batch by batch.
//! - What the target cannot hold is left out only as the user chose, and counted.

use std::sync::atomic::Ordering::Relaxed;

use keyferry_keyspace::{Flavor, ServerVersion};
use keyferry_model::{Error, ErrorKind, OnUnsupported, Result};
use keyferry_rdb::{
    self as rdb, Entry, Group, ValueType,
    object::{DecodeLimits, Element, ValueDecoder},
    rebuild::{FieldTtl, PendingIds, Plan, Rebuilder, Refusal, Target},
};

use super::{
    batch::{Batch, What},
    hold, modules,
    restore::{Deadlines, Restore},
};

/// The key under which the values of one source are built, one after the other, in the database in which they belong:
/// no two sources share it, and what a killed run has left is removed by the next one.
pub(crate) fn place(source_id: &str) -> Vec<u8> {
    format!("__keyferry_rebuild:{source_id}").into_bytes()
}

/// A target takes a payload in one piece up to `proto-max-bulk-len`, which is 512 MiB if nobody has changed it; less
/// what a payload has around the value.
const MAX_PAYLOAD: usize = (512 << 20) - 64;

/// Moves what was built to its key; answers 0 when the key is there and stays. A value whose time is over while it is
/// built is gone: that is no failure.
const MOVE: &[u8] = b"if redis.call('EXISTS',KEYS[1])==0 then return 1 end \
    if ARGV[1]=='1' then redis.call('RENAME',KEYS[1],KEYS[2]) \
    elseif redis.call('RENAMENX',KEYS[1],KEYS[2])==0 then redis.call('DEL',KEYS[1]) return 0 end \
    if ARGV[2]~='0' then redis.call('PEXPIREAT',KEYS[2],ARGV[2]) end return 1";

/// A value on its way.
pub(crate) struct Rebuild {
    /// Database of the source.
    pub(crate) db: u32,
    group: Group,
    bytes: u64,
    decoder: ValueDecoder,
    to: To,
}

/// What becomes of a value.
enum To {
    Commands(Box<Build>),
    /// It is collected whole and restored: only its module can write it.
    Payload(Payload),
    /// It is of a module that the target lacks. How it is named comes with its first bytes.
    Judged {
        db: u32,
    },
    /// It is read and left out.
    Nothing,
}

struct Build {
    rebuilder: Rebuilder,
    db: u32,
    key: Vec<u8>,
    place: Vec<u8>,
    expire_ms: i64,
    overwrite: bool,
}

struct Payload {
    key: Vec<u8>,
    kind: ValueType,
    version: u16,
    db: u32,
    expire_ms: Option<u64>,
    raw: Vec<u8>,
}

/// Why feeding has paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fed {
    NeedsInput,
    BatchFull,
    Finished,
}

impl Rebuild {
    /// Begins the value of `entry`, whose raw bytes are then fed.
    ///
    /// Errors: `UnsupportedByTarget` when the target cannot hold it and the user wants to know.
    pub(crate) fn begin(restore: &Restore<'_>, entry: &Entry<'_>) -> Result<Self> {
        let group = entry.kind.group();
        if let (Group::Module, Some(version)) = (group, restore.readable(entry)) {
            let payload = Payload {
                key: entry.key.to_vec(),
                kind: entry.kind,
                version,
                db: entry.db,
                expire_ms: entry.expire_ms,
                raw: Vec::new(),
            };
            return Ok(Self::new(entry, To::Payload(payload)));
        }
        if group == Group::Module {
            return Ok(Self::new(entry, To::Judged { db: entry.db }));
        }
        let target = abilities(&restore.server);
        let lacks = match group {
            Group::Stream => !target.streams,
            // These encodings exist only for hashes with a deadline on a field.
            Group::Hash if entry.kind.has_field_ttl() && !target.field_ttl => {
                restore.on_unsupported != OnUnsupported::Degrade
            }
            _ => false,
        };
        if lacks {
            restore.lacks(group.name(), || {
                format!(
                    "restore a {} ({}) of database {}: the target, {}, cannot hold it",
                    group.name(),
                    entry.kind.name(),
                    entry.db,
                    restore.server
                )
            })?;
            return Ok(Self::leave_out(entry));
        }
        let place = restore.place.clone();
        let keep = match restore.deadlines {
            Deadlines::Exact => FieldTtl::Keep,
            Deadlines::Held => FieldTtl::Later { by_ms: hold::FIELD, before_ms: hold::FIELD_BEFORE },
            Deadlines::Later(by_ms) => FieldTtl::Later { by_ms, before_ms: hold::FIELD_BEFORE },
        };
        let plan = Plan { field_ttl: if target.field_ttl { keep } else { FieldTtl::Drop }, ..Plan::default() };
        let rebuilder = Rebuilder::new(&place, group, target, plan).map_err(|e| refused(&e, entry.db))?;
        if entry.kind.has_field_ttl() {
            if !target.field_ttl {
                restore.degraded("hash field deadline");
            } else {
                restore.stats.field_deadlines.store(true, Relaxed);
                restore.stats.held_fields.fetch_or(restore.deadlines == Deadlines::Held, Relaxed);
            }
        }
        let expire_ms = entry.expire_ms.map_or(0, |at| restore.deadline(at));
        let (key, overwrite) = (entry.key.to_vec(), restore.overwrites());
        let build = Build { rebuilder, db: entry.db, key, place, expire_ms, overwrite };
        Ok(Self::new(entry, To::Commands(Box::new(build))))
    }

    /// Reads the value of `entry` and leaves it out.
    pub(crate) fn leave_out(entry: &Entry<'_>) -> Self {
        Self::new(entry, To::Nothing)
    }

    fn new(entry: &Entry<'_>, to: To) -> Self {
        let decoder = ValueDecoder::new(entry.kind, DecodeLimits::default());
        Self { db: entry.db, group: entry.kind.group(), bytes: entry.key.len() as u64, decoder, to }
    }

    /// Its type, and how many bytes of it and its key have been fed; `None` when it is left out.
    pub(crate) fn written(&self) -> Option<(Group, u64)> {
        (!matches!(self.to, To::Nothing)).then_some((self.group, self.bytes))
    }

    /// Begins a value that is whole in memory. Of a stream, entries that are pending and deleted go along too, which
    /// needs a look ahead.
    pub(crate) fn begin_whole(restore: &Restore<'_>, entry: &Entry<'_>) -> Result<Self> {
        let begun = Self::begin(restore, entry)?;
        let to = match begun.to {
            To::Commands(build) if entry.kind.group() == Group::Stream => {
                let rebuilder = build.rebuilder.with_pending(pending(entry)?);
                To::Commands(Box::new(Build { rebuilder, ..*build }))
            }
            to => to,
        };
        Ok(Self { to, ..begun })
    }

    /// Adds commands for what `input` holds of the value, until the batch is full, and says how many bytes of it are done
    /// with.
    pub(crate) fn feed(
        &mut self,
        restore: &Restore<'_>,
        input: &[u8],
        batch: &mut Batch,
        now_ms: u64,
    ) -> Result<(usize, Fed)> {
        let mut done = 0;
        loop {
            if batch.is_full() {
                return Ok((done, Fed::BatchFull));
            }
            let (used, element) = self.decoder.next(&input[done..]).map_err(decode_error)?;
            let end = matches!(element, Some(Element::End));
            let nothing = element.is_none();
            if let Some(Element::Module { name }) = &element {
                self.to.judge(restore, name)?;
            }
            if let (Some(element), To::Commands(build)) = (element, &mut self.to) {
                build.push(&element, batch)?;
            }
            if let To::Payload(payload) = &mut self.to {
                payload.add(&input[done..done + used])?;
            }
            done += used;
            self.bytes += used as u64;
            if end {
                match &self.to {
                    To::Commands(build) => build.finish(restore, batch)?,
                    To::Payload(payload) => payload.finish(restore, batch, now_ms),
                    To::Judged { .. } | To::Nothing => {}
                }
                return Ok((done, Fed::Finished));
            }
            if nothing && used == 0 {
                return Ok((done, Fed::NeedsInput));
            }
        }
    }
}

impl To {
    /// Leaves out a value of a module that the target lacks, if the user has chosen that.
    fn judge(&mut self, restore: &Restore<'_>, data_type: &[u8; 9]) -> Result<()> {
        let db = match self {
            Self::Judged { db } => *db,
            Self::Payload(payload) if restore.modules.lack(data_type) => payload.db,
            _ => return Ok(()),
        };
        restore.lacks(modules::label(data_type), || {
            let data_type = String::from_utf8_lossy(data_type);
            let target = restore.server;
            format!("restore a value of module type {data_type} of database {db}: the target, {target}, cannot hold it")
        })?;
        *self = Self::Nothing;
        Ok(())
    }
}

impl Payload {
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        if self.raw.len() + bytes.len() > MAX_PAYLOAD {
            let what = format!("read the snapshot: a module value of database {} is larger than 512 MiB", self.db);
            return Err(Error::new(ErrorKind::RdbTooLarge, what));
        }
        self.raw.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&self, restore: &Restore<'_>, batch: &mut Batch, now_ms: u64) {
        let entry = Entry {
            key: &self.key,
            kind: self.kind,
            raw: &self.raw,
            meta: &[],
            expire_ms: self.expire_ms,
            idle_s: None,
            freq: None,
            db: self.db,
        };
        restore.restore(batch, &entry, self.version, now_ms);
    }
}

impl Build {
    fn push(&mut self, element: &Element<'_>, batch: &mut Batch) -> Result<()> {
        let (before, at) = (self.rebuilder.commands(), batch.bytes.len());
        self.rebuilder.push(element, &mut batch.bytes).map_err(|e| refused(&e, self.db))?;
        for _ in before..self.rebuilder.commands() {
            batch.expect_at(What::Setup, 0, at);
        }
        Ok(())
    }

    fn finish(&self, restore: &Restore<'_>, batch: &mut Batch) -> Result<()> {
        // Without them a producer that repeats an entry would double it.
        let losses = self.rebuilder.losses();
        if losses.produced > 0 || losses.stream_settings > 0 {
            restore.lacks("stream producer ids", || {
                format!("rebuild a stream of database {}: the ids of its producers cannot be carried", self.db)
            })?;
        }
        let overwrite: &[u8] = if self.overwrite { b"1" } else { b"0" };
        let expire = self.expire_ms.to_string();
        let args: [&[u8]; 7] = [b"EVAL", MOVE, b"2", &self.place, &self.key, overwrite, expire.as_bytes()];
        batch.command(What::Move, 0, &args);
        Ok(())
    }
}

/// What the target's version can do.
fn abilities(server: &ServerVersion) -> Target {
    let small = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    let target = match server.flavor {
        Flavor::Valkey => Target::valkey(small(server.own.0), small(server.own.1)),
        _ => Target::redis(small(server.redis.0), small(server.redis.1)),
    };
    // Pre-releases of 4.0 count as 4.0 and have not got it yet; HMSET is everywhere.
    let hset_many = server.redis >= (5, 0, 0);
    let stream_producers = server.flavor == Flavor::Redis && server.redis >= (8, 6, 2);
    Target { hset_many, stream_producers, ..target }
}

fn pending(entry: &Entry<'_>) -> Result<PendingIds> {
    let mut decoder = ValueDecoder::new(entry.kind, DecodeLimits::default());
    let (mut ids, mut raw) = (PendingIds::default(), entry.raw);
    loop {
        let (used, element) = decoder.next(raw).map_err(decode_error)?;
        match element {
            Some(Element::End) => return Ok(ids),
            Some(element) => ids.note(&element),
            None if used == 0 => {
                return Err(Error::new(ErrorKind::RdbCorrupt, "read the snapshot: a stream ends too early"));
            }
            None => {}
        }
        raw = &raw[used..];
    }
}

/// What a fault in the snapshot means.
pub(crate) fn decode_error(e: rdb::Error) -> Error {
    let kind = match &e {
        rdb::Error::UnknownType { .. } | rdb::Error::OpaqueModule { .. } | rdb::Error::FunctionPreGa { .. } => {
            ErrorKind::RdbUnknownType
        }
        rdb::Error::UnsupportedVersion { .. } => ErrorKind::RdbVersion,
        rdb::Error::OverLimit { .. } => ErrorKind::RdbTooLarge,
        _ => ErrorKind::RdbCorrupt,
    };
    Error::new(kind, "read the snapshot").caused_by(e)
}

fn refused(refusal: &Refusal, db: u32) -> Error {
    Error::new(ErrorKind::UnsupportedByTarget, format!("rebuild a value of database {db}: {refusal}"))
}
