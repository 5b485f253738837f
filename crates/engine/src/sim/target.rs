//! The target: its data, what its clients have under way, and the states in which it refuses.

use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{DuplexStream, duplex},
    sync::Notify,
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep},
};

use super::{
    Rng, Shared, Trace, connection,
    judge::Held,
    model::{Key, number},
    source::Source,
};
use crate::Stats;

mod commands;

pub(super) use commands::{Client, Refusal};

pub(super) const CHECKPOINT: &[u8] = b"__keyferry_checkpoint:t";

/// What has to happen in a thousand cases.
pub(super) const MUST_HAPPEN: [&str; 20] = [
    "batches",
    "batches kept out",
    "batches refused",
    "batches with held deadlines",
    "broken",
    "connections cut",
    "fail-overs",
    "fence touched",
    "holds",
    "holds within a transaction",
    "kills",
    "late commands",
    "processes that were told so",
    "processes taken over",
    "refusals: BUSY",
    "refusals: LOADING",
    "refusals: OOM",
    "refusals: READONLY",
    "resumed within the snapshot",
    "silences",
];

struct State {
    source: Rc<Source>,
    /// Counts fail-overs: connections of an earlier one are gone.
    generation: u64,
    held: Held,
    /// What a replica has, which takes over when the target fails.
    saved: Held,
    /// When a watched key was written last, counted.
    touched: BTreeMap<Key, u64>,
    clock: u64,
    /// Why it refuses now, and for how many commands more.
    refusing: Option<(Refusal, u64)>,
    /// The fence was refused: from then on there may be holes, which have to be found.
    unfenced: bool,
    watching: Vec<(Rc<Stats>, u64)>,
    fault: Option<String>,
    rng: Rng,
    trace: Shared<Trace>,
    tasks: Vec<JoinHandle<()>>,
    finished: BTreeSet<u64>,
    started: Instant,
}

pub(super) struct Target {
    pub(super) source: Rc<Source>,
    state: RefCell<State>,
    /// How many faults are still to come.
    pub(super) faults: Cell<u64>,
    connections: Cell<u64>,
    pub(super) failed_over: Notify,
}

impl Target {
    pub(super) fn new(source: Rc<Source>, rng: &mut Rng, trace: Shared<Trace>) -> Rc<Self> {
        let state = State {
            source: Rc::clone(&source),
            generation: 0,
            held: Held::default(),
            saved: Held::default(),
            touched: BTreeMap::new(),
            clock: 0,
            refusing: None,
            unfenced: false,
            watching: Vec::new(),
            fault: None,
            rng: rng.fork(),
            trace,
            tasks: Vec::new(),
            finished: BTreeSet::new(),
            started: Instant::now(),
        };
        let faults = Cell::new(rng.below(10));
        Rc::new(Self {
            source,
            state: RefCell::new(state),
            faults,
            connections: Cell::default(),
            failed_over: Notify::new(),
        })
    }

    fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Puts a checkpoint there, as the start of a task does.
    pub(super) fn begin(&self, v: &[u8]) {
        let mut state = self.state();
        let args = [b"HMSET", CHECKPOINT, b"v", v, b"n", b"0"].map(|arg: &[u8]| arg.to_vec());
        state.held.model.write(0, &args);
        state.saved = state.held.clone();
    }

    /// A new connection.
    pub(super) fn connect(self: &Rc<Self>) -> DuplexStream {
        let mut rng = self.state().rng.fork();
        let (ours, theirs) = duplex(64 << rng.below(10));
        let id = self.connections.replace(self.connections.get() + 1);
        let task = spawn_local(connection::serve(Rc::clone(self), theirs, id, rng));
        self.state().tasks.push(task);
        ours
    }

    pub(super) fn generation(&self) -> u64 {
        self.state.borrow().generation
    }

    /// Looks from now on whether `stats` claims too much, until the next fail-over.
    pub(super) fn watch(&self, stats: &Rc<Stats>) {
        let generation = self.generation();
        let mut state = self.state();
        state.watching.retain(|(other, _)| !Rc::ptr_eq(other, stats));
        state.watching.push((Rc::clone(stats), generation));
    }

    pub(super) fn count(&self, what: &'static str) {
        let state = self.state.borrow();
        *state.trace.borrow_mut().counts.entry(what).or_default() += 1;
    }

    pub(super) fn event(&self, what: &str) {
        let state = self.state.borrow();
        let at = state.started.elapsed().as_secs_f64();
        let writes = state.held.writes;
        state.trace.borrow_mut().events.push(format!("{at:9.3} s, {writes:3} writes: {what}"));
    }

    pub(super) fn fault(&self) -> Option<String> {
        self.state.borrow().fault.clone()
    }

    pub(super) fn fail(&self, what: &str) {
        self.state().fault.get_or_insert(what.to_owned());
    }

    pub(super) fn is_holed(&self) -> bool {
        self.state.borrow().held.holed
    }

    /// Whether the position says that batches are missing.
    pub(super) fn shows_hole(&self) -> bool {
        let (state, key) = (self.state.borrow(), (0, CHECKPOINT.to_vec()));
        let field = |name: &[u8]| state.held.model.field(&key, name).unwrap_or_default().to_vec();
        field(b"v")[12..20] != number(&field(b"n")).unwrap_or(-1).to_le_bytes()
    }

    /// All that is to come has come: it does not fall back any more, since nobody would write again.
    pub(super) fn finish(&self, holder: u64) {
        self.state().finished.insert(holder);
    }

    pub(super) fn judge_end(&self) -> Result<(), String> {
        self.source.judge_end(&self.state.borrow().held)
    }

    /// Waits until so many writes are there.
    pub(super) async fn wait_for(&self, writes: usize) {
        while Ref::map(self.state.borrow(), |state| &state.held).writes < writes && self.fault().is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until nothing is under way.
    pub(super) async fn rest(&self) {
        let tasks = std::mem::take(&mut self.state().tasks);
        for task in tasks {
            if let Err(e) = task.await {
                std::panic::resume_unwind(e.into_panic());
            }
        }
    }

    pub(super) fn refuse(&self, refusal: Refusal, commands: u64) {
        self.count(match refusal {
            Refusal::Oom => "refusals: OOM",
            Refusal::ReadOnly => "refusals: READONLY",
            Refusal::Busy => "refusals: BUSY",
            Refusal::Loading => "refusals: LOADING",
        });
        self.event(&format!("refuses {commands} commands: {refusal:?}"));
        self.state().refusing = Some((refusal, commands));
    }

    /// Loses what the replica does not have, and all connections.
    pub(super) fn fail_over(&self) {
        if !self.state.borrow().finished.is_empty() {
            return;
        }
        let mut state = self.state();
        state.held = state.saved.clone();
        state.refusing = None;
        state.generation += 1;
        drop(state);
        self.failed_over.notify_waiters();
        self.count("fail-overs");
        self.event("falls back");
    }
}
