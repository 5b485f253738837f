//! Measurement, run by hand: `cargo nextest run --release -p keyferry-cli --run-ignored only -E 'test(speed)' --no-capture`.

use std::time::Instant;

use keyferry_testkit::data;

use super::*;

/// A million strings of 100 bytes on both sides, as they are and with an expiry each.
#[test]
#[ignore = "a measurement"]
fn speed_of_a_million_strings() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    for server in [&source, &target] {
        data::fill_strings(&server.url(), 1_000_000, 100, 1).unwrap();
    }
    for expiring in [false, true] {
        if expiring {
            // One key that expires is enough for each to be asked.
            for server in [&source, &target] {
                run(server, 0, &["PEXPIREAT key:0000000000 2000000000000"]);
            }
        }
        for mode in ["full", "quick", "lengths", "keys"] {
            let mut seconds = Vec::new();
            let mut most = 0;
            for _ in 0..3 {
                let mut command = command(&source.url(), &target.url());
                command.args(["--mode", mode]);
                let begun = Instant::now();
                let (done, peak) = large::peak(command);
                seconds.push(begun.elapsed().as_secs_f64());
                most = most.max(peak);
                done.assert_equal();
            }
            seconds.sort_by(f64::total_cmp);
            println!(
                "{mode}, expiring {expiring}: {:.2} to {:.2} s, median {:.0} k keys/s, {} MiB",
                seconds[0],
                seconds[2],
                1_000.0 / seconds[1],
                most >> 20
            );
        }
    }
}
