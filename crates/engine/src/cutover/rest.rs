//! Until the source rests: where nobody writes any more, its offset is the same as before, or, before 6.2, what lies between has
//! run out.

use std::time::{Duration, Instant};

use keyferry_model::{Error, ErrorKind, Result, Side};
use tokio::time::sleep;

use super::{
    Cutover, LOOK, Pause,
    seen::{is_much, written},
};
use crate::{
    source::{Report, ask},
    stats::lock,
};

/// How long a source must rest that refuses writes but for those in scripts, and in transactions that were begun before.
const LEAK: Duration = Duration::from_millis(300);
/// A source that has not moved for this long is written to by nobody, where nothing else can tell.
const STILL: Duration = Duration::from_secs(2);
/// The answers of the source that have to be the same, and how often it is asked for them.
const ANSWERS: usize = 5;

impl Cutover<'_> {
    /// Waits until the source has not moved for some time; gives when it has moved last.
    pub(super) async fn stillness(&self, time: Duration) -> Result<Instant> {
        let end = Instant::now() + time;
        let (mut last, mut since) = (self.report().await?, Instant::now());
        while since.elapsed() < STILL {
            if Instant::now() >= end {
                let what = format!("wait until nobody writes to the source: it has moved for {time:?}");
                return Err(Error::new(ErrorKind::CutoverUndone, what));
            }
            sleep(LOOK).await;
            let asked = Instant::now();
            let now = self.report().await?;
            if now != last {
                (last, since) = (now, asked);
            }
        }
        Ok(since)
    }

    /// See [`written()`].
    async fn written(&self, between: [u64; 2], pause: &Pause) -> Result<u64> {
        let history = lock(&self.task.stats.replid).ok_or_else(another_history)?;
        written(self.task.source, history, between, pause).await
    }

    /// The source's offset, twice the same. In a pause nothing but its PINGs moves it. Before 6.2 scripts may write on, and
    /// transactions that were begun: there it has to rest, but for what runs out.
    pub(super) async fn offset(&self, pause: &Pause) -> Result<u64> {
        let leaks = matches!(pause, Pause::Replicas { .. });
        let mut last = self.report().await?;
        for _ in 1..ANSWERS {
            if leaks {
                sleep(LEAK).await;
            }
            let now = self.report().await?;
            if now == last || leaks && !is_much([last, now]) && self.written([last, now], pause).await? == 0 {
                return Ok(now);
            }
            last = now;
        }
        match leaks {
            false => Ok(last),
            true => {
                let what = "pause writes at the source: something still writes there, such as scripts, which this version does not refuse; stop the writers and use --source-pause manual";
                Err(Error::new(ErrorKind::CutoverUndone, what))
            }
        }
    }

    /// The source's offset in the history that is followed.
    async fn report(&self) -> Result<u64> {
        let section = if self.facts.source.redis >= (4, 0, 0) { "replication" } else { "default" };
        let Report { history, offset } = ask(&mut None, self.task.source, section).await?;
        match history.is_some() && history == *lock(&self.task.stats.replid) {
            true => Ok(offset),
            false => Err(another_history()),
        }
    }
}

fn another_history() -> Error {
    Error::new(ErrorKind::Lost(Side::Source), "ask the source: it has another history now")
}
