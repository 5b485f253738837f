//! One pipelined connection to the target; the unit of order.
//!
//! Invariants:
//! - Commands go out in the order in which they were handed over, and each reply is matched to the command that it
//!   answers by its place.
//! - `Stats::applied` moves only when every reply up to that offset is there and none of them is a refusal.
//! - A guarded batch (`guard.rs`) is applied as a whole or not at all, and never by one who was taken over.
//! - What is in flight is bounded ([`IN_FLIGHT`]) plus the one batch that crosses the bound.
//! - Reading never waits for writing: a target that answers before it reads on cannot block the lane.

use std::{io, sync::atomic::Ordering::Relaxed, time::Duration};

use keyferry_keyspace::command::CommandName;
use keyferry_model::{Error, ErrorKind, OnConflict, Result, ResultExt as _, Side, failpoint};
use keyferry_net::{ReadHalf, Stream, WriteHalf, first_word, safe_text};
use keyferry_resp::{Limits, reply, request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    batch::{Batch, Expect, What},
    refusal,
};
use crate::{Event, Stats};

/// Bytes in flight: 100 ms of round trip at 80 MB/s.
const IN_FLIGHT: usize = 8 * 1024 * 1024;
/// Longer than any command of a sane target takes; a FLUSHALL of a large target is sent as ASYNC for this reason.
const SILENCE: Duration = Duration::from_secs(120);
/// Shorter than any usual limit for idle connections: load balancers begin at 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Replies are short: some ten thousand of them fit.
const READ_BUFFER: usize = 64 * 1024;
const OK: &[u8] = b"+OK\r\n";
const QUEUED: &[u8] = b"+QUEUED\r\n";

mod flight;

use flight::{Counts, Flight, Place};

/// A connection to the target with what is in flight on it.
pub(crate) struct Lane<'a> {
    read: ReadHalf,
    write: WriteHalf,
    stats: &'a Stats,
    on_conflict: OnConflict,
    flight: Flight,
    /// What stands in front of a batch was refused, and the answer to its MULTI is still to come.
    refused: Option<Error>,
    /// Emptied batches go back to whoever fills them.
    spare: mpsc::Sender<Batch>,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(stream: Stream, stats: &'a Stats, on_conflict: OnConflict, spare: mpsc::Sender<Batch>) -> Self {
        let (read, write) = stream.into_split();
        Self { read, write, stats, on_conflict, flight: Flight::default(), refused: None, spare }
    }

    /// Writes batches until they end and every reply is there.
    pub(crate) async fn run(mut self, mut batches: mpsc::Receiver<Batch>) -> Result<()> {
        let mut scanner = reply::Scanner::new();
        let mut input = vec![0; READ_BUFFER];
        let mut ended = false;
        let mut unflushed = false;
        let mut silent_at = Instant::now() + SILENCE;
        let mut idle_at = Instant::now() + KEEP_ALIVE;
        let context = |what: &str| format!("{what} the target");
        while !(ended && self.flight.batches.is_empty()) {
            let full = self.flight.bytes >= IN_FLIGHT;
            tokio::select! {
                biased;
                // 1: replies first: they free the target's output buffer and make room for more. Also when none is
                // due, so that a closed connection is seen at once.
                n = self.read.read(&mut input) => {
                    let n = n.or_err(ErrorKind::Lost(Side::Target), || context("read from"))?;
                    if n == 0 {
                        let what = "read from the target: it closed the connection";
                        return Err(Error::new(ErrorKind::Lost(Side::Target), what));
                    }
                    self.on_replies(&mut scanner, &input[..n])?;
                    silent_at = Instant::now() + SILENCE;
                }
                // 2: then what waits to be written, or stands in a buffer of TLS.
                n = put(&mut self.write, self.flight.unwritten()), if unflushed || !self.flight.unwritten().is_empty() => {
                    let n = n.or_err(ErrorKind::Lost(Side::Target), || context("write to"))?;
                    unflushed = n > 0;
                    if n > 0 {
                        // One command may be larger than what a slow link carries in that time.
                        silent_at = Instant::now() + SILENCE;
                    }
                    let before = self.flight.writing;
                    self.flight.wrote(n);
                    if self.flight.writing > before {
                        failpoint("batch-written");
                    }
                    idle_at = Instant::now() + KEEP_ALIVE;
                }
                // 3: more work, while there is room for it.
                batch = batches.recv(), if !ended && !full => match batch {
                    Some(batch) => {
                        if self.flight.batches.is_empty() {
                            silent_at = Instant::now() + SILENCE;
                        }
                        self.flight.push(batch);
                        self.settle();
                    }
                    None => ended = true,
                },
                // 4: servers and what stands between drop connections on which nothing moves.
                () = sleep_until(idle_at), if !ended && self.flight.batches.is_empty() => {
                    let mut ping = Batch::default();
                    ping.command(What::KeepAlive, 0, &[b"PING"]);
                    self.flight.push(ping);
                    silent_at = Instant::now() + SILENCE;
                    idle_at = Instant::now() + KEEP_ALIVE;
                }
                // 5: a target that says nothing for this long while replies are due is gone.
                () = sleep_until(silent_at), if !self.flight.batches.is_empty() => {
                    let what = format!("wait for the target: no reply for {} s", SILENCE.as_secs());
                    return Err(Error::new(ErrorKind::Timeout(Side::Target), what));
                }
            }
        }
        Ok(())
    }

    fn on_replies(&mut self, scanner: &mut reply::Scanner, input: &[u8]) -> Result<()> {
        let mut counts = Counts::default();
        let result = self.match_replies(scanner, input, &mut counts);
        self.stats.keys.add(counts.keys);
        self.stats.kept.add(counts.kept);
        self.stats.commands.add(counts.commands);
        result?;
        self.settle();
        Ok(())
    }

    fn match_replies(&mut self, scanner: &mut reply::Scanner, mut input: &[u8], counts: &mut Counts) -> Result<()> {
        while !input.is_empty() {
            self.pass_over(scanner, &mut input, counts);
            let (used, summary) = scanner
                .feed(input)
                .or_err(ErrorKind::Protocol(Side::Target), || "read a reply of the target: it is not RESP".into())?;
            input = &input[used..];
            let Some(summary) = summary else { break };
            self.settle();
            let Some(place) = self.flight.batches.front().map(|b| Place::of(b, self.flight.answered)) else {
                let what = "read from the target: a reply that answers nothing";
                return Err(Error::new(ErrorKind::Protocol(Side::Target), what));
            };
            self.flight.answered += 1;
            let refused = summary.nested_error || summary.kind == reply::Kind::Error;
            let expect = match place {
                // The answer to MULTI decides what it means: without it the commands behind run one by one.
                Place::Prelude(_) if refused => {
                    let error = self.refused.take().unwrap_or_else(|| refusal::of_guard(scanner.error_text()));
                    if place.is_multi() {
                        return Err(self.broken(error));
                    }
                    self.refused = Some(error);
                    continue;
                }
                Place::Prelude(_) => match self.refused.take_if(|_| place.is_multi()) {
                    Some(error) => return Err(error),
                    None => continue,
                },
                Place::Queued(expect) if refused => return Err(self.refusal(expect, scanner.error_text())),
                Place::Queued(_) => {
                    if self.exec_is_next() {
                        scanner.open_next();
                    }
                    continue;
                }
                Place::Exec => match summary.kind {
                    reply::Kind::Array(_) => {
                        failpoint("exec-answered");
                        continue;
                    }
                    reply::Kind::Nil => {
                        let what = "write to the target: the checkpoint was changed by somebody else";
                        return Err(Error::new(ErrorKind::CheckpointChanged, what));
                    }
                    _ => return Err(refusal::of_guard(scanner.error_text())),
                },
                Place::Answer(expect) => expect,
            };
            match expect.what {
                What::Key if refused && self.keeps(scanner.error_text()) => counts.kept(),
                What::Setup if refused && self.keeps(scanner.error_text()) => {}
                What::Repair(place) if refused => self.not_repaired(place, scanner.error_text()),
                _ if refused => return Err(self.broken(self.refusal(expect, scanner.error_text()))),
                // `SET ... NX` or MSETNX on a key that is there, or a rebuilt one that has found one.
                What::Key | What::New | What::Move if absent(expect.what, summary.kind) => match self.on_conflict {
                    OnConflict::Ignore => counts.kept(),
                    _ => {
                        let refusal = self.refusal(expect, b"BUSYKEY Target key name already exists.");
                        return Err(self.broken(refusal));
                    }
                },
                What::Count(seq) if summary.kind != reply::Kind::Int(i64::try_from(seq).unwrap_or(-1)) => {
                    let what = "write to the target: commands were refused, and those behind them applied";
                    return Err(self.broken(Error::new(ErrorKind::Broken, what)));
                }
                // A key that was left out is missed too.
                What::Deadline if finds_nothing(summary) && self.stats.unsupported().is_empty() => {
                    let whose = if summary.greatest.is_some() { "any of the fields" } else { "the key" };
                    let what = format!("move a deadline at offset {}: the target no longer has {whose}", expect.offset);
                    return Err(self.broken(Error::new(ErrorKind::DeadlineMissed, what)));
                }
                What::Key | What::New | What::Move => counts.keys += u64::from(expect.count),
                What::Command | What::Deadline | What::Repair(_) => counts.commands += u64::from(expect.count),
                What::Select | What::Setup | What::Checkpoint | What::Count(_) | What::KeepAlive => {}
            }
        }
        Ok(())
    }

    /// Passes over the replies that nearly all are: `+QUEUED`, and `+OK` to a key or a command.
    fn pass_over(&mut self, scanner: &mut reply::Scanner, input: &mut &[u8], counts: &mut Counts) {
        let Some(batch) = self.flight.batches.front().filter(|_| scanner.is_between()) else { return };
        let left = batch.replies() - self.flight.answered;
        let all = batch.expects.len();
        let (line, n) = match (left > 0).then(|| Place::of(batch, self.flight.answered)) {
            Some(Place::Queued(_)) => {
                // Behind them come the header of EXEC's answer, and what each has answered.
                let queued = left - 1 - all;
                let n = input.chunks_exact(QUEUED.len()).take(queued).take_while(|reply| *reply == QUEUED).count();
                if n == queued {
                    scanner.open_next();
                }
                (QUEUED, n)
            }
            Some(Place::Answer(_)) => {
                let ok = input.chunks_exact(OK.len()).take_while(|reply| *reply == OK);
                let plain = ok.zip(&batch.expects[all - left..]).take_while(|(_, expect)| {
                    match expect.what {
                        What::Key => counts.keys += u64::from(expect.count),
                        What::Command => counts.commands += u64::from(expect.count),
                        What::Select => {}
                        _ => return false,
                    }
                    true
                });
                (OK, plain.count())
            }
            _ => return,
        };
        *input = &input[n * line.len()..];
        self.flight.answered += n;
    }

    /// Lets go of the batches whose replies are all there, and moves the applied offset.
    fn settle(&mut self) {
        while let Some(mut batch) = self.flight.pop_answered() {
            if batch.guarded {
                self.stats.knows_exact.store(batch.exact, Relaxed);
            }
            if let Some(offset) = batch.applied {
                self.stats.applied.set(offset);
                let first = !self.stats.copied.swap(true, Relaxed);
                if first {
                    failpoint("snapshot-applied");
                }
                if first {
                    self.stats.tell(Event::Copied { offset });
                    self.stats.is_now_copied();
                }
            }
            if let Some(position) = batch.position {
                self.stats.position.set(position);
                failpoint("position-moved");
            }
            if let Some(repaired) = batch.repaired.take() {
                failpoint("repair-applied");
                repaired.say();
            }
            if batch.wants_ack {
                self.stats.ack_now.notify_one();
            }
            batch.clear();
            // A full pool means that there is memory enough in it.
            let _ = self.spare.try_send(batch);
        }
    }

    /// The rest of a guarded batch applies all the same, and its checkpoint.
    fn broken(&self, error: Error) -> Error {
        let guarded = self.flight.batches.front().is_some_and(|batch| batch.guarded);
        self.stats.broken.fetch_or(guarded, Relaxed);
        error
    }

    /// A key that was to be copied again is not: that is no end of the task.
    fn not_repaired(&mut self, place: u32, text: &[u8]) {
        let repaired = self.flight.batches.front_mut().and_then(|batch| batch.repaired.as_mut());
        if let Some(reason) = repaired.and_then(|repaired| repaired.reasons.get_mut(place as usize)) {
            // Of several refusals the first is the reason for the others.
            reason.get_or_insert_with(|| format!("the target answers `{}`", safe_text(text)));
        }
    }

    /// Whether the next reply is that to the EXEC of the first batch.
    fn exec_is_next(&self) -> bool {
        self.flight.batches.front().is_some_and(|b| matches!(Place::of(b, self.flight.answered), Place::Exec))
    }

    /// Whether an error reply only says that the target has the key, or the library, and the user wants it kept.
    fn keeps(&self, text: &[u8]) -> bool {
        let contains = |part: &[u8]| text.windows(part.len()).any(|w| w == part);
        let there = contains(b"BUSYKEY") || text.starts_with(b"ERR Library") && contains(b"already exists");
        self.on_conflict == OnConflict::Ignore && there
    }

    fn name(&self, expect: Expect) -> CommandName {
        let bytes = self.flight.batches.front().and_then(|b| b.bytes.get(expect.at..)).unwrap_or_default();
        let request = request::Scanner::new(Limits::default()).next(bytes);
        CommandName::new(request.ok().flatten().map_or(b"?".as_slice(), |r| r.name()))
    }

    fn refusal(&self, expect: Expect, text: &[u8]) -> Error {
        let kind = refusal::kind_of(text, expect.what);
        let name = self.name(expect);
        // What a script says of itself is the user's own text.
        let script = matches!(name.as_str(), "EVAL" | "EVALSHA" | "FCALL");
        let shown = if script { first_word(text) } else { safe_text(text) };
        let at = match (expect.offset, expect.count) {
            (0, 1) => "of the snapshot".to_owned(),
            (0, count) => format!("of {count} keys of the snapshot"),
            (offset, 1) => format!("at offset {offset}"),
            (offset, count) => format!("for {count} SETs from offset {offset} on"),
        };
        Error::new(kind, format!("write to the target: it answers {name} {at} with `{shown}`"))
    }
}

/// Whether a reply says that the key was not written, since one is there.
fn absent(what: What, kind: reply::Kind) -> bool {
    match what {
        What::Move | What::New => kind == reply::Kind::Int(0),
        _ => kind == reply::Kind::Nil,
    }
}

/// Whether what moves deadlines has found nothing. Of several fields the source itself may lack some, but not all.
fn finds_nothing(summary: reply::Summary) -> bool {
    summary.kind == reply::Kind::Int(0) || summary.greatest == Some(-2)
}

/// Writes, or flushes when there is nothing to write. Dropping the future loses nothing that it had not reported.
async fn put(write: &mut WriteHalf, bytes: &[u8]) -> io::Result<usize> {
    match bytes.is_empty() {
        true => write.flush().await.map(|()| 0),
        false => write.write(bytes).await,
    }
}

#[cfg(test)]
mod tests;
