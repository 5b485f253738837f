#!/bin/sh
# Builds a fuzz target with the stable compiler and runs it on its corpus.
# usage: fuzz/run.sh resp|rdb [seconds] [libFuzzer options]
#
# What it finds goes to a folder outside the sources; new inputs worth keeping are merged by hand (-merge=1).
set -eu
target=$1
seconds=${2:-60}
[ $# -ge 2 ] && shift 2 || shift 1
here=$(cd "$(dirname "$0")" && pwd)
host=x86_64-unknown-linux-gnu
build=${CARGO_TARGET_DIR:-$here/target}
found=$build/found/$target
mkdir -p "$found/corpus"

# What `cargo fuzz --sanitizer none` passes: edge counters, a table of their addresses, and compared values. There is no
# address sanitizer, since the code under test has no unsafe of its own. `--target` keeps build scripts free of it all.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
    cargo build --release --locked --manifest-path "$here/Cargo.toml" --target-dir "$build" --target "$host" --bin "$target"

exec "$build/$host/release/$target" -max_total_time="$seconds" -max_len=8192 -rss_limit_mb=512 -timeout=10 \
    -artifact_prefix="$found/" "$@" "$found/corpus" "$here/corpus/$target"
