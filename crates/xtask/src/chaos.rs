//! Everything goes wrong at once, for as long as is wanted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use keyferry_testkit::chaos::{self, Spec};

use crate::{product, servers, stop};

/// Runs the plan of `seed`, or of one from the clock; fails when anything is lost or doubled.
pub(crate) fn run(seconds: u64, seed: Option<u64>, debug: bool) -> Result<()> {
    let binary = if debug { product::build_for_tests()? } else { product::build()? };
    servers::require(&["setpriv"])?;
    let names: Vec<String> = chaos::servers().into_iter().map(String::from).collect();
    servers::fetch(&names)?;
    stop::listen()?;
    let seed = match seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    println!("seed {seed}: {seconds} s of faults");
    let spec = Spec { binary, seed, length: Duration::from_secs(seconds), check: stop::check };
    let outcome = chaos::run(&spec, |line| println!("{line}"))?;
    println!("seed {seed}: nothing lost, nothing doubled: {outcome}");
    Ok(())
}
