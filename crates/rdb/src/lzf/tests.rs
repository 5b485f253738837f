use proptest::prelude::*;

use super::*;

/// A plain compressor: at each place the longest match that a short search finds, else a literal.
pub(super) fn compress(src: &[u8]) -> Vec<u8> {
    let (mut out, mut literal, mut at) = (Vec::new(), Vec::new(), 0);
    let flush = |out: &mut Vec<u8>, literal: &mut Vec<u8>| {
        for run in literal.chunks(32) {
            out.push(run.len() as u8 - 1);
            out.extend(run);
        }
        literal.clear();
    };
    while at < src.len() {
        let longest = (at.saturating_sub(8192)..at)
            .map(|from| {
                (src[at..].iter().zip(&src[from..]).take(264).take_while(|(a, b)| a == b).count(), at - from - 1)
            })
            .max();
        match longest {
            Some((len, distance)) if len >= 3 => {
                flush(&mut out, &mut literal);
                let (high, low) = ((distance >> 8) as u8, distance as u8);
                match len - 2 {
                    short @ ..7 => out.extend([(short as u8) << 5 | high, low]),
                    long => out.extend([7 << 5 | high, (long - 7) as u8, low]),
                }
                at += len;
            }
            _ => {
                literal.push(src[at]);
                at += 1;
            }
        }
    }
    flush(&mut out, &mut literal);
    out
}

proptest! {
    #[test]
    fn what_was_compressed_comes_back(src in prop::collection::vec(0..4_u8, 0..900), before in prop::collection::vec(any::<u8>(), 0..9)) {
        let mut out = before.clone();
        decompress(&compress(&src), src.len(), &mut out).unwrap();
        prop_assert_eq!(out, [before, src].concat());
    }

    #[test]
    fn any_bytes_give_the_announced_length_or_an_error(src in prop::collection::vec(any::<u8>(), 0..200), len in 0..2000_usize) {
        let mut out = b"before".to_vec();
        match decompress(&src, len, &mut out) {
            Ok(()) => prop_assert_eq!(out.len(), 6 + len),
            Err(error) => {
                prop_assert_eq!(&out[..], b"before");
                prop_assert!(error.at() <= src.len() as u64);
            }
        }
        prop_assert!(out.capacity() <= 6 + src.len() * MAX_GROWTH + 16);
    }
}

#[test]
fn long_references_overlap() {
    let src = b"abc".repeat(500);
    let packed = compress(&src);
    assert!(packed.len() < 30);
    let mut out = Vec::new();
    decompress(&packed, src.len(), &mut out).unwrap();
    assert_eq!(out, src);
}

#[test]
fn references_stay_inside_their_own_output() {
    let mut out = b"secret".to_vec();
    let error = decompress(b"\x00a\x20\x01", 4, &mut out).unwrap_err();
    assert_eq!((error.at(), &out[..]), (2, &b"secret"[..]));
}

#[test]
fn lengths_must_agree() {
    for (src, len) in
        [(&b"\x00a"[..], 2), (b"\x01ab", 1), (b"\x01a", 2), (b"\x00a\x20\x00", 3), (b"\x00a\xe0", 9), (b"", 1)]
    {
        assert!(decompress(src, len, &mut Vec::new()).is_err(), "{src:?}");
    }
    assert_eq!(decompress(b"", 0, &mut Vec::new()), Ok(()));
}
