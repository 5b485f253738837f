//! One case: a process that dies at its place, one that goes on, and whether anything was lost, doubled or split.

use std::{
    fs,
    io::{Seek as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::Command,
};

use keyferry_testkit::{Rng, data, keyferry::Exit, process::Signal, wait_until};

use super::{
    super::*,
    scenes::{self, Scene},
    writer::Writer,
};

/// A source and a target that many cases use, one after the other.
pub(super) struct Servers {
    source: Server,
    target: Server,
}

impl Servers {
    pub(super) fn start() -> Self {
        let (source, target) = pair("redis-7.0");
        // Whatever a case writes is still known when the process comes back: a second full sync has another reason.
        source.config_set("repl-backlog-size", "268435456").unwrap();
        Self { source, target }
    }

    fn full_syncs(&self) -> u64 {
        self.source.info("stats").unwrap()["sync_full"].parse().unwrap()
    }
}

/// What the target says of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    None,
    Snapshot,
    /// In this log.
    Stream(u64),
}

pub(super) fn run(servers: &Servers, name: &'static str, seed: u64) {
    let all = scenes::of(name);
    let (scene, first, last) = all[seed as usize % all.len()];
    let mut rng = Rng::new(name.bytes().fold(seed, |all, byte| all.wrapping_mul(31).wrapping_add(byte.into())));
    let visit = rng.range(first, last + 1);
    let dir = tempfile::tempdir().unwrap();
    let task = format!("{name}-{seed}");
    let case = Case { servers, name, visit, scene, seed, task, dir: dir.path().to_owned() };
    case.run(&mut rng);
}

struct Case<'a> {
    servers: &'a Servers,
    name: &'static str,
    visit: u64,
    scene: Scene,
    seed: u64,
    task: String,
    dir: PathBuf,
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, visit, scene, seed, .. } = self;
            eprintln!("the case is {name}:{visit}, seed {seed}, {scene:?}");
        }
    }
}

impl Case<'_> {
    fn run(&self, rng: &mut Rng) {
        let Servers { source, target } = self.servers;
        let () = ask(source, 0, "FLUSHALL");
        let () = ask(target, 0, "FLUSHALL");
        target.config_set("maxmemory", "0").unwrap();
        source.config_set("repl-diskless-sync", if rng.one_in(3) { "no" } else { "yes" }).unwrap();
        data::fill_strings(&source.url(), rng.range(100, 600), rng.range(100, 4000) as usize, self.seed).unwrap();
        for n in 0..rng.range(2, 300) {
            let () = ask_of(source, &["SET", &format!("expiring:{n}"), "v", "PX", &(5_000_000 + n).to_string()]);
        }
        let mut writer = Writer::new(source, self.seed, matches!(self.scene, Scene::Segments | Scene::Torn));
        writer.steps(rng.range(1, 30));
        writer = self.before(writer, rng);

        let (full_syncs, old) = (self.servers.full_syncs(), self.position());
        writer = self.die(writer);
        wait_until("the target has done what was on its way", LONG, || {
            target.info("clients").unwrap()["connected_clients"] == "1"
        })
        .unwrap();
        let found = self.position();
        let asked = self.servers.full_syncs() - full_syncs;
        assert!(asked <= 1, "{asked} full syncs by one process");
        if self.scene == Scene::Refused {
            let exit = self.start().spawn().unwrap().wait_exit(LONG).unwrap();
            assert_fails(&exit, 3, "TGT-0025");
            // The remedy that it names.
            let anew = self.start().args(["--restart", "--on-conflict", "clear", "--stop-when-synced"]);
            let exit = anew.spawn().unwrap().wait_exit(LONG).unwrap();
            assert_eq!(exit.code(), 0, "{}", exit.stderr);
            return self.judge(&writer);
        }
        if self.scene == Scene::End && found == Position::None {
            // The task has ended in all but name: what it has copied is a target that holds keys.
            let exit = self.start().spawn().unwrap().wait_exit(LONG).unwrap();
            assert_fails(&exit, 3, "TGT-0012");
        } else {
            writer.steps(rng.below(40));
            writer = self.go_on(writer, rng);
            let again = self.servers.full_syncs() - full_syncs - asked;
            match found {
                // A source that has forgotten the history, before anything of the new one was on the target.
                Position::Stream(_) if self.scene == Scene::SecondFull && found == old => assert_eq!(again, 1),
                Position::Stream(_) => assert_eq!(again, 0, "the target had all of the snapshot"),
                // It depends on whether all of it was in the spool.
                Position::Snapshot => assert!(again <= 1, "{again} full syncs by one process"),
                Position::None => assert_eq!(again, 1),
            }
        }
        self.judge(&writer);
    }

    /// A command line for the task.
    fn start(&self) -> Builder {
        self.start_from(&self.servers.source.url())
    }

    fn start_from(&self, source: &str) -> Builder {
        let run = Keyferry::sync(env!("CARGO_BIN_EXE_keyferry"), source, &self.servers.target.url());
        let run =
            run.args(["--task", &self.task, "--state-dir", self.dir.to_str().unwrap()]).args(["--spool-limit", "16mb"]);
        match self.scene {
            // Whoever comes behind one that has emptied only one of them must say it again.
            Scene::NoMemoryInTwo => run.args(["--db", "0,1", "--on-conflict", "clear"]),
            _ => run,
        }
    }

    /// A process that will die at the `visit`-th visit of a place.
    fn start_to_die(&self, name: &str, visit: u64) -> Builder {
        let source = match self.scene {
            // Nobody listens there.
            Scene::WithoutSource => "redis://127.0.0.1:1",
            _ => &self.servers.source.url(),
        };
        self.start_from(source).env("KEYFERRY_FAILPOINT", format!("{name}:{visit}"))
    }

    /// What leads to the situation.
    fn before(&self, mut writer: Writer, rng: &mut Rng) -> Writer {
        let Servers { source, target } = self.servers;
        match self.scene {
            Scene::Fresh | Scene::Segments | Scene::TargetLost | Scene::Promoted => {}
            Scene::Refused | Scene::Cutover | Scene::End => {}
            Scene::Elsewhere => {
                let run = self.start().args(["--db", "3"]).spawn().unwrap();
                run.wait_for(LONG, |p| p.in_step).unwrap();
                run.signal(Signal::TERM).unwrap();
                assert_eq!(run.wait_exit(LONG).unwrap().code(), 130);
            }
            Scene::NoMemory | Scene::NoMemoryInTwo => {
                data::fill_strings(&target.url(), 2500, 4000, self.seed).unwrap();
                target.config_set("maxmemory", "6mb").unwrap();
            }
            Scene::Untouched => {
                assert_killed(&self.start_to_die("after-put", 1).spawn().unwrap().wait_exit(LONG).unwrap())
            }
            Scene::Torn => {
                let run = self.start_to_die("segment-created", rng.range(1, 4)).spawn().unwrap();
                let running = writer.go_on();
                assert_killed(&run.wait_exit(LONG).unwrap());
                writer = running.stop();
            }
            Scene::Resume | Scene::Damaged | Scene::SecondFull | Scene::PromotedBefore | Scene::WithoutSource => {
                let run = self.start().spawn().unwrap();
                let running = writer.go_on();
                self.wait_for_stream();
                // Only a clean end says that the spool holds all that it needs.
                let cleanly = matches!(self.scene, Scene::PromotedBefore | Scene::WithoutSource);
                if !cleanly && rng.one_in(2) {
                    run.kill_9();
                    run.wait_exit(LONG).unwrap();
                } else {
                    run.signal(Signal::TERM).unwrap();
                    assert_eq!(run.wait_exit(LONG).unwrap().code(), 130);
                }
                writer = running.stop();
            }
        }
        match self.scene {
            Scene::Damaged => {
                let dir = self.dir.join(format!("{}.spool", self.task));
                for entry in fs::read_dir(dir).unwrap() {
                    let mut file = fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
                    file.rewind().unwrap();
                    file.write_all(b"damaged").unwrap();
                }
            }
            Scene::SecondFull => {
                let () = ask(source, 0, "DEBUG CHANGE-REPL-ID");
                // What the first copy has brought and is no longer there.
                let () = ask_of(source, &["DEL", "key:0000000000", "key:0000000007", "expiring:0"]);
                writer.steps(5);
            }
            Scene::PromotedBefore => {
                promote(source);
                writer.steps(5);
            }
            _ => {}
        }
        writer
    }

    /// The process comes to its place and dies there.
    fn die(&self, mut writer: Writer) -> Writer {
        let Servers { source, target } = self.servers;
        let mut start = self.start_to_die(self.name, self.visit);
        match self.scene {
            Scene::End => start = start.arg("--stop-when-synced"),
            // The next process goes without it: it must find an empty target.
            Scene::NoMemory => start = start.args(["--on-conflict", "clear"]),
            Scene::Elsewhere => start = start.args(["--restart", "--on-conflict", "clear"]),
            _ => {}
        }
        let run = start.spawn().unwrap();
        match self.scene {
            // Nothing is written: what the target has at the end is all that there is.
            Scene::End => {
                assert_killed(&run.wait_exit(LONG).unwrap());
                return writer;
            }
            Scene::Promoted => {
                self.wait_for_stream();
                writer.steps(5);
                promote(source);
            }
            _ => {}
        }
        let running = writer.go_on();
        match self.scene {
            Scene::TargetLost => {
                self.wait_for_stream();
                let () = ask_of(target, &["CLIENT", "KILL", "TYPE", "normal"]);
            }
            Scene::Refused => {
                self.wait_for_stream();
                let () = ask(target, 0, "SET refused x");
                let () = ask(source, 0, "RPUSH refused x");
            }
            // Nobody stops writing, so it is undone.
            Scene::Cutover => {
                run.wait_for(LONG, |p| p.in_step).unwrap();
                let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
                command.args(["cutover", "--source-pause", "manual", "--timeout", "3s", "--task", &self.task]);
                let said = command.arg("--state-dir").arg(&self.dir).output().unwrap();
                assert_ne!(said.status.code(), Some(0), "{said:?}");
            }
            _ => {}
        }
        assert_killed(&run.wait_exit(LONG).unwrap());
        running.stop()
    }

    /// The next process, until both sides are in step.
    fn go_on(&self, mut writer: Writer, rng: &mut Rng) -> Writer {
        let Servers { source, .. } = self.servers;
        if rng.one_in(4) {
            let run = self.start().spawn().unwrap();
            writer.steps(rng.range(20, 200));
            let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
            run.wait_for(LONG, |p| p.in_step && p.applied_offset.is_some_and(|o| o >= goal)).unwrap();
            return writer;
        }
        let exit = self.start().arg("--stop-when-synced").spawn().unwrap().wait_exit(LONG).unwrap();
        assert_eq!(exit.code(), 0, "{}", exit.stderr);
        writer
    }

    fn judge(&self, writer: &Writer) {
        let Servers { source, target } = self.servers;
        for server in [source, target] {
            assert_eq!(ask::<u64>(server, 0, "GET counter"), writer.steps);
            let list: Vec<u64> = ask(server, 0, "LRANGE list 0 -1");
            assert!(list.iter().copied().eq(0..writer.steps), "each number once and in order: {list:?}");
            assert_eq!(ask::<u64>(server, 0, "STRLEN text"), writer.steps);
        }
        differences_with_grace(source, target).assert_equal();
    }

    /// Read as docs/design/checkpoint.md describes it.
    fn position(&self) -> Position {
        let key = format!("__keyferry_checkpoint:{}", self.task);
        let found: Option<Vec<u8>> = ask_of(&self.servers.target, &["HGET", &key, "v"]);
        match found {
            None => Position::None,
            Some(v) if v[29] == 1 => Position::Snapshot,
            Some(v) => Position::Stream(u64::from_le_bytes(v[32..40].try_into().unwrap())),
        }
    }

    fn wait_for_stream(&self) {
        wait_until("the copy is there", LONG, || matches!(self.position(), Position::Stream(_))).unwrap();
    }
}

fn assert_killed(exit: &Exit) {
    assert_eq!(exit.status.signal(), Some(9), "it did not come to its place: {}", exit.stderr);
}

/// As a replica that takes over: another history behind the same offset.
fn promote(server: &Server) {
    // Nobody listens there.
    let () = ask(server, 0, "REPLICAOF 127.0.0.1 1");
    let () = ask(server, 0, "REPLICAOF NO ONE");
}

fn ask_of<T: FromRedisValue>(server: &Server, words: &[&str]) -> T {
    let mut command = cmd(words[0]);
    words[1..].iter().for_each(|w| {
        command.arg(*w);
    });
    command.query(&mut server.conn().unwrap()).unwrap()
}
