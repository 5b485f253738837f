use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{Error, Limits, encode};

/// Everything found in `input`, consumed as a receiver does it, with `input` becoming visible piece by piece.
fn scan(input: &[u8], cuts: &[usize], limits: Limits) -> (Vec<Vec<u8>>, Option<Error>) {
    let mut scanner = Scanner::new(limits);
    let mut found = Vec::new();
    let mut from = 0;
    for &end in cuts.iter().chain([&input.len()]) {
        loop {
            match scanner.next(&input[from..end]) {
                Err(e) => return (found, Some(e)),
                Ok(Some(request)) => {
                    assert_eq!(request.args().count(), request.argc());
                    found.push(request.bytes().to_vec());
                    from += request.bytes().len();
                    assert_eq!(scanner.needed(), 0);
                }
                Ok(None) => {
                    assert!(from == end || scanner.needed() > end - from);
                    break;
                }
            }
        }
    }
    (found, None)
}

fn one(input: &[u8]) -> Request<'_> {
    Scanner::new(Limits::default()).next(input).unwrap().unwrap()
}

fn error(input: &[u8], limits: Limits) -> Error {
    let whole = scan(input, &[], limits).1.expect("an error");
    let cuts: Vec<usize> = (0..input.len()).collect();
    assert_eq!(scan(input, &cuts, limits).1, Some(whole));
    whole
}

#[test]
fn a_request_is_the_bytes_it_came_in() {
    let input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*1\r\n";
    let request = one(input);
    assert_eq!(request.bytes(), &input[..input.len() - 4]);
    assert_eq!(request.argc(), 3);
    assert_eq!(request.name(), b"SET");
    assert_eq!(request.args().collect::<Vec<_>>(), [&b"SET"[..], b"k", b""]);
    assert_eq!(request.args().len(), 3);
    assert_eq!(request.arg(0), Some(&b"SET"[..]));
    assert_eq!(request.arg(2), Some(&b""[..]));
    assert_eq!(request.arg(3), None);
    assert!(!request.is_newline());
}

#[test]
fn nothing_asked_for() {
    for input in [&b"\n"[..], b"\r\n", b"  \r\n", b"\t\n", b"*0\r\n", b"*-1\r\n"] {
        let request = one(input);
        assert_eq!(request.bytes(), input);
        assert!(request.is_newline());
        assert_eq!((request.argc(), request.name(), request.arg(0)), (0, &b""[..], None));
    }
}

#[test]
fn inline_requests() {
    for (input, args) in [
        (&b"PING\r\n"[..], &[&b"PING"[..]][..]),
        (b"PING\n", &[b"PING"]),
        (b" set\tk  v1 \r\n", &[b"set", b"k", b"v1"]),
    ] {
        let request = one(input);
        assert_eq!(request.bytes(), input);
        assert_eq!(request.argc(), args.len());
        assert_eq!(request.name(), args[0]);
        assert_eq!(request.args().collect::<Vec<_>>(), args);
        assert_eq!(request.arg(args.len()), None);
    }
}

#[test]
fn errors_say_where() {
    let at = |input: &[u8]| error(input, Limits::default()).at();
    assert_eq!(at(b"$3\r\n"), 0);
    assert_eq!(at(b"\0"), 0);
    assert_eq!(at(b"SET \"k\"\r\n"), 4);
    assert_eq!(at(b"SET k\xff\r\n"), 5);
    assert_eq!(at(b"PING\rx"), 5);
    assert_eq!(at(b"*x\r\n"), 1);
    assert_eq!(at(b"*-2\r\n"), 1);
    assert_eq!(at(b"*1x"), 2);
    assert_eq!(at(b"*1\rx"), 3);
    assert_eq!(at(b"*1\r\n:1\r\n"), 4);
    assert_eq!(at(b"*1\r\n$-1\r\n"), 5);
    assert_eq!(at(b"*1\r\n$01\r\n"), 6);
    assert_eq!(at(b"*1\r\n$4\r\nPINGx\n"), 12);
    assert_eq!(at(b"*1\r\n$4\r\nPING\rx"), 13);
    assert_eq!(at(b"*2\r\n$4\r\nPING\r\nx"), 14);
}

#[test]
fn limits_hold_before_the_bytes_come() {
    let limits = Limits { max_args: 2, max_bulk: 10, max_request: 40 };
    let too_large = |input: &[u8]| match error(input, limits) {
        Error::TooLarge { at, what, limit } => (at, what, limit),
        e => panic!("{e}"),
    };
    assert_eq!(too_large(b"*3\r\n"), (0, "arguments", 2));
    assert_eq!(too_large(b"*9223372036854775807\r\n"), (0, "arguments", 2));
    assert_eq!(too_large(b"*2\r\n$11\r\n"), (4, "bytes in an argument", 10));
    assert_eq!(too_large(&[b'a'; 41]), (0, "bytes in an inline request", 40));
    let limits = Limits { max_args: 2, max_bulk: 100, max_request: 29 };
    let e = error(b"*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n", limits);
    assert_eq!(e, Error::TooLarge { at: 13, what: "bytes in a request", limit: 29 });
    assert_eq!(scan(b"*2\r\n$3\r\nGET\r\n$9\r\n012345678\r\n", &[], limits).1, None);
    let inline = [b'a'; 1 << 17];
    assert!(matches!(error(&inline[..1 << 17], Limits::default()), Error::TooLarge { at: 0, limit: 65536, .. }));
}

#[test]
fn a_large_argument_is_not_looked_at_while_it_comes() {
    let mut input = Vec::new();
    encode::command(&mut input, &[b"SET", b"k", &vec![b'v'; 1 << 20]]);
    let mut scanner = Scanner::new(Limits::default());
    assert_eq!(scanner.next(&input[..100]), Ok(None));
    assert_eq!(scanner.needed(), input.len());
    assert_eq!(scanner.next(&input[..input.len() - 1]), Ok(None));
    assert_eq!(scanner.next(&input).unwrap().unwrap().argc(), 3);
}

#[test]
fn many_arguments() {
    for n in [9, 10, 99, 100, 999, 1000, 100_000] {
        let mut input = Vec::new();
        encode::command(&mut input, &vec![&b"x"[..]; n]);
        assert_eq!(one(&input).argc(), n);
        assert_eq!(one(&input).bytes(), input);
    }
    for n in [9, 10, 99, 100, 999, 1000, 9999, 10_000, 100_000] {
        let mut input = Vec::new();
        encode::command(&mut input, &[&vec![b'x'; n]]);
        assert_eq!(one(&input).name().len(), n);
        assert_eq!(one(&input).bytes(), input);
    }
}

fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let short = vec(any::<u8>(), 0..12);
    let long = (0..12_000_usize).prop_map(|n| vec![b'x'; n]);
    vec(prop_oneof![8 => short, 1 => long], 1..12)
}

/// Bytes that look like RESP more often than not.
fn near_resp() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"\r\n"[..]),
        Just(&b"*2\r\n"[..]),
        Just(&b"$1\r\na\r\n"[..]),
        Just(&b"$12\r\nabcdefghijkl\r\n"[..]),
        Just(&b"PING\r\n"[..]),
        Just(&b"*"[..]),
        Just(&b"$"[..]),
        Just(&b"-"[..]),
        Just(&b"1"[..]),
        Just(&b"\n"[..]),
        Just(&b"\r"[..]),
        Just(&b"\xff"[..]),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn cuts(len: usize, seed: &[u16]) -> Vec<usize> {
    let mut cuts: Vec<usize> = seed.iter().map(|&c| usize::from(c) % (len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #[test]
    fn commands_come_back(commands in vec(command(), 0..6), seed in vec(any::<u16>(), 0..20)) {
        let mut input = Vec::new();
        let mut expected = Vec::new();
        for command in &commands {
            let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            let from = input.len();
            encode::command(&mut input, &args);
            expected.push(input[from..].to_vec());
            prop_assert_eq!(one(&input[from..]).args().collect::<Vec<_>>(), args);
        }
        prop_assert_eq!(scan(&input, &cuts(input.len(), &seed), Limits::default()), (expected, None));
    }

    #[test]
    fn any_cut_gives_the_same(input in near_resp(), seed in vec(any::<u16>(), 0..20)) {
        for limits in [Limits::default(), Limits { max_args: 1, max_bulk: 5, max_request: 24 }] {
            let whole = scan(&input, &[], limits);
            prop_assert_eq!(&scan(&input, &cuts(input.len(), &seed), limits), &whole);
            let every: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(&scan(&input, &every, limits), &whole);
        }
    }

    /// The fast path accepts nothing that the resumable scan does not, and the other way round.
    #[test]
    fn both_paths_agree(input in near_resp()) {
        let slow = Limits { max_args: 998, ..Limits::default() };
        prop_assert_eq!(scan(&input, &[], slow), scan(&input, &[], Limits::default()));
    }

    #[test]
    fn any_bytes_give_a_verdict(input in vec(any::<u8>(), 0..200), seed in vec(any::<u16>(), 0..20)) {
        let whole = scan(&input, &[], Limits::default());
        prop_assert_eq!(scan(&input, &cuts(input.len(), &seed), Limits::default()), whole);
    }
}
