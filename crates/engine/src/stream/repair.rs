//! Standing still for a repair, and writing at the offset for which the source has answered: see `crate::repair`.
//!
//! Invariants:
//! - While there is something to write at an offset, no byte behind it is decoded.
//! - What is written is a command of the stream in all else: the same rules, names, databases, deadlines and forms. What
//!   would end the task there is taken out of the batch again, and is the reason why the key was not copied.
//! - It is in one batch, outside any transaction of the source, and the offset does not move. Sources up to 6.0 tell an offset
//!   behind the MULTI of the transaction in which they were asked, of which nothing has been run then: in front of it is the
//!   same.

use keyferry_keyspace::{
    Flavor, Kind,
    command::{CommandName, classify},
};
use keyferry_model::{Error, ErrorKind, Result, Side, failpoint};
use keyferry_resp::{
    Limits,
    request::{self, Scanner},
};
use tokio::sync::mpsc;

use super::{apply::Apply, chosen::kind_of_payload};
use crate::{
    repair::{Repaired, Values},
    stats::lock,
    target::{Batch, What},
};

/// A payload may be compressed, and small beside the commands that build its value: those are bounded, too.
const MAX_WRITTEN: usize = 64 << 20;

impl Apply<'_> {
    /// Decodes commands until the batch is full or bytes are missing (`false`).
    pub(super) fn decode_requests(&mut self, scanner: &mut request::Scanner) -> Result<bool> {
        let input = std::mem::take(&mut self.input);
        let (all, mut used) = (input.bytes(), 0);
        let shown = self.shown(all);
        let result = self.read_requests(scanner, shown, &mut used);
        let hidden = shown.len() < all.len();
        self.keep_transaction(&all[..used]);
        self.input = input;
        self.input.consume(used);
        Ok(result? || self.repair.is_some() && self.write_repair(hidden))
    }

    fn read_requests(&mut self, scanner: &mut request::Scanner, input: &[u8], used: &mut usize) -> Result<bool> {
        while !self.batch.is_full() || self.in_transaction {
            match scanner.next(&input[*used..]) {
                Ok(Some(request)) => {
                    *used += request.bytes().len();
                    self.on_request(&request)?;
                }
                Ok(None) => return Ok(false),
                Err(e) => {
                    let what = format!("read the stream behind offset {}", self.offset);
                    return Err(Error::new(ErrorKind::Protocol(Side::Source), what).caused_by(e));
                }
            }
        }
        Ok(true)
    }

    /// What may be decoded of the next bytes of the stream.
    fn shown<'i>(&self, input: &'i [u8]) -> &'i [u8] {
        let Some(values) = &self.repair else { return input };
        let left = usize::try_from(values.offset.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        &input[..input.len().min(left)]
    }

    /// Between two chunks: stands still until it is known what is to be written, and where.
    pub(super) async fn stand_still(
        &mut self,
        batches: &mpsc::Sender<Batch>,
        spare: &mut mpsc::Receiver<Batch>,
    ) -> Result<()> {
        // Nothing that is decoded waits for it.
        self.hand_on(batches, spare).await?;
        let Some(halt) = self.stats.control.repairs.take_halt() else { return Ok(()) };
        // What is there of an earlier one nobody waits for any more.
        self.repair = None;
        if self.checkpoint.snapshot.is_some() || self.guard.is_none() {
            return Ok(());
        }
        self.repair = halt.stand(self.offset, self.stats).await;
        self.write_repair(false);
        Ok(())
    }

    /// When all is decoded that may be: writes what is to be written here. `hidden`: bytes behind its offset have come. `false`
    /// when there is nothing to do but to wait for bytes.
    fn write_repair(&mut self, hidden: bool) -> bool {
        let here = |values: &mut Values| hidden || values.offset <= self.offset;
        let Some(values) = self.repair.take_if(here) else { return false };
        let why = if values.offset != self.offset || self.in_transaction && !self.transaction_is_empty() {
            "no command of the stream ends where the source was when it was asked"
        } else if *lock(&self.stats.replid) != Some(values.history) {
            "the source has another history now: compare again"
        } else if values.said.is_closed() {
            return true;
        } else {
            self.write_values(values);
            return true;
        };
        let _ = values.said.send(Err(why.into()));
        true
    }

    fn write_values(&mut self, values: Values) {
        let Values { db, read_ms, commands, said, .. } = values;
        let (source_db, now_ms) = (self.source_db, self.now_ms);
        let (age_ms, lacks) = (self.expiry.age_ms, self.older.with_all_payloads());
        (self.source_db, self.now_ms) = (db, read_ms);
        self.look_at_delay();
        let reasons = (0..).zip(&commands).map(|(place, command)| self.write_one(place, command).err()).collect();
        (self.source_db, self.now_ms) = (source_db, now_ms);
        self.expiry.age_ms = age_ms;
        self.older.set_lacks(lacks);
        let repaired = Repaired { said, reasons };
        if repaired.reasons.iter().all(Option::is_some) {
            return repaired.say();
        }
        if self.in_transaction {
            self.begin_transaction_here();
        } else {
            self.batch.applied = Some(self.offset);
        }
        self.batch.repaired = Some(repaired);
        failpoint("repair-decoded");
    }

    /// Writes the command of the key with this place as if it had come; the reason when that cannot be, and then the batch is
    /// as before.
    fn write_one(&mut self, place: u32, command: &[u8]) -> Result<(), String> {
        let before = (self.batch.bytes.len(), self.batch.expects.len(), self.lane_db);
        let (missing, unsupported) = (self.missing_database, self.stats.unsupported());
        let request = match Scanner::new(Limits::default()).next(command) {
            Ok(Some(request)) => request,
            Ok(None) | Err(_) => return Err("its command cannot be read".into()),
        };
        self.must_be_ours(&request)?;
        let why = match self.judge(classify(request.name()), &request) {
            Err(e) => e.to_string(),
            Ok(()) if self.missing_database != missing => "the target has no such database".into(),
            Ok(()) if self.batch.expects.len() == before.1 => "the rules of the task leave it out".into(),
            Ok(()) if self.is_left_out(&request, before.1) => "the target cannot hold it".into(),
            Ok(()) if self.batch.bytes.len() - before.0 > MAX_WRITTEN => {
                format!("as commands it takes more than {} MiB", MAX_WRITTEN >> 20)
            }
            Ok(()) => {
                self.make_a_try(place, before.1);
                return Ok(());
            }
        };
        self.batch.cut(before.0, before.1);
        (self.lane_db, self.missing_database) = (before.2, missing);
        self.stats.set_unsupported(unsupported);
        Err(why)
    }

    /// What is written behind the first notes, when that is one command: others have the place of the value to themselves.
    fn only_command(&self, from: usize) -> Option<CommandName> {
        let mut added = self.batch.expects[from..].iter().filter(|expect| expect.what != What::Select);
        let (Some(expect), None) = (added.next(), added.next()) else { return None };
        let request = Scanner::new(Limits::default()).next(&self.batch.bytes[expect.at..]).ok().flatten()?;
        Some(CommandName::new(request.name()))
    }

    /// Whether of a value nothing is written but that it is gone, as the stream would have it: the user has chosen to leave
    /// out what the target cannot hold.
    fn is_left_out(&self, request: &request::Request<'_>, from: usize) -> bool {
        request.arg(3).is_some() && self.only_command(from).is_some_and(|name| name.as_str() == "DEL")
    }

    /// The target may refuse it and the task goes on: it may be another server by now than the one that was asked what it reads.
    fn make_a_try(&mut self, place: u32, from: usize) {
        let tells = self.restore.server.flavor == Flavor::Other;
        match self.only_command(from) {
            Some(_) => self.batch.try_last(place, tells),
            None => self.batch.try_build(place, from, &self.restore.place, tells),
        }
    }

    /// A value of a type that is left out may be the target's own. In the stream nothing can be seen of that.
    fn must_be_ours(&self, request: &request::Request<'_>) -> Result<(), String> {
        match request.arg(3).and_then(kind_of_payload) {
            Some(kind) if !self.objects.allows_type(kind) => Err("the rules of the task leave its type out".into()),
            None if !Kind::ALL.into_iter().all(|kind| self.objects.allows_type(kind)) => {
                Err("the source has none, and by the types that the task leaves out it may be the target's own".into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
