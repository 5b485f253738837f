//! The stream towards older targets: each command that the target's version does not know arrives in another form, or is
//! treated as `--on-unsupported` says.

mod databases;
mod lines;
mod load;
mod payloads;
mod policies;
mod scripts;

use keyferry_testkit::oracle::{Difference, Kind};
use lines::*;
use redis::{Connection, Value};

use super::*;

/// Sends one line; any error is a failure of the test.
fn send(conn: &mut Connection, line: &str) -> Value {
    let mut words = line.split(' ');
    let mut command = cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query(conn).unwrap_or_else(|e| panic!("{line}: {e}"))
}

/// A pair of which the link follows the source.
struct Following {
    source: Server,
    target: Server,
    run: Keyferry,
}

impl Following {
    fn start(source: &str, target: &str, args: &[&str]) -> Self {
        let (source, target) = (Server::start(source).unwrap(), Server::start(target).unwrap());
        let run = sync(&source.url(), &target.url()).args(args.iter().copied()).spawn().unwrap();
        run.wait_for(LONG, |p| p.phase == "incremental").unwrap();
        Self { source, target, run }
    }

    /// Runs lines in database 0, in database 1 as one transaction, and in database 2 each from a script.
    fn run_lines(&self, lists: &[&str]) {
        let lines: Vec<&str> = lists.iter().flat_map(|list| list.lines()).filter(|line| !line.is_empty()).collect();
        let conn = &mut self.source.conn().unwrap();
        for line in &lines {
            send(conn, line);
        }
        send(conn, "SELECT 1");
        send(conn, "MULTI");
        for line in &lines {
            send(conn, line);
        }
        let Value::Array(replies) = send(conn, "EXEC") else { panic!("the transaction did not run") };
        assert_eq!(replies.len(), lines.len());
        assert!(!replies.iter().any(|r| matches!(r, Value::ServerError(_))), "{replies:?}");
        send(conn, "SELECT 2");
        for line in &lines {
            let mut command = cmd("EVAL");
            command.arg("return redis.call(unpack(ARGV))").arg(0);
            line.split(' ').for_each(|word| {
                command.arg(word);
            });
            command.exec(conn).unwrap_or_else(|e| panic!("{line} in a script: {e}"));
        }
    }

    fn wait_in_step(&self) {
        let goal: u64 = self.source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
        self.run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    }

    /// Both sides are equal, but for what `tolerates` says.
    fn assert_equal_but(&self, tolerates: impl Fn(&Difference) -> bool) {
        self.wait_in_step();
        let mut options =
            Options { ttl_grace_ms: 30_000, exact_groups: false, max_listed: usize::MAX, ..Options::default() };
        // Targets before 6.2 are told what is left, and count from when they are.
        if !self.target.version().has(6, 2) {
            options.ttl_tolerance_ms = options.ttl_tolerance_ms.max(2_000);
        }
        // Nobody writes any more. What has expired at the source without having been deleted there is no longer shown, and
        // stays on the target until it is: a source takes its time for that.
        let mut found = vec![];
        let equal = keyferry_testkit::wait_until("both sides are equal", LONG, || {
            let report = compare(&self.source.url(), &self.target.url(), &options).unwrap();
            let counts = report.differences.iter().filter(|d| !tolerates(d));
            found = counts.map(ToString::to_string).collect();
            found.is_empty()
        });
        assert!(equal.is_ok(), "{found:#?}");
        let ours: Vec<String> = ask(&self.target, 0, "KEYS __keyferry_rebuild*");
        assert!(ours.is_empty(), "{ours:?}");
    }

    /// Stops the task, and gives back what it has said.
    fn stop(self) -> String {
        self.run.signal(keyferry_testkit::process::Signal::TERM).unwrap();
        let exit = self.run.wait_exit(LONG).unwrap();
        assert_eq!(exit.code(), 130, "{}", exit.stderr);
        exit.stderr
    }
}

/// What servers send that no replica of theirs minds.
#[test]
fn an_exec_without_its_multi_ends_nothing() {
    let lines = [("redis-3.0", "SCRIPT FLUSH"), ("redis-6.0", "PFDEBUG TODENSE h")];
    for (source, line) in lines {
        let following = Following::start(source, source, &[]);
        let conn = &mut following.source.conn().unwrap();
        for line in ["PFADD h a b c", "MULTI", line, "EXEC", "SET after 1"] {
            send(conn, line);
        }
        following.assert_equal_but(|_| false);
        assert_eq!(ask::<u64>(&following.target, 0, "GET after"), 1);
        following.stop();
    }
}

#[test]
fn pushes_of_several_from_4_0() {
    for target in ["redis-3.2", "redis-3.0"] {
        let following = Following::start("redis-4.0", target, &[]);
        let conn = &mut following.source.conn().unwrap();
        for line in ["RPUSH l a", "LPUSHX l b c", "MULTI", "RPUSHX l d e f", "RPUSHX none d e", "EXEC"] {
            send(conn, line);
        }
        following.assert_equal_but(|_| false);
        following.stop();
    }
}

macro_rules! exact {
    ($($name:ident: $source:literal -> $target:literal, $lists:expr;)*) => {
        $(#[test] fn $name() {
            let following = Following::start($source, $target, &[]);
            following.run_lines($lists);
            following.assert_equal_but(|_| false);
            let said = following.stop();
            assert!(!said.contains("dropped") && !said.contains("degraded"), "{said}");
        })*
    };
}

exact! {
    from_6_2_to_6_0: "redis-6.2" -> "redis-6.0", &[SINCE_6_2, PLACES_SINCE_6_2, STREAMS_SINCE_6_2];
    from_6_2_to_4_0: "redis-6.2" -> "redis-4.0", &[SINCE_6_2, PLACES_SINCE_6_2];
    from_7_0_to_3_0: "redis-7.0" -> "redis-3.0", &[SINCE_6_2, SINCE_7_0];
    from_7_0_to_3_2: "redis-7.0" -> "redis-3.2", &[SINCE_6_2, PLACES_SINCE_6_2, SINCE_7_0];
    from_7_4_to_5_0: "redis-7.4" -> "redis-5.0",
        &[SINCE_6_2, PLACES_SINCE_6_2, STREAMS_SINCE_6_2, SINCE_7_0, STREAMS_SINCE_7_0];
    from_7_4_to_6_2: "redis-7.4" -> "redis-6.2",
        &[SINCE_6_2, PLACES_SINCE_6_2, STREAMS_SINCE_6_2, SINCE_7_0, STREAMS_SINCE_7_0];
    from_7_0_to_7_0: "redis-7.0" -> "redis-7.0",
        &[SINCE_6_2, PLACES_SINCE_6_2, STREAMS_SINCE_6_2, SINCE_7_0, STREAMS_SINCE_7_0];
    from_8_0_to_7_4: "redis-8.0" -> "redis-7.4", &[SINCE_6_2, FIELDS_SINCE_8_0, FIELD_DEADLINES_SINCE_8_0];
    from_8_6_to_6_0: "redis-8.6" -> "redis-6.0",
        &[
            SINCE_6_2, PLACES_SINCE_6_2, STREAMS_SINCE_6_2, SINCE_7_0, STREAMS_SINCE_7_0, FIELDS_SINCE_8_0, SINCE_8_2,
            SINCE_8_4,
        ];
    from_8_6_to_8_6: "redis-8.6" -> "redis-8.6",
        &[SINCE_6_2, STREAMS_SINCE_6_2, FIELDS_SINCE_8_0, FIELD_DEADLINES_SINCE_8_0, SINCE_8_2, SINCE_8_4, SINCE_8_6];
    from_8_6_to_7_4: "redis-8.6" -> "redis-7.4",
        &[SINCE_7_0, FIELDS_SINCE_8_0, FIELD_DEADLINES_SINCE_8_0, SINCE_8_2, SINCE_8_4];
    from_8_2_to_valkey_8_1: "redis-8.2" -> "valkey-8.1", &[SINCE_6_2, STREAMS_SINCE_6_2, FIELDS_SINCE_8_0, SINCE_8_2];
    from_8_6_to_valkey_9_1: "redis-8.6" -> "valkey-9.1",
        &[SINCE_7_0, FIELDS_SINCE_8_0, FIELD_DEADLINES_SINCE_8_0, SINCE_8_2, SINCE_8_4];
    from_valkey_9_0_to_6_2: "valkey-9.0" -> "redis-6.2",
        &[SINCE_6_2, STREAMS_SINCE_6_2, SINCE_7_0, STREAMS_SINCE_7_0, VALKEY_SINCE_8_1, VALKEY_SINCE_9_0];
    from_valkey_9_1_to_7_4: "valkey-9.1" -> "redis-7.4",
        &[SINCE_7_0, VALKEY_SINCE_8_1, VALKEY_SINCE_9_0, VALKEY_SINCE_9_1];
    from_valkey_9_1_to_valkey_9_0: "valkey-9.1" -> "valkey-9.0",
        &[SINCE_7_0, VALKEY_SINCE_8_1, VALKEY_SINCE_9_0, VALKEY_SINCE_9_1];
}
