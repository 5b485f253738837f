use super::{
    super::{Objects, Rule},
    Sink, Verdict,
};
use crate::{keys, kind::Kind};

/// The commands that go out instead of one.
#[derive(Default)]
pub(super) struct Out(pub(super) Vec<Vec<Vec<u8>>>, usize);

impl Sink for Out {
    fn command(&mut self, argc: usize) {
        assert_eq!(self.1, 0, "the last command is not whole");
        self.0.push(Vec::new());
        self.1 = argc;
    }

    fn arg(&mut self, start: &[u8], end: &[u8]) {
        self.1 = self.1.checked_sub(1).expect("more arguments than were said");
        self.0.last_mut().unwrap().push([start, end].concat());
    }
}

impl Out {
    /// Judges a command; nothing is left in the middle.
    pub(super) fn judge(objects: &Objects, db: u32, args: &[&[u8]]) -> (Verdict, Self) {
        let mut out = Self::default();
        let kind_of = |payload: &[u8]| match payload.first() {
            Some(b's') => Some(Kind::String),
            Some(b'l') => Some(Kind::List),
            _ => None,
        };
        let verdict = objects.judge(db, args.iter().copied(), kind_of, &mut out);
        assert_eq!(out.1, 0, "{args:?}: the last command is not whole");
        assert_eq!(verdict == Verdict::Written, !out.0.is_empty(), "{args:?}: {verdict:?}");
        (verdict, out)
    }
}

fn judged(objects: &Objects, db: u32, command: &str) -> String {
    let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    match Out::judge(objects, db, &args) {
        (Verdict::Written, out) => {
            let commands: Vec<_> = out.0.iter().map(|args| String::from_utf8(args.join(&b' ')).unwrap()).collect();
            commands.join(" | ")
        }
        (Verdict::Refuse(refusal), _) => format!("{refusal:?}"),
        (verdict, _) => format!("{verdict:?}"),
    }
}

fn check(rules: &[(Rule, &str)], cases: &[(u32, &str, &str)]) {
    let objects = Objects::parse(rules.iter().copied()).unwrap();
    for (db, command, expected) in cases {
        assert_eq!(judged(&objects, *db, command), *expected, "{command}");
    }
}

#[test]
fn without_rules_all_passes() {
    for command in ["SET a 1", "NEW.THING a", "FLUSHALL", "SWAPDB 0 1", "MSET broken", "MOVE a 3"] {
        assert_eq!(judged(&Objects::default(), 3, command), "Pass");
    }
}

/// `i` keys are chosen and `o` keys are not.
#[test]
fn some_keys() {
    check(
        &[(Rule::Key, "i*")],
        &[
            (0, "SET i 1", "Pass"),
            (0, "SET o 1", "Skip"),
            (0, "set i 1", "Pass"),
            (0, "PUBLISH o m", "Pass"),
            (0, "FUNCTION FLUSH", "Pass"),
            (0, "DEL i1 o i2", "DEL i1 i2"),
            (0, "UNLINK i1 i2", "Pass"),
            (0, "MSET o 1 i 2 o2 3", "MSET i 2"),
            (0, "MSETNX o 1 i 2", "MSETNX i 2"),
            (0, "MSETEX 3 i1 1 o 2 i2 3 EX 5", "MSETEX 2 i1 1 i2 3 EX 5"),
            (0, "JSON.MSET i $ 1 o $ 2", "JSON.MSET i $ 1"),
            (0, "RENAME i1 i2", "Pass"),
            (0, "RENAME i o", "DEL i"),
            (0, "RENAME o i", "Value"),
            (0, "RENAMENX o o2", "Skip"),
            (0, "COPY i o", "Skip"),
            (0, "COPY o i", "Value"),
            (0, "COPY i i2 REPLACE", "Pass"),
            (0, "MOVE i 1", "Pass"),
            (0, "MOVE o 1", "Skip"),
            (0, "SMOVE i o m", "SREM i m"),
            (0, "SMOVE o i m", "SADD i m"),
            (0, "LMOVE i o LEFT RIGHT", "LPOP i"),
            (0, "LMOVE i o RIGHT LEFT", "RPOP i"),
            (0, "RPOPLPUSH i o", "RPOP i"),
            (0, "BRPOPLPUSH i o 0", "RPOP i"),
            (0, "LMOVE o i LEFT LEFT", "Value"),
            (0, "SUNIONSTORE i i1 o", "Value"),
            (0, "SUNIONSTORE o i1 o", "Skip"),
            (0, "SUNIONSTORE i i1 i2", "Pass"),
            (0, "PFMERGE i o", "Value"),
            (0, "ZUNIONSTORE i 2 i1 o WEIGHTS 1 2", "Value"),
            (0, "ZUNIONSTORE i 2 i1 i2 WEIGHTS 1 2", "Pass"),
            (0, "BITOP AND o i", "Skip"),
            (0, "ZRANGESTORE i o 0 1", "Value"),
            (0, "GEORADIUS i 1 2 3 km STORE o", "Skip"),
            (0, "GEORADIUS o 1 2 3 km STORE i", "Value"),
            (0, "SORT i STORE i2", "Pass"),
            (0, "SORT i BY nosort GET # STORE i2", "Pass"),
            (0, "SORT i BY w* STORE i2", "Value"),
            (0, "SORT i GET w* STORE o", "Skip"),
            (0, "SORT i", "Skip"),
            (0, "BLPOP i o 0", "Parts"),
            (0, "EVAL s 2 i o", "Parts"),
            (0, "EVAL s 1 i o", "Pass"),
            (0, "EVAL s 1 o i", "Skip"),
            (0, "EVAL s 0", "Script"),
            (0, "TS.CREATERULE i o AGGREGATION avg 5", "Parts"),
            (0, "FLUSHDB", "Flush"),
            (0, "FLUSHALL ASYNC", "Flush"),
            (0, "SWAPDB 0 1", "Databases"),
            (0, "SWAPDB 1 1", "Skip"),
            (0, "NEW.THING i", "Unknown"),
            (0, "MIGRATE h 1 i 0 5", "Unknown"),
            (0, "MSET i", "Malformed"),
            (0, "DEL", "Malformed"),
        ],
    );
}

#[test]
fn new_prefixes_are_written_everywhere() {
    check(
        &[(Rule::Rename, "i:=n:"), (Rule::BlockPrefix, "o")],
        &[
            (0, "SET i:1 i:2", "SET n:1 i:2"),
            (0, "SET a 1", "Pass"),
            (0, "SET n:1 1", "Clash"),
            (0, "DEL n:1 i:1", "Clash"),
            (0, "MSET i:1 1 o 2 a 3", "MSET n:1 1 a 3"),
            (0, "RENAME i:1 i:2", "RENAME n:1 n:2"),
            (0, "RENAME a i:2", "RENAME a n:2"),
            (0, "RENAME i:1 o", "DEL n:1"),
            (0, "COPY i:1 a DB 3", "COPY n:1 a DB 3"),
            (0, "COPY a i:1 REPLACE", "COPY a n:1 REPLACE"),
            (0, "MOVE i:1 2", "MOVE n:1 2"),
            (0, "SMOVE i:1 o i:2", "SREM n:1 i:2"),
            (0, "SMOVE o i:1 i:2", "SADD n:1 i:2"),
            (0, "ZUNIONSTORE i:1 2 i:2 a WEIGHTS 1 2", "ZUNIONSTORE n:1 2 n:2 a WEIGHTS 1 2"),
            (0, "EVAL s 1 i:1 i:2", "EVAL s 1 n:1 i:2"),
            (0, "XGROUP CREATE i:1 i:g $", "XGROUP CREATE n:1 i:g $"),
            (0, "SORT i:1 STORE i:2", "SORT n:1 STORE n:2"),
        ],
    );
}

#[test]
fn some_databases() {
    check(
        &[(Rule::Databases, "0,3:5")],
        &[
            (0, "SET a 1", "Pass"),
            (3, "SET a 1", "Pass"),
            (1, "SET a 1", "Skip"),
            (1, "NEW.THING a", "Skip"),
            (3, "NEW.THING a", "Pass"),
            (1, "PUBLISH c m", "Pass"),
            (1, "SCRIPT LOAD x", "Pass"),
            (0, "FLUSHDB", "Pass"),
            (1, "FLUSHDB", "Skip"),
            (1, "FLUSHALL", "Flush"),
            (1, "SWAPDB 0 3", "SWAPDB 0 5"),
            (1, "SWAPDB 1 2", "Skip"),
            (1, "SWAPDB 0 1", "Databases"),
            (0, "SWAPDB 0 x", "Malformed"),
            (0, "MOVE a 3", "MOVE a 5"),
            (3, "MOVE a 0", "Pass"),
            (0, "MOVE a 1", "DEL a"),
            (1, "MOVE a 0", "Value"),
            (1, "MOVE a 2", "Skip"),
            (0, "COPY a b", "Pass"),
            (3, "COPY a b", "Pass"),
            (3, "COPY a b DB 3 REPLACE", "COPY a b DB 5 REPLACE"),
            (0, "COPY a b REPLACE DB 3", "COPY a b REPLACE DB 5"),
            (0, "COPY a b DB 1", "Skip"),
            (1, "COPY a b DB 0", "Value"),
            (1, "COPY a b", "Skip"),
            (0, "COPY a b DB", "Malformed"),
        ],
    );
}

#[test]
fn some_types() {
    check(
        &[(Rule::BlockTypes, "string,set")],
        &[
            (0, "HSET a f v", "Pass"),
            (0, "INCR a", "Skip"),
            (0, "SADD a m", "Skip"),
            // What was there may have been a hash.
            (0, "SET a 1", "DEL a"),
            (0, "MSET a 1 b 2", "DEL a b"),
            (0, "SUNIONSTORE a b c", "DEL a"),
            (0, "ZUNIONSTORE a 1 b", "Type"),
            (0, "ZRANGESTORE a b 0 1", "Pass"),
            (0, "SORT a STORE b", "Type"),
            (0, "RESTORE a 0 list", "Pass"),
            (0, "RESTORE a 0 string REPLACE", "DEL a"),
            (0, "RESTORE a 0 x", "Type"),
            (0, "DEL a", "Pass"),
            (0, "EXPIRE a 5", "Pass"),
            (0, "RENAME a b", "Pass"),
            (0, "COPY a b", "Pass"),
            (0, "COPY a b REPLACE", "DEL b | COPY a b REPLACE"),
            (0, "COPY a b DB 1 REPLACE", "Type"),
            (0, "EVAL s 1 a", "Script"),
            (0, "FLUSHALL", "Flush"),
            (0, "SWAPDB 0 1", "Databases"),
            (0, "NEW.THING a", "Unknown"),
        ],
    );
    check(
        &[(Rule::Types, "zset"), (Rule::Key, "i*")],
        &[(0, "MSET i 1 o 2", "DEL i"), (0, "SET o 1", "Skip"), (0, "SUNIONSTORE o i i2", "Skip")],
    );
}

#[test]
fn blocked_commands() {
    check(
        &[(Rule::BlockCommands, "FLUSHALL,@scripting")],
        &[(0, "FLUSHALL", "Skip"), (0, "FLUSHDB", "Pass"), (0, "eval s 0", "Skip"), (0, "NEW.THING a", "Pass")],
    );
    check(&[(Rule::BlockCommands, "NEW.THING"), (Rule::Key, "i*")], &[(0, "NEW.THING i", "Skip")]);
}

#[test]
fn no_command_of_the_table_is_forgotten() {
    let objects = Objects::parse([(Rule::Key, "i*")]).unwrap();
    for row in keys::rows() {
        let verdict = judged(&objects, 0, row.name);
        assert!(["Pass", "Flush", "Malformed"].contains(&&*verdict), "{}: {verdict}", row.name);
    }
}
