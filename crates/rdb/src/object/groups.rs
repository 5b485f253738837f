//! Groups of a stream, their consumers, and what waits for an acknowledgement.
//!
//! A dump has the pending entries of a group first, with times and counts, and then those of each consumer, as IDs only. So
//! the former are held while the group is read, sorted by ID as they come.

use super::{Element, Found, Hidden, Stage, Step, StreamId, ValueDecoder, layout::StreamVersion, stream::id_of};
use crate::{
    error::{Error, LimitKind},
    packed::Scalar,
    wire::{self, offset},
};

/// No number of entries read is known (`SCG_INVALID_ENTRIES_READ`), or no time (-1).
const UNKNOWN: u64 = u64::MAX;
const ID_LEN: usize = 16;

/// A pending entry of the group at hand.
#[derive(Debug, Clone, Copy)]
struct Pending {
    id: StreamId,
    delivered_ms: u64,
    deliveries: u64,
}

/// What is known of the group at hand, or of the producer.
pub(super) struct Groups {
    part: Part,
    /// Name of the group, or of the producer.
    pub(super) name: Vec<u8>,
    consumer: Vec<u8>,
    pending: Vec<Pending>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A group, or what follows the last.
    Group,
    /// Pending entries of the group, so many.
    GroupPending(u64),
    /// Number of consumers.
    ConsumerCount,
    /// Consumers, so many.
    Consumers(u64),
    /// Pending entries of a consumer, so many, before so many consumers.
    ConsumerPending(u64, u64),
    /// Producers, so many.
    Producers(u64),
    /// Entries of a producer, so many, before so many producers.
    Produced(u64, u64),
}

/// An element made of what is held here.
pub(super) enum Made {
    Group {
        last_id: StreamId,
        entries_read: Option<u64>,
    },
    Consumer {
        seen_ms: u64,
        active_ms: Option<u64>,
    },
    /// By place in the list.
    Pending(usize),
    Idempotency {
        duration_s: u64,
        max_entries: u64,
    },
}

impl Groups {
    pub(super) fn new() -> Self {
        Self { part: Part::Group, name: Vec::new(), consumer: Vec::new(), pending: Vec::new() }
    }

    /// Bytes of memory held beside the name.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.consumer.capacity() + self.pending.capacity() * size_of::<Pending>()
    }

    pub(super) fn element(&self, made: Made) -> Element<'_> {
        let group = Hidden(&self.name);
        let consumer = Hidden(&self.consumer);
        match made {
            Made::Group { last_id, entries_read } => Element::Group { group, last_id, entries_read },
            Made::Consumer { seen_ms, active_ms } => Element::Consumer { group, consumer, seen_ms, active_ms },
            Made::Pending(at) => {
                let (id, delivered_ms, deliveries) =
                    self.pending.get(at).map(|p| (p.id, p.delivered_ms, p.deliveries)).unwrap_or_default();
                Element::Pending { group, consumer, id, delivered_ms, deliveries }
            }
            Made::Idempotency { duration_s, max_entries } => Element::Idempotency { duration_s, max_entries },
        }
    }
}

impl ValueDecoder {
    /// Reads the next part of a group, or what follows the groups.
    pub(super) fn group_part(&mut self, input: &[u8]) -> Result<Step, Error> {
        match self.groups.part {
            Part::Group => match self.left.checked_sub(1) {
                Some(left) => self.group(input, left),
                None if self.stream_version() >= StreamVersion::Idempotent => self.idempotency(input),
                None => {
                    self.stage = Stage::End;
                    Ok(Step::Go)
                }
            },
            Part::GroupPending(left) => self.group_pending(input, left),
            Part::ConsumerCount => {
                let Some((count, end)) = self.number_at(input, self.pos)? else { return Ok(Step::Wait) };
                self.go(end, Part::Consumers(count))
            }
            Part::Consumers(0) => self.go(self.pos, Part::Group),
            Part::Consumers(left) => self.consumer(input, left.saturating_sub(1)),
            Part::ConsumerPending(0, consumers) => self.go(self.pos, Part::Consumers(consumers)),
            Part::ConsumerPending(left, consumers) => self.consumer_pending(input, left.saturating_sub(1), consumers),
            Part::Producers(0) => self.counters(input),
            Part::Producers(left) => self.producer(input, left.saturating_sub(1)),
            Part::Produced(0, producers) => self.go(self.pos, Part::Producers(producers)),
            Part::Produced(left, producers) => self.produced(input, left.saturating_sub(1), producers),
        }
    }

    fn go(&mut self, pos: usize, part: Part) -> Result<Step, Error> {
        self.pos = pos;
        self.groups.part = part;
        Ok(Step::Go)
    }

    /// `N` numbers from `pos` on, with the position behind them.
    fn numbers<const N: usize>(&self, input: &[u8], mut pos: usize) -> Result<Option<([u64; N], usize)>, Error> {
        let mut all = [0; N];
        for slot in &mut all {
            let Some((number, end)) = self.number_at(input, pos)? else { return Ok(None) };
            *slot = number;
            pos = end;
        }
        Ok(Some((all, pos)))
    }

    /// The name at the decoder's position, decoded into the second scratch space, with the position behind it.
    fn name(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        let Some((held, end)) = self.text_at(input, self.pos, 0)? else { return Ok(None) };
        let [first, second] = &mut self.scratch;
        second.clear();
        match held.of(input, first, &[]) {
            Scalar::Bytes(bytes) => second.extend_from_slice(bytes),
            int @ Scalar::Int(_) => int.append_to(second),
        }
        Ok(Some(end))
    }

    fn group(&mut self, input: &[u8], left: u64) -> Result<Step, Error> {
        let Some(pos) = self.name(input)? else { return Ok(Step::Wait) };
        let Some(([ms, seq], pos)) = self.numbers(input, pos)? else { return Ok(Step::Wait) };
        let (entries_read, pos) = if self.stream_version() >= StreamVersion::History {
            let Some((number, pos)) = self.number_at(input, pos)? else { return Ok(Step::Wait) };
            (Some(number).filter(|&number| number != UNKNOWN), pos)
        } else {
            (None, pos)
        };
        let Some((count, end)) = self.number_at(input, pos)? else { return Ok(Step::Wait) };
        let limit = self.limits.max_pending;
        if count > limit {
            return Err(self.over_limit(LimitKind::Pending, count, limit, pos));
        }
        let [_, second] = &mut self.scratch;
        std::mem::swap(&mut self.groups.name, second);
        self.groups.pending.clear();
        self.groups.part = Part::GroupPending(count);
        self.left = left;
        self.pos = end;
        Ok(Step::Found(Found::Groups(Made::Group { last_id: StreamId { ms, seq }, entries_read })))
    }

    fn group_pending(&mut self, input: &[u8], mut left: u64) -> Result<Step, Error> {
        while let Some(rest) = left.checked_sub(1) {
            let body = self.pos.saturating_add(ID_LEN);
            let id = input.get(self.pos..body).and_then(id_of);
            let (Some(id), Some(time)) = (id, wire::array(input, body)) else { break };
            let Some((deliveries, end)) = self.number_at(input, body.saturating_add(8))? else { break };
            if self.groups.pending.last().is_some_and(|last| last.id >= id) {
                return Err(self.corrupt("pending entries in the order of their IDs", self.pos));
            }
            self.groups.pending.push(Pending { id, delivered_ms: u64::from_le_bytes(time), deliveries });
            self.pos = end;
            left = rest;
        }
        self.groups.part = Part::GroupPending(left);
        if left > 0 {
            return Ok(Step::Wait);
        }
        self.go(self.pos, Part::ConsumerCount)
    }

    fn consumer(&mut self, input: &[u8], left: u64) -> Result<Step, Error> {
        let Some(pos) = self.name(input)? else { return Ok(Step::Wait) };
        let Some(seen) = wire::array(input, pos) else { return Ok(Step::Wait) };
        let pos = pos.saturating_add(8);
        let (active_ms, pos) = if self.stream_version() >= StreamVersion::Active {
            let Some(active) = wire::array(input, pos) else { return Ok(Step::Wait) };
            (Some(u64::from_le_bytes(active)).filter(|&active| active != UNKNOWN), pos.saturating_add(8))
        } else {
            (None, pos)
        };
        let Some((count, end)) = self.number_at(input, pos)? else { return Ok(Step::Wait) };
        if count > offset(self.groups.pending.len()) {
            return Err(self.corrupt("no more pending entries than the group has", pos));
        }
        let [_, second] = &mut self.scratch;
        std::mem::swap(&mut self.groups.consumer, second);
        self.groups.part = Part::ConsumerPending(count, left);
        self.pos = end;
        Ok(Step::Found(Found::Groups(Made::Consumer { seen_ms: u64::from_le_bytes(seen), active_ms })))
    }

    fn consumer_pending(&mut self, input: &[u8], left: u64, consumers: u64) -> Result<Step, Error> {
        let end = self.pos.saturating_add(ID_LEN);
        let Some(id) = input.get(self.pos..end).and_then(id_of) else { return Ok(Step::Wait) };
        let Ok(at) = self.groups.pending.binary_search_by_key(&id, |pending| pending.id) else {
            return Err(self.corrupt("a pending entry of the group", self.pos));
        };
        self.pos = end;
        self.groups.part = Part::ConsumerPending(left, consumers);
        Ok(Step::Found(Found::Groups(Made::Pending(at))))
    }

    fn idempotency(&mut self, input: &[u8]) -> Result<Step, Error> {
        let Some(([duration_s, max_entries, count], end)) = self.numbers(input, self.pos)? else {
            return Ok(Step::Wait);
        };
        self.pos = end;
        self.groups.part = Part::Producers(count);
        Ok(Step::Found(Found::Groups(Made::Idempotency { duration_s, max_entries })))
    }

    fn producer(&mut self, input: &[u8], left: u64) -> Result<Step, Error> {
        let Some(pos) = self.name(input)? else { return Ok(Step::Wait) };
        let Some((count, end)) = self.number_at(input, pos)? else { return Ok(Step::Wait) };
        let [_, second] = &mut self.scratch;
        std::mem::swap(&mut self.groups.name, second);
        self.go(end, Part::Produced(count, left))
    }

    fn produced(&mut self, input: &[u8], left: u64, producers: u64) -> Result<Step, Error> {
        let Some((iid, pos)) = self.text_at(input, self.pos, 0)? else { return Ok(Step::Wait) };
        let Some(([ms, seq], end)) = self.numbers(input, pos)? else { return Ok(Step::Wait) };
        self.pos = end;
        self.groups.part = Part::Produced(left, producers);
        Ok(Step::Found(Found::Produced { iid, id: StreamId { ms, seq } }))
    }

    /// Reads the two counters at the very end, which say how often producers wrote and wrote again.
    fn counters(&mut self, input: &[u8]) -> Result<Step, Error> {
        let Some(([_, _], end)) = self.numbers(input, self.pos)? else { return Ok(Step::Wait) };
        self.pos = end;
        self.stage = Stage::End;
        Ok(Step::Go)
    }
}
