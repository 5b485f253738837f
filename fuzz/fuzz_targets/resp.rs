//! RESP from both sides: no panic, and one verdict however the bytes are cut.
//!
//! The first four bytes of the input say into which pieces the rest is cut. The rest is read as a replication stream, as
//! replies of a target, and as one reply of a control connection.

#![no_main]

use keyferry_resp::{Error, Limits, Value, decode, encode, reply, request};
use libfuzzer_sys::fuzz_target;

/// Limits that short inputs reach.
const TIGHT: Limits = Limits { max_args: 4, max_bulk: 64, max_request: 160 };

fuzz_target!(|data: &[u8]| {
    let Some((steps, input)) = data.split_first_chunk::<4>() else { return };
    let ends = ends(steps, input.len());
    for limits in [Limits::default(), TIGHT] {
        assert_eq!(requests(input, &ends, limits), requests(input, &[input.len()], limits));
        check_decode(input, &ends, limits);
    }
    assert_eq!(replies(input, &ends), replies(input, &[input.len()]));
});

/// Where the pieces end: the steps are taken in turn, each one byte longer than it says.
fn ends(steps: &[u8; 4], len: usize) -> Vec<usize> {
    let mut at = 0;
    let mut ends = Vec::new();
    for step in steps.iter().cycle() {
        at = len.min(at + usize::from(*step) + 1);
        ends.push(at);
        if at == len {
            break;
        }
    }
    ends
}

/// The length and number of arguments of each request, and the error that ends them.
fn requests(input: &[u8], ends: &[usize], limits: Limits) -> (Vec<(usize, usize)>, Option<Error>) {
    let mut scanner = request::Scanner::new(limits);
    let mut found = Vec::new();
    let mut from = 0;
    for &end in ends {
        loop {
            match scanner.next(&input[from..end]) {
                Err(error) => {
                    assert!(error.at() <= (end - from) as u64);
                    return (found, Some(error));
                }
                Ok(None) => {
                    assert!(from == end || scanner.needed() > end - from);
                    break;
                }
                Ok(Some(request)) => {
                    check_request(&request, limits);
                    found.push((request.bytes().len(), request.argc()));
                    from += request.bytes().len();
                }
            }
        }
    }
    (found, None)
}

fn check_request(request: &request::Request<'_>, limits: Limits) {
    let args: Vec<&[u8]> = request.args().collect();
    assert_eq!(args.len(), request.argc());
    assert_eq!(args.first().copied().unwrap_or_default(), request.name());
    assert_eq!(args.last().copied(), request.argc().checked_sub(1).and_then(|i| request.arg(i)));
    assert!(request.argc() as u64 <= limits.max_args.max(limits.max_request));
    if request.bytes()[0] == b'*' && !args.is_empty() {
        let mut again = Vec::new();
        encode::command(&mut again, &args);
        assert_eq!(again, request.bytes());
    }
}

/// The length, summary and error text of a reply.
type Reply = (usize, reply::Summary, Vec<u8>);

/// Each reply, and the error that ends them.
fn replies(input: &[u8], ends: &[usize]) -> (Vec<Reply>, Option<Error>) {
    let mut scanner = reply::Scanner::new();
    let mut found = Vec::new();
    let mut from = 0;
    let mut reply_from = 0;
    for &end in ends {
        while from < end {
            match scanner.feed(&input[from..end]) {
                Err(error) => {
                    assert!(error.at() <= (end - reply_from) as u64);
                    return (found, Some(error));
                }
                Ok((used, None)) => {
                    assert_eq!(used, end - from);
                    from = end;
                }
                Ok((used, Some(summary))) => {
                    from += used;
                    assert!(scanner.error_text().len() <= 512);
                    found.push((from - reply_from, summary, scanner.error_text().to_vec()));
                    reply_from = from;
                }
            }
        }
    }
    (found, None)
}

/// What is decoded is what was written, is what the scanner makes of it, and needs all of its bytes.
fn check_decode(input: &[u8], ends: &[usize], limits: Limits) {
    let Ok(Some((used, value))) = decode(input, limits) else { return };
    for &end in ends.iter().filter(|&&end| end < used) {
        assert_eq!(decode(&input[..end], limits), Ok(None));
    }
    let (found, error) = replies(&input[..used], &[used]);
    assert_eq!((found.len(), error), (1, None));
    let kind = match &value {
        Value::Status(_) => reply::Kind::Status,
        Value::Error(_) => reply::Kind::Error,
        Value::Int(n) => reply::Kind::Int(*n),
        Value::Nil => reply::Kind::Nil,
        Value::Bulk(_) => reply::Kind::Bulk,
        Value::Array(elements) => reply::Kind::Array(elements.len() as u64),
    };
    assert_eq!((found[0].0, found[0].1.kind), (used, kind));
    let mut again = Vec::new();
    if write(&mut again, &value) {
        assert_eq!(again, input[..used]);
    }
}

/// Writes a value as a server does. False when there is more than one way to write it.
fn write(out: &mut Vec<u8>, value: &Value) -> bool {
    let mut line = |marker: u8, text: &[u8]| {
        out.push(marker);
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
        true
    };
    match value {
        Value::Status(text) => line(b'+', text),
        Value::Error(text) => line(b'-', text),
        Value::Int(n) => line(b':', n.to_string().as_bytes()),
        Value::Nil => false,
        Value::Bulk(b) => {
            encode::bulk(out, b);
            true
        }
        Value::Array(elements) => {
            encode::array(out, elements.len());
            elements.iter().all(|element| write(out, element))
        }
    }
}
