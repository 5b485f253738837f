//! A target that takes nothing costs the source nothing.

use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

use keyferry_testkit::wire::Wire;

use super::*;

const WRITES_PER_SECOND: u64 = 50_000;

/// Writes at a rate for some time: numbers to a list, sums to counters, and what takes room.
fn write(url: &str, time: Duration) -> u64 {
    let mut wire = Wire::connect(url).unwrap();
    let begun = Instant::now();
    let mut n = 0;
    while begun.elapsed() < time {
        while n < begun.elapsed().as_millis() as u64 * WRITES_PER_SECOND / 1000 {
            match n % 10 {
                0 => wire.command(&[b"RPUSH", b"list", n.to_string().as_bytes()]),
                1 => wire.command(&[b"INCR", format!("counter:{}", n % 1000).as_bytes()]),
                _ => wire.command(&[b"SET", format!("key:{}", n % 100_000).as_bytes(), &[b'x'; 100]]),
            }
            .unwrap();
            n += 1;
        }
        wire.turn().unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    wire.finish().unwrap();
    n
}

/// The source is read at line rate while the target stands still: no output buffer grows there, its default limits are not
/// reached, and nothing is copied twice. KEYFERRY_TEST_STALL_SECONDS makes it longer.
#[test]
fn a_target_that_stands_still_costs_the_source_nothing() {
    let stall = Duration::from_secs(env::var("KEYFERRY_TEST_STALL_SECONDS").ok().map_or(6, |n| n.parse().unwrap()));
    let (source, target) = pair("redis-7.0");
    let limits: Vec<String> = ask(&source, 0, "CONFIG GET client-output-buffer-limit");
    assert!(limits[1].contains("slave 268435456 67108864 60"), "not the default: {limits:?}");
    let run =
        sync(&source.url(), &target.url()).args(["--task", &format!("outage-{}", source.port())]).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    target.stop_signal().unwrap();
    let writer = thread::spawn({
        let url = source.url();
        move || write(&url, stall)
    });
    let mut most = 0;
    while !writer.is_finished() {
        let buffers: u64 = source.info("memory").unwrap()["mem_clients_slaves"].parse().unwrap();
        most = most.max(buffers);
        thread::sleep(Duration::from_millis(100));
    }
    let written = writer.join().unwrap();
    assert!(written > stall.as_secs() * WRITES_PER_SECOND * 8 / 10, "only {written} writes");
    target.cont_signal().unwrap();
    let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
    run.wait_for(LONG + 4 * stall, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    assert!(most < 16 << 20, "{most} bytes in output buffers of the source");
    let status = fs::read_to_string(format!("/proc/{}/status", run.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 96 << 10, "{kib} KiB of memory");
    assert_eq!(source.info("stats").unwrap()["sync_full"], "1");
    assert_eq!(source.info("stats").unwrap()["sync_partial_ok"], "0", "the link was lost");
    let list: Vec<u64> = ask(&target, 0, "LRANGE list 0 -1");
    assert!(list.iter().copied().eq((0..written).step_by(10)), "each number once and in order");
    differences(&source, &target).assert_equal();
}
