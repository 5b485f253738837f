//! Databases, outputs, exit codes, refusals.

use super::*;

#[test]
fn a_database_with_another_one() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-6.2").unwrap());
    run(&source, 3, &["SET a 1", "SET b 2", "SET ttl v EX 500"]);
    run(&source, 0, &["SET elsewhere 1"]);
    run(&target, 2, &["SET a 1", "SET b 3", "SET c 4", "SET ttl v EX 500"]);
    run(&target, 7, &["SET elsewhere 2"]);
    let urls = |s: &str, t: &str| {
        let mut command = command(&format!("{}{s}", source.url()), &format!("{}{t}", target.url()));
        command.args(["--rounds", "1"]);
        done(command)
    };
    let (found, last) = urls("/3", "/2").found();
    let expected = [(3, "b".to_owned(), "value".to_owned()), (3, "c".into(), "missing_on_source".into())];
    assert_eq!((found, &last["keys"]), (expected.into(), &3.into()));
    assert_eq!(urls("/5", "/5").code, 0);
    assert_eq!(urls("/0", "/7").code, 1);
    // All databases: none is the same.
    assert_eq!(urls("", "").found().0.len(), 9);
    urls("", "/2").assert_error("CFG-0001");
    urls("/3", "/99").assert_error("TGT-0019");
}

/// At rest, with nothing that expires, counts can prove that the target has no more: only then it is not walked.
#[test]
fn the_target_is_walked_unless_it_is_certain() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    for i in 0..2_000 {
        run(&source, 0, &[&format!("SET k{i} v")]);
        run(&target, 0, &[&format!("SET k{i} v")]);
    }
    let scans = || {
        let stats = target.info("commandstats").unwrap();
        stats.contains_key("cmdstat_scan")
    };
    compare(&source, &target, &[]).assert_equal();
    assert!(!scans());
    run(&target, 0, &["SET more v"]);
    assert_eq!(compare(&source, &target, &[]).found().0, [(0, "more".to_owned(), "missing_on_source".to_owned())]);
    assert!(scans());
    // As many, but others.
    run(&target, 0, &["DEL k7"]);
    let found = compare(&source, &target, &["--mode", "keys"]).found().0;
    assert_eq!(found.len(), 2, "{found:?}");
    // As many, one of which expires on the source.
    run(&target, 0, &["SET k7 v"]);
    run(&source, 0, &["SET soon v PX 900"]);
    assert_eq!(compare(&source, &target, &[]).code, 1);
}

#[test]
fn binary_keys_in_every_form() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let key = b"k\xff\"\n\\,\xc3\xa9";
    redis::cmd("SET").arg(key).arg("v").exec(&mut source.conn().unwrap()).unwrap();
    let shown = "k\\xff\"\\x0a\\\\,\u{e9}";
    let done = compare(&source, &target, &[]);
    assert_eq!(done.found().0, [(0, shown.to_owned(), "missing_on_target".to_owned())]);
    let form = |form: &str| {
        let mut command = process::command(Path::new(KEYFERRY));
        command.args(["compare", &source.url(), &target.url(), "--rounds", "1", "--output", form]);
        super::done(command).stdout
    };
    let csv = form("csv");
    let expected = format!("db,key,kind,detail\n0,\"{}\",missing_on_target,\"\"\n", shown.replace('"', "\"\""));
    assert_eq!(csv, expected);
    let text = form("text");
    assert!(text.contains(shown) && text.ends_with("\ndifferent\n"), "{text}");
}

#[test]
fn refusals_have_codes_and_exit_2() {
    let server = Server::start("redis-7.0").unwrap();
    let of = |source: &str, target: &str, args: &[&str]| {
        let mut command = command(source, target);
        command.args(args);
        done(command)
    };
    of("http://x", &server.url(), &[]).assert_error("CFG-0001");
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    std::fs::write(&other, vec![b'x'; 8192]).unwrap();
    of(&server.url(), &server.url(), &["--store", other.to_str().unwrap()]).assert_error("CFG-0009");
    let nowhere = dir.path().join("no/such/dir");
    of(&server.url(), &server.url(), &["--store", nowhere.to_str().unwrap()]).assert_error("CFG-0009");
    assert_eq!(of(&server.url(), &server.url(), &["--mode", "some"]).code, 2);
    assert_eq!(of(&server.url(), &server.url(), &["--rounds", "0"]).code, 2);
    let locked = Server::builder("redis-7.0").password("secret-word").start().unwrap();
    let done = of(&server.url(), &format!("redis://127.0.0.1:{}", locked.port()), &[]);
    done.assert_error("TGT-0004");
    of(&server.url(), &locked.url(), &[]).assert_equal();
    assert!(!done.stderr.contains("secret-word"));
}

#[test]
fn results_are_shown_again_in_pages() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let filled: Vec<String> = (0..2_500).map(|i| format!("k{i:04}")).collect();
    let mut conn = source.conn().unwrap();
    let mut mset = cmd("MSET");
    for key in &filled {
        mset.arg(key).arg("v").arg(key.clone() + "x").arg(1);
    }
    mset.exec(&mut conn).unwrap();
    filled.iter().for_each(|key| run(&target, 0, &[&format!("SET {key}x 1")]));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results").to_str().unwrap().to_owned();
    let done = compare(&source, &target, &["--store", &file]);
    assert_eq!(done.found().0.len(), 2_500);
    let show = |args: &[&str]| {
        let mut command = process::command(Path::new(KEYFERRY));
        command.args(["compare", "--show", &file, "--output", "json"]).args(args);
        super::done(command)
    };
    assert_eq!(show(&[]).stdout, done.stdout);
    assert_eq!(show(&[]).code, 1);
    let sizes = ["1", "2", "3", "4"].map(|page| show(&["--page", page]).found().0.len());
    assert_eq!(sizes, [1_000, 1_000, 500, 0]);
    assert_eq!(show(&["--page", "2"]).found().0[0].1, "k1000");
}

#[test]
fn a_rate_is_kept() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    keyferry_testkit::data::fill_strings(&source.url(), 1_000, 10, 1).unwrap();
    keyferry_testkit::data::fill_strings(&target.url(), 1_000, 10, 1).unwrap();
    let begun = std::time::Instant::now();
    compare(&source, &target, &["--rate", "1000"]).assert_equal();
    // Of 1000 keys the first tenth is free, or a little more, since SCAN may give more than it is asked for.
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
}
