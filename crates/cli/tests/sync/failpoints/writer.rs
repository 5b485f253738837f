//! What is written at the source while processes die.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use keyferry_testkit::{Rng, Server};

/// Between two transactions: a process takes some tenths of a second to begin, and what it finds then should stay small.
const PACE: Duration = Duration::from_millis(2);
/// Beside each transaction where segments are to be filled: 2 MiB of the smallest spool.
const BIG: usize = 64 * 1024;

/// Counts up at the source, in transactions, and knows how far it has come.
pub(super) struct Writer {
    conn: redis::Connection,
    rng: Rng,
    /// Transactions that were answered.
    pub(super) steps: u64,
    /// Random bytes that go along with each.
    big: Option<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(source: &Server, seed: u64, big: bool) -> Self {
        let mut rng = Rng::new(seed);
        let big = big.then(|| rng.bytes(BIG));
        Self { conn: source.conn().unwrap(), rng, steps: 0, big }
    }

    /// The next number, on all three, and now and then a key with a deadline.
    pub(super) fn step(&mut self) {
        let n = self.steps;
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("INCR").arg("counter").cmd("RPUSH").arg("list").arg(n).cmd("APPEND").arg("text").arg("x");
        pipe.exec(&mut self.conn).unwrap();
        self.steps += 1;
        if self.rng.one_in(5) {
            let (key, ms) = (format!("deadline:{}", self.rng.below(20)), self.rng.range(1_000_000, 9_000_000));
            redis::cmd("SET").arg(key).arg(n).arg("PX").arg(ms).exec(&mut self.conn).unwrap();
        }
        if self.rng.one_in(7) {
            let (key, ms) = (format!("expiring:{}", self.rng.below(300)), self.rng.range(1_000_000, 9_000_000));
            redis::cmd("PEXPIRE").arg(key).arg(ms).exec(&mut self.conn).unwrap();
        }
        if let Some(big) = &self.big {
            redis::cmd("SET").arg(format!("big:{}", n % 8)).arg(big).exec(&mut self.conn).unwrap();
        }
    }

    pub(super) fn steps(&mut self, count: u64) {
        (0..count).for_each(|_| self.step());
    }

    /// Goes on in a thread of its own, until [`Running::stop`].
    pub(super) fn go_on(mut self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(SeqCst) {
                self.step();
                thread::sleep(PACE);
            }
            self
        });
        Running { stop, thread: Some(thread) }
    }
}

/// A writer at work. It ends with its owner.
pub(super) struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Writer>>,
}

impl Running {
    pub(super) fn stop(mut self) -> Writer {
        self.stop.store(true, SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}
