//! Streams: entries, what is known of them, groups, consumers, pending entries.

use super::{
    Rebuilder, Refusal,
    command::{self, argument, digits, header, id},
    ghosts::Ghosts,
};
use crate::{
    object::{Element, Fields, StreamId, StreamInfo},
    packed::Scalar,
    wire::offset,
};

/// What was seen of a stream so far.
#[derive(Default)]
pub(super) struct Stream {
    /// Entries, and the first of them.
    pub(super) entries: u64,
    first: StreamId,
    /// The last that was written, whatever it was.
    pub(super) last: StreamId,
    pub(super) info: Option<StreamInfo>,
    pub(super) ghosts: Ghosts,
    claims: Claims,
}

/// Pending entries of one consumer that share time and count, on their way into one command.
#[derive(Default)]
struct Claims {
    group: Vec<u8>,
    consumer: Vec<u8>,
    delivered_ms: u64,
    deliveries: u64,
    ids: Vec<u8>,
    count: usize,
}

/// The server takes the ID of an entry only while the stream has that.
const PRODUCED: &[u8] = b"redis.pcall('XIDMPRECORD',KEYS[1],ARGV[1],ARGV[2],ARGV[3])";

/// Seconds and entries for which a stream remembers producers when nobody has set that (Redis 8.6).
const IDMP_DEFAULT: (u64, u64) = (100, 100);

impl Rebuilder {
    pub(super) fn stream_element(&mut self, element: &Element<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match element {
            Element::StreamEntry { id, fields } => self.entry(*id, fields.clone(), out),
            Element::StreamInfo(info) => self.info(*info, out),
            Element::Group { group, last_id, entries_read } => self.group(group, *last_id, *entries_read, out),
            Element::Consumer { group, consumer, .. } => self.consumer(group, consumer, out),
            Element::Pending { group, consumer, id, delivered_ms, deliveries } => {
                self.pending(group, consumer, *id, (*delivered_ms, *deliveries), out);
            }
            Element::Idempotency { duration_s, max_entries } => self.idempotency(*duration_s, *max_entries, out),
            Element::Produced { producer, iid, id } => self.produced(producer, *iid, *id, out),
            _ => return Err(Refusal::OutOfPlace),
        }
        Ok(())
    }

    fn entry(&mut self, at: StreamId, fields: Fields<'_>, out: &mut Vec<u8>) {
        self.add_ghosts(at, out);
        if self.stream.entries == 0 {
            self.stream.first = at;
        }
        self.stream.last = at;
        self.stream.entries = self.stream.entries.saturating_add(1);
        self.elements = self.elements.saturating_add(1);
        header(out, fields.left().saturating_mul(2).saturating_add(3));
        for part in [&b"XADD"[..], &self.key, &id(at)] {
            argument(out, part);
        }
        for (field, value) in fields {
            command::scalar(out, field);
            command::scalar(out, value);
        }
        self.commands = self.commands.saturating_add(1);
    }

    fn info(&mut self, info: StreamInfo, out: &mut Vec<u8>) {
        self.add_last_ghosts(info.last_id, out);
        if self.stream.entries == 0 && self.stream.ghosts.count() == 0 {
            // aof.c rewriteStreamObject, Redis 7.2: an entry that is trimmed as it comes leaves an empty stream.
            let lowest = StreamId { ms: 0, seq: 1 };
            let at = info.last_id.max(lowest);
            self.command(out, &[b"XADD", &[], b"MAXLEN", b"0", &id(at), b"x", b"y"]);
            self.stream.last = at;
        }
        self.elements = self.elements.saturating_add(1);
        if self.target.stream_history {
            self.set_history(info, out);
        } else if self.stream.last != info.last_id {
            self.command(out, &[b"XSETID", &[], &id(info.last_id)]);
        }
        self.stream.info = Some(info);
    }

    /// Says what was the last ID and what was ever added and deleted.
    pub(super) fn set_history(&mut self, info: StreamInfo, out: &mut Vec<u8>) {
        // A dump from before 7.0 is read as if nothing had ever been deleted (rdb.c rdbLoadObject, Redis 7.2).
        let there = self.stream.entries.saturating_add(self.stream.ghosts.count());
        let added = info.history.map_or(0, |history| history.entries_added).max(there);
        let deleted = info.history.map(|history| history.max_deleted_id).unwrap_or_default();
        let (last, added, deleted) = (id(info.last_id), digits(added), id(deleted));
        self.command(out, &[b"XSETID", &[], &last, b"ENTRIESADDED", &added, b"MAXDELETEDID", &deleted]);
    }

    fn group(&mut self, group: &[u8], last_id: StreamId, entries_read: Option<u64>, out: &mut Vec<u8>) {
        self.flush_claims(out);
        let read = if self.stream.info.is_some_and(|info| info.history.is_none()) {
            self.stream.estimate(last_id)
        } else {
            entries_read
        };
        let at = id(last_id);
        // The key is no second argument here.
        let key = std::mem::take(&mut self.key);
        let create: [&[u8]; 5] = [b"XGROUP", b"CREATE", &key, group, &at];
        match read.filter(|_| self.target.stream_history) {
            Some(read) => command::command(out, &[&create[..], &[b"ENTRIESREAD", &digits(read)]].concat()),
            None => command::command(out, &create),
        }
        self.key = key;
        self.commands = self.commands.saturating_add(1);
    }

    fn consumer(&mut self, group: &[u8], consumer: &[u8], out: &mut Vec<u8>) {
        self.flush_claims(out);
        if self.target.create_consumer {
            command::command(out, &[b"XGROUP", b"CREATECONSUMER", &self.key, group, consumer]);
        } else {
            // To ask for what the consumer was given before makes the consumer, and gives nothing.
            command::command(
                out,
                &[b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"1", b"STREAMS", &self.key, b"0"],
            );
        }
        self.commands = self.commands.saturating_add(1);
        self.losses.consumer_times = self.losses.consumer_times.saturating_add(1);
    }

    fn pending(&mut self, group: &[u8], consumer: &[u8], at: StreamId, delivery: (u64, u64), out: &mut Vec<u8>) {
        let claims = &self.stream.claims;
        let full = claims.count >= self.plan.batch_elements || claims.ids.len() >= self.plan.batch_bytes;
        if full || (claims.delivered_ms, claims.deliveries) != delivery {
            self.flush_claims(out);
        }
        let claims = &mut self.stream.claims;
        if claims.count == 0 {
            (claims.delivered_ms, claims.deliveries) = delivery;
            claims.group.clear();
            claims.group.extend_from_slice(group);
            claims.consumer.clear();
            claims.consumer.extend_from_slice(consumer);
        }
        argument(&mut claims.ids, &id(at));
        claims.count = claims.count.saturating_add(1);
    }

    /// Writes the pending entries at hand.
    pub(super) fn flush_claims(&mut self, out: &mut Vec<u8>) {
        let claims = &mut self.stream.claims;
        if claims.count == 0 {
            return;
        }
        header(out, offset(claims.count).saturating_add(11));
        for part in [&b"XCLAIM"[..], &self.key, &claims.group, &claims.consumer, b"0"] {
            argument(out, part);
        }
        out.extend_from_slice(&claims.ids);
        let (time, count) = (digits(claims.delivered_ms), digits(claims.deliveries));
        for part in [&b"TIME"[..], &time, b"RETRYCOUNT", &count, b"FORCE", b"JUSTID"] {
            argument(out, part);
        }
        claims.ids.clear();
        claims.count = 0;
        self.commands = self.commands.saturating_add(1);
    }

    fn idempotency(&mut self, duration_s: u64, max_entries: u64, out: &mut Vec<u8>) {
        self.flush_claims(out);
        if !self.target.stream_config {
            // Every stream of such a source has settings: what is lost is only what somebody has set.
            let lost = u64::from((duration_s, max_entries) != IDMP_DEFAULT);
            self.losses.stream_settings = self.losses.stream_settings.saturating_add(lost);
            return;
        }
        let (duration, max) = (digits(duration_s), digits(max_entries));
        self.command(out, &[b"XCFGSET", &[], b"IDMP-DURATION", &duration, b"IDMP-MAXSIZE", &max]);
    }
}

impl Rebuilder {
    fn produced(&mut self, producer: &[u8], iid: Scalar<'_>, at: StreamId, out: &mut Vec<u8>) {
        self.flush_claims(out);
        if !self.target.stream_producers {
            self.losses.produced = self.losses.produced.saturating_add(1);
            return;
        }
        let mut given = Vec::new();
        iid.append_to(&mut given);
        command::command(out, &[b"EVAL", PRODUCED, b"1", &self.key, producer, &given, &id(at)]);
        self.commands = self.commands.saturating_add(1);
    }
}

impl Stream {
    /// Entries read by a group that stands at `at`, as a server from 7.0 on makes it out when it loads a dump without it.
    fn estimate(&self, at: StreamId) -> Option<u64> {
        // t_stream.c streamEstimateDistanceFromFirstEverEntry, Redis 7.2, for a stream without history.
        let last = self.info.map(|info| info.last_id).unwrap_or_default();
        if self.entries == 0 {
            return Some(0);
        }
        if at == last {
            return Some(self.entries);
        }
        match at.cmp(&self.first) {
            _ if at > last => None,
            std::cmp::Ordering::Less => Some(0),
            std::cmp::Ordering::Equal => Some(1),
            std::cmp::Ordering::Greater => None,
        }
    }
}
