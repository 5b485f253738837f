//! What `keyferry report` says of real migrations: figures are judged by counting on the servers, signatures by OpenSSL.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use keyferry_testkit::{Proxy, data, proxy::Way, wait_until};
use serde_json::Value;

use super::{
    control::{talk, task},
    reverse::{cut_over, wait_in_step},
    *,
};

/// A key, and the text of a rule.
const HOSTILE: &str = "<script>alert('1')</script>\"&";

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}

fn succeeds(program: &str, args: &[&str]) {
    let done = run(program, args);
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// `keyferry report --task t` into `dir/out`.
pub(super) fn report(dir: &Path, more: &[&str]) -> Value {
    report_of("t", dir, more)
}

fn report_of(task: &str, dir: &Path, more: &[&str]) -> Value {
    let out = dir.join("out");
    fs::create_dir_all(&out).unwrap();
    let done = talk("report", task, dir, &[&["--output-dir", out.to_str().unwrap()], more].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&fs::read(out.join(format!("{task}.report.json"))).unwrap()).unwrap()
}

/// What a command answers to each key of a database.
fn of_each<T: FromRedisValue>(server: &Server, db: u32, command: &str) -> Vec<T> {
    let mut conn = server.conn().unwrap();
    cmd("SELECT").arg(db).exec(&mut conn).unwrap();
    let mut keys: Vec<Vec<u8>> = cmd("KEYS").arg("*").query(&mut conn).unwrap();
    keys.retain(|key| !key.starts_with(b"__keyferry"));
    let mut pipe = redis::pipe();
    keys.iter().for_each(|key| {
        pipe.cmd(command).arg(key);
    });
    if keys.is_empty() { Vec::new() } else { pipe.query(&mut conn).unwrap() }
}

/// How many keys of each type a database has.
fn types(server: &Server, db: u32) -> BTreeMap<String, u64> {
    of_each::<String>(server, db, "TYPE").into_iter().fold(BTreeMap::new(), |mut counts, name| {
        *counts.entry(name).or_default() += 1;
        counts
    })
}

/// The same of a part of a report.
fn told(part: &Value) -> BTreeMap<String, u64> {
    let one = |of: &Value| {
        assert!(of["bytes"].as_u64().unwrap() > of["keys"].as_u64().unwrap(), "{of}");
        (of["type"].as_str().unwrap().to_owned(), of["keys"].as_u64().unwrap())
    };
    part["by_type"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn a_migration_with_a_kill_in_its_middle() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("valkey-8.0").unwrap());
    data::fill_mixed(&source.url(), 12_000, 11).unwrap();
    let mut conn = source.conn().unwrap();
    cmd("SET").arg(HOSTILE).arg("v").exec(&mut conn).unwrap();
    // Nothing runs out of time while it is counted.
    (0..16).for_each(|db| drop(of_each::<u64>(&source, db, "PERSIST")));
    let databases: BTreeMap<u32, _> =
        (0..16).map(|db| (db, types(&source, db))).filter(|(_, counts)| !counts.is_empty()).collect();
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(&target.address()).unwrap();
    proxy.limit(1_500_000);
    let begin = || task(&source, &proxy.url(), dir.path()).args(["--block-key", HOSTILE]).spawn().unwrap();
    let mut keys = 0;
    for _ in 0..2 {
        let run = begin();
        keys = run.wait_for(LONG, |p| p.phase == "full_sync" && p.keys > keys + 1500).unwrap().keys;
        wait_until("the source has sent all", LONG, || {
            source.info("replication").unwrap().get("slave0").is_some_and(|s| s.contains("state=online"))
        })
        .unwrap();
        run.kill_9();
        run.wait_exit(LONG).unwrap();
    }
    proxy.limit(0);
    let run = begin();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let so_far = report(dir.path(), &[]);
    assert_eq!((&so_far["state"], &so_far["full_copy"]["complete"]), (&"not_ended".into(), &true.into()));
    cmd("SET").arg("behind").arg("the copy").exec(&mut conn).unwrap();
    let done = talk("cutover", "t", dir.path(), &["--output", "json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let cutover: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(run.wait_exit(LONG).unwrap().code(), 0);
    // Not chosen, so the target lacks it: that is found, and repaired.
    let compare = |target: String, more: &[&str], code: i32| {
        let (dir, urls) = (dir.path().to_str().unwrap(), [source.url(), target]);
        let common = ["compare", &urls[0], &urls[1], "--task", "t", "--state-dir", dir, "--rounds", "1"];
        let done = run_keyferry(&[&common[..], more].concat());
        assert_eq!(done.status.code(), Some(code), "{}", String::from_utf8_lossy(&done.stderr));
    };
    compare(target.url(), &[], 1);
    compare(target.url(), &["--repair"], 0);
    // The migration did not bring the key that the last one has: that is no verdict on it.
    assert_eq!(self::report(dir.path(), &[])["differences"]["equal"], Value::Null);
    compare(proxy.url(), &["--block-key", HOSTILE], 0);

    let key = dir.path().join("key.pem");
    let (public, other) = (dir.path().join("public.pem"), dir.path().join("other.pem"));
    succeeds("openssl", &["genpkey", "-algorithm", "ed25519", "-out", key.to_str().unwrap()]);
    succeeds("openssl", &["pkey", "-in", key.to_str().unwrap(), "-pubout", "-out", public.to_str().unwrap()]);
    let report = report(dir.path(), &["--sign-key", key.to_str().unwrap()]);

    let copy = &report["full_copy"];
    assert_eq!(copy["complete"], true, "{report:#}");
    let mut sums = BTreeMap::new();
    let found = copy["by_database"].as_array().unwrap();
    assert_eq!(found.len(), databases.len());
    for (of, (db, mut counts)) in found.iter().zip(databases) {
        if db == 0 {
            *counts.get_mut("string").unwrap() -= 1;
        }
        assert_eq!((of["database"].as_u64(), told(of)), (Some(db.into()), counts.clone()));
        counts.into_iter().for_each(|(name, n)| *sums.entry(name).or_default() += n);
    }
    assert_eq!((copy["keys"].as_u64(), told(copy)), (Some(sums.values().sum()), sums));
    let processes = &report["processes"];
    assert_eq!([&processes["restarts"], &processes["resumes"], &processes["full_copies"]], [2, 2, 1]);
    let states: Vec<&str> =
        processes["list"].as_array().unwrap().iter().map(|p| p["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["not_ended", "not_ended", "cut_over"]);
    assert_eq!((&report["state"], &report["cutover"]["offset"]), (&"cut_over".into(), &cutover["offset"]));
    assert_eq!(report["cutover"]["write_pause_ms"], cutover["write_pause_ms"]);
    let offsets = &report["offsets"];
    let number = |name: &str| offsets[name].as_u64().unwrap();
    assert_eq!(
        (number("applied"), number("stream_bytes")),
        (number("cut_over"), number("applied") - number("full_copy"))
    );
    let version = |server: &Server, name: &str| server.info("server").unwrap()[name].clone();
    assert_eq!(report["source"]["versions"][0], format!("Redis {}", version(&source, "redis_version")));
    assert_eq!(report["target"]["versions"][0], format!("Valkey {}", version(&target, "valkey_version")));
    let times = ["begun", "full_copy_begun", "full_copy_done", "in_step", "cut_over", "ended"];
    let times: Vec<&str> = times.iter().map(|name| report["times"][name].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(report["precheck"]["items"].as_array().unwrap().len() > 10);
    assert_eq!([&report["comparisons"][0]["found"], &report["comparisons"][0]["left"]], [1, 1]);
    assert_eq!(report["comparisons"][1]["options"], serde_json::json!(["--mode full"]));
    assert_eq!(report["differences"], serde_json::json!({"equal": true, "left": 0, "repaired": 1}));
    let history = &report["history"];
    assert_eq!([&history["unreadable"], &history["missing"]], [0, 0]);
    assert_eq!(history["from_the_beginning"], true);

    let out = dir.path().join("out");
    let page = fs::read_to_string(out.join("t.report.html")).unwrap();
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;") && !page.contains("<script"));
    for outside in ["http:", "https:", "src=", "href=", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    seals(&out, &page, &key, &public, &other);

    // What the next process has torn.
    let history = dir.path().join("t.history");
    let whole = fs::read(&history).unwrap();
    fs::write(&history, [&whole[..], b"\n{\"at\":17"].concat()).unwrap();
    let torn = self::report(dir.path(), &[]);
    assert_eq!((&torn["history"]["unreadable"], &torn["full_copy"]["complete"]), (&1.into(), &false.into()));
    assert_eq!(torn["full_copy"]["keys"], report["full_copy"]["keys"]);
}

/// Digest and signature, judged by the programs that others would use, and what is said of changed ones.
fn seals(out: &Path, page: &str, key: &Path, public: &Path, other: &Path) {
    let text = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let (json, signature) = (text("t.report.json"), text("t.report.json.sig"));
    let digest = fs::read_to_string(text("t.report.json.sha256")).unwrap();
    assert!(page.contains(digest.split_once(' ').unwrap().0));
    let (key, public, other) = (key.to_str().unwrap(), public.to_str().unwrap(), other.to_str().unwrap());
    let sha256sum =
        || Command::new("sha256sum").args(["-c", "t.report.json.sha256"]).current_dir(out).output().unwrap();
    let openssl = || {
        let args = ["pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", &json, "-sigfile", &signature];
        run("openssl", &args).status.success()
    };
    let verify = |key: &str| run_keyferry(&["report", "verify", &json, "--public-key", key]);
    assert!(sha256sum().status.success() && openssl() && verify(public).status.success());
    succeeds(env!("CARGO_BIN_EXE_keyferry"), &["report", "verify", &json]);
    succeeds("openssl", &["genpkey", "-algorithm", "ed25519", "-out", key]);
    succeeds("openssl", &["pkey", "-in", key, "-pubout", "-out", other]);
    let altered = |done: &Output| {
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && said.contains("error RPT-0004: "), "{said}");
    };
    altered(&verify(other));
    let whole = fs::read(&json).unwrap();
    fs::write(&json, [&whole[..], b" "].concat()).unwrap();
    assert!(!sha256sum().status.success() && !openssl());
    altered(&verify(public));
    altered(&run_keyferry(&["report", "verify", &json]));
    fs::write(text("t.report.json.sha256"), digest.replace(&digest[..64], &sha256(&json))).unwrap();
    assert!(sha256sum().status.success());
    altered(&verify(public));
}

fn sha256(path: &str) -> String {
    String::from_utf8(run("sha256sum", &[path]).stdout).unwrap()[..64].to_owned()
}

fn run_keyferry(args: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_keyferry"), args)
}

/// The answer to the end of the snapshot never comes, and later the target has lost that end.
#[test]
fn a_copy_that_a_new_connection_finds_done_or_undone() {
    let (source, mut target) = pair("redis-7.0");
    data::fill_strings(&source.url(), 60, 100_000, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(&target.address()).unwrap();
    proxy.limit(1_000_000);
    let run = task(&source, &proxy.url(), dir.path()).spawn().unwrap();
    run.wait_for(LONG, |p| p.keys > 5).unwrap();
    let () = ask(&target, 0, "SAVE");
    proxy.limit_way(Way::ToClient, 1);
    proxy.limit(0);
    let position = || ask::<Vec<u8>>(&target, 0, "HGET __keyferry_checkpoint:t v");
    wait_until("the snapshot is on the target", LONG, || position()[29] == 0).unwrap();
    proxy.cut();
    proxy.limit_way(Way::ToClient, 0);
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let events = || {
        let history = fs::read_to_string(dir.path().join("t.history")).unwrap();
        let lines = history.lines().filter(|line| !line.is_empty());
        let events =
            lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].as_str().unwrap().to_owned());
        events.filter(|event| ["begun", "copied", "fell_back"].contains(&event.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(events(), ["begun", "copied"]);
    let found = report(dir.path(), &[]);
    assert!(found["times"]["full_copy_done"].is_string());
    assert_eq!((&found["full_copy"]["complete"], &found["full_copy"]["keys"]), (&true.into(), &60.into()));
    target.kill_9();
    target.restart().unwrap();
    wait_until("the end is on the target again", LONG, || events() == ["begun", "copied", "fell_back", "copied"])
        .unwrap();
    let found = report(dir.path(), &[]);
    assert_eq!((&found["full_copy"]["complete"], &found["full_copy"]["keys"]), (&true.into(), &60.into()));
    assert_eq!(found["processes"]["full_copies"], 1);
}

/// To an older target: what is rebuilt or streamed is counted, what is not chosen or cannot be held is not.
#[test]
fn only_what_was_written_is_counted() {
    let source = Server::start("redis-7.0").unwrap();
    let target = Server::builder("redis-4.0").password("secret-word").start().unwrap();
    let mut conn = source.conn().unwrap();
    for db in [1, 2] {
        let mut pipe = redis::pipe();
        pipe.cmd("SELECT").arg(db);
        for n in 0..50 {
            let name = |kind: &str| format!("{kind}:{n}");
            pipe.cmd("HSET").arg(name("hash")).arg("f").arg(n).cmd("ZADD").arg(name("zset")).arg(n).arg("m");
            pipe.cmd("SET").arg(name("string")).arg(n).cmd("XADD").arg(name("stream")).arg("*").arg("f").arg(n);
            pipe.cmd("RPUSH").arg(name("list")).arg(n).cmd("SADD").arg(name("set")).arg("m");
        }
        pipe.exec(&mut conn).unwrap();
    }
    // Nothing of it can be compressed.
    let mut state = 1_u64;
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    let large: Vec<u8> = random.take(9 << 20).collect();
    cmd("SET").arg("large").arg(&large).exec(&mut conn).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let args = ["--db", "2:3", "--block-type", "list", "--on-unsupported", "drop", "--full-only"];
    let exit = task(&source, &target.url(), dir.path()).args(args).spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    let report = report(dir.path(), &[]);
    let copy = &report["full_copy"];
    assert_eq!((copy["complete"].as_bool(), told(copy)), (Some(true), types(&target, 3)));
    assert_eq!(
        told(copy),
        [("string", 51), ("set", 50), ("zset", 50), ("hash", 50)].map(|(s, n)| (s.into(), n)).into()
    );
    let of = &copy["by_database"][0];
    assert_eq!((&of["database"], &of["target_database"]), (&2.into(), &3.into()));
    let bytes = copy["by_type"][0]["bytes"].as_u64().unwrap();
    assert!((9 << 20..10 << 20).contains(&bytes), "{bytes}");
    assert_eq!((&copy["unsupported"]["stream dropped"], &report["state"]), (&50.into(), &"copied".into()));
    assert_eq!(report["settings"]["rules"], serde_json::json!(["--db 2:3", "--block-type list"]));
    for file in
        [dir.path().join("t.history"), dir.path().join("out/t.report.json"), dir.path().join("out/t.report.html")]
    {
        assert!(!fs::read_to_string(&file).unwrap().contains("secret-word"), "{}", file.display());
    }
    assert!(!dir.path().join("out/t.report.json.sig").exists());
}

#[test]
fn a_task_that_was_turned_round_gets_a_verdict() {
    let (old, new) = pair("redis-7.0");
    let dir = tempfile::tempdir().unwrap();
    let () = ask(&old, 0, "SET k:1 v");
    let () = ask(&old, 0, "SET other v");
    let rules = |db| ["--db", db, "--key-prefix", "k:"];
    let run = task(&old, &new.url(), dir.path()).args(rules("0:3")).spawn().unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    cut_over(&run, "t", dir.path(), &["--reverse"]);
    wait_in_step(&run, "t-reverse", dir.path());
    let compare = |rules: &[&str], code: i32| {
        let (dir, urls) = (dir.path().to_str().unwrap(), [new.url(), old.url()]);
        let common = ["compare", &urls[0], &urls[1], "--task", "t-reverse", "--state-dir", dir];
        let done = run_keyferry(&[&common[..], rules].concat());
        assert_eq!(done.status.code(), Some(code), "{}", String::from_utf8_lossy(&done.stderr));
    };
    // By other rules it says nothing of the task.
    compare(&["--db", "3"], 1);
    assert_eq!(report_of("t-reverse", dir.path(), &[])["differences"]["equal"], Value::Null);
    compare(&rules("3:0"), 0);
    let report = report_of("t-reverse", dir.path(), &[]);
    assert_eq!(report["settings"]["rules"], serde_json::json!(["--db 3:0", "--key-prefix k:"]));
    assert_eq!(report["differences"], serde_json::json!({"equal": true, "left": 0, "repaired": 0}), "{report:#}");
}

#[test]
fn what_cannot_be_told_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |done: &Output, code: i32, error: &str| {
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(code) && said.contains(&format!("error {error}: ")), "{said}");
    };
    fails(&talk("report", "unknown", dir.path(), &[]), 1, "RPT-0001");
    fails(&talk("report", "t", dir.path(), &["--sign-key", "/dev/null"]), 2, "RPT-0003");
    fails(&run_keyferry(&["report", "verify", "/not/there"]), 1, "RPT-0002");
    // A history that cannot be written stops nothing.
    let (source, target) = pair("redis-7.0");
    fs::create_dir(dir.path().join("t.history")).unwrap();
    let exit = task(&source, &target.url(), dir.path()).arg("--full-only").spawn().unwrap().wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    assert_eq!(exit.stderr.matches("the history of the task").count(), 1, "{}", exit.stderr);
    fails(&talk("report", "t", dir.path(), &[]), 1, "RPT-0002");
    let state = dir.path().to_str().unwrap();
    let compared = run_keyferry(&["compare", &source.url(), &target.url(), "--task", "u", "--state-dir", state]);
    fails(&compared, 2, "RPT-0001");
}
