//! Requests that were given up and that the target runs much later, with another connection or process at work by then.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
};

use super::{
    super::{control::task, cutover::begin},
    *,
};

const HELD_MS: i64 = 1_000_000_000_000;
const KEYS: usize = 2000;

/// Scripts that a target has run, as they came: those that hold deadlines, those that settle them, and those that move them closer
/// to the source's, or away.
#[derive(Default)]
struct Seen {
    hold: Vec<Request>,
    settle: Vec<Request>,
    closer: Vec<Request>,
    away: Vec<Request>,
}

type Request = Vec<Vec<u8>>;

/// Notes all scripts from now on.
fn watch(target: &Server) -> Arc<Mutex<Seen>> {
    let mut stream = TcpStream::connect(target.address()).unwrap();
    stream.write_all(b"MONITOR\r\n").unwrap();
    let mut lines = BufReader::new(stream);
    lines.read_line(&mut String::new()).unwrap();
    let seen = Arc::<Mutex<Seen>>::default();
    let noted = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let args = words(&line);
            if args[0] == b"EVAL" {
                let has = |part: &[u8]| args[1].windows(part.len()).any(|w| w == part);
                // The bands in which deadlines are looked for.
                let mut seen = noted.lock().unwrap();
                match () {
                    () if has(b"left-grace<2^44-2^41") => seen.hold.push(args),
                    () if has(b"left>=2^52-2^41") => seen.settle.push(args),
                    () if has(b"now<=was") => {
                        match args.last_chunk().map(|chunk| chunk.each_ref().map(|digits| number(digits))) {
                            Some([was, to]) if to < was => seen.closer.push(args),
                            _ => seen.away.push(args),
                        }
                    }
                    () => {}
                }
            }
            line.clear();
        }
    });
    seen
}

/// The arguments in a line of MONITOR.
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut bytes = line[line.iter().position(|&b| b == b']').unwrap()..].iter().copied();
    let mut words = Vec::new();
    while bytes.by_ref().any(|b| b == b'"') {
        let mut word = Vec::new();
        while let Some(byte) = bytes.next().filter(|&b| b != b'"') {
            if byte != b'\\' {
                word.push(byte);
                continue;
            }
            word.push(match bytes.next().unwrap() {
                b'x' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'a' => 7,
                b'b' => 8,
                other => other,
            });
        }
        words.push(word);
    }
    words
}

fn number(digits: &[u8]) -> i64 {
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

fn run_again(target: &Server, requests: &[Request]) {
    let mut conn = target.conn().unwrap();
    for args in requests {
        let mut request = redis::Cmd::new();
        for arg in args {
            request.arg(arg);
        }
        let _: redis::Value = request.query(&mut conn).unwrap();
    }
}

fn held(target: &Server) -> usize {
    let mut pipe = redis::pipe();
    for n in 0..KEYS {
        pipe.cmd("PTTL").arg(n);
    }
    let left: Vec<i64> = pipe.query(&mut target.conn().unwrap()).unwrap();
    left.into_iter().filter(|&left| left > HELD_MS).count()
}

/// Each request of a pass, run again after its time, changes nothing: it cannot be known of a lost one when it is run.
#[test]
fn a_late_request_changes_no_deadline() {
    let (source, target) = pair("redis-7.0");
    let proxy = Proxy::start(&source.address()).unwrap();
    let mut pipe = redis::pipe();
    for n in 0..KEYS {
        pipe.cmd("SET").arg(n).arg(n).arg("PX").arg(3_600_000);
    }
    pipe.exec(&mut source.conn().unwrap()).unwrap();
    let seen = watch(&target);
    let task = format!("late-{}", source.port());
    let task = || sync(&proxy.url(), &target.url()).args(["--ttl-grace", "2s", "--task", &task]).spawn().unwrap();
    let run = task();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    let cut = |run: &Keyferry| {
        let () = ask(&source, 0, "SET another 1");
        let goal = goal(&source);
        run.wait_for(LONG, |p| p.in_step && p.applied_offset >= Some(goal)).unwrap();
        proxy.refuse(true);
        proxy.cut();
        wait_until("deadlines are held", LONG, || held(&target) == KEYS).unwrap();
    };
    cut(&run);
    let () = ask(&source, 0, "SET another 2");
    let goal = goal(&source);
    proxy.heal();
    run.wait_for(LONG, |p| p.in_step && p.applied_offset >= Some(goal)).unwrap();
    assert_eq!(held(&target), 0);
    let Seen { hold, settle, .. } = std::mem::take(&mut *seen.lock().unwrap());
    assert!(!hold.is_empty() && !settle.is_empty());
    run_again(&target, &hold);
    assert_eq!(held(&target), 0, "it is settled, and nobody would settle it once more");
    cut(&run);
    run_again(&target, &settle);
    assert_eq!(held(&target), KEYS, "the target is behind");
    run.kill_9();
    run.wait_exit(LONG).unwrap();
    // Those of a process that has lost the task, while the next one holds.
    let run = task();
    run.wait_for(LONG, |p| p.phase == "retrying").unwrap();
    run_again(&target, &settle);
    assert_eq!(held(&target), KEYS, "the next one is behind");
}

/// How many keys are looked at in these.
fn keys_of(requests: &[Request]) -> i64 {
    // The first key of each is that of the position.
    requests.iter().map(|args| number(&args[2]) - 1).sum()
}

/// By how much deadlines are later on the target: all of them by the same.
fn late(source: &Server, target: &Server) -> Option<i64> {
    let mut pipe = redis::pipe();
    for n in 0..KEYS {
        pipe.cmd("PEXPIRETIME").arg(n);
    }
    let [ours, theirs] = [target, source].map(|server| pipe.query::<Vec<i64>>(&mut server.conn().unwrap()).unwrap());
    let late: Vec<i64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs).collect();
    late.iter().all(|ms| *ms == late[0]).then_some(late[0])
}

/// Likewise what a cut-over has asked for that is undone, and what the end of a task has: it may be another process that has the
/// task by then, and its deadlines.
#[test]
fn a_late_request_of_a_cut_over_moves_no_deadline() {
    let (source, target) = pair("redis-7.0");
    let dir = tempfile::tempdir().unwrap();
    let mut pipe = redis::pipe();
    for n in 0..KEYS {
        pipe.cmd("SET").arg(n).arg(n).arg("PX").arg(3_600_000);
    }
    pipe.exec(&mut source.conn().unwrap()).unwrap();
    let seen = watch(&target);
    let start = |args: &[&str]| task(&source, &target.url(), dir.path()).args(args).spawn().unwrap();
    let task = |args: &[&str]| {
        let run = start(args);
        run.wait_for(LONG, |p| p.in_step).unwrap();
        run
    };
    let lowered = || {
        let (child, mut lines) = begin(dir.path(), &["--source-pause", "manual"]);
        assert!(lines.any(|line| line.starts_with("pause source")));
        assert_eq!(late(&source, &target), Some(1000));
        child
    };
    // Who has asked goes: it is undone.
    let undo = |mut child: std::process::Child| {
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("it is undone", LONG, || late(&source, &target) == Some(30_000)).unwrap();
    };
    let noted = |of: fn(&mut Seen) -> &mut Vec<Request>| {
        wait_until("all is noted", LONG, || keys_of(of(&mut seen.lock().unwrap())) >= KEYS as i64).unwrap();
        std::mem::take(of(&mut seen.lock().unwrap()))
    };
    let run = task(&[]);
    undo(lowered());
    wait_until("it is said", LONG, || run.stderr().contains("deadlines have the whole grace again")).unwrap();
    let (closer, away) = (noted(|seen| &mut seen.closer), noted(|seen| &mut seen.away));
    let () = ask(&source, 0, "SET another 1");
    let goal = goal(&source);
    run.wait_for(LONG, |p| p.in_step && p.applied_offset >= Some(goal)).unwrap();
    run_again(&target, &closer);
    assert_eq!(late(&source, &target), Some(30_000), "no cut-over is under way");
    run.kill_9();
    run.wait_exit(LONG).unwrap();
    let run = task(&[]);
    let child = lowered();
    run_again(&target, &away);
    assert_eq!(late(&source, &target), Some(1000), "the cut-over of another process is under way");
    undo(child);
    run_again(&target, &closer);
    assert_eq!(late(&source, &target), Some(30_000), "they are those of another process");
    noted(|seen| &mut seen.closer);
    run.signal(Signal::TERM).unwrap();
    run.wait_exit(LONG).unwrap();
    assert_eq!(start(&["--stop-when-synced"]).wait_exit(LONG).unwrap().code(), 0);
    assert_eq!(late(&source, &target), Some(0));
    let closer = noted(|seen| &mut seen.closer);
    let _run = task(&["--on-conflict", "replace"]);
    run_again(&target, &closer);
    assert_eq!(late(&source, &target), Some(30_000), "the next task has begun");
}
