//! Random rules and random commands: the full copy, the stream and the comparison choose the same.
//!
//! What is chosen is said a second time here, in the simplest way, so that a mistake in the product's rules shows. Each of
//! the three is held against that, so they agree with one another too.

use keyferry_testkit::{
    Rng,
    contents::{Contents, contents},
    process::Signal,
};

use super::*;

/// How many sets of rules; a number in the environment goes before it.
const SEEDS: u64 = 4;
const KEYS: [&str; 8] = ["a:1", "a:2", "a:b:1", "a:b:2", "b:1", "b:2", "c:1", "c"];
const DATABASES: u64 = 4;
/// Written before the copy begins, and while it is followed.
const COMMANDS: usize = 60;

/// Whether a key is meant.
type IsMeant = fn(&str) -> bool;

/// One set of rules: as options, and what they mean.
struct Rules {
    args: Vec<&'static str>,
    databases: Option<&'static [(u32, u32)]>,
    allowed: Vec<IsMeant>,
    blocked: Vec<IsMeant>,
    /// The longest first.
    renamed: &'static [(&'static str, &'static str)],
    no_types: &'static [&'static str],
}

impl Rules {
    fn any(rng: &mut Rng) -> Self {
        let mut args = Vec::new();
        let mut databases = None;
        let (mut allowed, mut blocked): (Vec<IsMeant>, Vec<IsMeant>) = Default::default();
        let mut renamed: &[_] = &[];
        let mut no_types: &[_] = &[];
        let (text, map): (_, &[(u32, u32)]) = match rng.below(5) {
            0 => ("0,1:2", &[(0, 0), (1, 2)]),
            1 => ("0:1,1:0", &[(0, 1), (1, 0)]),
            2 => ("2:0,3", &[(2, 0), (3, 3)]),
            _ => ("", &[]),
        };
        if !map.is_empty() {
            args.extend(["--db", text]);
            databases = Some(map);
        }
        if rng.one_in(3) {
            args.extend(["--key", "a:*"]);
            allowed.push(|key| key.starts_with("a:"));
        }
        if rng.one_in(3) {
            args.extend(["--key", "[bc]*[12]"]);
            allowed.push(|key| key.starts_with(['b', 'c']) && key.ends_with(['1', '2']));
        }
        if rng.one_in(3) {
            args.extend(["--key-prefix", "b:"]);
            allowed.push(|key| key.starts_with("b:"));
        }
        if rng.one_in(3) {
            args.extend(["--block-key", "*2"]);
            blocked.push(|key| key.ends_with('2'));
        }
        if rng.one_in(3) {
            args.extend(["--block-key-prefix", "a:b:"]);
            blocked.push(|key| key.starts_with("a:b:"));
        }
        match rng.below(6) {
            0 => {
                args.extend(["--rename-prefix", "a:=x:"]);
                renamed = &[("a:", "x:")];
            }
            1 => {
                args.extend(["--rename-prefix", "a:=x:", "--rename-prefix", "a:b:=w:y:"]);
                renamed = &[("a:b:", "w:y:"), ("a:", "x:")];
            }
            2 => {
                args.extend(["--rename-prefix", "=p:"]);
                renamed = &[("", "p:")];
            }
            _ => {}
        }
        match rng.below(6) {
            0 => {
                args.extend(["--type", "string,list"]);
                no_types = &["set", "zset", "hash", "stream"];
            }
            1 => {
                args.extend(["--block-type", "list"]);
                no_types = &["list"];
            }
            _ => {}
        }
        Self { args, databases, allowed, blocked, renamed, no_types }
    }

    fn database(&self, db: u32) -> Option<u32> {
        match self.databases {
            Some(map) => map.iter().find(|(from, _)| *from == db).map(|(_, to)| *to),
            None => Some(db),
        }
    }

    fn name(&self, key: &str) -> Option<String> {
        let allowed = self.allowed.is_empty() || self.allowed.iter().any(|is| is(key));
        if !allowed || self.blocked.iter().any(|is| is(key)) {
            return None;
        }
        let new = self.renamed.iter().find_map(|(from, to)| Some(format!("{to}{}", key.strip_prefix(from)?)));
        Some(new.unwrap_or_else(|| key.to_owned()))
    }

    /// What of a source is to be on the target.
    fn of(&self, source: Contents) -> Contents {
        let chosen = source.into_iter().filter_map(|((db, key), value)| {
            let name = self.name(&key).filter(|_| !self.no_types.contains(&value.0.as_str()))?;
            Some(((self.database(db)?, name), value))
        });
        chosen.collect()
    }
}

/// One command and its database. Some are refused by the server, which then passes nothing on.
fn any_command(rng: &mut Rng) -> (u32, String) {
    let mut key = || KEYS[rng.below(KEYS.len() as u64) as usize];
    let (a, b, c) = (key(), key(), key());
    let n = rng.below(9);
    // Those with several keys end many a task, as they should: they are fewer.
    let text = match rng.below(60) {
        0..=5 => format!("SET {a} {n}"),
        6..=7 => format!("INCRBY {a} {n}"),
        8 => format!("APPEND {a} {n}"),
        9..=12 => format!("HSET {a} f{n} {n}"),
        13 => format!("HDEL {a} f{n} f1"),
        14..=17 => format!("RPUSH {a} {n} {n} x"),
        18 => format!("LPOP {a}"),
        19..=22 => format!("SADD {a} {n} m"),
        23 => format!("SPOP {a}"),
        24..=26 => format!("ZADD {a} {n}.5 m{n}"),
        27 => format!("ZPOPMIN {a}"),
        28..=30 => format!("XADD {a} * f {n}"),
        31 => format!("XTRIM {a} MAXLEN 1"),
        32 => format!("EXPIRE {a} 100000"),
        33 => format!("PERSIST {a}"),
        34 => format!("PFADD {a} {n}"),
        35..=40 => format!("DEL {a} {b}"),
        41..=43 => format!("MSET {a} {n} {b} {n} {c} x"),
        44 => format!("MSETNX {a} {n} {b} {n}"),
        45 => format!("RENAME {a} {b}"),
        46 => format!("RENAMENX {a} {b}"),
        47 => format!("COPY {a} {b} REPLACE"),
        48..=49 => format!("SMOVE {a} {b} m"),
        50 => format!("LMOVE {a} {b} LEFT RIGHT"),
        51 => format!("SUNIONSTORE {a} {b} {c}"),
        52 => format!("ZRANGESTORE {a} {b} 0 -1"),
        53 => format!("MOVE {a} {}", rng.below(DATABASES)),
        54 => format!("SORT {a} ALPHA STORE {b}"),
        55 => format!("BITOP OR {a} {b} {c}"),
        56 => format!("EVAL return(redis.call('set',KEYS[1],'{n}')) 1 {a}"),
        57 if rng.one_in(4) => format!("SWAPDB {} {}", rng.below(DATABASES), rng.below(DATABASES)),
        58 if rng.one_in(4) => "FLUSHDB".to_owned(),
        _ => format!("PUBLISH {a} {n}"),
    };
    (rng.below(DATABASES) as u32, text)
}

fn write(source: &Server, (db, text): &(u32, String)) {
    let mut conn = source.conn().unwrap();
    cmd("SELECT").arg(db).exec(&mut conn).unwrap();
    let mut words = text.split(' ');
    let mut command = cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    // What the server makes of it is seen in what it holds.
    let _: Result<redis::Value, _> = command.query(&mut conn);
}

fn one_seed(seed: u64, [source, followed, copied]: [&Server; 3]) {
    let mut rng = Rng::new(seed);
    for server in [source, followed, copied] {
        let _: redis::Value = ask(server, 0, "FLUSHALL");
    }
    let rules = Rules::any(&mut rng);
    let at = format!("seed {seed}: {:?}", rules.args);
    let of_source = || rules.of(contents(source).unwrap());
    for _ in 0..COMMANDS {
        write(source, &any_command(&mut rng));
    }

    let state = tempfile::tempdir().unwrap();
    let run = Keyferry::sync(KEYFERRY, &source.url(), &followed.url())
        .args(["--state-dir", state.path().to_str().unwrap()])
        .args(&rules.args)
        .spawn()
        .unwrap();
    run.wait_for(LONG, |p| p.in_step).unwrap();
    assert_eq!(contents(followed).unwrap(), of_source(), "the copy, {at}");

    let mut written = Vec::new();
    for _ in 0..COMMANDS {
        let command = any_command(&mut rng);
        let before = of_source();
        write(source, &command);
        written.push((before, command));
    }
    let goal: u64 = source.info("replication").unwrap()["master_repl_offset"].parse().unwrap();
    let arrived = |p: keyferry_testkit::Progress| p.in_step && p.applied_offset.is_some_and(|offset| offset >= goal);
    let over = || run.status().unwrap().is_some() || run.progress().is_some_and(arrived);
    keyferry_testkit::wait_until("all was followed or refused", LONG, over).unwrap();
    if run.status().unwrap().is_none() {
        assert_eq!(contents(followed).unwrap(), of_source(), "the stream, {at}: {written:?}");
        run.signal(Signal::TERM).unwrap();
        assert_eq!(run.wait_exit(LONG).unwrap().code(), 130);
        comparison_agrees(&rules, &mut rng, source, followed, &at);
    } else {
        let exit = run.wait_exit(LONG).unwrap();
        assert!(exit.code() == 1 && exit.stderr.contains("error SRC-0015"), "{at}: {}", exit.stderr);
        // A state in front of what was refused: what was read with it may not have gone out.
        let there = contents(followed).unwrap();
        let mut since = written.iter().skip_while(|(before, _)| *before != there);
        let refused = |(_, text): &(u32, String)| exit.stderr.contains(text.split(' ').next().unwrap());
        assert!(since.any(|(_, command)| refused(command)), "refused, {at}: {}\n{there:?}\n{written:?}", exit.stderr);
    }

    copy(source, copied, &rules.args);
    assert_eq!(contents(copied).unwrap(), of_source(), "the second copy, {at}");
    comparison_agrees(&rules, &mut rng, source, copied, &at);
}

/// It finds no difference where there is none, the one that is made, and none in what is not chosen.
fn comparison_agrees(rules: &Rules, rng: &mut Rng, source: &Server, target: &Server, at: &str) {
    // Deadlines of the stream have the grace.
    let args = [&["--ttl-tolerance", "31s"], rules.args.as_slice()].concat();
    let equal = compare(source, target, &args);
    assert_eq!(equal.code, 0, "{at}: {equal:?}");
    let there = contents(target).unwrap();
    assert_eq!(equal.found().1["keys"], there.len(), "{at}: {equal:?}");

    // Names that nothing chosen gets, in a database that is compared.
    let db = (0..DATABASES as u32).find_map(|db| rules.database(db)).unwrap();
    for key in KEYS.into_iter().filter(|key| rules.name(key).is_none()) {
        let _: redis::Value = ask(target, db, &format!("SET {key} own"));
    }
    let Some(((db, key), (kind, _))) = there.iter().nth(rng.below(there.len() as u64) as usize) else { return };
    let (text, expected) = match (rng.below(3), kind.as_str()) {
        (0, _) => (format!("DEL {key}"), "missing_on_target"),
        (1, "string") => (format!("APPEND {key} more"), "value"),
        (_, "string") => (format!("PEXPIRE {key} 500000000"), "ttl"),
        _ if rules.no_types.contains(&"hash") => (format!("DEL {key}"), "missing_on_target"),
        (_, "hash") => (format!("HSET {key} more more"), "value"),
        _ => {
            let _: redis::Value = ask(target, *db, &format!("DEL {key}"));
            (format!("HSET {key} other other"), "type")
        }
    };
    let _: redis::Value = ask(target, *db, &text);
    let found = compare(source, target, &args);
    assert_eq!(found.code, 1, "{at}, {text}: {found:?}");
    let name = rules_name_at_source(rules, key);
    let found = found.found().0;
    assert!(
        found.len() == 1 && (found[0].1 == name || found[0].1 == *key) && found[0].2 == expected,
        "{at}: {found:?}"
    );
}

/// How a key of the target is called on the source.
fn rules_name_at_source(rules: &Rules, key: &str) -> String {
    let all = KEYS.into_iter().find(|name| rules.name(name).as_deref() == Some(key));
    all.unwrap_or(key).to_owned()
}

#[test]
fn copy_stream_and_comparison_agree() {
    let seeds = std::env::var("KEYFERRY_TEST_FILTER_SEEDS").ok().map_or(SEEDS, |n| n.parse().unwrap());
    let servers = [(); 3].map(|()| Server::start("redis-7.0").unwrap());
    for seed in 0..seeds {
        one_seed(seed, servers.each_ref());
    }
}
