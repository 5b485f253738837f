//! Does what the plan says to the servers, the links and the product.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    disk::Disk,
    plan::{Fault, Side},
    product::Product,
    writer::Writer,
};
use crate::{Proxy, Server, proxy::Way, wait};

/// More than the spool may hold.
const FLOOD: u64 = 24 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// How the servers of a round keep their data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    pub(super) source: &'static str,
    pub(super) target: &'static str,
    /// Each write is on disk when it is answered. Otherwise a snapshot is taken now and then, and what came behind it
    /// is lost with a kill.
    pub(super) source_durable: bool,
    pub(super) target_durable: bool,
}

/// A server with its replica-to-be, behind a proxy.
struct Place {
    server: Server,
    proxy: Proxy,
    down: bool,
    frozen: bool,
}

/// What takes a fault back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    Unstall(Side),
    Admit(Side),
    Speed(Side, Way),
    Continue(Side),
    ContinueProduct(u32),
    Restart(Side),
    FreeDisk,
}

/// Everything that can be hurt.
pub(super) struct Rig {
    places: [Place; 2],
    /// A replica of the target.
    spare: Server,
    undo: Vec<(Instant, Undo)>,
    /// What was killed, and how often.
    pub(super) kills: BTreeMap<&'static str, u64>,
    pub(super) disk: Disk,
    pub(super) disks_filled: u64,
}

impl Rig {
    pub(super) fn start(mode: Mode) -> Result<Self> {
        let build = |name: &str, durable: bool| {
            let builder = Server::builder(name);
            let builder = match durable {
                true => builder.arg("appendonly yes").arg("appendfsync always"),
                false => builder.arg("save 1 1"),
            };
            builder.arg("shutdown-timeout 1").start()
        };
        let place = |server: Server| -> Result<Place> {
            let proxy = Proxy::start(&server.address())?;
            Ok(Place { server, proxy, down: false, frozen: false })
        };
        let source = place(build(mode.source, mode.source_durable)?)?;
        let target = place(build(mode.target, mode.target_durable)?)?;
        let spare = build(mode.target, mode.target_durable)?;
        spare.replicate(&target.server)?;
        Ok(Self {
            places: [source, target],
            spare,
            undo: Vec::new(),
            kills: BTreeMap::new(),
            disk: Disk::new()?,
            disks_filled: 0,
        })
    }

    pub(super) fn server(&self, side: Side) -> &Server {
        &self.places[side as usize].server
    }

    pub(super) fn proxy(&self, side: Side) -> &Proxy {
        &self.places[side as usize].proxy
    }

    /// Whether a side can be reached without its proxy.
    pub(super) fn is_up(&self, side: Side) -> bool {
        let place = &self.places[side as usize];
        !place.down && !place.frozen
    }

    fn killed(&mut self, what: &'static str) {
        *self.kills.entry(what).or_default() += 1;
    }

    /// Lets a fault happen; false when it does not fit to what is down already.
    pub(super) fn strike(&mut self, fault: Fault, product: &mut Product, writer: &Writer) -> Result<bool> {
        match fault {
            Fault::KillProduct => {
                product.kill()?;
                self.killed("product");
            }
            Fault::StopProduct => product.stop_and_start()?,
            Fault::FreezeProduct(ms) => {
                let pid = product.freeze()?;
                self.later(ms, Undo::ContinueProduct(pid));
            }
            Fault::Freeze(side, ms) => {
                if !self.is_up(side) {
                    return Ok(false);
                }
                self.server(side).stop_signal()?;
                self.places[side as usize].frozen = true;
                self.later(ms, Undo::Continue(side));
            }
            Fault::Kill(side, ms) => {
                if self.places[side as usize].down {
                    return Ok(false);
                }
                self.places[side as usize].server.kill_9();
                self.is_down(side, ms);
                self.killed(if side == Side::Source { "source" } else { "target" });
            }
            Fault::Shutdown(side, ms) => {
                if !self.is_up(side) {
                    return Ok(false);
                }
                self.places[side as usize].server.shutdown()?;
                self.is_down(side, ms);
            }
            Fault::Promote => return self.promote(),
            Fault::Cut(side) => self.proxy(side).cut(),
            Fault::Reset(side) => self.proxy(side).reset(),
            Fault::CutAfter(side, way, bytes) => self.proxy(side).cut_after_way(way, Some(bytes)),
            Fault::Stall(side, ms) => {
                self.proxy(side).stall(true);
                self.later(ms, Undo::Unstall(side));
            }
            Fault::Refuse(side, ms) => {
                self.proxy(side).refuse(true);
                self.proxy(side).cut();
                self.later(ms, Undo::Admit(side));
            }
            Fault::Slow(side, way, rate, ms) => {
                self.proxy(side).limit_way(way, rate);
                self.later(ms, Undo::Speed(side, way));
            }
            Fault::FillDisk(ms) => {
                if self.undo.iter().any(|(_, undo)| *undo == Undo::FreeDisk) || !self.disk.fill()? {
                    return Ok(false);
                }
                self.disks_filled += 1;
                self.later(ms, Undo::FreeDisk);
            }
            Fault::Flood(ms) => {
                self.proxy(Side::Target).stall(true);
                self.later(ms, Undo::Unstall(Side::Target));
                writer.flood(FLOOD);
            }
        }
        Ok(true)
    }

    fn is_down(&mut self, side: Side, ms: u64) {
        let place = &mut self.places[side as usize];
        (place.down, place.frozen) = (true, false);
        self.undo.retain(|(_, undo)| *undo != Undo::Continue(side));
        self.later(ms, Undo::Restart(side));
    }

    /// The replica goes in the place of the target, whose kill it does not hear of before.
    fn promote(&mut self) -> Result<bool> {
        let follows = self.spare.info("replication")?;
        let up = follows.get("master_link_status").is_some_and(|status| status == "up");
        let whole = follows.get("master_sync_in_progress").is_some_and(|n| n == "0");
        let place = &mut self.places[Side::Target as usize];
        if !up || !whole || place.down || place.frozen {
            return Ok(false);
        }
        place.server.kill_9();
        redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut self.spare.conn()?)?;
        std::mem::swap(&mut place.server, &mut self.spare);
        place.proxy.redirect(&place.server.address());
        place.proxy.cut();
        let port = place.server.port();
        self.killed("target for its replica");
        // The old target becomes the new one's replica; the link comes up by and by.
        self.spare.restart()?;
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).exec(&mut self.spare.conn()?)?;
        Ok(true)
    }

    fn later(&mut self, ms: u64, undo: Undo) {
        self.undo.push((Instant::now() + Duration::from_millis(ms), undo));
    }

    /// Takes back what is due.
    pub(super) fn tick(&mut self, product: &Product) -> Result<()> {
        let now = Instant::now();
        while let Some(i) = self.undo.iter().position(|(at, _)| *at <= now) {
            let (_, undo) = self.undo.swap_remove(i);
            self.take_back(undo, product)?;
        }
        Ok(())
    }

    fn take_back(&mut self, undo: Undo, product: &Product) -> Result<()> {
        match undo {
            Undo::Unstall(side) => self.proxy(side).stall(false),
            Undo::Admit(side) => self.proxy(side).refuse(false),
            Undo::Speed(side, way) => self.proxy(side).limit_way(way, 0),
            Undo::ContinueProduct(pid) => product.go_on(pid),
            Undo::Continue(side) => {
                self.server(side).cont_signal()?;
                self.places[side as usize].frozen = false;
            }
            Undo::Restart(side) => {
                let place = &mut self.places[side as usize];
                place.server.restart()?;
                place.down = false;
            }
            Undo::FreeDisk => self.disk.free()?,
        }
        Ok(())
    }

    /// Takes everything back, and waits until the replica of the target follows it again.
    pub(super) fn heal(&mut self, product: &Product) -> Result<()> {
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.take_back(undo, product)?;
        }
        self.places.iter().for_each(|place| place.proxy.heal());
        wait::poll("the target's replica to follow", PATIENCE, || {
            let info = self.spare.info("replication")?;
            Ok(info.get("master_link_status").is_some_and(|status| status == "up").then_some(()))
        })
    }
}
