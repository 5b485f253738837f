//! Random rules and random commands: no key goes out that is not chosen, none under another name, and a target that
//! follows the verdicts has what is chosen of the source.

mod server;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use self::server::{Server, Value};
use super::{
    super::{Choice, Objects, Rule},
    Refusal, Verdict,
    tests::Out,
};
use crate::{
    keys::{self, Access, Form},
    kind::Kind,
};

const KEYS: [&str; 8] = ["a:1", "a:2", "a:b:1", "b:1", "b:2", "n:1", "1", ""];

const RULES: [(Rule, &str); 21] = [
    (Rule::Databases, "0"),
    (Rule::Databases, "0:1"),
    (Rule::Databases, "0:1,1:0"),
    (Rule::Databases, "1:2,2:0"),
    (Rule::Key, "a:*"),
    (Rule::Key, "*1"),
    (Rule::Key, "[bn]:?"),
    (Rule::Prefix, "b:"),
    (Rule::BlockKey, "*2"),
    (Rule::BlockPrefix, "n:"),
    (Rule::BlockPrefix, "a:b:"),
    (Rule::Rename, "a:=n:"),
    (Rule::Rename, "a:b:=m:"),
    (Rule::Rename, "b:=a:"),
    (Rule::Rename, "a:=b:"),
    (Rule::Rename, "=new:"),
    (Rule::Rename, "a:="),
    (Rule::Types, "string"),
    (Rule::Types, "list,set"),
    (Rule::BlockTypes, "list"),
    (Rule::BlockTypes, "string"),
];

/// A few rules; those that do not go together are refused, which leaves one.
fn rules() -> impl Strategy<Value = Objects> {
    prop::collection::vec(prop::sample::select(&RULES[..]), 1..4)
        .prop_map(|rules| Objects::parse(rules.iter().copied()).unwrap_or_else(|_| Objects::parse([rules[0]]).unwrap()))
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(&KEYS[..]).prop_map(String::from)
}

fn name(objects: &Objects, key: &[u8]) -> Option<Vec<u8>> {
    match objects.key(key) {
        Choice::Out | Choice::Clash => None,
        Choice::Same => Some(key.to_vec()),
        Choice::New(start, end) => Some([start, end].concat()),
    }
}

/// Any command of the table, with arguments as it has them.
fn command() -> impl Strategy<Value = Vec<String>> {
    let row = (0..keys::rows().len()).prop_map(|i| &keys::rows()[i]);
    (row, prop::collection::vec(key(), 4), prop::sample::select(vec!["s", "l", "x"])).prop_map(
        |(row, keys, payload)| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| keys[i].as_str());
            let args: Vec<&str> = match row.form {
                Form::NoKey | Form::FlushAll | Form::FlushDb => vec![],
                Form::SwapDb => vec!["0", "1"],
                Form::One(1) => vec![a, "0", payload],
                Form::One(_) => vec!["x", a, "y"],
                Form::Many { step: 1 } => vec![a, b, c],
                Form::Many { step: 2 } => vec![a, "1", b, "2", c, "3"],
                Form::Many { .. } => vec![a, "1", "1", b, "2", "2"],
                Form::ManyCounted => vec!["3", a, "1", b, "2", c, "3", "EX", "5"],
                Form::Either { .. } => vec![a, b, "0"],
                Form::EitherCounted { count: 1 } => vec!["2", a, b, "LEFT"],
                Form::EitherCounted { .. } => vec!["0", "2", a, b, "LEFT"],
                Form::Store { to: 1 } => vec![a, b, c, d],
                Form::Store { .. } => vec!["AND", a, b, c],
                Form::StoreFrom => vec![a, b, "0", "1"],
                Form::StoreCounted => vec![a, "2", b, c, "AGGREGATE", "SUM"],
                Form::Sort => vec![a, "ALPHA", "STORE", b],
                Form::Places => vec![a, "1", "2", "3", "km", "STORE", b],
                Form::Rename | Form::MoveMember | Form::Together => vec![a, b, "m"],
                Form::Copy => vec![a, b, "DB", "1"],
                Form::PopPush => vec![a, b, "LEFT", "RIGHT"],
                Form::Streams => vec!["GROUP", "g", "c", "STREAMS", a, b, ">", ">"],
                Form::Move => vec![a, "1"],
            };
            [row.name].into_iter().chain(args).map(String::from).collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Of what goes out, each key is the name of a chosen one that the command has named.
    #[test]
    fn no_key_goes_out_that_is_not_chosen(objects in rules(), command in command(), db in 0..3u32) {
        let args: Vec<&[u8]> = command.iter().map(|arg| arg.as_bytes()).collect();
        let (verdict, out) = Out::judge(&objects, db, &args);
        let keys: Vec<_> = keys::keys(args.iter().copied()).unwrap().collect();
        let names: BTreeSet<_> = keys.iter().filter_map(|key| name(&objects, key.name)).collect();
        let clash = keys.iter().any(|key| objects.key(key.name) == Choice::Clash);
        match verdict {
            Verdict::Pass => {
                for key in &keys {
                    prop_assert_eq!(objects.key(key.name), Choice::Same);
                }
                prop_assert!(keys.is_empty() || objects.database(db).is_some());
            }
            Verdict::Written => {
                prop_assert!(objects.database(db).is_some() || command[0] == "SWAPDB");
                for written in &out.0 {
                    let args = written.iter().map(Vec::as_slice);
                    for key in keys::keys(args).unwrap() {
                        prop_assert!(names.contains(key.name), "{:?}", out.0);
                    }
                }
            }
            Verdict::Skip | Verdict::Flush => {}
            Verdict::Refuse(refusal) => {
                // Of COPY, one of the keys may be in a database that is not chosen.
                prop_assert!(clash || refusal != Refusal::Clash);
                prop_assert!(!clash || refusal == Refusal::Clash || command[0] == "COPY", "{:?}", refusal);
                prop_assert_ne!(refusal, Refusal::Unknown);
                prop_assert_ne!(refusal, Refusal::Malformed);
            }
        }
        // A chosen key that is written is never just skipped, unless its type says so.
        let written = keys.iter().any(|key| key.access == Access::Write && name(&objects, key.name).is_some());
        let concerned = written && objects.database(db).is_some() && !["COPY", "SORT"].contains(&command[0].as_str());
        if concerned && !objects.leaves_out_types() {
            prop_assert_ne!(verdict, Verdict::Skip);
        }
    }

    /// What has keys that are each for themselves goes out with those that are chosen, in their order.
    #[test]
    fn reduced_to_what_is_chosen(objects in rules(), keys in prop::collection::vec(key(), 1..6)) {
        let args: Vec<&[u8]> = [b"DEL".as_slice()].into_iter().chain(keys.iter().map(|key| key.as_bytes())).collect();
        let (verdict, out) = Out::judge(&objects, 0, &args);
        let names: Vec<_> = keys.iter().filter_map(|key| name(&objects, key.as_bytes())).collect();
        let clash = keys.iter().any(|key| objects.key(key.as_bytes()) == Choice::Clash);
        match verdict {
            _ if objects.database(0).is_none() => prop_assert_eq!(verdict, Verdict::Skip),
            _ if clash => prop_assert_eq!(verdict, Verdict::Refuse(Refusal::Clash)),
            Verdict::Skip => prop_assert!(names.is_empty()),
            Verdict::Pass => prop_assert!(names.iter().map(Vec::as_slice).eq(args[1..].iter().copied())),
            Verdict::Written => prop_assert_eq!(&out.0[0][1..], &names[..]),
            _ => prop_assert!(false, "{:?}", verdict),
        }
    }

    /// Each name on the target stands for one key, and leads back to it.
    #[test]
    fn names_lead_back(objects in rules(), key in key()) {
        if let Some(name) = name(&objects, key.as_bytes()) {
            let source = objects.source_key(&name);
            prop_assert_eq!(source.as_deref(), Some(key.as_bytes()));
        }
        if let Some(source) = objects.source_key(key.as_bytes()) {
            prop_assert_eq!(name(&objects, &source), Some(key.into_bytes()));
        }
        for db in 0..3 {
            if let Some(to) = objects.database(db) {
                prop_assert_eq!(objects.source_database(to), Some(db));
            }
        }
    }

    /// After each command the target has what is chosen of the source.
    #[test]
    fn the_target_has_what_is_chosen(
        objects in rules(),
        commands in prop::collection::vec((0..3u32, real_command()), 1..40),
    ) {
        let (mut source, mut target) = (Server::default(), Server::that_lacks_keys());
        // Keys of the target's own, under names that nothing of the source gets.
        let is_own = |db: u32| objects.source_database(db).is_none() || objects.source_key(b"!own").is_none();
        let own: Vec<_> = (0..3).filter(|db| is_own(*db)).collect();
        own.iter().for_each(|db| target.put(*db, b"!own", Value::String(vec![*db as u8])));
        for (db, command) in commands {
            let args: Vec<&[u8]> = command.iter().map(|arg| arg.as_bytes()).collect();
            // What changes nothing is not sent.
            if !source.run(db, &args) {
                continue;
            }
            let (verdict, out) = Out::judge(&objects, db, &args);
            let here = objects.database(db);
            match verdict {
                Verdict::Skip => {}
                Verdict::Pass => drop(target.run(here.unwrap_or(db), &args)),
                Verdict::Written => {
                    for command in &out.0 {
                        let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
                        target.run(here.unwrap_or(db), &args);
                    }
                }
                Verdict::Flush => target.retain(|target_db, key| {
                    let Some(of) = objects.source_database(target_db) else { return true };
                    objects.source_key(key).is_none() || (command[0] == "FLUSHDB" && of != db)
                }),
                // The task ends.
                Verdict::Refuse(_) => break,
            }
            let expected = source.iter().filter_map(|((db, key), value)| {
                let chosen = objects.allows_type(value.kind());
                let (db, name) = objects.database(*db).zip(name(&objects, key))?;
                chosen.then(|| ((db, name), value.clone()))
            });
            let own = own.iter().map(|db| ((*db, b"!own".to_vec()), Value::String(vec![*db as u8])));
            let expected: BTreeMap<_, _> = expected.chain(own).collect();
            prop_assert_eq!(target.all(), &expected, "{:?} {:?} {:?}", command, verdict, out.0);
        }
    }
}

/// A command that the servers of these tests know.
fn real_command() -> impl Strategy<Value = Vec<String>> {
    const COMMANDS: [&str; 27] = [
        "SET A v",
        "SET B w",
        "APPEND A x",
        "MSET A v B w C x",
        "MSETNX A v B w",
        "DEL A B",
        "UNLINK A",
        "RENAME A B",
        "RENAME A B",
        "RENAMENX A B",
        "COPY A B",
        "COPY A B REPLACE",
        "COPY A B DB 1 REPLACE",
        "MOVE A 1",
        "RPUSH A 1 2",
        "LPUSH A 3",
        "LPOP A",
        "LMOVE A B LEFT RIGHT",
        "RPOPLPUSH A B",
        "SADD A m n",
        "SREM A m",
        "SMOVE A B m",
        "SUNIONSTORE A B C",
        "RESTORE A 0 sv REPLACE",
        "RESTORE A 0 lv REPLACE",
        "FLUSHDB",
        "SWAPDB 0 1",
    ];
    let command = prop_oneof![60 => prop::sample::select(&COMMANDS[..]), 1 => Just("FLUSHALL")];
    (command, prop::collection::vec(key(), 3)).prop_map(|(command, keys)| {
        let arg = |word: &str| match word {
            "A" => keys[0].clone(),
            "B" => keys[1].clone(),
            "C" => keys[2].clone(),
            word => word.to_owned(),
        };
        command.split(' ').map(arg).collect()
    })
}

impl Value {
    fn kind(&self) -> Kind {
        match self {
            Self::String(_) => Kind::String,
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
        }
    }
}
