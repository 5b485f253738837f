use super::{Choice, Objects, Rule};
use crate::kind::Kind;

fn objects(rules: &[(Rule, &str)]) -> Objects {
    Objects::parse(rules.iter().copied()).unwrap()
}

fn fault(rules: &[(Rule, &str)]) -> String {
    Objects::parse(rules.iter().copied()).unwrap_err().to_string()
}

/// The key's name on the target; `-` when it is not chosen, `!` for a clash.
fn name(objects: &Objects, key: &str) -> String {
    match objects.key(key.as_bytes()) {
        Choice::Out => "-".into(),
        Choice::Same => key.into(),
        Choice::New(start, end) => String::from_utf8([start, end].concat()).unwrap(),
        Choice::Clash => "!".into(),
    }
}

#[test]
fn without_rules_all_is_chosen() {
    let all = objects(&[]);
    assert_eq!(all, Objects::default());
    assert!(all.is_all() && all.is_whole() && !all.may_lack_keys());
    assert_eq!((all.database(7), all.source_database(7), all.databases()), (Some(7), Some(7), None));
    assert_eq!(name(&all, "a"), "a");
    assert!(all.command(b"FLUSHALL") && Kind::ALL.into_iter().all(|kind| all.allows_type(kind)));
}

#[test]
fn databases() {
    let some = objects(&[(Rule::Databases, "0,3:5"), (Rule::Databases, "5:3")]);
    assert!(!some.is_all() && some.is_whole());
    let to = [0, 1, 3, 5].map(|db| some.database(db));
    assert_eq!(to, [Some(0), None, Some(5), Some(3)]);
    let from = [0, 1, 3, 5].map(|db| some.source_database(db));
    assert_eq!(from, [Some(0), None, Some(5), Some(3)]);
    assert_eq!(some.databases(), Some(&[(0, 0), (3, 5), (5, 3)][..]));
}

#[test]
fn keys_are_chosen_by_any_rule_and_blocked_by_any() {
    let some = objects(&[
        (Rule::Key, "user:*"),
        (Rule::Key, "order:[0-9]"),
        (Rule::Prefix, "lit*"),
        (Rule::BlockKey, "*:secret"),
        (Rule::BlockPrefix, "user:tmp:"),
    ]);
    for key in ["user:", "user:1", "order:1", "lit*x"] {
        assert_eq!(name(&some, key), key);
    }
    for key in ["", "users", "order:x", "literal", "user:1:secret", "user:tmp:1", "other"] {
        assert_eq!(name(&some, key), "-", "{key}");
    }
    assert!(!some.is_whole() && !some.is_all());
    let blocked = objects(&[(Rule::BlockKey, "tmp\\*")]);
    assert_eq!((name(&blocked, "tmp*"), name(&blocked, "tmp1")), ("-".into(), "tmp1".into()));
}

#[test]
fn new_names() {
    let some = objects(&[(Rule::Rename, "a:=x:"), (Rule::Rename, "a:b:=y:"), (Rule::BlockKey, "a:no*")]);
    assert_eq!(name(&some, "a:1"), "x:1");
    assert_eq!(name(&some, "a:b:1"), "y:1");
    assert_eq!(name(&some, "b:1"), "b:1");
    assert_eq!(name(&some, "a:no"), "-");
    // Nobody knows whether the source has, or will have, `a:1`.
    assert_eq!(name(&some, "x:1"), "!");
    for (target, source) in
        [("x:1", Some("a:1")), ("y:1", Some("a:b:1")), ("b:1", Some("b:1")), ("a:1", None), ("x:b:1", None)]
    {
        assert_eq!(some.source_key(target.as_bytes()).as_deref(), source.map(str::as_bytes), "{target}");
    }
    let swapped = objects(&[(Rule::Rename, "a:=b:"), (Rule::Rename, "b:=a:")]);
    assert_eq!((name(&swapped, "a:1"), name(&swapped, "b:1")), ("b:1".into(), "a:1".into()));
    let all = objects(&[(Rule::Rename, "=new:")]);
    assert_eq!(name(&all, "new:1"), "new:new:1");
    let bare = objects(&[(Rule::Rename, "old:="), (Rule::Prefix, "old:")]);
    assert_eq!((name(&bare, "old:1"), name(&bare, "1")), ("1".into(), "-".into()));
}

#[test]
fn types_and_commands() {
    let some = objects(&[(Rule::Types, "hash,LIST"), (Rule::BlockTypes, "list")]);
    let allowed: Vec<_> = Kind::ALL.into_iter().filter(|kind| some.allows_type(*kind)).collect();
    assert_eq!(allowed, [Kind::Hash]);
    assert!(some.may_lack_keys() && !some.is_whole());
    let some = objects(&[(Rule::BlockCommands, "flushall,@scripting"), (Rule::BlockCommands, "@module,FT.CREATE")]);
    assert!(!some.is_all() && some.is_whole() && some.may_lack_keys());
    for name in ["FLUSHALL", "FlushAll", "eval", "FUNCTION", "VADD", "JSON.SET", "NEW.THING", "ft.create"] {
        assert!(!some.command(name.as_bytes()), "{name}");
    }
    for name in ["FLUSHDB", "SET", "FLUSH", "SELECT", "NEW"] {
        assert!(some.command(name.as_bytes()), "{name}");
    }
}

#[test]
fn canonical_bytes_do_not_depend_on_the_order() {
    let rules = [
        (Rule::Databases, "0,3:5"),
        (Rule::Key, "a*"),
        (Rule::BlockKey, "b?"),
        (Rule::Rename, "a=b"),
        (Rule::BlockTypes, "list"),
        (Rule::BlockCommands, "@module,flushall"),
    ];
    let bytes = objects(&rules).canonical();
    let mut turned = rules;
    turned.reverse();
    assert_eq!(objects(&turned).canonical(), bytes);
    for (i, _) in rules.iter().enumerate() {
        let fewer: Vec<_> = rules.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, rule)| *rule).collect();
        assert_ne!(objects(&fewer).canonical(), bytes);
    }
    assert!(objects(&[]).canonical().is_empty());
    // Of types, those that were named: what the others are is a matter of the version.
    let named = |rules| String::from_utf8(objects(rules).canonical()).unwrap().replace(|c: char| c.is_control(), " ");
    let words = |rules| named(rules).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&[(Rule::Types, "list,hash")]), ["type", "hash", "type", "list"]);
    assert_eq!(words(&[(Rule::Types, "list,hash,set"), (Rule::BlockTypes, "set")]), ["type", "hash", "type", "list"]);
    assert_eq!(words(&[(Rule::BlockTypes, "list,hash")]), ["no", "type", "hash", "no", "type", "list"]);
    let each = Kind::ALL.map(Kind::name).join(",");
    assert!(objects(&[(Rule::Types, &each)]).is_all() && !objects(&[(Rule::Types, &each)]).canonical().is_empty());
    assert_ne!(objects(&[(Rule::Key, "a*")]).canonical(), objects(&[(Rule::BlockKey, "a*")]).canonical());
}

#[test]
fn errors_say_what_to_write() {
    for (rules, expected) in [
        (
            &[(Rule::Databases, "0,x")][..],
            "databases \"0,x\": \"x\" is no database and no pair of databases; write numbers, such as 0,2 or 3:0",
        ),
        (&[(Rule::Databases, "3,3:1")], "databases \"3,3:1\": database 3 is named twice; name each database once"),
        (
            &[(Rule::Databases, "0"), (Rule::Databases, "3:0")],
            "databases \"3:0\": databases 0 and 3 would both go into 0; give each a database of its own, such as 0,3:1",
        ),
        (&[(Rule::Key, "")], "key pattern \"\": nothing is named; leave the rule away, or name something"),
        (
            &[(Rule::Rename, "old:")],
            "new prefix \"old:\": it is not two prefixes with one = between them; write old:=new:",
        ),
        (&[(Rule::Rename, "a=a")], "new prefix \"a=a\": both prefixes are the same; leave the rule away"),
        (
            &[(Rule::Rename, "a=b"), (Rule::Rename, "a=c")],
            "new prefix \"a=c\": \"a\" has a new prefix already; name each prefix once",
        ),
        (
            &[(Rule::Rename, "a=x:"), (Rule::Rename, "b=x:y:")],
            "new prefix \"b=x:y:\": keys of \"x:y:\" and of \"x:\" could get the same name; take new prefixes of which \
             none begins with another one",
        ),
        (
            &[(Rule::Types, "strings")],
            "types \"strings\": there is no type \"strings\"; write some of string, list, set, zset, hash, stream, module",
        ),
        (
            &[(Rule::Types, "set"), (Rule::BlockTypes, "set")],
            "blocked types \"set\": no type is left; leave one type that is not blocked",
        ),
        (
            &[(Rule::BlockCommands, "GET")],
            "blocked commands \"GET\": \"GET\" is not a command that writes; write the name of one, such as FLUSHALL, or \
             a group, such as @scripting",
        ),
    ] {
        assert_eq!(fault(rules), expected);
    }
    assert!(fault(&[(Rule::BlockCommands, "@all")]).contains("there is no group \"@all\"; write one of @bitmap"));
}

#[test]
fn the_way_back() {
    assert_eq!(Objects::default().reversed(), Some(Objects::default()));
    let there = objects(&[(Rule::Databases, "0,3:5"), (Rule::Prefix, "a:"), (Rule::BlockKey, "a:b*")]);
    let back = there.reversed().unwrap();
    assert_eq!(back, objects(&[(Rule::Databases, "0,5:3"), (Rule::Prefix, "a:"), (Rule::BlockKey, "a:b*")]));
    assert_eq!(back.reversed().as_ref(), Some(&there));
    for rule in [(Rule::Rename, "a:=b:"), (Rule::Types, "hash"), (Rule::BlockCommands, "FLUSHALL")] {
        assert_eq!(objects(&[rule]).reversed(), None, "{rule:?}");
    }
}
