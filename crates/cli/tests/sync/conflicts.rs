//! What happens to keys that the target holds already.

use keyferry_testkit::keyferry::Exit;

use super::*;

/// Source: `both` and `new`. Target: `both`, `own`, and `own` in database 2.
fn scene() -> (Server, Server) {
    let (source, target) = pair("redis-7.0");
    let () = ask(&source, 0, "SET both source");
    let () = ask(&source, 0, "SET new source");
    let _: u64 = ask(&source, 0, "RPUSH list source");
    let () = ask(&target, 0, "SET both target");
    let _: u64 = ask(&target, 0, "RPUSH list target");
    let () = ask(&target, 0, "SET own target");
    let () = ask(&target, 2, "SET own target");
    (source, target)
}

fn run(source: &Server, target: &Server, strategy: &str) -> Exit {
    let args = ["--full-only", "--on-conflict", strategy];
    sync(&source.url(), &target.url()).args(args).spawn().unwrap().wait_exit(LONG).unwrap()
}

fn get(server: &Server, db: u32, key: &str) -> Option<String> {
    ask(server, db, &format!("GET {key}"))
}

#[test]
fn abort_writes_nothing() {
    let (source, target) = scene();
    let exit = sync(&source.url(), &target.url()).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&exit, 3, "TGT-0012");
    assert!(exit.stderr.contains("3 in database 0, 1 in database 2"), "{}", exit.stderr);
    assert_eq!(get(&target, 0, "both").as_deref(), Some("target"));
    assert_eq!(get(&target, 0, "new"), None);
}

#[test]
fn abort_looks_at_the_chosen_database_only() {
    let (source, target) = scene();
    let url = |s: &Server, db| format!("{}/{db}", s.url());
    let refused = sync(&url(&source, 0), &url(&target, 2)).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&refused, 3, "TGT-0012");
    let exit = sync(&url(&source, 0), &url(&target, 7)).arg("--full-only").spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert_eq!(get(&target, 7, "new").as_deref(), Some("source"));
}

#[test]
fn abort_counts_functions() {
    let (source, target) = pair("redis-7.0");
    let mut conn = target.conn().unwrap();
    let code = "#!lua name=l\nredis.register_function('f', function() return 1 end)";
    cmd("FUNCTION").arg("LOAD").arg(code).exec(&mut conn).unwrap();
    assert_fails(&run(&source, &target, "abort"), 3, "TGT-0012");
}

#[test]
fn abort_notices_a_key_that_appears_meanwhile() {
    let (source, target) = pair("redis-7.0");
    source.config_set("rdb-key-save-delay", "100").unwrap();
    keyferry_testkit::data::fill_strings(&source.url(), 20_000, 10, 1).unwrap();
    let _: u64 = ask(&source, 1, "RPUSH late source");
    let run = sync(&source.url(), &target.url()).spawn().unwrap();
    run.wait_for(LONG, |p| p.phase == "full_sync").unwrap();
    let () = ask(&target, 1, "SET late target");
    assert_fails(&run.wait_exit(LONG).unwrap(), 1, "TGT-0014");
    assert_eq!(get(&target, 1, "late").as_deref(), Some("target"));
}

#[test]
fn ignore_keeps_the_targets_keys() {
    let (source, target) = scene();
    let exit = run(&source, &target, "ignore");
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert!(exit.stderr.contains("2 of them kept"), "{}", exit.stderr);
    assert_eq!(get(&target, 0, "both").as_deref(), Some("target"));
    assert_eq!(ask::<Vec<String>>(&target, 0, "LRANGE list 0 -1"), ["target"]);
    assert_eq!(get(&target, 0, "new").as_deref(), Some("source"));
    assert_eq!(get(&target, 2, "own").as_deref(), Some("target"));
}

#[test]
fn replace_overwrites_only_what_the_source_has() {
    let (source, target) = scene();
    let exit = run(&source, &target, "replace");
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert_eq!(get(&target, 0, "both").as_deref(), Some("source"));
    assert_eq!(ask::<Vec<String>>(&target, 0, "LRANGE list 0 -1"), ["source"]);
    assert_eq!(get(&target, 0, "own").as_deref(), Some("target"));
}

#[test]
fn clear_empties_the_target_first() {
    let (source, target) = scene();
    let exit = run(&source, &target, "clear");
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    differences(&source, &target).assert_equal();
}

#[test]
fn clear_takes_functions_too() {
    let (source, target) = pair("redis-7.0");
    for (server, library) in [(&source, "one"), (&target, "other")] {
        let code = format!("#!lua name={library}\nredis.register_function('f', function() return 1 end)");
        cmd("FUNCTION").arg("LOAD").arg(code).exec(&mut server.conn().unwrap()).unwrap();
    }
    let exit = run(&source, &target, "clear");
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    differences(&source, &target).assert_equal();
}

#[test]
fn clear_empties_the_chosen_database_only() {
    let (source, target) = scene();
    let (from, to) = (format!("{}/0", source.url()), format!("{}/2", target.url()));
    let args = ["--full-only", "--on-conflict", "clear"];
    let exit = sync(&from, &to).args(args).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert_eq!(get(&target, 2, "own"), None);
    assert_eq!(get(&target, 2, "new").as_deref(), Some("source"));
    assert_eq!(get(&target, 0, "own").as_deref(), Some("target"));
}

#[test]
fn clear_touches_nothing_when_the_source_refuses() {
    let (source, target) = scene();
    let mut conn = source.conn().unwrap();
    cmd("ACL").arg(&["SETUSER", "reader", "on", ">pw", "+ping", "+info", "+select"]).exec(&mut conn).unwrap();
    let url = format!("redis://reader:pw@127.0.0.1:{}", source.port());
    let exit = sync(&url, &target.url()).args(["--on-conflict", "clear"]).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_fails(&exit, 1, "SRC-0007");
    assert_eq!(get(&target, 0, "own").as_deref(), Some("target"));
}
