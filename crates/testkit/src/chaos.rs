//! Everything goes wrong at once: a writer, two servers, the links between, the product, and a plan made from a seed.
//!
//! A round has servers of its own and consists of bouts. At the end of each bout all is healed, the writer pauses, and both
//! sides have to be equal: each number once and in order, every counter exact, no key too many. So what is found has its
//! cause within the last seconds. The plan follows from the seed; what it meets depends on the machine.

mod disk;
mod faults;
mod items;
mod judge;
mod plan;
mod product;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use faults::{Mode, Rig};
use judge::Sampler;
use plan::Side;
use product::Product;
use writer::Writer;

use crate::{Rng, data, wait};

/// One bout.
const BOUT: Duration = Duration::from_secs(12);
/// The bouts of a round; the next one has new servers.
const BOUTS: u32 = 8;
/// How long it may take until both sides are in step when nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at plan and product.
const LOOK: Duration = Duration::from_millis(10);
/// Keys that are there at the start.
const KEYS: u64 = 5000;
/// What tells that all before it is on the target.
const MARK: &str = "chaos:mark";

/// Source and target of a round.
const VERSIONS: [(&str, &str); 3] =
    [("redis-7.0", "redis-8.0"), ("redis-7.2", "redis-7.2"), ("redis-7.0", "valkey-8.1")];

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The product.
    pub binary: PathBuf,
    /// From which the plan follows.
    pub seed: u64,
    /// The time in which faults happen; what lies between is not counted.
    pub length: Duration,
    /// Asked all the time; an error ends the run.
    pub check: fn() -> Result<()>,
}

/// What has happened.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What was killed with kill -9, and how often.
    pub kills: BTreeMap<&'static str, u64>,
    /// Faults of all kinds.
    pub faults: u64,
    /// Bouts at whose end both sides were equal.
    pub bouts: u64,
    /// Snapshots that the product has read to their end.
    pub full_syncs: u64,
    /// Runs of the product that went on where another had been.
    pub resumed: u64,
    /// Starts of the product that found a server missing.
    pub not_there: u64,
    /// Commands that the source has answered.
    pub commands: u64,
    /// How often the disk of the product was filled. None where this process may not make a disk.
    pub disks_filled: u64,
    /// Looks at counters of one transaction on the target.
    pub samples: u64,
}

impl Outcome {
    /// All kills together.
    pub fn killed(&self) -> u64 {
        self.kills.values().sum()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kills: Vec<String> = self.kills.iter().map(|(what, n)| format!("{n} {what}")).collect();
        write!(
            f,
            "{} bouts equal; {} faults, of them {} kills ({}) and {} full disks; {} commands; {} full syncs, {} runs \
             went on, {} starts without a server; {} samples",
            self.bouts,
            self.faults,
            self.killed(),
            kills.join(", "),
            self.disks_filled,
            self.commands,
            self.full_syncs,
            self.resumed,
            self.not_there,
            self.samples
        )
    }
}

/// The servers that are needed.
pub fn servers() -> BTreeSet<&'static str> {
    VERSIONS.iter().flat_map(|&(source, target)| [source, target]).collect()
}

/// Runs a plan; `show` gets a line after each bout.
///
/// Errors: anything lost, doubled, split or left over, and an end of the product that it was not asked for.
pub fn run(spec: &Spec, mut show: impl FnMut(&str)) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let bouts = u32::try_from(spec.length.as_millis().div_ceil(BOUT.as_millis()))?;
    for round in 0..bouts.div_ceil(BOUTS) {
        let count = BOUTS.min(bouts - round * BOUTS);
        let seed = spec.seed.wrapping_add(u64::from(round));
        Round::start(spec, seed)?.run(count, &mut outcome, &mut show)?;
    }
    Ok(outcome)
}

struct Round<'a> {
    spec: &'a Spec,
    seed: u64,
    mode: Mode,
    rng: Rng,
    rig: Rig,
    // Ends before the servers do.
    product: Product,
    writer: Writer,
    sampler: Sampler,
    /// What has happened in this bout.
    log: Vec<String>,
}

impl<'a> Round<'a> {
    fn start(spec: &'a Spec, seed: u64) -> Result<Self> {
        let (source, target) = VERSIONS[(seed / 4 % VERSIONS.len() as u64) as usize];
        let mode = Mode { source, target, source_durable: seed & 1 == 0, target_durable: seed & 2 == 0 };
        let rig = Rig::start(mode)?;
        data::fill_mixed(&rig.server(Side::Source).url(), KEYS, seed)?;
        let args = ["--task".into(), format!("chaos-{seed}"), "--spool-limit".into(), "16mb".into()];
        let args = [&args[..], &["--state-dir".into(), rig.disk.path().display().to_string()]].concat();
        let (source, target) = (rig.proxy(Side::Source).url(), rig.proxy(Side::Target).url());
        let product = Product::start(&spec.binary, &source, &target, &args)?;
        let writer = Writer::start(&rig.server(Side::Source).url(), seed, mode.source_durable);
        let sampler = Sampler::start(&rig.server(Side::Target).url());
        let rng = Rng::new(seed);
        Ok(Self { spec, seed, mode, rng, rig, product, writer, sampler, log: Vec::new() })
    }

    fn run(mut self, bouts: u32, outcome: &mut Outcome, show: &mut impl FnMut(&str)) -> Result<()> {
        for bout in 0..bouts {
            self.log.clear();
            let result = self.bout(bout, outcome).and_then(|()| match bout + 1 == bouts {
                true => self.product.stop(),
                false => Ok(()),
            });
            if let Err(e) = result {
                return Err(anyhow!(
                    "seed {}, bout {bout}, {:?}: {e:#}\nin this bout:\n  {}\n{}",
                    self.seed,
                    self.mode,
                    self.log.join("\n  "),
                    self.product.words()
                ));
            }
            outcome.bouts += 1;
            let (full, resumed) = self.product.counts();
            show(&format!(
                "seed {} bout {bout}: equal; {} faults; {} commands, {full} full syncs, {resumed} runs went on, kills {:?}",
                self.seed,
                self.log.len(),
                self.writer.commands(),
                self.rig.kills
            ));
        }
        let (full, resumed) = self.product.counts();
        outcome.full_syncs += full;
        outcome.resumed += resumed;
        outcome.not_there += self.product.not_there;
        outcome.commands += self.writer.commands();
        outcome.samples += self.sampler.samples();
        outcome.disks_filled += self.rig.disks_filled;
        for (what, n) in &self.rig.kills {
            *outcome.kills.entry(what).or_default() += n;
        }
        Ok(())
    }

    /// Lets things go wrong for a while, then looks whether all is well.
    fn bout(&mut self, bout: u32, outcome: &mut Outcome) -> Result<()> {
        let begun = Instant::now();
        for event in plan::plan(&mut self.rng, BOUT) {
            while begun.elapsed() < event.at {
                self.look()?;
                std::thread::sleep(LOOK);
            }
            let done = self.rig.strike(event.fault, &mut self.product, &self.writer);
            let done = done.with_context(|| format!("let {} happen", event.fault))?;
            if done {
                outcome.faults += 1;
                let pid = self.product.pid();
                self.log.push(format!("{:7.3} {} (keyferry {pid})", begun.elapsed().as_secs_f64(), event.fault));
            }
            self.sampler.look_at(&self.rig.server(Side::Target).url());
        }
        self.rig.heal(&self.product).context("heal everything")?;
        self.log.push(format!("{:7.3} healed", begun.elapsed().as_secs_f64()));
        let steps = self.writer.pause(PATIENCE)?;
        let mut waited = Instant::now();
        let mut goal = None;
        let mut lines = 0;
        wait::poll("both sides to be in step", PATIENCE, || {
            self.look()?;
            if waited.elapsed() < Duration::from_millis(50) {
                return Ok(None);
            }
            waited = Instant::now();
            let (source, target) = (self.rig.server(Side::Source), self.rig.server(Side::Target));
            if goal.is_none() {
                redis::cmd("SET").arg(MARK).arg(bout).exec(&mut source.conn()?)?;
                let offset: u64 = source.info("replication")?["master_repl_offset"].parse()?;
                goal = Some(offset);
            }
            let seen: Option<u32> = redis::cmd("GET").arg(MARK).query(&mut target.conn()?)?;
            let (count, progress) = self.product.progress();
            if seen != Some(bout) {
                lines = count;
                return Ok(None);
            }
            let applied = progress.filter(|p| count > lines + 1 && p.in_step).and_then(|p| p.applied_offset);
            Ok((applied >= goal).then_some(()))
        })?;
        judge::judge(self.rig.server(Side::Source), self.rig.server(Side::Target), &steps)?;
        self.sampler.check()?;
        self.writer.go_on();
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        (self.spec.check)()?;
        self.rig.tick(&self.product)?;
        self.product.check()?;
        self.writer.check()?;
        self.sampler.check()
    }
}
