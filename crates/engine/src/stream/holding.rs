//! The stream's part in holding deadlines: it looks how old the bytes are that it decodes; see `crate::holding`.
//!
//! Invariant: between two looks nothing but the decoder runs, so what it writes is held exactly while holding lasts.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{sync::mpsc, time::sleep_until};

use super::apply::Apply;
use crate::{
    cutover::REST,
    source::{Chunk, now_ms},
};

impl Apply<'_> {
    /// Before the next commands are decoded, behind each wait: nothing is decoded with an older grace after that was changed.
    /// Not once for each command: it asks for the time.
    pub(super) fn look_at_delay(&mut self) {
        let lower = if self.stats.control.lower.load(Relaxed) { REST.as_millis() as u64 } else { u64::MAX };
        self.expiry.far_grace_ms = self.expiry.grace_ms.min(lower);
        // The deadlines of a snapshot are held anyway.
        let (Some(bounds), None) = (self.expiry.hold, self.checkpoint.snapshot) else { return };
        let age_ms = now_ms().saturating_sub(self.now_ms);
        let age = Duration::from_millis(age_ms);
        if age >= bounds.from {
            self.stats.begin_holding(Some(age));
        }
        self.expiry.holds = self.stats.is_holding();
        self.expiry.age_ms = age_ms;
    }

    /// The next chunk, when it comes before a checkpoint is due, or is wanted since deadlines are held.
    pub(super) async fn next_chunk(&self, chunks: &mut mpsc::Receiver<Chunk>) -> Option<Option<Chunk>> {
        tokio::select! {
            biased;
            chunk = chunks.recv() => Some(chunk),
            () = self.stats.hold_now.notified() => None,
            () = sleep_until(self.next_checkpoint()) => None,
        }
    }
}
