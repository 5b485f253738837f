//! Type and expiry of keys, many at once.

use anyhow::{Context, Result};
use redis::cmd;

use super::side::{Batch, Side, bytes, clock, integer};

/// After so many keys the server's clock is asked again, where expiries come as what is left of them.
const CLOCK_EVERY: usize = 50;

/// What a key is on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    /// The type as TYPE names it; None where the key is absent.
    pub(super) kind: Option<String>,
    /// Milliseconds since 1970.
    pub(super) expires_at: Option<i64>,
}

/// Type and expiry of each key in the selected database.
pub(super) fn metas(side: &mut Side, keys: &[Vec<u8>]) -> Result<Vec<Meta>> {
    let (absolute, expiry) = if side.has_expire_time { (true, "PEXPIRETIME") } else { (false, "PTTL") };
    let mut batch = Batch::default();
    for (i, key) in keys.iter().enumerate() {
        if !absolute && i % CLOCK_EVERY == 0 {
            batch.add(&cmd("TIME"));
        }
        batch.add(cmd("TYPE").arg(&key[..]));
        batch.add(cmd(expiry).arg(&key[..]));
    }
    let mut answers = side.run(&batch)?.into_iter();
    let mut next = || answers.next().context("fewer answers than questions");
    let mut now = 0;
    let mut metas = Vec::with_capacity(keys.len());
    for i in 0..keys.len() {
        if !absolute && i % CLOCK_EVERY == 0 {
            now = clock(next()?)?;
        }
        let kind = String::from_utf8(bytes(next()?)?)?;
        let left = integer(next()?)?;
        let kind = Some(kind).filter(|kind| kind != "none");
        metas.push(Meta { kind, expires_at: (left >= 0).then_some(now + left) });
    }
    Ok(metas)
}
