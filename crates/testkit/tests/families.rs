use std::collections::{BTreeMap, BTreeSet};

use keyferry_testkit::{
    Server,
    families::{COMMANDS, EMPTYING, FAMILIES, Form, Known, OPTIONS, Runner, serve_waiting},
    server::{SERVERS, faults_on_each},
};

/// Does the work for each server; the faults of all of them are shown together.
fn on_all(work: impl Fn(&Server) -> Vec<String> + Sync) {
    let faults = faults_on_each(work);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Each call succeeds and changes something; each write command that the server names, and each option that it
/// documents, is called or listed.
#[test]
fn every_write_command_is_exercised_or_listed() {
    on_all(|server| {
        let known = Known::of(server).unwrap();
        let mut runner = Runner::connect(server, "plain", Form::Plain).unwrap();
        runner.check_effects(server).unwrap();
        let mut faults: Vec<String> = FAMILIES
            .iter()
            .chain([&EMPTYING])
            .filter_map(|family| runner.family(family).err().map(|error| format!("{error:#}")))
            .collect();
        let name = server.version();
        let writes = known.writes();
        assert!(writes.len() > 60, "{name}: {writes:?}");
        for command in writes {
            if !runner.exercised().contains(command) && !COMMANDS.iter().any(|(listed, _)| *listed == command) {
                faults.push(format!("{name}: {command} is neither called nor listed"));
            }
        }
        for (command, option) in known.options(server).unwrap().into_iter().flatten() {
            let pair = (command, option);
            let listed = COMMANDS.iter().any(|(command, _)| *command == pair.0)
                || OPTIONS.iter().any(|(command, option, _)| (*command, *option) == (&pair.0, &pair.1));
            if !runner.words().contains(&pair) && !listed {
                faults.push(format!("{name}: the option {} of {} is neither used nor listed", pair.1, pair.0));
            }
        }
        faults
    });
}

/// The same calls in transactions and, where effects are replicated, from scripts; and clients that wait.
#[test]
fn every_write_command_runs_in_transactions_and_scripts() {
    on_all(|server| {
        let mut faults = Vec::new();
        let forms = [("multi", Form::Transactions), ("lua", Form::Scripts)];
        for (run, form) in &forms[..if server.version().has(5, 0) { 2 } else { 1 }] {
            let mut runner = Runner::connect(server, run, *form).unwrap();
            let failed = FAMILIES.iter().chain([&EMPTYING]).filter_map(|family| runner.family(family).err());
            faults.extend(failed.map(|error| format!("{error:#}")));
        }
        faults.extend(serve_waiting(server, "waiting").err().map(|error| format!("{error:#}")));
        faults
    });
}

#[test]
fn what_is_listed_is_there_and_not_called() {
    let mut writes: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut options = BTreeSet::new();
    for name in SERVERS {
        let server = Server::start(name).unwrap();
        let known = Known::of(&server).unwrap();
        for command in known.writes() {
            writes.entry(command.into()).or_default().insert(name);
        }
        options.extend(known.options(&server).unwrap().into_iter().flatten());
    }
    for (command, reason) in COMMANDS {
        assert!(writes.contains_key(command), "no server has {command}, which is listed");
        assert!(reason.len() > 10, "{command}");
        let called = |text: &str| text.to_lowercase().split_whitespace().next() == Some(command);
        assert!(
            !FAMILIES.iter().flat_map(|family| family.calls).any(|call| called(call.text())),
            "{command} is called"
        );
    }
    for (command, option, reason) in OPTIONS {
        assert!(options.contains(&(command.into(), option.into())), "no server has {option} of {command}");
        assert!(reason.len() > 10, "{command} {option}");
    }
}
