//! Reads a dump file and says how fast: `scan FILE [rounds] [window in bytes]`.
//!
//! With a window, the bytes are shown to the reader as a network buffer would hold them.

use std::{env, fs, process::ExitCode, time::Instant};

use keyferry_rdb::{Item, Limits, Reader};

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let Some(path) = args.next() else {
        eprintln!("usage: scan FILE [rounds] [window in bytes]");
        return ExitCode::FAILURE;
    };
    let rounds = args.next().and_then(|text| text.parse().ok()).unwrap_or(1_u32);
    let window = args.next().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    for _ in 0..rounds {
        let start = Instant::now();
        let (entries, raw) = match scan(&bytes, window) {
            Ok(counts) => counts,
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{entries} entries, {raw} bytes of values, {:.2} M entries/s, {:.0} MB/s",
            entries as f64 / seconds / 1e6,
            bytes.len() as f64 / seconds / 1e6
        );
    }
    ExitCode::SUCCESS
}

/// Number of entries and of bytes of their values.
fn scan(bytes: &[u8], window: usize) -> Result<(u64, u64), String> {
    let mut reader = Reader::new(Limits::default());
    let (mut start, mut end) = (0_usize, window.min(bytes.len()));
    let (mut entries, mut raw) = (0_u64, 0_u64);
    while !reader.is_finished() {
        let input = bytes.get(start..end).unwrap_or_default();
        match reader.next(input).map_err(|error| error.to_string())? {
            Some((used, item)) => {
                if let Item::Entry(entry) = item {
                    entries = entries.saturating_add(1);
                    raw = raw.saturating_add(u64::try_from(entry.raw.len()).unwrap_or(u64::MAX));
                }
                start = start.saturating_add(used);
            }
            None if end == bytes.len() => return Err(format!("ends inside an item at byte {}", reader.offset())),
            None => end = end.saturating_add(window).min(bytes.len()),
        }
    }
    Ok((entries, raw))
}
