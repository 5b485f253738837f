//! What is large goes through in little memory.

use keyferry_testkit::oracle::{Difference, Kind};

use super::*;

/// The most that the process may hold, whatever it moves.
const MEMORY: u64 = 96 << 20;
/// A debug build on a busy machine takes a minute.
const PATIENCE: Duration = Duration::from_secs(240);
const FIELDS: u64 = 2_000_000;
/// One field in so many has a deadline.
const DEADLINE_EVERY: u64 = 1_000;

/// Writes so many fields from a number on, in one go; some get a deadline.
const FILL: &str = "local pairs, timed = {}, {}
for i = tonumber(ARGV[1]), tonumber(ARGV[1]) + tonumber(ARGV[2]) - 1 do
  pairs[#pairs + 1] = 'f' .. i
  pairs[#pairs + 1] = i
  if #pairs == 5000 then redis.call('HSET', KEYS[1], unpack(pairs)) pairs = {} end
  if i % tonumber(ARGV[3]) == 0 then timed[#timed + 1] = 'f' .. i end
end
redis.call('HPEXPIREAT', KEYS[1], 4000000000000, 'FIELDS', #timed, unpack(timed))
return redis.call('HLEN', KEYS[1])";

#[test]
fn a_hash_of_two_million_fields_goes_down_in_little_memory() {
    let (source, target) = (Server::start("redis-7.4").unwrap(), Server::start("redis-5.0").unwrap());
    let mut conn = source.conn().unwrap();
    let step = 250_000;
    for from in (0..FIELDS).step_by(step) {
        let mut fill = cmd("EVAL");
        fill.arg(FILL).arg(1).arg("hash").arg(from).arg(step).arg(DEADLINE_EVERY);
        assert_eq!(fill.query::<u64>(&mut conn).unwrap(), from + step as u64);
    }
    let args = ["--full-only", "--on-unsupported", "degrade"];
    let run = sync(&source.url(), &target.url()).args(args).spawn().unwrap();
    let (exit, memory) = run.wait_exit_measured(PATIENCE).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert!(exit.stderr.contains("hash field deadline degraded"), "{}", exit.stderr);
    assert!(memory > 0 && memory < MEMORY, "{} MiB at once", memory >> 20);
    let report = differences(&source, &target);
    let unexpected = |d: &&Difference| d.kind != Kind::FieldExpiry || !d.detail.ends_with("target at never");
    assert_eq!(report.differences.iter().find(unexpected), None, "{report}");
    assert_eq!((report.keys, report.total), (1, 1), "{report}");
    assert_eq!(ask::<u64>(&target, 0, "HLEN hash"), FIELDS);
}

/// Targets up to 6.2 take no command of more than a million arguments, and MSET of all these would be one.
#[test]
fn a_transaction_of_very_many_keys_goes_down() {
    const SCRIPT: &str = "for i = 1, 530000 do redis.call('SET', 'k' .. i, i) end";
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-6.2").unwrap());
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let mut conn = source.conn().unwrap();
    cmd("EVAL").arg(SCRIPT).arg(0).exec(&mut conn).unwrap();
    let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
    run.wait_for(PATIENCE, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    differences_with_grace(&source, &target).assert_equal();
    run.signal(keyferry_testkit::process::Signal::TERM).unwrap();
    run.wait_exit(LONG).unwrap();
}
