//! A transaction of the source of which the end has not come yet.
//!
//! What stands between MULTI and EXEC goes into one batch, so no checkpoint stands within it. When one is due and the rest
//! does not come, since the link was cut, the batch is cut in front of the MULTI and closed there. What has come of the
//! transaction is decoded again into the next batch: deadlines may have to be held by then.
//!
//! Invariants:
//! - What is kept are the bytes of the source from MULTI to the last command that was decoded, or nothing: a transaction of
//!   which more than [`KEPT`] came has to end before a checkpoint can be written.
//! - Nothing in front of the MULTI is changed by what stands behind it: no SET is joined to one in front.

use keyferry_model::Result;

use super::apply::Apply;

/// So many bytes of a transaction are kept; as commands they are in memory already.
const KEPT: usize = 8 << 20;
/// Bytes of a MULTI.
const MULTI: u64 = b"*1\r\n$5\r\nMULTI\r\n".len() as u64;

/// Where everything was in front of the MULTI of the last transaction, and what has come of it.
#[derive(Default)]
pub(super) struct Open {
    /// Lengths of the batch.
    bytes: usize,
    expects: usize,
    pub(super) offset: u64,
    source_db: u32,
    lane_db: Option<u32>,
    /// When the bytes were received. The source has run all of it at once.
    now_ms: u64,
    raw: Vec<u8>,
    /// More has come than is kept.
    large: bool,
}

impl Apply<'_> {
    /// Behind a MULTI of so many bytes.
    pub(super) fn begin_transaction(&mut self, len: usize) {
        if std::mem::replace(&mut self.in_transaction, true) {
            return;
        }
        self.batch.set_end = 0;
        self.open.raw.clear();
        self.open = Open {
            bytes: self.batch.bytes.len(),
            expects: self.batch.expects.len(),
            offset: self.offset - len as u64,
            source_db: self.source_db,
            lane_db: self.lane_db,
            now_ms: self.now_ms,
            raw: std::mem::take(&mut self.open.raw),
            large: self.guard.is_none(),
        };
    }

    /// Whether of an open transaction nothing has come but its MULTI.
    pub(super) fn transaction_is_empty(&self) -> bool {
        self.offset - self.open.offset == MULTI
    }

    /// Of an open transaction nothing has come but its MULTI: what has been added behind that stands in front of it.
    pub(super) fn begin_transaction_here(&mut self) {
        self.batch.set_end = 0;
        self.open.bytes = self.batch.bytes.len();
        self.open.expects = self.batch.expects.len();
        self.open.lane_db = self.lane_db;
    }

    /// Keeps what has come of an open transaction. It ends where `decoded` ends, all of which has been.
    pub(super) fn keep_transaction(&mut self, decoded: &[u8]) {
        let open = &mut self.open;
        if !self.in_transaction || open.large {
            return;
        }
        let new = (self.offset - open.offset) as usize - open.raw.len();
        if open.raw.len() + new > KEPT {
            (open.raw, open.large) = (Vec::new(), true);
            return;
        }
        open.raw.extend_from_slice(&decoded[decoded.len() - new..]);
    }

    /// Whether the batch cannot be closed before the transaction has ended.
    pub(super) fn must_end_transaction(&self) -> bool {
        self.in_transaction && self.open.large
    }

    /// Takes out of the batch what has come of an open transaction.
    pub(super) fn cut_transaction(&mut self) {
        let Open { bytes, expects, offset, source_db, lane_db, .. } = self.open;
        self.batch.cut(bytes, expects);
        (self.offset, self.source_db, self.lane_db) = (offset, source_db, lane_db);
        self.in_transaction = false;
    }

    /// Decodes it once more, behind all that is in batches.
    pub(super) fn decode_transaction_again(&mut self) -> Result<()> {
        let raw = std::mem::take(&mut self.open.raw);
        let newest_ms = std::mem::replace(&mut self.now_ms, self.open.now_ms);
        self.look_at_delay();
        // It has been counted when it came.
        let (scripts, unsupported) = (self.stats.scripts.get(), self.stats.unsupported());
        self.each_written(&raw, Self::on_request)?;
        self.stats.scripts.set(scripts);
        self.stats.set_unsupported(unsupported);
        (self.open.raw, self.now_ms) = (raw, newest_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
