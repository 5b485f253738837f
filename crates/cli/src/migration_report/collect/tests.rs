use serde_json::json;

use super::{super::content::Differences, *};

/// A history in short: run, and the entry as it stands in the file. Times count seconds.
fn lines(entries: &[(&str, Value)]) -> Lines {
    let line = |(i, (run, entry)): (usize, &(&str, Value))| {
        let n = entries[..i].iter().filter(|(other, _)| other == run).count();
        let mut line = json!({"at": (i + 1) * 1000, "run": run, "n": n});
        line.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
        serde_json::from_value(line).unwrap()
    };
    Lines { lines: entries.iter().enumerate().map(line).collect(), ..Lines::default() }
}

fn started(restart: bool) -> Value {
    json!({"event": "started", "keyferry": "1", "source": "redis://a:1", "target": "redis://b:2", "rules": ["--key a*"],
        "on_conflict": "abort", "on_unsupported": "fail", "restart": restart})
}

fn begun(offset: u64, resumed: bool, copied: bool) -> Value {
    json!({"event": "begun", "source": "Redis 7.2.4", "target": "Valkey 8.0.1", "offset": offset, "resumed": resumed,
        "copied": copied, "counted": true})
}

/// All of the snapshot is read, and on the target.
fn read_all(keys: u64) -> Value {
    json!({"event": "read_all", "keys": keys})
}

fn copied() -> Value {
    json!({"event": "copied", "offset": 7})
}

fn database(db: u32, keys: u64) -> Value {
    json!({"event": "database", "database": db, "target_database": db + 1,
        "types": {"string": [keys, keys * 10], "zset": [1, 5]}})
}

fn ended(state: &str, offset: u64) -> Value {
    json!({"event": "ended", "state": state, "code": null, "error": null, "offset": offset, "kept": 1,
        "received_bytes": 100, "retries": 2, "unsupported": {"stream dropped": 3}})
}

#[test]
fn a_killed_process_and_its_successor_are_one_migration() {
    let history = lines(&[
        ("a", started(false)),
        ("a", json!({"event": "precheck", "report": {"ok": true}})),
        ("a", begun(50, false, false)),
        ("a", database(0, 4)),
        ("a", json!({"event": "retrying", "side": "source", "error": null})),
        // Killed; what the next one tells again is the same.
        ("b", started(false)),
        ("b", begun(50, true, false)),
        ("b", database(0, 4)),
        ("b", database(3, 2)),
        ("b", read_all(8)),
        ("b", json!({"event": "copied", "offset": 50})),
        ("b", json!({"event": "in_step", "offset": 70})),
        (
            "c",
            json!({"event": "compared", "begun": 12000, "source": "redis://a:1", "target": "redis://b:2",
            "options": ["--mode full"], "rules": ["--key a*"], "result": {"keys": 8, "missing_on_target": 1, "value": 2, "equal": false, "rounds": 3, "repaired": 4}}),
        ),
        ("b", json!({"event": "cut_over", "write_pause_ms": 12, "offset": 90})),
        ("b", ended("cut_over", 90)),
        (
            "d",
            json!({"event": "compared", "begun": 13000, "source": "redis://a:1", "target": "redis://b:2",
            "options": ["--mode full"], "rules": ["--key a*"], "result": {"keys": 8, "equal": true, "rounds": 1}}),
        ),
    ]);
    let report = serde_json::to_value(report("t", &history, 0)).unwrap();
    assert_eq!((&report["state"], &report["task"]), (&json!("cut_over"), &json!("t")));
    let copy = &report["full_copy"];
    assert_eq!((&copy["complete"], &copy["keys"], &copy["bytes"]), (&json!(true), &json!(8), &json!(70)));
    assert_eq!(
        copy["by_type"],
        json!([{"type": "string", "keys": 6, "bytes": 60}, {"type": "zset", "keys": 2, "bytes": 10}])
    );
    assert_eq!(copy["by_database"][1]["target_database"], 4);
    let processes = &report["processes"];
    let counts = ["restarts", "resumes", "full_copies", "retries", "received_bytes"].map(|name| &processes[name]);
    assert_eq!(counts, [1, 1, 1, 3, 100]);
    assert_eq!(processes["list"][0]["state"], "not_ended");
    assert_eq!(report["differences"], json!({"equal": true, "left": 0, "repaired": 4}));
    assert_eq!((&report["comparisons"][0]["found"], &report["comparisons"][0]["left"]), (&json!(7), &json!(3)));
    let times = &report["times"];
    assert_eq!((&times["full_copy_seconds"], &times["in_step"]), (&json!(8.0), &json!("1970-01-01T00:00:12.000Z")));
    // As an older version has written it.
    let cutover = &report["cutover"];
    assert_eq!(cutover["write_pause_ms"], 12);
    assert_eq!((&cutover["late_writes"], &cutover["source_changed"]), (&json!(0), &Value::Null));
    assert_eq!(report["offsets"], json!({"full_copy": 50, "applied": 90, "cut_over": 90, "stream_bytes": 40}));
    assert_eq!((&report["precheck"]["ok"], &report["history"]["from_the_beginning"]), (&json!(true), &json!(true)));
}

#[test]
fn another_migration_of_the_same_name_is_another_report() {
    let first =
        [("a", started(false)), ("a", begun(1, false, false)), ("a", database(0, 9)), ("a", ended("synced", 5))];
    let again = [("b", started(false)), ("b", begun(2, false, false)), ("b", database(1, 3))];
    let report_of = |entries: &[_]| report("t", &lines(entries), 0);
    let last = report_of(&[&first[..], &again].concat());
    assert!(last.history.from_the_beginning);
    assert_eq!((last.state, last.full_copy.keys, last.full_copy.complete), ("not_ended", 4, false));
    assert_eq!(last.processes.restarts, 0);
    // A process that was stopped has ended no migration, unless it is begun anew.
    let stopped =
        [("a", started(false)), ("a", begun(1, false, false)), ("a", database(0, 9)), ("a", ended("failed", 0))];
    assert_eq!(report_of(&[&stopped[..], &again].concat()).processes.restarts, 1);
    let anew = [("b", started(true)), ("b", begun(2, false, false))];
    assert_eq!(report_of(&[&stopped[..], &anew].concat()).processes.restarts, 0);
    // What was refused has begun nothing, and is nothing of the one that has ended.
    let refused = [("c", started(false)), ("c", ended("failed", 0))];
    let ended_one = report_of(&[&first[..], &refused].concat());
    assert_eq!((ended_one.state, ended_one.full_copy.keys, ended_one.processes.restarts), ("synced", 10, 0));
    assert_eq!((ended_one.history.lines, ended_one.history.missing), (4, 0));
    let last = report_of(&[&first[..], &refused, &again].concat());
    assert_eq!((last.state, last.full_copy.keys, last.processes.restarts), ("not_ended", 4, 0));
    let refused = [("c", started(true)), ("c", ended("failed", 0))];
    let going_on = [("d", started(false)), ("d", begun(1, true, false))];
    let going_on = report_of(&[&stopped[..], &refused, &going_on].concat());
    assert_eq!((going_on.full_copy.keys, going_on.processes.restarts), (10, 2));
}

#[test]
fn a_history_whose_first_lines_are_gone_says_so() {
    let cut = ("a", json!({"event": "cut"}));
    let entries = [("b", started(false)), ("b", begun(9, true, true)), cut, ("b", ended("synced", 9))];
    assert!(!report("t", &lines(&entries), 0).history.from_the_beginning);
    assert!(!report("t", &lines(&entries[1..]), 0).history.from_the_beginning);
    // What comes behind a whole migration is whole.
    let next = [("c", started(false)), ("c", begun(1, false, false))];
    assert!(report("t", &lines(&[&entries[..], &next].concat()), 0).history.from_the_beginning);
}

#[test]
fn what_nobody_has_counted_is_not_complete() {
    let report_of = |entries: &[_]| report("t", &lines(entries), 0).full_copy;
    // The process before ran on another machine.
    let moved = report_of(&[("a", started(false)), ("a", begun(9, true, true)), ("a", ended("cut_over", 9))]);
    assert!(!moved.complete);
    // A second full copy counts from its beginning.
    let twice = [
        ("a", started(false)),
        ("a", begun(9, true, false)),
        ("a", database(0, 1)),
        ("a", begun(9, false, false)),
        ("a", database(5, 1)),
        ("a", read_all(2)),
        ("a", copied()),
    ];
    let whole = report_of(&twice);
    assert_eq!((whole.complete, whole.keys, whole.by_database.len()), (true, 2, 1));
    // Lines that could not be written by a process that was killed then: its successor knows how much it should be.
    for lost in [4, 5, 6] {
        let without = [&twice[..lost], &twice[lost + 1..]].concat();
        assert!(!report_of(&without).complete, "without {lost}");
        let tail = [&twice[..lost], &[("b", started(false)), ("b", begun(9, true, true))]].concat();
        assert_eq!(report_of(&tail).complete, lost == 6, "without what follows {lost}");
    }
    // A line that could not be written may have been one that counts.
    let entries = [
        ("a", started(false)),
        ("a", begun(9, false, false)),
        ("a", database(0, 1)),
        ("a", json!({"event": "retrying", "side": "source", "error": null})),
        ("a", read_all(2)),
        ("a", copied()),
    ];
    let mut holed = lines(&entries);
    assert!(report("t", &holed, 0).full_copy.complete);
    holed.unreadable = 1;
    assert!(!report("t", &holed, 0).full_copy.complete);
    holed.unreadable = 0;
    holed.lines.remove(3);
    let holed = report("t", &holed, 0);
    assert_eq!((holed.full_copy.complete, holed.history.missing), (false, 1));
}

#[test]
fn a_copy_that_was_begun_elsewhere_is_not_complete() {
    let of_copy = |copy: u64, mut begun: Value| {
        begun["copy"] = copy.into();
        begun
    };
    let report_of = |second: u64| {
        let entries = [
            ("a", started(false)),
            ("a", of_copy(1, begun(9, false, false))),
            ("a", database(0, 1)),
            ("b", started(false)),
            ("b", of_copy(second, begun(9, true, false))),
            ("b", database(5, 1)),
            ("b", read_all(4)),
            ("b", copied()),
        ];
        report("t", &lines(&entries), 0)
    };
    assert_eq!((report_of(1).full_copy.complete, report_of(1).full_copy.keys), (true, 4));
    let other = report_of(2);
    assert_eq!((other.full_copy.complete, other.full_copy.keys), (false, 2));
    assert_eq!((other.times.full_copy_begun, other.offsets.full_copy), (None, None));
}

#[test]
fn what_held_behind_a_copy_does_not_hold_before_the_next_one() {
    let in_step = ("a", json!({"event": "in_step", "offset": 70}));
    let compared = json!({"event": "compared", "begun": 9000, "source": "redis://a:1", "target": "redis://b:2",
        "options": [], "rules": ["--key a*"], "result": {"value": 2, "equal": false}});
    let first = [
        ("a", started(false)),
        ("a", begun(9, false, false)),
        ("a", database(0, 1)),
        ("a", read_all(2)),
        ("a", copied()),
        in_step.clone(),
        ("c", compared),
        ("a", ended("failed", 9)),
    ];
    let held = |report: &Report| {
        let Differences { equal, left, .. } = report.differences;
        (report.full_copy.complete, report.times.in_step.is_some(), equal, left, report.offsets.applied.is_some())
    };
    let report_of = |entries: &[_]| report("t", &lines(&[&first[..], entries].concat()), 0);
    assert_eq!(held(&report_of(&[])), (true, true, Some(false), 2, true));
    let nothing = (false, false, None, 0, false);
    let fell_back = ("a", json!({"event": "fell_back"}));
    assert_eq!(held(&report_of(std::slice::from_ref(&fell_back))), nothing);
    let again = [fell_back, ("a", read_all(2)), ("a", copied()), in_step];
    assert_eq!(held(&report_of(&again)), (true, true, None, 0, true));
    let resumed = report_of(&[("b", started(false)), ("b", begun(9, true, false))]);
    assert_eq!((held(&resumed), resumed.full_copy.kept), (nothing, 1));
    let anew = report_of(&[("b", started(false)), ("b", begun(9, false, false))]);
    assert_eq!((held(&anew), anew.full_copy.kept, anew.full_copy.unsupported.len()), (nothing, 0, 0));
}

#[test]
fn only_a_comparison_of_the_migration_is_a_verdict() {
    let compared = |begun: u64, source: &str, rules: &[&str]| {
        json!({"event": "compared", "begun": begun, "source": source, "target": "redis://b:2", "options": ["--mode full"],
            "rules": rules, "result": {"equal": true}})
    };
    let equal = |compared: Value| {
        let mut started = started(false);
        started["rules"] = json!(["--key a*", "--block-command publish"]);
        let entries =
            [("a", started), ("a", begun(9, false, false)), ("a", read_all(0)), ("a", copied()), ("c", compared)];
        let report = report("t", &lines(&entries), 0);
        assert_eq!((report.comparisons.len(), &report.comparisons[0].result["equal"]), (1, &json!(true)));
        report.differences.equal
    };
    assert_eq!(equal(compared(4000, "redis://a:1", &["--key a*"])), Some(true));
    assert_eq!(equal(compared(3999, "redis://a:1", &["--key a*"])), None);
    assert_eq!(equal(compared(4000, "redis://a:2", &["--key a*"])), None);
    assert_eq!(equal(compared(4000, "redis://a:1", &[])), None);
}
