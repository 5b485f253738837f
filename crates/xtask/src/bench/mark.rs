//! A mark behind a number of writes.
//!
//! Commands keep their order, so the mark on the target says that all before it is there; it is looked for the same
//! way whoever has brought it.

use anyhow::Result;
use keyferry_testkit::{Server, wait};

use super::native;
use crate::stop;

const KEY: &str = "mark";

/// Writes the mark to the source.
pub(super) fn set(source: &Server, number: u64) -> Result<()> {
    Ok(redis::cmd("SET").arg(KEY).arg(number).exec(&mut source.conn()?)?)
}

/// Waits until the mark is on the target.
pub(super) fn wait(target: &Server, number: u64) -> Result<()> {
    let mut conn = target.conn()?;
    wait::poll("the mark on the target", native::PATIENCE, || {
        stop::check()?;
        let mark: Option<u64> = redis::cmd("GET").arg(KEY).query(&mut conn)?;
        Ok((mark == Some(number)).then_some(()))
    })
}
