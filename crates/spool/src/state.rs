//! What writer, reader, handle and threads share: the records in memory, the files, and where everyone stands.
//!
//! Invariants:
//! - `records` are the newest of the log without a gap. What is not among them is in the files as a whole.
//! - A record leaves memory only when it is in a file, and then when the reader has it or the tail is full.
//! - A segment goes only when it is released, the reader has passed it, and it is not the last.

use std::{
    collections::VecDeque,
    time::{Instant, SystemTime},
};

use keyferry_keyspace::ReplId;

use crate::{
    format::{RECORD_HEADER, Record, SEGMENT_HEADER},
    handle::Counts,
    head::Note,
    limits::Limits,
};

/// So many bytes of a segment at most lie between two entries of its index.
const INDEX_EVERY: u64 = 1 << 20;

/// Where a record begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) seq: u64,
    pub(crate) position: u64,
    pub(crate) offset: u64,
}

/// A file of the log.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) base: u64,
    /// Number of its first record.
    pub(crate) seq: u64,
    /// Bytes of the file.
    pub(crate) len: u64,
    /// Records to begin at. Empty for what an earlier process wrote.
    pub(crate) index: Vec<Place>,
}

/// What the reader finds in memory.
pub(crate) enum Step {
    /// The record.
    Memory(Record),
    /// It is in this file, and it can be looked for from this record on.
    Disk { base: u64, from: Option<Place> },
    /// It has not come yet.
    Empty,
    /// It will never come.
    Ended,
}

/// A failure for good. Each call that it concerns makes its own error of it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) context: String,
    pub(crate) cause: String,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) records: VecDeque<Record>,
    /// Of all `records`.
    pub(crate) memory: usize,
    /// Of the `records` that are not in a file yet.
    pub(crate) unwritten: usize,
    pub(crate) written_seq: u64,
    pub(crate) next_seq: u64,
    /// Position behind the last record.
    pub(crate) end: u64,
    /// Id in front of `records`, and behind them.
    pub(crate) front_replid: ReplId,
    pub(crate) replid: ReplId,
    pub(crate) stream_from: Option<u64>,
    /// Number of the record that the reader gets next; `u64::MAX` when it has gone.
    pub(crate) reader_seq: u64,
    pub(crate) segments: VecDeque<Segment>,
    /// Bytes of all files, with what is on its way into them.
    pub(crate) used: u64,
    pub(crate) released: u64,
    /// Segments that are to be deleted.
    pub(crate) doomed: Vec<Segment>,
    /// Everything in front of this position has reached the disk.
    pub(crate) durable: u64,
    /// The writer has gone.
    pub(crate) closed: bool,
    /// The writing thread has ended.
    pub(crate) ended: bool,
    /// Somebody waits for a change: see [`Shared::change`](crate::shared::Shared::change).
    pub(crate) waits: bool,
    /// The writing thread waits for more to write at once.
    pub(crate) lingers: bool,
    pub(crate) failed: Option<Failure>,
    pub(crate) disk_full: Option<(SystemTime, String)>,
    pub(crate) limit_reached: Option<(SystemTime, Instant)>,
    pub(crate) counts: Counts,
}

impl State {
    /// Number of the first record in memory.
    pub(crate) fn front_seq(&self) -> u64 {
        self.next_seq - self.records.len() as u64
    }

    /// Adds a record behind all others.
    pub(crate) fn push(&mut self, record: Record) {
        self.next_seq += 1;
        self.end = record.end();
        self.memory += record.cost();
        self.unwritten += record.cost();
        self.used += record.cost() as u64;
        match record.as_note() {
            Some(Note::Replid(id)) => self.replid = id,
            Some(Note::StreamFrom(from)) => self.stream_from = Some(from),
            None => {}
        }
        self.records.push_back(record);
        self.evict();
    }

    /// Whether more may wait to be written.
    pub(crate) fn has_memory(&self) -> bool {
        self.unwritten < self.limits.tail.div_ceil(2)
    }

    /// Whether the limit leaves so much room.
    pub(crate) fn has_disk(&self, cost: usize) -> bool {
        // Of two segments that follow each other at least one is half full.
        let segments = 2 * self.unwritten as u64 / self.limits.segment + 2;
        let overhead = segments * (SEGMENT_HEADER + RECORD_HEADER) as u64;
        self.used + cost as u64 + overhead <= self.limits.max_bytes
    }

    /// A file was begun for what comes next.
    pub(crate) fn add_segment(&mut self, base: u64, seq: u64) {
        self.used += SEGMENT_HEADER as u64;
        self.segments.push_back(Segment { base, seq, len: SEGMENT_HEADER as u64, index: Vec::new() });
    }

    /// The first `n` records that were not in a file are now at the end of the last one.
    pub(crate) fn wrote(&mut self, n: usize) {
        let first = (self.written_seq - self.front_seq()) as usize;
        let Some(last) = self.segments.back_mut() else { return };
        for record in self.records.range(first..first + n) {
            if last.index.last().is_none_or(|place| last.len - place.offset >= INDEX_EVERY) {
                last.index.push(Place { seq: record.seq, position: record.position, offset: last.len });
            }
            last.len += record.cost() as u64;
            self.unwritten -= record.cost();
        }
        self.written_seq += n as u64;
        self.evict();
        // What was released before it was in a file can go now.
        self.release();
    }

    /// Drops from memory what has done its duty there.
    pub(crate) fn evict(&mut self) {
        while let Some(front) = self.records.front()
            && front.seq < self.written_seq
            && (front.seq < self.reader_seq || self.memory > self.limits.tail)
        {
            self.memory -= front.cost();
            if let Some(Note::Replid(id)) = front.as_note() {
                self.front_replid = id;
            }
            self.records.pop_front();
        }
    }

    /// Where record `seq` is.
    pub(crate) fn step(&self, seq: u64) -> Step {
        if let Some(i) = seq.checked_sub(self.front_seq()) {
            return match self.records.get(i as usize) {
                Some(record) => Step::Memory(record.clone()),
                None if self.closed => Step::Ended,
                None => Step::Empty,
            };
        }
        let i = self.segments.partition_point(|segment| segment.seq <= seq).saturating_sub(1);
        let Some(segment) = self.segments.get(i) else { return Step::Empty };
        let known = segment.index.partition_point(|place| place.seq <= seq).checked_sub(1);
        Step::Disk { base: segment.base, from: known.and_then(|i| segment.index.get(i)).copied() }
    }

    /// Marks segments for deletion. Whether there are any.
    pub(crate) fn release(&mut self) -> bool {
        while self.can_drop_first() {
            self.doomed.extend(self.segments.pop_front());
        }
        !self.doomed.is_empty()
    }

    fn can_drop_first(&self) -> bool {
        let Some(next) = self.segments.get(1) else { return false };
        if next.base > self.released || next.seq > self.reader_seq {
            return false;
        }
        if next.base <= self.released.saturating_sub(self.limits.margin) {
            return true;
        }
        // Tiny blocks take far more room in files than they have bytes. They must not make the margin outgrow the limit.
        let holder = self.segments.partition_point(|segment| segment.base <= self.released) - 1;
        self.segments.range(1..holder.max(1)).map(|segment| segment.len).sum::<u64>() >= 2 * self.limits.margin.max(1)
    }
}
