//! The servers' own replication.

use std::time::{Duration, Instant};

use anyhow::Result;
use keyferry_testkit::{Server, wait};

use crate::stop;

/// No copy of the data sets used here takes nearly so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// Makes the target a replica and returns the seconds until it holds all keys.
pub(super) fn copy(source: &Server, target: &Server) -> Result<f64> {
    let keys = source.keys()?;
    let mut conn = target.conn()?;
    let start = Instant::now();
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(source.port()).exec(&mut conn)?;
    wait::poll("the end of the native copy", PATIENCE, || {
        stop::check()?;
        let info: String = redis::cmd("INFO").arg("everything").query(&mut conn)?;
        let up = info.contains("master_link_status:up");
        Ok((up && info.contains(&format!("db0:keys={keys},"))).then_some(()))
    })?;
    Ok(start.elapsed().as_secs_f64())
}

/// Makes the target a primary again and empties it.
pub(super) fn reset(target: &Server) -> Result<()> {
    let mut conn = target.conn()?;
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut conn)?;
    redis::cmd("FLUSHALL").arg("SYNC").exec(&mut conn)?;
    Ok(())
}
