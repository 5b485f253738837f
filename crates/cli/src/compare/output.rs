//! Results on stdout.
//!
//! A reader that goes away does not change how the process ends.

use std::io::{self, BufWriter, Write as _};

use keyferry_model::{ErrorKind, Result, ResultExt as _};
use keyferry_verify::{Difference, Kind, Outcome, Store, readable};
use serde_json::json;

use super::args::Form;

/// Writes differences from number `from` on, `count` at most, and the result behind them. `None` when the store holds no
/// comparison.
pub(super) fn write(
    store: &Store,
    form: Form,
    (from, count): (u64, u64),
    with_repair: bool,
) -> Result<Option<(Outcome, bool)>> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut first = true;
    let mut gone = false;
    let mut line = |text: String| {
        let written = writeln!(out, "{text}");
        written.or_else(|e| {
            if e.kind() == io::ErrorKind::BrokenPipe {
                gone = true;
                Ok(())
            } else {
                Err(e)
            }
        })
    };
    let fail = || "write the result".to_owned();
    if form == Form::Csv {
        line("db,key,kind,detail".into()).or_err(ErrorKind::DumpFile, fail)?;
    }
    let found = store.show(from, count, |difference| {
        if form == Form::Text && std::mem::take(&mut first) {
            line(format!("{:>3}  {:<17}  {:<32}  DETAIL", "DB", "KIND", "KEY")).or_err(ErrorKind::DumpFile, fail)?;
        }
        line(one(form, &difference)).or_err(ErrorKind::DumpFile, fail)
    })?;
    if let Some((outcome, finished)) = &found {
        match form {
            Form::Text => line(text(outcome, *finished, with_repair)),
            Form::Json => line(object(outcome, *finished, with_repair)),
            Form::Csv => Ok(()),
        }
        .or_err(ErrorKind::DumpFile, fail)?;
    }
    if !gone {
        match out.flush() {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(e).or_err(ErrorKind::DumpFile, fail),
            _ => {}
        }
    }
    Ok(found)
}

fn one(form: Form, difference: &Difference) -> String {
    let Difference { db, key, kind, detail, round } = difference;
    let (key, kind) = (readable(key), kind.name());
    match form {
        Form::Text => format!("{db:>3}  {kind:<17}  {key:<32}  {detail}").trim_end().to_owned(),
        Form::Json => json!({"db": db, "key": key, "kind": kind, "detail": detail, "round": round}).to_string(),
        Form::Csv => format!("{db},{},{kind},{}", quoted(&key), quoted(detail)),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The last line. Its fields stay as they are; only what was asked for adds one.
pub(super) fn object(outcome: &Outcome, finished: bool, with_repair: bool) -> String {
    let mut fields = vec![format!("\"keys\":{}", outcome.keys)];
    fields.extend(Kind::ALL.map(|kind| format!("\"{}\":{}", kind.name(), outcome.counts.of(kind))));
    fields.push(format!("\"equal\":{}", outcome.is_equal() && finished));
    fields.push(format!("\"rounds\":{}", outcome.rounds));
    if with_repair {
        fields.push(format!("\"repaired\":{}", outcome.repaired));
    }
    if !finished {
        fields.push("\"finished\":false".into());
    }
    format!("{{{}}}", fields.join(","))
}

fn text(outcome: &Outcome, finished: bool, with_repair: bool) -> String {
    let mut lines = vec![format!("{:<18}{:>12}", "keys", outcome.keys)];
    let counts = Kind::ALL.map(|kind| (kind.name(), outcome.counts.of(kind)));
    lines.extend(counts.iter().map(|(name, count)| format!("{name:<18}{count:>12}")));
    if with_repair {
        lines.push(format!("{:<18}{:>12}", "repaired", outcome.repaired));
    }
    lines.push(format!("{:<18}{:>12}", "rounds", outcome.rounds));
    lines.push(match (finished, outcome.is_equal()) {
        (false, _) => "not at its end".into(),
        (true, true) => "equal".into(),
        (true, false) => "different".into(),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use keyferry_verify::Counts;

    use super::*;

    fn difference() -> Difference {
        let detail = "1 field: \"x\" (differs)".into();
        Difference { db: 3, key: b"a,\"\xff\\\n".to_vec(), kind: Kind::Value, detail, round: 3 }
    }

    #[test]
    fn one_line_for_each() {
        assert_eq!(one(Form::Csv, &difference()), r#"3,"a,""\xff\\\x0a",value,"1 field: ""x"" (differs)""#);
        let object: serde_json::Value = serde_json::from_str(&one(Form::Json, &difference())).unwrap();
        assert_eq!(object["key"], "a,\"\\xff\\\\\\x0a");
        assert_eq!((&object["db"], &object["kind"], &object["round"]), (&3.into(), &"value".into(), &3.into()));
        assert!(one(Form::Text, &difference()).starts_with("  3  value              a,"));
    }

    #[test]
    fn the_last_line() {
        let outcome = Outcome { keys: 7, counts: Counts::default(), rounds: 1, repaired: 2 };
        let expected = r#"{"keys":7,"missing_on_target":0,"missing_on_source":0,"type":0,"value":0,"ttl":0,"equal":true,"rounds":1}"#;
        assert_eq!(object(&outcome, true, false), expected);
        assert!(object(&outcome, true, true).ends_with(r#""rounds":1,"repaired":2}"#));
        // What is not at its end is not equal.
        assert!(object(&outcome, false, false).contains(r#""equal":false"#));
        assert!(text(&outcome, true, false).ends_with("\nequal"));
    }
}
