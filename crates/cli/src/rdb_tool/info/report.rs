//! What is known of a dump, for people and for programs.

use std::fmt::Write as _;

use indicatif::HumanBytes;
use keyferry_rdb::{Checksum, Magic};
use serde_json::{Map, Value, json};

use super::{EXPIRIES, GROUPS, Info, NEVER, Sum};
use crate::rdb_tool::{text, verify::checksum_words};

/// Appends the report as one JSON object on one line.
pub(super) fn json(info: &Info, out: &mut Vec<u8>) {
    let sum = |sum: &Sum| json!({ "keys": sum.keys, "bytes": sum.bytes });
    let types: Map<String, Value> = types(info).map(|(name, group)| (name.into(), sum(group))).collect();
    let databases: Map<String, Value> = info.databases.iter().map(|(db, all)| (db.to_string(), sum(all))).collect();
    let modules: Map<String, Value> = info.module_values.iter().map(|(name, all)| (name.clone(), sum(all))).collect();
    let expiries: Map<String, Value> = expiries(info).map(|(name, keys)| (name.into(), keys.into())).collect();
    let top: Vec<Value> = info
        .top
        .sorted()
        .into_iter()
        .map(|large| {
            json!({
                "db": large.db, "key": text::json_value(&large.key), "key_cut": large.cut,
                "type": large.kind.group().name(), "encoding": large.kind.name(), "bytes": large.bytes, "offset": large.at,
            })
        })
        .collect();
    // A field that comes twice (servers write none twice) is shown with its last value.
    let aux: Map<String, Value> = info.aux.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let report = json!({
        "magic": magic(info), "version": info.header.map(|(_, version)| version), "aux": aux,
        "bytes": info.bytes, "trailing_bytes": info.trailing, "keys": info.total.keys, "key_bytes": info.total.bytes,
        "expiring": info.expiring, "types": types, "databases": databases, "expiry": expiries, "now_ms": info.now,
        "top": top, "functions": info.functions, "function_count": info.function_count, "module_aux": info.modules,
        "module_values": modules, "slots": info.slots, "slot_imports": info.slot_imports,
        "checksum": match info.checksum {
            Some(Checksum::Ok) => "ok",
            Some(Checksum::Disabled) => "disabled",
            Some(Checksum::Absent | Checksum::Unchecked) | None => "absent",
        },
    });
    out.extend_from_slice(report.to_string().as_bytes());
    out.push(b'\n');
}

/// Appends the report as lines.
pub(super) fn text(info: &Info, out: &mut Vec<u8>) {
    let mut lines = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(info, &mut lines);
    out.extend_from_slice(lines.as_bytes());
}

fn write_text(info: &Info, out: &mut String) -> std::fmt::Result {
    let version = info.header.map_or(0, |(_, version)| version);
    writeln!(out, "dump       {} version {version}, {} ({} bytes)", magic(info), HumanBytes(info.bytes), info.bytes)?;
    writeln!(out, "checksum   {}", checksum_words(info.checksum))?;
    if info.trailing > 0 {
        writeln!(out, "behind it  {} bytes that do not belong to the dump", info.trailing)?;
    }
    for (name, value) in &info.aux {
        writeln!(out, "aux        {name} = {value}")?;
    }
    if info.function_count > 0 {
        writeln!(out, "functions  {} libraries: {}", info.function_count, info.functions.join(", "))?;
    }
    if !info.modules.is_empty() {
        writeln!(out, "modules    with data beside the keys: {}", info.modules.join(", "))?;
    }
    if info.slots > 0 || info.slot_imports > 0 {
        writeln!(out, "cluster    {} slots with keys, {} slot imports", info.slots, info.slot_imports)?;
    }
    writeln!(out, "keys       {}, of them {} with an expiry", info.total.keys, info.expiring)?;
    writeln!(out, "\n{:<12} {:>14} {:>18}", "type", "keys", "bytes in the file")?;
    for (name, sum) in types(info) {
        row(out, name, sum)?;
    }
    for (name, sum) in &info.module_values {
        row(out, &format!("  {name}"), sum)?;
    }
    row(out, "all", &info.total)?;
    writeln!(out, "\n{:<12} {:>14} {:>18}", "database", "keys", "bytes in the file")?;
    for (db, sum) in &info.databases {
        row(out, &db.to_string(), sum)?;
    }
    writeln!(out, "\n{:<12} {:>14}", "expires", "keys")?;
    for (name, keys) in expiries(info) {
        writeln!(out, "{:<12} {keys:>14}", name.replace('_', " "))?;
    }
    let top = info.top.sorted();
    if !top.is_empty() {
        writeln!(out, "\n{:>18}  {:>3}  {:<20} largest keys", "bytes in the file", "db", "encoding")?;
    }
    for large in top {
        let dots = if large.cut { "..." } else { "" };
        let key = text::escaped(&large.key);
        writeln!(out, "{:>18}  {:>3}  {:<20} \"{key}\"{dots}", large.bytes, large.db, large.kind.name())?;
    }
    Ok(())
}

fn row(out: &mut String, name: &str, sum: &Sum) -> std::fmt::Result {
    writeln!(out, "{name:<12} {:>14} {:>18}", sum.keys, sum.bytes)
}

fn magic(info: &Info) -> &'static str {
    match info.header {
        Some((Magic::Valkey, _)) => "VALKEY",
        _ => "REDIS",
    }
}

/// The types that there are.
fn types(info: &Info) -> impl Iterator<Item = (&'static str, &Sum)> {
    GROUPS.iter().zip(&info.types).filter(|(_, sum)| sum.keys > 0).map(|(group, sum)| (group.name(), sum))
}

fn expiries(info: &Info) -> impl Iterator<Item = (&'static str, u64)> {
    EXPIRIES.iter().map(|&(name, _)| name).chain([NEVER]).zip(info.expiries)
}
