//! A key of the snapshot as a command: `SET` for plain strings, which costs the target less (several of them as one
//! `MSET`), else `RESTORE` with the
//! payload as it came, else the commands that build it (`rebuild.rs`).
//!
//! Invariant: a key that the target holds already is overwritten only when the user chose that. Otherwise `SET` goes
//! with `NX` (`MSETNX`) and `RESTORE` without `REPLACE`, and the reply says that the key was there.

use std::sync::atomic::Ordering::Relaxed;

use keyferry_keyspace::ServerVersion;
use keyferry_model::{Error, ErrorKind, OnConflict, OnUnsupported, Result};
use keyferry_rdb::{Entry, Group, ValueType, dump, module, string};
use keyferry_resp::encode;

use super::{
    batch::{Batch, What},
    hold::held,
    modules::Modules,
};
use crate::Stats;

/// Writes keys of the snapshot into batches.
pub(crate) struct Restore<'a> {
    pub(crate) stats: &'a Stats,
    /// The target's version, read once.
    pub(crate) server: ServerVersion,
    pub(crate) modules: Modules,
    pub(crate) on_conflict: OnConflict,
    pub(crate) on_unsupported: OnUnsupported,
    /// Where values are rebuilt: see [`super::place`].
    pub(crate) place: Vec<u8>,
    pub(crate) deadlines: Deadlines,
}

/// What becomes of deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadlines {
    /// They stay as they are.
    Exact,
    /// They are held, since a stream follows: see `hold.rs`.
    Held,
    /// They are later by so many milliseconds: see `stream/expiry.rs`.
    Later(u64),
}

impl Restore<'_> {
    /// Whether a key of the target gives way.
    pub(crate) fn overwrites(&self) -> bool {
        matches!(self.on_conflict, OnConflict::Replace | OnConflict::Clear)
    }

    /// Adds the command that makes `entry` on the target, or says that it must be rebuilt (`false`). `now_ms` is the time
    /// of this machine, for targets that take no absolute expiry.
    pub(crate) fn entry(&self, batch: &mut Batch, entry: &Entry<'_>, now_ms: u64) -> Result<bool> {
        let simple = entry.expire_ms.is_none() || self.server.set_pxat();
        if simple && entry.kind == ValueType::STRING && entry.meta.is_empty() {
            // A compressed string stays compressed on its way: the target expands it.
            let text = string::parse(entry.raw)
                .map_err(|e| Error::new(ErrorKind::RdbCorrupt, "read a string").caused_by(e))?;
            match text.0 {
                string::Str::Bytes(value) => {
                    self.set(batch, entry, |out| encode::bulk(out, value));
                    return Ok(true);
                }
                string::Str::Int(n) => {
                    self.set(batch, entry, |out| encode::bulk_int(out, n));
                    return Ok(true);
                }
                _ => {}
            }
        }
        let version = self.readable(entry);
        if let Some(version) = version {
            self.restore(batch, entry, version, now_ms);
        }
        Ok(version.is_some())
    }

    /// The version for the payload's footer: the lowest that the value allows. `None` when the target cannot read it.
    pub(crate) fn readable(&self, entry: &Entry<'_>) -> Option<u16> {
        let lowest = u16::try_from(entry.kind.dump_version()).unwrap_or(u16::MAX);
        let limit = self.server.dump_version();
        // 5.0 and 6.0 end their own process at a module value that they cannot load.
        let safe = entry.kind.group() != Group::Module
            || self.server.redis >= (6, 2, 0)
                && !module::name_of_value(entry.raw).is_some_and(|data_type| self.modules.lack(&data_type));
        // Metadata that modules attach to keys goes with the value only where they do the same.
        let plain = entry.meta.is_empty();
        // Deadlines of fields can be changed only one by one.
        let as_is = self.deadlines == Deadlines::Exact || !entry.kind.has_field_ttl();
        (safe && plain && as_is && entry.kind.readable_by(u32::from(limit)) && self.server.reads_dump(lowest))
            .then_some(lowest)
    }

    /// Counts what the target cannot hold, or ends the task, as the user chose.
    pub(crate) fn lacks(&self, what: &str, context: impl FnOnce() -> String) -> Result<()> {
        if self.on_unsupported == OnUnsupported::Fail {
            return Err(Error::new(ErrorKind::UnsupportedByTarget, context()));
        }
        self.stats.note_unsupported(format!("{what} dropped"));
        Ok(())
    }

    /// Counts what is kept in a lesser form.
    pub(crate) fn degraded(&self, what: &str) {
        self.stats.note_unsupported(format!("{what} degraded"));
    }

    fn set(&self, batch: &mut Batch, entry: &Entry<'_>, value: impl FnOnce(&mut Vec<u8>)) {
        // Whether each key was there has to be known for each only where that is no error.
        if entry.expire_ms.is_none() && self.on_conflict != OnConflict::Ignore {
            let what = if self.overwrites() { What::Key } else { What::New };
            batch.set(what, 0, |out| {
                encode::bulk(out, entry.key);
                value(out);
            });
            return;
        }
        batch.expect(What::Key, 0);
        let out = &mut batch.bytes;
        let nx = !self.overwrites();
        out.extend_from_slice(match (nx, entry.expire_ms.is_some()) {
            (false, false) => b"*3\r\n$3\r\nSET\r\n",
            (true, false) => b"*4\r\n$3\r\nSET\r\n",
            (false, true) => b"*5\r\n$3\r\nSET\r\n",
            (true, true) => b"*6\r\n$3\r\nSET\r\n",
        });
        encode::bulk(out, entry.key);
        value(out);
        if let Some(at) = entry.expire_ms {
            encode::bulk(out, b"PXAT");
            encode::bulk_int(out, self.deadline(at));
        }
        if nx {
            out.extend_from_slice(b"$2\r\nNX\r\n");
        }
    }

    pub(crate) fn restore(&self, batch: &mut Batch, entry: &Entry<'_>, version: u16, now_ms: u64) {
        let absttl = self.server.restore_absttl();
        match entry.expire_ms.map(|at| self.deadline(at)) {
            Some(at) if !absttl => {
                // An exact deadline in one step: the second call is not made when the first is refused.
                let ttl = at.saturating_sub(clamp(now_ms)).max(1);
                batch.expect(What::Key, 0);
                let out = &mut batch.bytes;
                encode::array(out, 7 + usize::from(self.overwrites()));
                encode::bulk(out, b"EVAL");
                encode::bulk(out, if self.overwrites() { RESTORE_AND_REPLACE } else { RESTORE_NEW });
                encode::bulk(out, b"1");
                encode::bulk(out, entry.key);
                encode::bulk_int(out, ttl);
                self.payload(out, entry, version);
                encode::bulk_int(out, at);
                if self.overwrites() {
                    encode::bulk(out, b"REPLACE");
                }
            }
            deadline => {
                batch.expect(What::Key, 0);
                let out = &mut batch.bytes;
                encode::array(out, 4 + usize::from(self.overwrites()) + usize::from(deadline.is_some()));
                encode::bulk(out, b"RESTORE");
                encode::bulk(out, entry.key);
                encode::bulk_int(out, deadline.unwrap_or(0));
                self.payload(out, entry, version);
                if self.overwrites() {
                    encode::bulk(out, b"REPLACE");
                }
                if deadline.is_some() {
                    encode::bulk(out, b"ABSTTL");
                }
            }
        }
    }

    fn payload(&self, out: &mut Vec<u8>, entry: &Entry<'_>, version: u16) {
        let len = dump::len(entry.raw.len());
        out.reserve_exact(len + 128);
        encode::bulk_header(out, len);
        dump::write(out, entry.kind, entry.raw, version);
        out.extend_from_slice(b"\r\n");
    }

    /// A deadline for the target. At least 1: 0 would mean that it never expires.
    pub(crate) fn deadline(&self, at: u64) -> i64 {
        clamp(match self.deadlines {
            Deadlines::Exact => at.max(1),
            Deadlines::Held => {
                self.stats.held_keys.store(true, Relaxed);
                held(at)
            }
            Deadlines::Later(ms) => at.saturating_add(ms).max(1),
        })
    }
}

/// For targets before 5.0, whose RESTORE counts from when it runs.
const RESTORE_NEW: &[u8] =
    b"redis.call('RESTORE',KEYS[1],ARGV[1],ARGV[2]) return redis.call('PEXPIREAT',KEYS[1],ARGV[3])";
const RESTORE_AND_REPLACE: &[u8] =
    b"redis.call('RESTORE',KEYS[1],ARGV[1],ARGV[2],ARGV[4]) return redis.call('PEXPIREAT',KEYS[1],ARGV[3])";

fn clamp(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
