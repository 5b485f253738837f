use keyferry_resp::{Limits, request::Scanner};

use super::*;

const NOW: u64 = 1_000_000;
const NEW: Expiry = Expiry {
    grace_ms: 5000,
    far_grace_ms: 5000,
    set_pxat: true,
    restore_absttl: true,
    all_fields: false,
    hold: None,
    holds: false,
    age_ms: 0,
};

fn rewrite(words: &str, expiry: Expiry) -> Option<String> {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    let (mut wire, mut out) = (Vec::new(), Vec::new());
    encode::command(&mut wire, &args);
    let request = Scanner::new(Limits::default()).next(&wire).unwrap().unwrap();
    if matches!(expiry.rewrite(&request, NOW, &mut out), Rewritten::No | Rewritten::Proof) {
        assert!(out.is_empty());
        return None;
    }
    let request = Scanner::new(Limits::default()).next(&out).unwrap().unwrap();
    assert_eq!(request.bytes().len(), out.len(), "one whole command");
    Some(request.args().map(|a| String::from_utf8_lossy(a).into_owned()).collect::<Vec<_>>().join(" "))
}

#[test]
fn every_form() {
    let new = NEW;
    let old = Expiry { set_pxat: false, restore_absttl: false, ..NEW };
    for (words, to_new, to_old) in [
        ("EXPIRE k 10", "PEXPIREAT k 1015000", "PEXPIREAT k 1015000"),
        ("pexpire k 10 NX", "PEXPIREAT k 1005010", "PEXPIREAT k 1005010"),
        ("PEXPIREAT k 2000000 XX GT", "PEXPIREAT k 2005000", "PEXPIREAT k 2005000"),
        ("EXPIREAT k 2000", "PEXPIREAT k 2005000", "PEXPIREAT k 2005000"),
        ("PEXPIREAT k 2000000", "PEXPIREAT k 2005000", "PEXPIREAT k 2005000"),
        ("HPEXPIREAT h 2000000 FIELDS 1 f", "HPEXPIREAT h 2005000 FIELDS 1 f", "HPEXPIREAT h 2005000 FIELDS 1 f"),
        ("HEXPIRE h 1 gt FIELDS 1 f", "HPEXPIREAT h 1006000 FIELDS 1 f", "HPEXPIREAT h 1006000 FIELDS 1 f"),
        ("HEXPIRE h 1 FIELDS 1 f", "HPEXPIREAT h 1006000 FIELDS 1 f", "HPEXPIREAT h 1006000 FIELDS 1 f"),
        ("SETEX k 10 v", "SET k v PXAT 1015000", "SET k v PX 15000"),
        ("PSETEX k 10 v", "SET k v PXAT 1005010", "SET k v PX 5010"),
        ("SET k v EX 10 NX", "SET k v PXAT 1015000 NX", "SET k v PX 15000 NX"),
        ("SET k v XX PXAT 2000000", "SET k v XX PXAT 2005000", "SET k v XX PX 1005000"),
        ("SET k EX IFEQ PX EXAT 2000", "SET k EX IFEQ PX PXAT 2005000", "SET k EX IFEQ PX PX 1005000"),
        ("SET PX EX PX 10", "SET PX EX PXAT 1005010", "SET PX EX PX 5010"),
        ("GETEX k PX 10", "GETEX k PXAT 1005010", "GETEX k PX 5010"),
        ("HSETEX h PX 10 FIELDS 1 EX 3", "HSETEX h PXAT 1005010 FIELDS 1 EX 3", "HSETEX h PX 5010 FIELDS 1 EX 3"),
        ("HSETEX h FIELDS 1 EX 3 PX 10", "HSETEX h FIELDS 1 EX 3 PXAT 1005010", "HSETEX h FIELDS 1 EX 3 PX 5010"),
        ("HGETEX h FIELDS 1 EX PX 10", "HGETEX h FIELDS 1 EX PXAT 1005010", "HGETEX h FIELDS 1 EX PX 5010"),
        ("MSETEX 1 EX PX PX 10", "MSETEX 1 EX PX PXAT 1005010", "MSETEX 1 EX PX PX 5010"),
        ("RESTORE k 10 p REPLACE", "RESTORE k 1005010 p REPLACE ABSTTL", "RESTORE k 5010 p REPLACE"),
        ("RESTORE k 2000000 p ABSTTL", "RESTORE k 2005000 p ABSTTL", "RESTORE k 1005000 p"),
        ("RESTORE k 900000 p ABSTTL", "RESTORE k 1005000 p ABSTTL", "RESTORE k 5000 p"),
    ] {
        assert_eq!(rewrite(words, new).as_deref(), Some(to_new), "{words}");
        assert_eq!(rewrite(words, old).as_deref(), Some(to_old), "{words}");
    }
}

/// Valkey passes on all fields that were named.
#[test]
fn conditions_on_fields_are_judged_again() {
    let expiry = Expiry { all_fields: true, ..NEW };
    let kept = rewrite("HPEXPIREAT h 2000000 NX FIELDS 2 f g", expiry).unwrap();
    assert_eq!(kept, "HPEXPIREAT h 2005000 NX FIELDS 2 f g");
    let judged = rewrite("HPEXPIREAT h 2000000 lt FIELDS 2 f g", expiry).unwrap();
    let script = std::str::from_utf8(JUDGE).unwrap();
    assert_eq!(judged, format!("EVAL {script} 1 h 2005000 LT 5000 f g"));
}

#[test]
fn all_else_goes_out_as_it_is() {
    let expiry = NEW;
    for words in [
        "SET k v",
        "SET k v NX",
        "SET EX PX",
        "SET k v KEEPTTL",
        "GETEX k PERSIST",
        "DEL EX PX 1",
        "RESTORE k 0 p",
        "HSETEX h FIELDS 1 PX 3",
        "MSETEX 2 k v PX 10",
        "MSETEX x k v PX 10",
        "EXPIRE k x",
        "EXPIRE k",
        "HPEXPIREAT h",
        "SETEX k 1",
        "SET k v PX",
        "PEXPIREAT k 99999999999999999999",
    ] {
        assert_eq!(rewrite(words, expiry), None, "{words}");
    }
}

/// What holds on the target while it is far behind: the deadline of the source, later by 2^52 or, of a field, by 2^45.
#[test]
fn every_form_while_deadlines_are_held() {
    let new = Expiry { holds: true, age_ms: 60_000, ..NEW };
    let old = Expiry { set_pxat: false, restore_absttl: false, ..new };
    let (key, field) = ((1_u64 << 52), (1_u64 << 45));
    // To a target that takes times to live only, they are counted from when it gets them.
    let left = key - NOW - 60_000;
    let (at, of_field) = (|ms: u64| (key + ms).to_string(), |ms: u64| (field + ms).to_string());
    let px = |ms: u64| (left + ms).to_string();
    let same = |to: String| (to.clone(), to);
    for (words, (to_new, to_old)) in [
        ("EXPIRE k 10", same(format!("PEXPIREAT k {}", at(1_010_000)))),
        ("PEXPIRE k 10 GT", same(format!("PEXPIREAT k {}", at(1_000_010)))),
        ("EXPIREAT k 2000", same(format!("PEXPIREAT k {}", at(2_000_000)))),
        ("PEXPIREAT k 2000000 XX", same(format!("PEXPIREAT k {}", at(2_000_000)))),
        ("PEXPIREAT k 900000", same(format!("PEXPIREAT k {}", at(1_000_000)))),
        ("HEXPIRE h 1 FIELDS 1 f", same(format!("HPEXPIREAT h {} FIELDS 1 f", of_field(1_001_000)))),
        ("HPEXPIREAT h 2000000 NX FIELDS 1 f", same(format!("HPEXPIREAT h {} FIELDS 1 f", of_field(2_000_000)))),
        ("SETEX k 10 v", (format!("SET k v PXAT {}", at(1_010_000)), format!("SET k v PX {}", px(1_010_000)))),
        ("PSETEX k 10 v", (format!("SET k v PXAT {}", at(1_000_010)), format!("SET k v PX {}", px(1_000_010)))),
        (
            "SET k v EX 10 NX",
            (format!("SET k v PXAT {} NX", at(1_010_000)), format!("SET k v PX {} NX", px(1_010_000))),
        ),
        ("SET k v PXAT 2000000", (format!("SET k v PXAT {}", at(2_000_000)), format!("SET k v PX {}", px(2_000_000)))),
        ("GETEX k PX 10", (format!("GETEX k PXAT {}", at(1_000_010)), format!("GETEX k PX {}", px(1_000_010)))),
        (
            "MSETEX 1 a b PX 10",
            (format!("MSETEX 1 a b PXAT {}", at(1_000_010)), format!("MSETEX 1 a b PX {}", px(1_000_010))),
        ),
        ("RESTORE k 10 p", (format!("RESTORE k {} p ABSTTL", at(1_000_010)), format!("RESTORE k {} p", px(1_000_010)))),
        (
            "RESTORE k 2000000 p ABSTTL",
            (format!("RESTORE k {} p ABSTTL", at(2_000_000)), format!("RESTORE k {} p", px(2_000_000))),
        ),
    ] {
        assert_eq!(rewrite(words, new), Some(to_new), "{words}");
        assert_eq!(rewrite(words, old), Some(to_old), "{words}");
    }
    // No target that takes options of fields takes times to live only.
    for (words, to) in [
        ("HSETEX h PX 10 FIELDS 1 f v", format!("HSETEX h PXAT {} FIELDS 1 f v", of_field(1_000_010))),
        ("HGETEX h EX 1 FIELDS 1 f", format!("HGETEX h PXAT {} FIELDS 1 f", of_field(1_001_000))),
    ] {
        assert_eq!(rewrite(words, new), Some(to), "{words}");
    }
}

#[test]
fn what_lives_long_has_the_grace_and_is_not_held() {
    let expiry = Expiry { holds: true, ..NEW };
    for (words, rest, from, by) in
        [("PEXPIREAT k", "", 1_u64 << 44, 1_u64 << 52), ("HPEXPIREAT h", " FIELDS 1 f", 1 << 42, 1 << 45)]
    {
        let written = |at: u64| rewrite(&format!("{words} {at}{rest}"), expiry).unwrap();
        assert_eq!(written(from), format!("{words} {}{rest}", from + 5000));
        assert_eq!(written(from - 1), format!("{words} {}{rest}", from - 1 + by));
    }
}

#[test]
fn whose_deadline_is_moved_is_known() {
    for (words, becomes) in [
        ("EXPIRE k 1", Rewritten::Deadline),
        ("SET k v EX 1", Rewritten::Yes),
        ("HEXPIRE k 1 FIELDS 1 f", Rewritten::FieldDeadline),
        ("PERSIST k", Rewritten::Proof),
        ("HPERSIST k FIELDS 1 f", Rewritten::Proof),
        ("HSETEX h PX 10 FIELDS 1 f v", Rewritten::Field),
        ("HSETEX h FIELDS 1 f v", Rewritten::No),
    ] {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let mut wire = Vec::new();
        encode::command(&mut wire, &args);
        let request = Scanner::new(Limits::default()).next(&wire).unwrap().unwrap();
        assert_eq!(NEW.rewrite(&request, NOW, &mut Vec::new()), becomes, "{words}");
    }
}
