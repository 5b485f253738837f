//! Writes to the source, whatever happens to it, and knows what has to be there.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use redis::{Connection, Pipeline};

use super::items::{self, Item};
use crate::{Rng, wait};

/// Between two pipelines.
const PAUSE: Duration = Duration::from_millis(4);
/// Longer than any freeze: a command that nobody waits for any more would be executed behind the look at what is there.
const REPLY: Duration = Duration::from_secs(60);
/// Keys that expire, in each database.
const MORTALS: u64 = 60;
/// One value of a flood.
const DROP: usize = 128 * 1024;

/// A running writer. It is stopped on drop.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Nothing is to be written, and nothing is.
    pause: AtomicBool,
    paused: AtomicBool,
    /// Values of a flood that are still to be written.
    flood: AtomicU64,
    commands: AtomicU64,
    /// Steps of each item that the source has.
    steps: Mutex<Vec<u64>>,
    failure: Mutex<Option<String>>,
}

impl Writer {
    /// `durable`: what the source has answered outlives its end.
    pub(super) fn start(url: &str, seed: u64, durable: bool) -> Self {
        let shared = Arc::new(Shared::default());
        let items = items::all();
        *lock(&shared.steps) = vec![0; items.len()];
        let of_thread = Arc::clone(&shared);
        let mut hand = Hand {
            url: url.into(),
            rng: Rng::new(seed),
            durable,
            sent: vec![0; items.len()],
            items,
            shared: of_thread,
        };
        let thread = thread::spawn(move || {
            if let Err(e) = hand.run() {
                *lock(&hand.shared.failure) = Some(format!("{e:#}"));
            }
        });
        Self { shared, thread: Some(thread) }
    }

    pub(super) fn commands(&self) -> u64 {
        self.shared.commands.load(SeqCst)
    }

    /// Writes so many bytes more as fast as the source takes them.
    pub(super) fn flood(&self, bytes: u64) {
        self.shared.flood.store(bytes / DROP as u64, SeqCst);
    }

    /// Stops writing for now, and says how many steps of each item the source has.
    pub(super) fn pause(&self, patience: Duration) -> Result<Vec<u64>> {
        self.shared.pause.store(true, SeqCst);
        wait::poll("the writer to pause", patience, || {
            self.check()?;
            Ok(self.shared.paused.load(SeqCst).then(|| lock(&self.shared.steps).clone()))
        })
    }

    pub(super) fn go_on(&self) {
        self.shared.pause.store(false, SeqCst);
    }

    /// Fails when the source itself is not what it should be.
    pub(super) fn check(&self) -> Result<()> {
        match &*lock(&self.shared.failure) {
            Some(failure) => bail!("the source or its writer: {failure}"),
            None => Ok(()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Hand {
    url: String,
    rng: Rng,
    durable: bool,
    items: Vec<Item>,
    /// Steps of each item that were sent; the source has at most so many.
    sent: Vec<u64>,
    shared: Arc<Shared>,
}

impl Hand {
    fn run(&mut self) -> Result<()> {
        let mut conn = None;
        while !self.shared.stop.load(SeqCst) {
            let Some(open) = &mut conn else {
                thread::sleep(Duration::from_millis(10));
                conn = self.connect().ok();
                if let Some(open) = &mut conn
                    && !self.look(open)?
                {
                    conn = None;
                }
                continue;
            };
            if self.shared.pause.load(SeqCst) {
                self.shared.paused.store(true, SeqCst);
                thread::sleep(PAUSE);
                continue;
            }
            self.shared.paused.store(false, SeqCst);
            if self.write(open).is_err() {
                conn = None;
            } else if self.shared.flood.load(SeqCst) == 0 {
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    fn connect(&self) -> Result<Connection> {
        let conn = redis::Client::open(self.url.as_str())?.get_connection_with_timeout(REPLY)?;
        conn.set_read_timeout(Some(REPLY))?;
        Ok(conn)
    }

    /// Looks what of the last commands has reached the source; false when the connection is lost again.
    fn look(&mut self, conn: &mut Connection) -> Result<bool> {
        let mut found = Vec::new();
        for item in &self.items {
            match item.measure(conn) {
                Ok(n) => found.push(n),
                Err(e) if e.downcast_ref::<redis::RedisError>().is_some() => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        let mut steps = lock(&self.shared.steps);
        for ((item, &n), (&known, &sent)) in self.items.iter().zip(&found).zip(steps.iter().zip(&self.sent)) {
            ensure!(n <= sent, "{item:?} has {n} steps of {sent} that were sent");
            ensure!(n >= known || !self.durable, "{item:?} has {n} steps, and {known} were answered");
        }
        self.sent.clone_from(&found);
        *steps = found;
        Ok(true)
    }

    /// Writes one pipeline, whose parts may be any number of steps.
    fn write(&mut self, conn: &mut Connection) -> Result<()> {
        let mut pipe = redis::pipe();
        for _ in 0..self.rng.range(1, 8) {
            let i = self.rng.below(self.items.len() as u64) as usize;
            let item = self.items[i];
            pipe.cmd("SELECT").arg(item.db);
            item.step(&mut pipe, self.sent[i]);
            self.sent[i] += 1;
            if self.rng.one_in(3) {
                self.noise(&mut pipe);
            }
        }
        if self.shared.flood.load(SeqCst) > 0 {
            self.shared.flood.fetch_sub(1, SeqCst);
            let value = self.rng.bytes(DROP);
            pipe.cmd("SET").arg(format!("flood:{}", self.rng.below(4))).arg(value);
        }
        let count = pipe.len() as u64;
        pipe.exec(conn)?;
        lock(&self.shared.steps).clone_from(&self.sent);
        self.shared.commands.fetch_add(count, SeqCst);
        Ok(())
    }

    /// Keys that come, expire, are renewed, renamed and removed.
    fn noise(&mut self, pipe: &mut Pipeline) {
        let key = format!("mortal:{}", self.rng.below(MORTALS));
        let ms = self.rng.range(200, 5000);
        match self.rng.below(8) {
            0..4 => pipe.cmd("SET").arg(key).arg(ms).arg("PX").arg(ms),
            4 => pipe.cmd("PEXPIRE").arg(key).arg(ms),
            5 => pipe.cmd("DEL").arg(key),
            6 => pipe.cmd("SADD").arg(format!("set:{}", self.rng.below(5))).arg(self.rng.below(100)),
            _ => pipe.cmd("SPOP").arg(format!("set:{}", self.rng.below(5))),
        };
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
