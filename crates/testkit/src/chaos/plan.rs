//! What goes wrong and when: a list made from a seed alone.

use std::{fmt, time::Duration};

use crate::{Rng, proxy::Way};

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Target,
}

/// Something that goes wrong; times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Kill -9 of the product, which is started again at once.
    KillProduct,
    /// SIGTERM to the product, which is started again.
    StopProduct,
    /// SIGSTOP, and SIGCONT after a while.
    FreezeProduct(u64),
    Freeze(Side, u64),
    /// Kill -9 of a server, which is down for a while.
    Kill(Side, u64),
    /// SIGTERM to a server, likewise.
    Shutdown(Side, u64),
    /// Kill -9 of the target, in whose place its replica goes.
    Promote,
    /// All connections to a server end.
    Cut(Side),
    Reset(Side),
    /// They end when so many bytes have passed.
    CutAfter(Side, Way, u64),
    /// Nothing passes.
    Stall(Side, u64),
    /// Nobody gets in.
    Refuse(Side, u64),
    /// So many bytes a second pass.
    Slow(Side, Way, u64, u64),
    /// The disk of the product is full.
    FillDisk(u64),
    /// The target takes nothing while the source is written more than the spool may hold.
    Flood(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A fault and its time since the beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) at: Duration,
    pub(super) fault: Fault,
}

/// A plan for so long a time. What happens to the product, to either server and to either link is planned apart, so that
/// any of it meets any other.
pub(super) fn plan(rng: &mut Rng, length: Duration) -> Vec<Event> {
    let mut events = Vec::new();
    let mut every = |low: u64, high: u64, fault: &mut dyn FnMut(&mut Rng) -> Fault| {
        let mut at = rng.range(low / 4, high);
        while u128::from(at) < length.as_millis() {
            events.push(Event { at: Duration::from_millis(at), fault: fault(rng) });
            at += rng.range(low, high);
        }
    };
    every(400, 4000, &mut product);
    every(6000, 14_000, &mut |rng| server(rng, Side::Source));
    every(3000, 9000, &mut target);
    every(4000, 16_000, &mut |rng| Fault::FillDisk(rng.range(50, 3000)));
    for side in [Side::Source, Side::Target] {
        every(200, 3000, &mut |rng| link(rng, side));
    }
    // Several at almost the same time.
    let mut at = rng.range(500, 4000);
    while u128::from(at) < length.as_millis() {
        for _ in 0..rng.range(2, 6) {
            let fault = match rng.below(10) {
                0..5 => product(rng),
                5 => server(rng, Side::Source),
                6 => target(rng),
                _ => {
                    let side = if rng.one_in(2) { Side::Source } else { Side::Target };
                    link(rng, side)
                }
            };
            let at = at + rng.range(0, 600);
            events.push(Event { at: Duration::from_millis(at), fault });
        }
        at += rng.range(2000, 6000);
    }
    events.sort_by_key(|event| event.at);
    events
}

fn product(rng: &mut Rng) -> Fault {
    match rng.below(10) {
        0 => Fault::StopProduct,
        1 => Fault::FreezeProduct(rng.range(20, 2500)),
        _ => Fault::KillProduct,
    }
}

fn target(rng: &mut Rng) -> Fault {
    match rng.below(12) {
        0..3 => Fault::Promote,
        3 => Fault::Flood(rng.range(1500, 3500)),
        _ => server(rng, Side::Target),
    }
}

fn server(rng: &mut Rng, side: Side) -> Fault {
    let down = if rng.one_in(2) { rng.range(0, 100) } else { rng.range(100, 2500) };
    match rng.below(5) {
        0 => Fault::Freeze(side, rng.range(20, 2500)),
        1 | 2 => Fault::Shutdown(side, down),
        _ => Fault::Kill(side, down),
    }
}

fn link(rng: &mut Rng, side: Side) -> Fault {
    let way = if rng.one_in(2) { Way::ToServer } else { Way::ToClient };
    match rng.below(8) {
        0 => Fault::Cut(side),
        1 => Fault::Reset(side),
        2..5 => Fault::CutAfter(side, way, if rng.one_in(2) { rng.range(0, 600) } else { rng.range(0, 100_000) }),
        5 => Fault::Stall(side, rng.range(20, 1500)),
        6 => Fault::Refuse(side, rng.range(20, 1000)),
        _ => Fault::Slow(side, way, rng.range(20_000, 3_000_000), rng.range(100, 2500)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_a_plan() {
        let of = |seed| plan(&mut Rng::new(seed), Duration::from_secs(60)).iter().map(|e| (e.at, e.fault)).collect();
        let events: Vec<(Duration, Fault)> = of(3);
        assert_eq!(events, of(3));
        assert_ne!(events, of(4));
        assert!(events.len() > 60, "{}", events.len());
        assert!(events.is_sorted_by_key(|(at, _)| *at));
    }
}
