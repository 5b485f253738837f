//! Trying again after an error that can pass, a bounded number of times.

use std::time::Duration;

use keyferry_model::{Error, Result, Retry};
use tokio::time::sleep;

/// With the pauses between them, about half a minute: a server that restarts is back by then.
const TRIES: u32 = 12;
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(4);

/// How often something was tried since it last went well.
#[derive(Default)]
pub(crate) struct Patience {
    failed: u32,
}

impl Patience {
    /// It went well.
    pub(crate) fn rewarded(&mut self) {
        self.failed = 0;
    }

    /// Waits before the next try, or gives the error back.
    pub(crate) async fn again(&mut self, error: Error) -> Result<()> {
        if self.failed == TRIES || error.kind().policy().retry != Retry::Backoff {
            return Err(error);
        }
        let pause = (FIRST * 2_u32.pow(self.failed.min(10))).min(LONGEST);
        self.failed += 1;
        tracing::warn!(
            code = error.kind().policy().code,
            pause_ms = pause.as_millis() as u64,
            "{error}: is tried again"
        );
        sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use keyferry_model::{ErrorKind, Side};

    use super::*;

    fn lost() -> Error {
        Error::new(ErrorKind::Lost(Side::Source), "test")
    }

    #[tokio::test(start_paused = true)]
    async fn bounded_and_begun_again_after_success() {
        let mut patience = Patience::default();
        let begun = tokio::time::Instant::now();
        for _ in 0..TRIES {
            patience.again(lost()).await.unwrap();
        }
        assert!((25..45).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert!(patience.again(lost()).await.is_err());
        patience.rewarded();
        patience.again(lost()).await.unwrap();
        assert!(patience.again(Error::new(ErrorKind::Auth(Side::Target), "test")).await.is_err());
    }
}
