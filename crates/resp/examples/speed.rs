//! Measures the two hot loops: `cargo run --release -p keyferry-resp --example speed`.

#![allow(clippy::arithmetic_side_effects)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use keyferry_resp::{Limits, encode, reply, request};

/// Bytes of input scanned per round: what a socket gives at once, so that it stays in the cache.
const INPUT: usize = 64 << 10;
const MEASURE_FOR: Duration = Duration::from_secs(1);

fn main() {
    for (name, args) in [
        ("SET, 3 arguments, 40 bytes", [&b"SET"[..], b"key:0000000001", &[b'v'; 26]]),
        ("SET, 3 arguments, 200 bytes", [b"SET", b"key:0000000001", &[b'v'; 186]]),
        ("SET, 3 arguments, 4 KiB", [b"SET", b"key:0000000001", &[b'v'; 4082]]),
    ] {
        print_rate(name, &filled(|out| encode::command(out, &args)), requests);
    }
    let members: Vec<&[u8]> = [&b"SADD"[..], b"set"].into_iter().chain([&b"member:000001"[..]; 100]).collect();
    print_rate("SADD, 102 arguments", &filled(|out| encode::command(out, &members)), requests);
    for (name, reply) in [
        ("+OK", &b"+OK\r\n"[..]),
        (":1", b":1\r\n"),
        (":1234567", b":1234567\r\n"),
        ("$5 bulk", b"$5\r\nhello\r\n"),
        ("-ERR", b"-ERR no such key\r\n"),
    ] {
        print_rate(name, &filled(|out| out.extend_from_slice(reply)), replies);
    }
    let exec = [b"*64\r\n".to_vec(), b"+OK\r\n".repeat(63), b":0\r\n".to_vec()].concat();
    print_rate("EXEC of 64", &filled(|out| out.extend_from_slice(&exec)), replies);
}

fn filled(one: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < INPUT {
        one(&mut out);
    }
    out
}

fn requests(mut input: &[u8]) -> u64 {
    let mut scanner = request::Scanner::new(Limits::default());
    let mut n = 0;
    while let Ok(Some(request)) = scanner.next(input) {
        black_box(request.name());
        input = input.get(request.bytes().len()..).unwrap_or_default();
        n += 1;
    }
    n
}

fn replies(mut input: &[u8]) -> u64 {
    let mut scanner = reply::Scanner::new();
    let mut n = 0;
    while let Ok((used, Some(summary))) = scanner.feed(input) {
        black_box(summary);
        input = input.get(used..).unwrap_or_default();
        n += 1;
    }
    n
}

fn print_rate(name: &str, input: &[u8], scan: impl Fn(&[u8]) -> u64) {
    let start = Instant::now();
    let mut n: u64 = 0;
    let mut bytes = 0;
    while start.elapsed() < MEASURE_FOR {
        n += scan(black_box(input));
        bytes += input.len();
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{name:30} {:7.1} M/s {:8.0} MB/s", n as f64 / seconds / 1e6, bytes as f64 / seconds / 1e6);
}
