//! Where something is asked for while a stream is followed: one at a time, and only while there is somebody who does it.

use std::sync::Mutex;

use tokio::sync::Notify;

use crate::stats::lock;

/// Takes what is asked for.
pub(crate) struct Desk<T> {
    state: Mutex<State<T>>,
    came: Notify,
}

enum State<T> {
    /// Nobody is there who does it.
    Closed,
    Free,
    Waiting(T),
    /// The last one is being done.
    Busy,
}

/// Why something is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nobody is there who does it.
    Closed,
    /// Another one waits, or is being done.
    Busy,
}

impl<T> Default for Desk<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State::Closed), came: Notify::new() }
    }
}

impl<T> Desk<T> {
    /// Leaves it for whoever does it. It is dropped when nobody is there any more before that.
    pub(crate) fn ask(&self, asked: T) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        match *state {
            State::Closed => Err(Refused::Closed),
            State::Waiting(_) | State::Busy => Err(Refused::Busy),
            State::Free => {
                *state = State::Waiting(asked);
                self.came.notify_one();
                Ok(())
            }
        }
    }

    /// Whether one waits, or is being done.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(*lock(&self.state), State::Waiting(_) | State::Busy)
    }

    /// There is somebody who does it now, until what this gives is dropped.
    pub(crate) fn open(&self) -> Open<'_, T> {
        *lock(&self.state) = State::Free;
        Open(self)
    }
}

/// A desk with somebody at it.
pub(crate) struct Open<'a, T>(&'a Desk<T>);

impl<T> Open<'_, T> {
    /// The last one is done: from now on another one may be asked for.
    pub(crate) fn is_free(&self) {
        *lock(&self.0.state) = State::Free;
    }

    /// The next one that is asked for; the last one is done. Dropping the future loses nothing.
    pub(crate) async fn next(&self) -> T {
        loop {
            {
                let mut state = lock(&self.0.state);
                match std::mem::replace(&mut *state, State::Busy) {
                    State::Waiting(asked) => return asked,
                    State::Closed | State::Free | State::Busy => *state = State::Free,
                }
            }
            self.0.came.notified().await;
        }
    }
}

impl<T> Drop for Open<'_, T> {
    fn drop(&mut self) {
        *lock(&self.0.state) = State::Closed;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_and_only_while_somebody_is_there() {
        let desk = Desk::default();
        assert_eq!((desk.ask(1), desk.is_busy()), (Err(Refused::Closed), false));
        let open = desk.open();
        assert_eq!((desk.ask(2), desk.ask(3), desk.is_busy()), (Ok(()), Err(Refused::Busy), true));
        assert_eq!((open.next().await, desk.ask(4), desk.is_busy()), (2, Err(Refused::Busy), true));
        assert!(timeout(Duration::ZERO, open.next()).await.is_err());
        assert_eq!((desk.is_busy(), desk.ask(5)), (false, Ok(())), "the last one is done");
        assert_eq!(open.next().await, 5);
        open.is_free();
        let (next, asked) = tokio::join!(open.next(), async { desk.ask(6) });
        assert_eq!((next, asked), (6, Ok(())));
        open.is_free();
        assert_eq!(desk.ask(7), Ok(()));
        drop(open);
        assert_eq!((desk.ask(8), desk.is_busy()), (Err(Refused::Closed), false));
        let open = desk.open();
        assert!(timeout(Duration::ZERO, open.next()).await.is_err(), "what waited is dropped");
    }
}
