//! Commands on vector sets. The target has them, or not: that is asked at the start.

use super::{Abilities, Lesser, Older, Rule, Verdict, always, lacks, rule};

pub(super) const OF_4: &[Rule] =
    &[rule(b"VADD", Abilities::VECTORS, always, no_vectors), rule(b"VREM", Abilities::VECTORS, always, no_vectors)];

pub(super) const OF_8: &[Rule] = &[rule(b"VSETATTR", Abilities::VECTORS, always, no_vectors)];

fn no_vectors(_: &Older, _: &[&[u8]], _: &mut Vec<u8>) -> Verdict {
    lacks("vector set command", Lesser::Nothing)
}
