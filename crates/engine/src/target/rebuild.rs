//! A value as the commands that build it: for a target that cannot read its payload, and for values too large to be
//! held in memory.
//!
//! Invariants:
//! - Nobody sees a value in part: it is built under a name of our own and takes its place in one step at the end, which
//!   also decides what becomes of a key that is there.
//! - Memory does not grow with the value: commands go out batch by batch.
//! - What the target cannot hold is left out only as the user chose, and counted.

use keyferry_keyspace::{Flavor, ServerVersion};
use keyferry_model::{Error, ErrorKind, OnUnsupported, Result};
use keyferry_rdb::{
    Entry, Group,
    object::{DecodeLimits, Element, ValueDecoder},
    rebuild::{FieldTtl, PendingIds, Plan, Rebuilder, Refusal, Target},
};

use super::{
    batch::{Batch, What},
    restore::Restore,
};

/// Under this name a value is built; a number follows. What a killed run leaves is removed by the next one.
const PLACE: &str = "__keyferry_rebuild:";

/// Moves what was built to its key; answers 0 when the key is there and stays. A value whose time is over while it is
/// built is gone: that is no failure.
const MOVE: &[u8] = b"if redis.call('EXISTS',KEYS[1])==0 then return 1 end \
    if ARGV[1]=='1' then redis.call('RENAME',KEYS[1],KEYS[2]) \
    elseif redis.call('RENAMENX',KEYS[1],KEYS[2])==0 then redis.call('DEL',KEYS[1]) return 0 end \
    if ARGV[2]~='0' then redis.call('PEXPIREAT',KEYS[2],ARGV[2]) end return 1";

/// A value on its way.
pub(crate) struct Rebuild {
    decoder: ValueDecoder,
    /// `None`: the value is read and left out.
    build: Option<Build>,
}

struct Build {
    rebuilder: Rebuilder,
    key: Vec<u8>,
    place: Vec<u8>,
    expire_ms: i64,
    overwrite: bool,
}

/// Why feeding has paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fed {
    NeedsInput,
    BatchFull,
    Finished,
}

impl Rebuild {
    /// Begins the value of `entry`, whose raw bytes are then fed. `number` tells the places of values apart.
    ///
    /// Errors: `UnsupportedByTarget` when the target cannot hold it and the user wants to know.
    pub(crate) fn begin(restore: &Restore<'_>, entry: &Entry<'_>, number: u64, now_ms: u64) -> Result<Self> {
        let group = entry.kind.group();
        let target = abilities(&restore.server);
        let lacks = match group {
            Group::Module => true,
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
        let place = format!("{PLACE}{number}").into_bytes();
        let keep =
            FieldTtl::Keep { floor_ms: if restore.grace_ms > 0 { now_ms } else { 0 }, grace_ms: restore.grace_ms };
        let plan = Plan { field_ttl: if target.field_ttl { keep } else { FieldTtl::Drop }, ..Plan::default() };
        let rebuilder = Rebuilder::new(&place, group, target, plan).map_err(|e| refused(&e, entry.db))?;
        if entry.kind.has_field_ttl() && !target.field_ttl {
            restore.degraded("hash field deadline");
        }
        let expire_ms = entry.expire_ms.map_or(0, |at| restore.deadline(at, now_ms));
        let build = Build { rebuilder, key: entry.key.to_vec(), place, expire_ms, overwrite: restore.overwrites() };
        let decoder = ValueDecoder::new(entry.kind, DecodeLimits::default());
        Ok(Self { decoder, build: Some(build) })
    }

    /// Reads the value of `entry` and leaves it out.
    pub(crate) fn leave_out(entry: &Entry<'_>) -> Self {
        Self { decoder: ValueDecoder::new(entry.kind, DecodeLimits::default()), build: None }
    }

    /// Rebuilds a value that is whole in memory.
    pub(crate) fn whole(
        restore: &Restore<'_>,
        batch: &mut Batch,
        entry: &Entry<'_>,
        number: u64,
        now_ms: u64,
    ) -> Result<()> {
        let mut this = Self::begin(restore, entry, number, now_ms)?;
        if entry.kind.group() == Group::Stream
            && let Some(build) = this.build.take()
        {
            let rebuilder = build.rebuilder.with_pending(pending(entry)?);
            this.build = Some(Build { rebuilder, ..build });
        }
        let mut raw = entry.raw;
        loop {
            let (used, fed) = this.feed(raw, batch, usize::MAX)?;
            raw = &raw[used..];
            match fed {
                Fed::Finished => return Ok(()),
                Fed::NeedsInput if used == 0 => return Err(corrupt("the value ends too early")),
                _ => {}
            }
        }
    }

    /// Adds commands for what `input` holds of the value, until about `room` bytes stand in the batch, and says how many
    /// bytes of it are done with.
    pub(crate) fn feed(&mut self, input: &[u8], batch: &mut Batch, room: usize) -> Result<(usize, Fed)> {
        let mut done = 0;
        loop {
            if batch.bytes.len() >= room {
                return Ok((done, Fed::BatchFull));
            }
            let (used, element) =
                self.decoder.next(&input[done..]).map_err(|e| corrupt("read a value").caused_by(e))?;
            let end = matches!(element, Some(Element::End));
            let nothing = element.is_none();
            if let (Some(element), Some(build)) = (element, &mut self.build) {
                build.push(&element, batch)?;
            }
            done += used;
            if end {
                if let Some(build) = &self.build {
                    build.finish(batch);
                }
                return Ok((done, Fed::Finished));
            }
            if nothing && used == 0 {
                return Ok((done, Fed::NeedsInput));
            }
        }
    }
}

impl Build {
    fn push(&mut self, element: &Element<'_>, batch: &mut Batch) -> Result<()> {
        let (before, at) = (self.rebuilder.commands(), batch.bytes.len());
        self.rebuilder.push(element, &mut batch.bytes).map_err(|e| refused(&e, 0))?;
        for _ in before..self.rebuilder.commands() {
            batch.expect_at(What::Setup, 0, at);
        }
        Ok(())
    }

    fn finish(&self, batch: &mut Batch) {
        let overwrite: &[u8] = if self.overwrite { b"1" } else { b"0" };
        let expire = self.expire_ms.to_string();
        let args: [&[u8]; 7] = [b"EVAL", MOVE, b"2", &self.place, &self.key, overwrite, expire.as_bytes()];
        batch.command(What::Move, 0, &args);
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
    Target { hset_many: server.redis >= (5, 0, 0), ..target }
}

fn pending(entry: &Entry<'_>) -> Result<PendingIds> {
    let mut decoder = ValueDecoder::new(entry.kind, DecodeLimits::default());
    let (mut ids, mut raw) = (PendingIds::default(), entry.raw);
    loop {
        let (used, element) = decoder.next(raw).map_err(|e| corrupt("read a stream").caused_by(e))?;
        match element {
            Some(Element::End) => return Ok(ids),
            Some(element) => ids.note(&element),
            None if used == 0 => return Err(corrupt("the stream ends too early")),
            None => {}
        }
        raw = &raw[used..];
    }
}

fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::RdbCorrupt, format!("read the snapshot: {what}"))
}

fn refused(refusal: &Refusal, db: u32) -> Error {
    Error::new(ErrorKind::UnsupportedByTarget, format!("rebuild a value of database {db}: {refusal}"))
}
