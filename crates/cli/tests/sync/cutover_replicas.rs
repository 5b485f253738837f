//! Replicas of the target in front of the last step of a cut-over: they are waited for, and those that are behind are named.

use std::thread;

use keyferry_testkit::wait_until;

use super::{
    cutover_faults::{Case, write},
    report::report,
    *,
};

/// A target with a replica that stands still when the last write comes.
fn case() -> (Case, Server) {
    let case = Case { pause: "20s", ..Case::start("before-pause") };
    let replica = Server::start("redis-7.2").unwrap();
    replica.replicate(&case.new).unwrap();
    (case, replica)
}

fn is_waiting(target: &mut redis::Connection) -> bool {
    cmd("INFO").arg("clients").query::<String>(target).unwrap().contains("blocked_clients:1")
}

#[test]
fn replicas_of_the_target() {
    thread::scope(|scope| {
        let cases = [
            scope.spawn(one_that_has_it_in_time),
            scope.spawn(|| one_that_does_not_come(false)),
            scope.spawn(|| one_that_does_not_come(true)),
        ];
        cases.into_iter().for_each(|case| case.join().unwrap());
    });
}

/// Should it take the place of the target now, nothing is lost. The link of the way back is no replica.
fn one_that_has_it_in_time() {
    let (mut case, replica) = case();
    let mut target = case.new.conn().unwrap();
    let said = thread::scope(|scope| {
        case.cut_over(&["--reverse", "--output", "json"], |case| {
            replica.stop_signal().unwrap();
            write(&case.old, "SET last 1");
            scope.spawn(|| {
                wait_until("the target waits for it", LONG, || is_waiting(&mut target)).unwrap();
                replica.cont_signal().unwrap();
            });
        })
    });
    assert_eq!(ask::<Option<u64>>(&replica, 0, "GET last"), Some(1), "{}", said.words);
    assert!(said.done && said.words.contains("\"target_replicas\":{\"connected\":1,\"had_all\":1}"), "{}", said.words);
    assert!(said.words.contains("1 of 1 replicas of the target had all"), "{}", said.words);
    assert!(!case.run.stderr().contains("replicas of the target are behind"), "{}", case.run.stderr());
}

/// It may be gone for good: the cut-over is done, and says so, also when its link is lost while it is waited for.
fn one_that_does_not_come(lost: bool) {
    let (mut case, replica) = case();
    let mut target = case.new.conn().unwrap();
    let said = thread::scope(|scope| {
        case.cut_over(&[], |case| {
            replica.stop_signal().unwrap();
            write(&case.old, "SET last 1");
            if lost {
                scope.spawn(|| {
                    wait_until("the target waits for it", LONG, || is_waiting(&mut target)).unwrap();
                    cmd("CLIENT").arg(&["KILL", "TYPE", "replica"]).exec(&mut target).unwrap();
                });
            }
        })
    });
    assert!(said.done && said.words.contains("ATTENTION: 1 of 1 replicas of the target were behind"), "{}", said.words);
    assert!(case.run.wait_exit(LONG).unwrap().stderr.contains("replicas of the target are behind"));
    let found = report(case.dir.path(), &[])["cutover"]["target_replicas"].clone();
    assert_eq!([&found["connected"], &found["had_all"]], [1, 0]);
    replica.cont_signal().unwrap();
}
