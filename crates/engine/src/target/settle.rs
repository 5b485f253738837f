//! Setting deadlines right when the target has caught up, and holding them when it has fallen behind; see `hold.rs` and
//! `holding.rs`.
//!
//! The keys of the target are gone through while the stream goes on (`walk.rs`). What the stream moves meanwhile may be
//! missed: the stream settles what a RENAME, MOVE or COPY has made by itself from the moment on at which settling begins,
//! and counts what else may move keys ([`Stats::moves`]). A pass that holds may miss it.
//!
//! Invariants:
//! - Settling begins when everything that was written at the source while deadlines were held is on the target.
//! - It has ended when a whole pass has found nothing, and nothing was moved and no hold began while it went by.
//! - A pass holds nothing before the checkpoint on the target says that deadlines are being held, and settles nothing before
//!   it says that they are not. Neither is done for a task that somebody else has: what is held is always settled by someone,
//!   and by nobody too early.

use std::{
    cell::Cell,
    future::pending,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use keyferry_keyspace::objects::Objects;
use keyferry_model::{Error, ErrorKind, Result, Side, failpoint};
use keyferry_net::Connection;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    hold::settle_at_once,
    position::Place,
    refusal::ask,
    walk::{Change, LOOK, Pass, Walk},
};
use crate::{Stats, holding::Bounds};

/// Takes held deadlines back when the target has caught up, and holds them when it is far behind.
pub(crate) struct Settler<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) stats: &'a Stats,
    pub(crate) objects: &'a Objects,
    pub(crate) grace: Duration,
    pub(crate) retry_window: Option<Duration>,
    pub(crate) stop: &'a CancellationToken,
    /// That of the last connection.
    pub(crate) epoch: &'a Cell<u64>,
    /// When the stream holds deadlines.
    pub(crate) hold: Option<Bounds>,
    /// All that is chosen of the target is the task's own, and may be held. Otherwise there may be keys of others, whose
    /// deadlines are their own.
    pub(crate) owns_keys: bool,
}

/// Asks the target, without changing anything, whether it lets deadlines be settled.
///
/// Errors: `Permission` and others of the target.
pub(crate) async fn try_out(conn: &mut Connection) -> Result<()> {
    let asked = async {
        ask(conn, &[b"SCAN", b"0", b"COUNT", b"1"]).await?;
        let nothing = b"__keyferry_nothing";
        ask(conn, &settle_at_once(nothing, nothing, b"0", b"1")).await
    };
    match asked.await {
        // What a script is not allowed to do is said in many words.
        Err(e) if matches!(e.kind(), ErrorKind::CommandRefused | ErrorKind::UnsupportedByTarget) => {
            Err(Error::new(ErrorKind::Permission(Side::Target), "try out how deadlines are set").caused_by(e))
        }
        result => result.map(|_| ()),
    }
}

impl Settler<'_> {
    /// Holds and settles deadlines as the delay asks for it, until `stop`.
    ///
    /// Errors: those that trying again cannot help, such as `Permission`.
    pub(crate) async fn run(self) -> Result<()> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(()),
            () = self.watch() => Ok(()),
            result = Box::pin(self.work()) => result,
        }
    }

    /// Looks at the delay, also while a pass goes by. It never ends.
    async fn watch(&self) {
        let Some(bounds) = self.hold else { return pending().await };
        loop {
            self.stats.watch_delay(bounds);
            sleep(LOOK).await;
        }
    }

    /// A target that has fallen back may have held deadlines again, and others not any more. It never ends but with an error.
    async fn work(&self) -> Result<()> {
        let mut held = None;
        loop {
            let round = self.stats.round();
            if self.stats.is_holding() {
                if self.owns_keys && held != Some(round) && self.hold().await? {
                    held = Some(round);
                }
            } else if !self.stats.is_settled() && self.stats.has_caught_up() {
                self.settle().await?;
            }
            sleep(LOOK).await;
        }
    }

    /// Holds what was written before holding began; `false` when that is to be tried again.
    async fn hold(&self) -> Result<bool> {
        let seq = self.stats.held_seq.get();
        // What was decoded before is on the target with this batch.
        if seq == 0 || !self.stats.is_copied() || self.stats.has_lost_target() {
            return Ok(false);
        }
        let mut walk = Walk::new(self, Change::Hold { seq }, self.stats.held_fields.load(Relaxed));
        if !walk.may_begin().await? {
            return Ok(false);
        }
        failpoint("hold-begun");
        match walk.all().await? {
            Pass::Whole(deadlines) => {
                failpoint("hold-ended");
                tracing::debug!(deadlines, "what was on the target is held");
                Ok(true)
            }
            Pass::Cut => Ok(false),
        }
    }

    async fn settle(&self) -> Result<()> {
        let mut found = 0;
        let round = self.stats.round();
        while !self.stats.is_settled() && self.stats.round() == round {
            // What was decoded before this moment is on the target behind this wait, counted or settled by the stream.
            self.stats.settling.store(true, Relaxed);
            let moves = self.stats.moves.get();
            let begun = Instant::now();
            while !self.stats.has_applied_since(begun) {
                if self.stats.round() != round {
                    return Ok(());
                }
                sleep(LOOK).await;
            }
            failpoint("pass-begun");
            let mut walk = Walk::new(self, Change::Settle, self.stats.held_fields.load(Relaxed));
            if !walk.may_begin().await? {
                return Ok(());
            }
            let Pass::Whole(n) = walk.all().await? else { return Ok(()) };
            failpoint("pass-ended");
            found += n;
            let same = self.stats.round() == round;
            if n == 0 && same && self.stats.moves.get() == moves {
                tracing::info!(deadlines = found, "no deadline is held any more");
                failpoint("settled");
                self.stats.settled.store(true, Relaxed);
            }
        }
        Ok(())
    }
}
