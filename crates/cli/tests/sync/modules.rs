//! Values of modules go through as they are, where source and target have the same module.

use super::*;

/// Copies what the commands of `before` have made, then follows those of `behind`.
fn goes_through(server: &str, modules: &[&str], before: &[&str], behind: &[&str]) {
    let start =
        || modules.iter().fold(Server::builder(server), |builder, module| builder.module(module)).start().unwrap();
    let (source, target) = (start(), start());
    let write = |commands: &[&str]| {
        for words in commands {
            let _: redis::Value = ask(&source, 0, words);
        }
    };
    write(before);
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.phase == "incremental").unwrap();
    let copied = differences_with_grace(&source, &target);
    copied.assert_equal();
    assert!(copied.keys > 0 && copied.types.keys().all(|kind| kind != "string"), "{copied:?}");
    write(behind);
    let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
    run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
    let report = differences_with_grace(&source, &target);
    report.assert_equal();
    assert!(report.keys > copied.keys, "{report:?}");
}

#[test]
fn vector_sets() {
    let vectors = [
        "VADD a VALUES 3 1.0 0.5 -0.25 one",
        "VADD a VALUES 3 0.1 0.2 0.3 two SETATTR {\"year\":1968}",
        "VADD b VALUES 3 1.0 0.5 -0.25 one NOQUANT",
        "VADD c REDUCE 2 VALUES 3 1.0 0.5 -0.25 one BIN",
    ];
    let behind = ["VADD a VALUES 3 0.3 0.2 0.1 three", "VREM a two", "VSETATTR a one {}", "VADD d VALUES 2 1 2 x Q8"];
    goes_through("redis-8.6", &[], &vectors, &behind);
    goes_through("redis-8.0", &[], &vectors, &behind);
}

/// Without TOPK, whose payload holds addresses of its process: no two of them are the same.
#[test]
fn values_of_the_stack() {
    let before = [
        "JSON.SET doc $ {\"a\":[1,2.5,null,true,\"text\"],\"b\":{\"c\":{}}}",
        "BF.RESERVE bloom 0.01 1000",
        "BF.MADD bloom one two three",
        "CF.ADD cuckoo one",
        "CMS.INITBYDIM sketch 100 5",
        "CMS.INCRBY sketch one 5 two 1",
        "TS.CREATE series LABELS place quay",
        "TS.ADD series 1600000000000 21.5",
    ];
    let behind = [
        "JSON.NUMINCRBY doc $.a[0] 41",
        "JSON.SET other $ [1]",
        "BF.ADD bloom four",
        "CF.ADD cuckoo two",
        "CMS.INCRBY sketch one 1",
        "TS.ADD series 1600000001000 22.5",
    ];
    goes_through("redis-7.4", &["rejson", "redisbloom", "redistimeseries"], &before, &behind);
}

#[test]
fn values_of_a_module_of_ones_own() {
    for server in ["redis-6.2", "redis-8.6", "valkey-9.1"] {
        let before = ["HELLOTYPE.INSERT m 5", "HELLOTYPE.INSERT m 3"];
        let behind = ["HELLOTYPE.INSERT m 4", "HELLOTYPE.INSERT n 1"];
        goes_through(server, &["hellotype"], &before, &behind);
    }
}
