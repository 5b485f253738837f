//! Whether anything was lost, doubled or split.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::{items, writer::lock};
use crate::{
    Server,
    oracle::{self, Options},
};

/// What `--ttl-grace` is by default.
const GRACE_MS: u64 = 30_000;
/// Between two samples.
const SAMPLE: Duration = Duration::from_millis(20);

/// Compares both servers, of which the source has seen so many `steps` of each item. Nobody writes meanwhile.
pub(super) fn judge(source: &Server, target: &Server, steps: &[u64]) -> Result<()> {
    let (mut ours, mut theirs) = (source.conn()?, target.conn()?);
    let mut wrong = Vec::new();
    for (item, &steps) in items::all().iter().zip(steps) {
        let on_source = item.measure(&mut ours).context("on the source")?;
        ensure!(on_source == steps, "{item:?}: the source has {on_source} steps instead of {steps}");
        match item.measure(&mut theirs) {
            Ok(n) if n == steps => {}
            Ok(n) => wrong.push(format!("{item:?}: {n} steps instead of {steps}")),
            Err(e) => wrong.push(format!("{e:#}")),
        }
    }
    let options = Options { ttl_grace_ms: GRACE_MS, exact_groups: false, max_listed: 30, ..Options::default() };
    let report = oracle::compare(&source.url(), &target.url(), &options)?;
    if !report.is_equal() || !wrong.is_empty() {
        bail!("BOTH SIDES DIFFER\n  {}\n{report}", wrong.join("\n  "));
    }
    Ok(())
}

/// Looks at counters of one transaction while all goes on.
pub(super) struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    url: Mutex<String>,
    samples: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Sampler {
    pub(super) fn start(url: &str) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            url: Mutex::new(url.to_owned()),
            samples: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        let of_thread = Arc::clone(&shared);
        Self { shared, thread: Some(thread::spawn(move || sample(&of_thread))) }
    }

    /// Another server is the target now.
    pub(super) fn look_at(&self, url: &str) {
        url.clone_into(&mut lock(&self.shared.url));
    }

    pub(super) fn samples(&self) -> u64 {
        self.shared.samples.load(SeqCst)
    }

    pub(super) fn check(&self) -> Result<()> {
        match &*lock(&self.shared.failure) {
            Some(failure) => bail!("{failure}"),
            None => Ok(()),
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn sample(shared: &Shared) {
    let items = items::all();
    while !shared.stop.load(SeqCst) {
        thread::sleep(SAMPLE);
        let url = lock(&shared.url).clone();
        let open = || -> Result<redis::Connection> {
            let conn = redis::Client::open(url.as_str())?.get_connection_with_timeout(Duration::from_secs(1))?;
            conn.set_read_timeout(Some(Duration::from_secs(4)))?;
            Ok(conn)
        };
        let Ok(mut conn) = open() else { continue };
        while !shared.stop.load(SeqCst) && *lock(&shared.url) == url {
            let looked: Result<Vec<bool>> = items.iter().map(|item| item.sample(&mut conn)).collect();
            match looked {
                Ok(seen) => drop(shared.samples.fetch_add(seen.iter().filter(|seen| **seen).count() as u64, SeqCst)),
                Err(e) if e.downcast_ref::<redis::RedisError>().is_some() => break,
                Err(e) => {
                    lock(&shared.failure).get_or_insert(format!("{e:#}"));
                }
            }
            thread::sleep(SAMPLE);
        }
    }
}
