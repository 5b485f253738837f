//! A part of `cargo xtask matrix`: all pairs of some versions, each with every type and every family of write commands.

use std::path::Path;

use keyferry_testkit::matrix;

/// One source to several targets at once.
fn row(source: &str, targets: &[&str]) {
    let cells = matrix::row(Path::new(env!("CARGO_BIN_EXE_keyferry")), source, targets, &[]).unwrap();
    assert_eq!(cells.len(), targets.len());
    let failed = cells.iter().filter_map(|cell| {
        let error = cell.outcome.as_ref().err()?;
        Some(format!("{} -> {}: {error}", cell.source, cell.target))
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

macro_rules! rows {
    ($($name:ident: $source:literal -> $targets:expr;)*) => {
        $(#[test] fn $name() { row($source, &$targets); })*
    };
}

rows! {
    matrix_from_3_0: "redis-3.0" ->
        ["redis-3.0", "redis-3.2", "redis-4.0", "redis-5.0", "redis-6.0", "redis-7.0", "redis-7.4"];
    matrix_from_3_2: "redis-3.2" -> ["redis-3.2", "redis-4.0", "redis-5.0", "redis-6.0", "redis-7.0", "redis-7.4"];
    matrix_from_4_0: "redis-4.0" -> ["redis-4.0", "redis-5.0", "redis-6.0", "redis-7.0", "redis-7.4"];
    matrix_from_5_0: "redis-5.0" -> ["redis-5.0", "redis-6.0", "redis-7.0", "redis-7.4"];
    matrix_from_6_0: "redis-6.0" -> ["redis-6.0", "redis-7.0", "redis-7.4", "redis-8.0", "valkey-8.1", "valkey-9.1"];
    matrix_from_7_0: "redis-7.0" -> ["redis-6.0", "redis-7.0", "redis-7.4", "redis-8.0", "valkey-8.1", "valkey-9.1"];
    matrix_from_7_4: "redis-7.4" -> ["redis-7.4"];
    matrix_from_8_0: "redis-8.0" -> ["redis-6.0", "redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9.1"];
    matrix_from_valkey_8_1: "valkey-8.1" -> ["redis-6.0", "redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9.1"];
    matrix_from_valkey_9_1: "valkey-9.1" -> ["redis-6.0", "redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9.1"];
}
