use super::{Access, NoKeys, find, keys, table::ROWS};

/// The keys of a command, those that are only read in brackets.
fn shown(command: &str) -> String {
    let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    match keys(args.iter().copied()) {
        Ok(keys) => {
            let names = keys.map(|key| {
                assert_eq!(args[key.at], key.name);
                let name = String::from_utf8_lossy(key.name);
                if key.access == Access::Read { format!("({name})") } else { name.into_owned() }
            });
            names.collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn the_table_is_sorted_and_found_in_any_case() {
    for pair in ROWS.windows(2) {
        assert!(pair[0].name < pair[1].name, "{} {}", pair[0].name, pair[1].name);
    }
    for row in ROWS {
        assert!(row.name.len() <= 20, "{}", row.name);
        let lower = row.name.to_ascii_lowercase();
        assert!(std::ptr::eq(find(lower.as_bytes()).unwrap(), row));
    }
    assert!(find(b"").is_none() && find(b"GET").is_none() && find(&[b'A'; 100]).is_none());
}

#[test]
fn keys_of_each_form() {
    for (command, expected) in [
        ("PUBLISH c m", ""),
        ("set a b", "a"),
        ("XGROUP CREATE a g 0", "a"),
        ("DEL a b c", "a b c"),
        ("MSET a 1 b 2", "a b"),
        ("MSETEX 2 a 1 b 2 EX 5", "a b"),
        ("BLPOP a b 0", "a b"),
        ("LMPOP 2 a b LEFT", "a b"),
        ("BLMPOP 0 2 a b LEFT COUNT 2", "a b"),
        ("EVAL s 2 a b c", "a b"),
        ("EVAL s 0 c", ""),
        ("SUNIONSTORE a b c", "a (b) (c)"),
        ("BITOP NOT a b", "a (b)"),
        ("PFMERGE a", "a"),
        ("ZRANGESTORE a b 0 1", "a (b)"),
        ("ZUNIONSTORE a 2 b c WEIGHTS 1 2", "a (b) (c)"),
        ("SORT a BY x* GET STORE LIMIT 0 STORE STORE b STORE c", "(a) c"),
        ("SORT a", "(a)"),
        ("GEORADIUS a 1 2 3 km STORE b STOREDIST c", "(a) c"),
        ("GEORADIUSBYMEMBER a STORE 3 km STORE b", "(a) b"),
        ("RENAME a b", "a b"),
        ("COPY a b DB 3", "(a) b"),
        ("LMOVE a b LEFT RIGHT", "a b"),
        ("SMOVE a b m", "a b"),
        ("TS.CREATERULE a b AGGREGATION avg 5", "a b"),
        ("XREADGROUP GROUP STREAMS c COUNT 2 NOACK STREAMS a b > >", "a b"),
        ("MOVE a 1", "a"),
        ("FLUSHALL ASYNC", ""),
        ("SWAPDB 0 1", ""),
        ("JSON.MSET a $ 1 b $ 2", "a b"),
    ] {
        assert_eq!(shown(command), expected, "{command}");
    }
}

#[test]
fn what_cannot_be_told() {
    for command in ["GET a", "MIGRATE h 1 a 0 5", "NEW.THING a", "FT.CREATE i"] {
        assert_eq!(shown(command), "Unknown", "{command}");
    }
    for command in [
        "SET",
        "MSET a",
        "MSETEX 2 a 1 b",
        "MSETEX x a 1",
        "EVAL s -1 a",
        "EVAL s 18446744073709551615 a",
        "ZUNIONSTORE a 3 b c",
        "RENAME a",
        "XREADGROUP GROUP g c STREAMS a b >",
        "XREADGROUP GROUP g c COUNT",
        "BLPOP",
    ] {
        assert_eq!(shown(command), "Malformed", "{command}");
    }
    assert_eq!(keys(std::iter::empty()).map(|_| ()), Err(NoKeys::Unknown));
}
