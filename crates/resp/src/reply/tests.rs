use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{Error, Limits, Value, decode};

type Found = (Vec<(Summary, Vec<u8>)>, Option<Error>);

/// Every reply in `pieces` with the text of its error.
fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Found {
    let mut scanner = Scanner::new();
    let mut found = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            match scanner.feed(piece) {
                Err(e) => return (found, Some(e)),
                Ok((used, summary)) => {
                    assert!(used > 0 && used <= piece.len());
                    assert!(summary.is_some() || used == piece.len());
                    piece = &piece[used..];
                    found.extend(summary.map(|s| (s, scanner.error_text().to_vec())));
                }
            }
        }
    }
    (found, None)
}

fn bytewise(input: &[u8]) -> Found {
    scan(input.chunks(1))
}

fn whole(input: &[u8]) -> Found {
    let found = scan([input]);
    assert_eq!(bytewise(input), found);
    found
}

/// The only reply in `input`.
fn one(input: &[u8]) -> (Summary, Vec<u8>) {
    let (mut found, error) = whole(input);
    assert_eq!((found.len(), error), (1, None), "{:?}", input.escape_ascii().to_string());
    found.remove(0)
}

fn plain(kind: Kind) -> (Summary, Vec<u8>) {
    (Summary { kind, nested_error: false, greatest: None }, Vec::new())
}

/// The elements of an opened array are replies of their own; what is no array is read as ever.
#[test]
fn an_array_can_be_opened() {
    let input = b"+QUEUED\r\n*3\r\n:1\r\n-ERR no\r\n*2\r\n:5\r\n-ERR in\r\n*-1\r\n*1\r\n:7\r\n*0\r\n-EXECABORT x\r\n";
    for cut in 1..input.len() {
        let mut scanner = Scanner::new();
        let mut found = Vec::new();
        for mut piece in input.chunks(cut) {
            while !piece.is_empty() {
                if matches!(found.len(), 1 | 5 | 7 | 8) {
                    scanner.open_next();
                }
                let (used, summary) = scanner.feed(piece).unwrap();
                piece = &piece[used..];
                found.extend(summary.map(|s| (s.kind, s.nested_error)));
            }
        }
        let expected = [
            (Kind::Status, false),
            (Kind::Array(3), false),
            (Kind::Int(1), false),
            (Kind::Error, false),
            (Kind::Array(2), true),
            (Kind::Nil, false),
            (Kind::Array(1), false),
            (Kind::Array(0), false),
            (Kind::Error, false),
        ];
        assert_eq!(found, expected, "cut into {cut}");
    }
}

#[test]
fn kinds() {
    for (input, kind) in [
        (&b"+OK\r\n"[..], Kind::Status),
        (b"+\r\n", Kind::Status),
        (b"+QUEUED\r\n", Kind::Status),
        (b"+PONG\r\n", Kind::Status),
        (b"+a\nb\rc\r\r\n", Kind::Status),
        (b":0\r\n", Kind::Int(0)),
        (b":7\r\n", Kind::Int(7)),
        (b":-1\r\n", Kind::Int(-1)),
        (b":-9223372036854775808\r\n", Kind::Int(i64::MIN)),
        (b"$-1\r\n", Kind::Nil),
        (b"*-1\r\n", Kind::Nil),
        (b"_\r\n", Kind::Nil),
        (b"$0\r\n\r\n", Kind::Bulk),
        (b"$5\r\na\r\nbc\r\n", Kind::Bulk),
        (b"=7\r\ntxt:abc\r\n", Kind::Bulk),
        (b"*0\r\n", Kind::Array(0)),
        (b"*2\r\n*2\r\n$1\r\na\r\n*0\r\n$-1\r\n", Kind::Array(2)),
        (b"%0\r\n", Kind::Other),
        (b"#t\r\n", Kind::Other),
        (b",1.5\r\n", Kind::Other),
        (b"(3492890328409238509324850943850943825024385\r\n", Kind::Other),
        (b"|0\r\n+OK\r\n", Kind::Status),
    ] {
        assert_eq!(one(input), plain(kind), "{}", input.escape_ascii());
    }
}

#[test]
fn integers_inside() {
    for (input, kind, greatest) in [
        (&b"*2\r\n+OK\r\n:1\r\n"[..], Kind::Array(2), 1),
        (b"~1\r\n:1\r\n", Kind::Array(1), 1),
        (b"%1\r\n+a\r\n:1\r\n", Kind::Other, 1),
        (b">2\r\n+a\r\n:1\r\n", Kind::Push, 1),
        (b"|1\r\n+ttl\r\n:9\r\n:1\r\n", Kind::Int(1), 9),
        (b"*2\r\n|1\r\n+ttl\r\n:9\r\n:1\r\n:2\r\n", Kind::Array(2), 9),
        (b"*1\r\n:-2\r\n", Kind::Array(1), -2),
        (b"*3\r\n:-2\r\n:-1\r\n:-2\r\n", Kind::Array(3), -1),
        (b"*2\r\n:12345\r\n*1\r\n:-2\r\n", Kind::Array(2), 12345),
    ] {
        let summary = Summary { kind, nested_error: false, greatest: Some(greatest) };
        assert_eq!(one(input), (summary, Vec::new()), "{}", input.escape_ascii());
    }
    // It does not go over to the next reply.
    let (found, _) = whole(b"*1\r\n:7\r\n*1\r\n:-2\r\n:3\r\n*1\r\n+OK\r\n");
    let seen: Vec<_> = found.iter().map(|(s, _)| s.greatest).collect();
    assert_eq!(seen, [Some(7), Some(-2), None, None]);
}

#[test]
fn errors_at_the_top() {
    let failed = Summary { kind: Kind::Error, nested_error: false, greatest: None };
    assert_eq!(one(b"-ERR no\r\n"), (failed, b"ERR no".to_vec()));
    assert_eq!(one(b"-\r\n"), (failed, b"".to_vec()));
    assert_eq!(one(b"-a\nb\rc\r\r\n"), (failed, b"a\nb\rc\r".to_vec()));
    assert_eq!(one(b"!8\r\nERR a\r\nb\r\n"), (failed, b"ERR a\r\nb".to_vec()));
    let long = [b"-", &[b'x'; 2000][..], b"\r\n"].concat();
    assert_eq!(one(&long), (failed, vec![b'x'; 512]));
    let long = [b"-", &[b'x'; 511][..], b"\r\r\n"].concat();
    assert_eq!(one(&long).1.len(), 512);
    let long = [b"-", &[b'x'; 511][..], b"\ry\r\n"].concat();
    assert_eq!(one(&long).1, [&[b'x'; 511][..], b"\r"].concat());
}

#[test]
fn errors_inside_a_transaction() {
    let (summary, text) = one(b"*4\r\n+OK\r\n-WRONGTYPE one\r\n*1\r\n-ERR two\r\n:1\r\n");
    assert_eq!(summary, Summary { kind: Kind::Array(4), nested_error: true, greatest: Some(1) });
    assert_eq!(text, b"WRONGTYPE one");
    // Neither the flag nor the text goes over to the next reply.
    let (found, _) = whole(b"*1\r\n-ERR x\r\n*1\r\n+OK\r\n-ERR y\r\n:12345\r\n+OK\r\n");
    let seen: Vec<_> = found.iter().map(|(s, text)| (s.nested_error, text.as_slice())).collect();
    assert_eq!(seen, [(true, &b"ERR x"[..]), (false, b""), (false, b"ERR y"), (false, b""), (false, b"")]);
}

#[test]
fn wrong_bytes_say_where() {
    let at = |input: &[u8]| whole(input).1.expect("an error").at();
    assert_eq!(at(b"OK\r\n"), 0);
    assert_eq!(at(b"+OK\r\nx"), 0);
    assert_eq!(at(b":x\r\n"), 1);
    assert_eq!(at(b":1x"), 2);
    assert_eq!(at(b":99999999999999999999"), 19);
    assert_eq!(at(b"$-2\r\n"), 1);
    assert_eq!(at(b"%-1\r\n"), 1);
    assert_eq!(at(b"$2\r\nabc"), 6);
    assert_eq!(at(b"$2\r\nab\rc"), 7);
    assert_eq!(at(b"*2\r\n+OK\r\nx"), 9);
    assert_eq!(at(b"*2\r\n+OK\r\n:\r\n"), 10);
    let deep = b"*1\r\n".repeat(33);
    assert_eq!(whole(&deep).1, Some(Error::TooDeep { at: 32 * 4, limit: 32 }));
    let deep = [b"*1\r\n".repeat(32), b":1\r\n".to_vec()].concat();
    assert_eq!(one(&deep).0, Summary { kind: Kind::Array(1), nested_error: false, greatest: Some(1) });
}

#[test]
fn announced_lengths_cost_nothing() {
    let mut scanner = Scanner::new();
    for input in [&b"*9223372036854775807\r\n"[..], b"$9223372036854775807\r\n", b"abc"] {
        assert_eq!(scanner.feed(input), Ok((input.len(), None)));
    }
    // 2^63 - 1 pairs are more elements than i64 holds.
    assert_eq!(Scanner::new().feed(b"%9223372036854775807\r\n"), Ok((22, None)));
}

fn value() -> impl Strategy<Value = Value> {
    let text = "[ -~]{0,12}".prop_map(String::into_bytes);
    let leaf = prop_oneof![
        text.clone().prop_map(Value::Status),
        text.prop_map(Value::Error),
        any::<i64>().prop_map(Value::Int),
        Just(Value::Nil),
        Just(Value::Status(b"OK".to_vec())),
        vec(any::<u8>(), 0..40).prop_map(Value::Bulk),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| vec(inner, 0..6).prop_map(Value::Array))
}

fn encode(out: &mut Vec<u8>, value: &Value) {
    let line = |out: &mut Vec<u8>, marker: u8, text: &[u8]| out.extend([&[marker], text, b"\r\n"].concat());
    match value {
        Value::Status(text) => line(out, b'+', text),
        Value::Error(text) => line(out, b'-', text),
        Value::Int(n) => line(out, b':', n.to_string().as_bytes()),
        Value::Nil => out.extend(b"$-1\r\n"),
        Value::Bulk(b) => crate::encode::bulk(out, b),
        Value::Array(elements) => {
            crate::encode::array(out, elements.len());
            elements.iter().for_each(|e| encode(out, e));
        }
    }
}

/// The summary that a scanner should give, found out in another way.
fn summary_of(value: &Value) -> (Summary, Vec<u8>) {
    fn first_error(value: &Value) -> Option<&[u8]> {
        match value {
            Value::Error(text) => Some(text),
            Value::Array(elements) => elements.iter().find_map(first_error),
            _ => None,
        }
    }
    let kind = match value {
        Value::Status(_) => Kind::Status,
        Value::Error(_) => Kind::Error,
        Value::Int(n) => Kind::Int(*n),
        Value::Nil => Kind::Nil,
        Value::Bulk(_) => Kind::Bulk,
        Value::Array(elements) => Kind::Array(elements.len() as u64),
    };
    fn integers(value: &Value) -> Vec<i64> {
        match value {
            Value::Int(n) => vec![*n],
            Value::Array(elements) => elements.iter().flat_map(integers).collect(),
            _ => Vec::new(),
        }
    }
    let greatest = integers(value).into_iter().max().filter(|_| matches!(value, Value::Array(_)));
    let error = first_error(value);
    let nested_error = error.is_some() && kind != Kind::Error;
    (Summary { kind, nested_error, greatest }, error.unwrap_or_default().to_vec())
}

fn pieces<'a>(input: &'a [u8], seed: &[u16]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = seed.iter().map(|&c| usize::from(c) % (input.len() + 1)).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|w| &input[w[0]..w[1]]).collect()
}

proptest! {
    #[test]
    fn values_come_back(values in vec(value(), 0..5), seed in vec(any::<u16>(), 0..20)) {
        let mut input = Vec::new();
        for value in &values {
            let from = input.len();
            encode(&mut input, value);
            let whole = decode(&input[from..], Limits::default());
            prop_assert_eq!(whole, Ok(Some((input.len() - from, value.clone()))));
            for end in from..input.len() {
                prop_assert_eq!(decode(&input[from..end], Limits::default()), Ok(None));
            }
        }
        let expected: Vec<_> = values.iter().map(summary_of).collect();
        prop_assert_eq!(scan(pieces(&input, &seed)), (expected.clone(), None));
        prop_assert_eq!(bytewise(&input), (expected, None));
    }

    #[test]
    fn any_cut_gives_the_same(input in "[-+:$*!=~%>|_#,(01a\r\n]{0,40}", seed in vec(any::<u16>(), 0..20)) {
        let input = input.as_bytes();
        let whole = scan([input]);
        prop_assert_eq!(&scan(pieces(input, &seed)), &whole);
        prop_assert_eq!(&bytewise(input), &whole);
    }

    #[test]
    fn any_bytes_give_a_verdict(input in vec(any::<u8>(), 0..200), seed in vec(any::<u16>(), 0..20)) {
        prop_assert_eq!(scan(pieces(&input, &seed)), scan([&input[..]]));
        let _ = decode(&input, Limits::default());
    }
}

#[test]
fn it_is_known_where_a_reply_begins() {
    let mut scanner = Scanner::new();
    assert!(scanner.is_between());
    assert_eq!(scanner.feed(b"$10\r\n"), Ok((5, None)));
    assert!(!scanner.is_between(), "what comes are the contents of one");
    assert_eq!(scanner.feed(b"+OK\r\n+OK\r\n\r\n").unwrap().1.map(|s| s.kind), Some(Kind::Bulk));
    assert!(scanner.is_between());
    scanner.open_next();
    assert_eq!(scanner.feed(b""), Ok((0, None)));
    assert!(!scanner.is_between(), "the next one is to be opened");
    assert_eq!(scanner.feed(b"*2\r\n").unwrap().1.map(|s| s.kind), Some(Kind::Array(2)));
    assert!(scanner.is_between());
}
