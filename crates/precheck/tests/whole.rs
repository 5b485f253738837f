//! All items at once, and servers whose answers are nonsense.

use keyferry_precheck::{Item, Status};

use super::{fake::Answer, *};

#[test]
fn everything_passes_between_two_plain_servers() {
    for (from, to) in [("redis-7.0", "redis-7.0"), ("redis-2.8", "valkey-9.1"), ("valkey-8.0", "redict-7.3")] {
        let (source, target) = (start(from), start(to));
        let () = ask(&source, "SET k v");
        let report = Ask::of(&source, &target).report(&[]);
        let left: Vec<_> = report.items.iter().filter(|finding| finding.status != Status::Passed).collect();
        assert!(left.is_empty(), "{from} to {to}: {left:?}");
        assert!(report.ok && report.passed == Item::ALL.len());
        assert_eq!((source.keys().unwrap(), target.keys().unwrap()), (1, 0));
        assert_eq!(source.info("stats").unwrap()["sync_full"], "0");
    }
}

#[test]
fn the_json_form() {
    let (source, target) = pair("redis-7.0");
    let () = ask(&target, "SET k v");
    let mut report = Ask::of(&source, &target).report(&[Item::Modules]);
    report.accept_warnings();
    let json = serde_json::to_value(&report).unwrap();
    let names: Vec<&str> = json["items"].as_array().unwrap().iter().map(|i| i["item"].as_str().unwrap()).collect();
    assert_eq!(names, Item::ALL.map(Item::name));
    let of = |name: &str| &json["items"][names.iter().position(|n| *n == name).unwrap()];
    assert_eq!(of("target-data")["status"], "failed");
    assert_eq!(of("target-data")["measured"]["keys"], 1);
    assert_eq!(of("modules")["status"], "skipped");
    assert_eq!((json["passed"].as_u64(), json["failed"].as_u64()), (Some(18), Some(1)));
    assert_eq!((json["skipped"].as_u64(), json["ok"].as_bool()), (Some(1), Some(false)));
}

/// Whatever the servers say, there is a report.
#[test]
fn nonsense_is_survived() {
    let (source, target) = pair("redis-7.0");
    let () = ask(&source, "SET k v");
    for nonsense in ["+OK\r\n", ":-1\r\n", "$-1\r\n", "*0\r\n", "*1\r\n*0\r\n", "-X\r\n", "$4\r\n\0\u{1}\n\r\r\n"] {
        let rules = || {
            let names = ["CONFIG", "MODULE", "TIME", "SCAN", "COMMAND", "MEMORY", "TYPE", "HGET", "SELECT", "PSYNC"];
            let more = ["MULTI", "WATCH", "REPLCONF", "FUNCTION", "EXISTS"];
            names.into_iter().chain(more).map(|name| (name, Answer::Say(nonsense))).collect()
        };
        let report = Ask::new(&fake::start(&source, rules()), &fake::start(&target, rules())).report(&[]);
        assert_eq!(report.items.len(), Item::ALL.len());
    }
    for field in ["used_memory", "maxmemory", "repl_backlog_size", "master_repl_offset", "connected_slaves", "db0"] {
        let odd = |server| fake::start(server, vec![fake::with(field, "99999999999999999999x")]);
        let report = Ask::new(&odd(&source), &odd(&target)).report(&[]);
        assert_eq!(report.items.len(), Item::ALL.len());
    }
    let huge = |server| {
        let fields = ["used_memory", "maxmemory", "repl_backlog_size", "total_system_memory", "master_repl_offset"];
        fake::start(server, fields.map(|field| fake::with(field, "18446744073709551615")).into())
    };
    Ask::new(&huge(&source), &huge(&target)).report(&[]);
}
