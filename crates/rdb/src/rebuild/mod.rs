//! From the elements of a value to commands that build it again, for a target that cannot read its payload and for values
//! too large for one.
//!
//! A [`Rebuilder`] is given the elements one by one and appends commands to an output of the caller, a bounded batch at a time;
//! the caller sends what is there whenever it likes. The first command removes what was under the key (`SET` replaces by
//! itself), the last one sets the expiry. In between the value is there in part: who needs it whole at once wraps the commands
//! into a transaction, or rebuilds under another name.
//!
//! Every reply but that of `XCLAIM` says no more than that there was no error. `XCLAIM` answers the entries that are pending
//! now, without those that the stream no longer has; see [`Rebuilder::with_pending`].
//!
//! | not carried | by which target |
//! |---|---|
//! | expiries of fields, where the policy drops them | without `HPEXPIREAT`: Redis before 7.4, Valkey before 9.0 |
//! | when a consumer was last seen and last active | any: there is no command for it |
//! | pending entries that were deleted from the stream, without [`Rebuilder::with_pending`] | any |
//! | that nothing was ever deleted, with it, of a stream from before 7.0 | Redis from 7.0, Valkey |
//! | deletions and entries ever added, entries read by a group | Redis before 7.0, which has no such thing |
//! | consumers without pending entries, on replicas of the target | Redis 5.0, 6.0: the consumer is made by a read, which is not replicated |
//! | which IDs producers wrote (Redis 8.6) | without `XIDMPRECORD`: Redis before 8.6.2, Valkey; of entries that were deleted, any |
//! | access clocks (`IDLE`, `FREQ`) | any |
//!
//! Which target can do what is told by the caller; nothing here knows of connections or versions at hand.

mod batch;
mod command;
mod ghosts;
mod streams;
mod target;

use crate::{module, object::Element, packed::Scalar, value_type::Group};
use batch::{Batch, Bounds};
use command::{argument, digits, header};
pub use ghosts::PendingIds;
use streams::Stream;
pub use target::Target;

/// What becomes of expiries of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldTtl {
    /// They are set as they were.
    Keep,
    /// They are set later.
    Later {
        /// By how much.
        by_ms: u64,
        /// Only those before this time (Unix milliseconds); the others are set as they were.
        before_ms: u64,
    },
    /// They are left out: the fields stay for ever.
    Drop,
}

/// How a value is to be rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Whether something may be under the key: it is then removed first.
    pub replace: bool,
    /// Absolute expiry of the key in Unix milliseconds, to be set at the end.
    pub expire_ms: Option<u64>,
    /// What becomes of expiries of fields.
    pub field_ttl: FieldTtl,
    /// Bytes of the arguments of one command, about; an element that is longer has a command of its own.
    pub batch_bytes: usize,
    /// Elements of one command.
    pub batch_elements: usize,
}

impl Default for Plan {
    /// Replaces; no expiry; exact expiries of fields; 64 KiB and 512 elements, with which a command keeps a target busy for
    /// less than a millisecond.
    fn default() -> Self {
        Self { replace: true, expire_ms: None, field_ttl: FieldTtl::Keep, batch_bytes: 64 << 10, batch_elements: 512 }
    }
}

/// Why a value cannot be rebuilt. Commands that were written before make a part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The target has no streams.
    #[error("the target has no streams")]
    Streams,
    /// The target has no expiries of fields, and they must be kept.
    #[error("the target has no expiries of fields")]
    FieldTtl,
    /// A value of a module, which only the module can write.
    #[error("a value of module type {}", String::from_utf8_lossy(.name))]
    Module {
        /// Name of the data type.
        name: [u8; module::NAME_LEN],
    },
    /// The element does not belong to a value of this group, or not at this place.
    #[error("an element of another kind of value")]
    OutOfPlace,
}

/// What was left out while a value was rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Fields whose expiry was dropped.
    pub field_ttls: u64,
    /// Consumers whose times were not set.
    pub consumer_times: u64,
    /// Entries of which it was known which producer had written them.
    pub produced: u64,
    /// Streams whose settings for producers were not set.
    pub stream_settings: u64,
}

/// Rebuilds one value.
pub struct Rebuilder {
    key: Vec<u8>,
    group: Group,
    target: Target,
    plan: Plan,
    batch: Batch,
    stream: Stream,
    /// Elements given, without those that make no key.
    elements: u64,
    commands: u64,
    losses: Losses,
    removed: bool,
}

impl Rebuilder {
    /// A rebuilder for a value of `group` under `key`.
    ///
    /// # Errors
    /// [`Refusal::Streams`], and [`Refusal::Module`] with a name of zeros.
    pub fn new(key: &[u8], group: Group, target: Target, plan: Plan) -> Result<Self, Refusal> {
        match group {
            Group::Stream if !target.streams => return Err(Refusal::Streams),
            Group::Module => return Err(Refusal::Module { name: [0; module::NAME_LEN] }),
            _ => {}
        }
        Ok(Self {
            key: key.to_vec(),
            group,
            target,
            plan,
            batch: Batch::default(),
            stream: Stream::default(),
            elements: 0,
            commands: 0,
            losses: Losses::default(),
            removed: false,
        })
    }

    /// Takes the next element and appends what is ready to `out`: no more than one batch and one element.
    /// [`Element::End`] writes all that is left.
    ///
    /// # Errors
    /// [`Refusal`]; the value is then there in part, or not at all.
    pub fn push(&mut self, element: &Element<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.remove(out);
        match (element, self.group) {
            (Element::StringChunk { bytes, .. }, Group::String) => {
                let name: &[u8] = if self.elements == 0 { b"SET" } else { b"APPEND" };
                self.elements = self.elements.saturating_add(1);
                self.command(out, &[name, &[], bytes]);
            }
            (Element::ListElement(element), Group::List) => self.add(out, &[*element]),
            (Element::SetMember(member), Group::Set) => self.add(out, &[*member]),
            (Element::ZsetMember { member, score }, Group::Zset) => {
                let score = command::score(*score);
                self.add(out, &[Scalar::Bytes(&score), *member]);
            }
            (Element::HashField { field, value, expire_ms }, Group::Hash) => {
                let expire_ms = self.field_expiry(*expire_ms)?;
                self.add(out, &[*field, *value]);
                if let Some(ms) = expire_ms {
                    self.batch.expire(&self.key, *field, ms);
                }
            }
            (Element::End, _) => self.end(out),
            (element, Group::Stream) => self.stream_element(element, out)?,
            (Element::Module { name }, _) => return Err(Refusal::Module { name: *name }),
            _ => return Err(Refusal::OutOfPlace),
        }
        Ok(())
    }

    /// Commands written so far: as many replies are to come.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// What was left out so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// Writes what goes before everything else.
    fn remove(&mut self, out: &mut Vec<u8>) {
        // SET replaces whatever is there.
        if !self.removed && self.plan.replace && self.group != Group::String {
            let name: &[u8] = if self.target.unlink { b"UNLINK" } else { b"DEL" };
            self.command(out, &[name, &[]]);
        }
        self.removed = true;
    }

    fn field_expiry(&mut self, expire_ms: Option<u64>) -> Result<Option<u64>, Refusal> {
        match (expire_ms, self.plan.field_ttl) {
            (None, _) => Ok(None),
            (Some(_), FieldTtl::Drop) => {
                self.losses.field_ttls = self.losses.field_ttls.saturating_add(1);
                Ok(None)
            }
            (Some(_), _) if !self.target.field_ttl => Err(Refusal::FieldTtl),
            (Some(ms), FieldTtl::Later { by_ms, before_ms }) if ms < before_ms => Ok(Some(ms.saturating_add(by_ms))),
            (Some(ms), _) => Ok(Some(ms)),
        }
    }

    /// Adds an element of a collection, behind a full batch.
    fn add(&mut self, out: &mut Vec<u8>, parts: &[Scalar<'_>]) {
        let bounds = Bounds { bytes: self.plan.batch_bytes, elements: self.plan.batch_elements };
        let len = parts.iter().fold(0_usize, |sum, &part| sum.saturating_add(command::len(part)));
        if self.batch.is_full(len, bounds) {
            self.flush(out);
        }
        self.batch.add(parts);
        self.elements = self.elements.saturating_add(1);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        let name: &[u8] = match self.group {
            Group::List => b"RPUSH",
            Group::Set => b"SADD",
            Group::Zset => b"ZADD",
            _ if self.target.hset_many => b"HSET",
            _ => b"HMSET",
        };
        let commands = self.batch.flush(name, &self.key, out);
        self.commands = self.commands.saturating_add(commands);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        self.flush_claims(out);
        self.remove_ghosts(out);
        if let Some(ms) = self.plan.expire_ms.filter(|_| self.elements > 0) {
            self.command(out, &[b"PEXPIREAT", &[], &digits(ms)]);
        }
    }

    /// Writes a command whose second argument is the key, whatever is given there.
    fn command(&mut self, out: &mut Vec<u8>, arguments: &[&[u8]]) {
        header(out, crate::wire::offset(arguments.len()));
        for (i, bytes) in arguments.iter().enumerate() {
            argument(out, if i == 1 { &self.key } else { bytes });
        }
        self.commands = self.commands.saturating_add(1);
    }
}

impl std::fmt::Debug for Rebuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebuilder")
            .field("group", &self.group)
            .field("elements", &self.elements)
            .field("commands", &self.commands)
            .field("losses", &self.losses)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
