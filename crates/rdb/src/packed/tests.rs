//! The four formats against encoders written here, and against bytes that no server writes.

use proptest::prelude::*;

use super::*;

/// An element to encode.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Element {
    Bytes(Vec<u8>),
    Int(i64),
}

impl From<Scalar<'_>> for Element {
    fn from(scalar: Scalar<'_>) -> Self {
        match scalar {
            Scalar::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Scalar::Int(value) => Self::Int(value),
        }
    }
}

fn le(value: i64, len: usize) -> Vec<u8> {
    value.to_le_bytes()[..len].to_vec()
}

fn listpack_element(element: &Element) -> Vec<u8> {
    match element {
        Element::Bytes(bytes) => {
            let head = match bytes.len() {
                len @ ..64 => vec![0x80 | len as u8],
                len @ ..4096 => vec![0xe0 | (len >> 8) as u8, len as u8],
                len => [&[0xf0][..], &(len as u32).to_le_bytes()].concat(),
            };
            [head, bytes.clone()].concat()
        }
        &Element::Int(value) => match value {
            0..=127 => vec![value as u8],
            -4096..=4095 => vec![0xc0 | ((value >> 8) & 0x1f) as u8, value as u8],
            -0x8000..=0x7fff => [vec![0xf1], le(value, 2)].concat(),
            -0x80_0000..=0x7f_ffff => [vec![0xf2], le(value, 3)].concat(),
            -0x8000_0000..=0x7fff_ffff => [vec![0xf3], le(value, 4)].concat(),
            _ => [vec![0xf4], le(value, 8)].concat(),
        },
    }
}

/// A listpack of these elements.
pub(crate) fn listpack(elements: &[Element]) -> Vec<u8> {
    let mut out = vec![0; 6];
    for element in elements {
        let element = listpack_element(element);
        let len = element.len();
        out.extend(&element);
        let count = match len {
            0..128 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            _ => 4,
        };
        for i in (0..count).rev() {
            let more = if i + 1 == count { 0 } else { 0x80 };
            out.push((len >> (7 * i)) as u8 & 0x7f | more);
        }
    }
    out.push(0xff);
    let total = out.len() as u32;
    out[..4].copy_from_slice(&total.to_le_bytes());
    out[4..6].copy_from_slice(&(elements.len().min(65_535) as u16).to_le_bytes());
    out
}

fn ziplist_element(element: &Element) -> Vec<u8> {
    match element {
        Element::Bytes(bytes) => {
            let head = match bytes.len() {
                len @ ..64 => vec![len as u8],
                len @ ..16_384 => vec![0x40 | (len >> 8) as u8, len as u8],
                len => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
            };
            [head, bytes.clone()].concat()
        }
        &Element::Int(value) => match value {
            0..=12 => vec![0xf1 + value as u8],
            -0x80..=0x7f => [vec![0xfe], le(value, 1)].concat(),
            -0x8000..=0x7fff => [vec![0xc0], le(value, 2)].concat(),
            -0x80_0000..=0x7f_ffff => [vec![0xf0], le(value, 3)].concat(),
            -0x8000_0000..=0x7fff_ffff => [vec![0xd0], le(value, 4)].concat(),
            _ => [vec![0xe0], le(value, 8)].concat(),
        },
    }
}

/// A ziplist of these elements.
pub(crate) fn ziplist(elements: &[Element]) -> Vec<u8> {
    let mut out = vec![0; 10];
    let mut tail = out.len();
    for (i, element) in elements.iter().enumerate() {
        let previous = out.len() - tail;
        tail = out.len();
        match previous {
            // Servers do not always make a long form short again.
            ..254 if i % 7 != 6 => out.push(previous as u8),
            _ => {
                out.push(254);
                out.extend((previous as u32).to_le_bytes());
            }
        }
        out.extend(ziplist_element(element));
    }
    out.push(0xff);
    let total = out.len() as u32;
    out[..4].copy_from_slice(&total.to_le_bytes());
    out[4..8].copy_from_slice(&(tail as u32).to_le_bytes());
    out[8..10].copy_from_slice(&(elements.len().min(65_535) as u16).to_le_bytes());
    out
}

/// A zipmap of these strings; their number is even.
pub(crate) fn zipmap(strings: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![(strings.len() / 2).min(254) as u8];
    for (i, string) in strings.iter().enumerate() {
        match string.len() {
            len @ ..254 => out.push(len as u8),
            len => {
                out.push(254);
                out.extend((len as u32).to_le_bytes());
            }
        }
        if i % 2 == 1 {
            let unused = (string.len() % 4) as u8;
            out.push(unused);
            out.extend(string);
            out.extend((0..unused).map(|_| 0xff));
        } else {
            out.extend(string);
        }
    }
    out.push(0xff);
    out
}

/// An intset of these numbers.
pub(crate) fn intset(numbers: &[i64]) -> Vec<u8> {
    let width = numbers
        .iter()
        .map(|&n| {
            if i16::try_from(n).is_ok() {
                2
            } else if i32::try_from(n).is_ok() {
                4
            } else {
                8
            }
        })
        .max()
        .unwrap_or(2);
    let mut out = (width as u32).to_le_bytes().to_vec();
    out.extend((numbers.len() as u32).to_le_bytes());
    out.extend(numbers.iter().flat_map(|&n| le(n, width)));
    out
}

fn read(packing: Packing, block: &[u8]) -> Result<Vec<Element>, Error> {
    Packed::open(packing, block)?.map(|found| found.map(Element::from)).collect()
}

pub(crate) fn elements() -> impl Strategy<Value = Vec<Element>> {
    let number = (any::<i64>(), 0..64_u32).prop_map(|(n, shift)| Element::Int(n >> shift));
    let len = prop_oneof![8 => 0..70_usize, 2 => 120..300_usize, 1 => 4090..4100_usize, 1 => 16_370..16_400_usize];
    let bytes = (len, any::<u8>()).prop_map(|(len, byte)| Element::Bytes(vec![byte; len]));
    prop::collection::vec(prop_oneof![number, bytes], 0..40)
}

const ALL: [Packing; 4] = [Packing::Listpack, Packing::Ziplist, Packing::Zipmap, Packing::Intset];

/// Reads to the end; errors lie in the block, and each element takes a byte at least.
fn bounded(packing: Packing, block: &[u8]) -> Result<(), TestCaseError> {
    let check = |error: Error| {
        prop_assert!(error.at() <= block.len() as u64, "{packing:?} {error}");
        Ok(())
    };
    let mut packed = match Packed::open(packing, block) {
        Ok(packed) => packed,
        Err(error) => return check(error),
    };
    loop {
        let before = packed.offset();
        match packed.next() {
            Some(Ok(_)) => prop_assert!(packed.offset() > before && packed.offset() <= block.len() as u64),
            Some(Err(error)) => {
                check(error)?;
                prop_assert!(packed.next().is_none());
                return Ok(());
            }
            None => return Ok(()),
        }
    }
}

proptest! {
    #[test]
    fn listpacks_come_back(elements in elements()) {
        prop_assert_eq!(read(Packing::Listpack, &listpack(&elements)), Ok(elements));
    }

    #[test]
    fn ziplists_come_back(elements in elements()) {
        prop_assert_eq!(read(Packing::Ziplist, &ziplist(&elements)), Ok(elements));
    }

    #[test]
    fn zipmaps_come_back(pairs in prop::collection::vec((0..300_usize, 0..300_usize), 0..20)) {
        let strings: Vec<_> = pairs.iter().flat_map(|&(f, v)| [vec![b'f'; f], vec![b'v'; v]]).collect();
        let expected = strings.iter().cloned().map(Element::Bytes).collect();
        prop_assert_eq!(read(Packing::Zipmap, &zipmap(&strings)), Ok(expected));
    }

    #[test]
    fn intsets_come_back(numbers in prop::collection::vec((any::<i64>(), 0..64_u32), 0..50)) {
        let numbers: Vec<_> = numbers.into_iter().map(|(n, shift)| n >> shift).collect();
        let expected = numbers.iter().copied().map(Element::Int).collect();
        prop_assert_eq!(read(Packing::Intset, &intset(&numbers)), Ok(expected));
    }

    #[test]
    fn changed_blocks_give_elements_or_an_error(
        elements in elements(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in 0..4_usize,
    ) {
        for (packing, mut block) in [(Packing::Listpack, listpack(&elements)), (Packing::Ziplist, ziplist(&elements))] {
            for (at, byte) in &changes {
                let at = at.index(block.len());
                block[at] = *byte;
            }
            bounded(packing, &block[..block.len() - cut])?;
        }
    }

    #[test]
    fn arbitrary_bytes_give_elements_or_an_error(body in prop::collection::vec(any::<u8>(), 0..200), fix in any::<bool>()) {
        for packing in ALL {
            let mut block = body.clone();
            if fix && block.len() > 10 {
                let len = (block.len() as u32).to_le_bytes();
                block[..4].copy_from_slice(&len);
            }
            bounded(packing, &block)?;
        }
    }
}

#[test]
fn a_block_that_is_cut_or_followed_by_more_is_refused() {
    let elements: Vec<_> = (0..30).map(|i| Element::Int(1 << i)).collect();
    let strings: Vec<_> = (0..30).map(|i| vec![b'x'; i]).collect();
    let numbers: Vec<_> = (0..30).collect();
    let blocks = [
        (Packing::Listpack, listpack(&elements)),
        (Packing::Ziplist, ziplist(&elements)),
        (Packing::Zipmap, zipmap(&strings)),
        (Packing::Intset, intset(&numbers)),
    ];
    for (packing, block) in blocks {
        assert!(read(packing, &block).is_ok());
        for len in 0..block.len() {
            let error = read(packing, &block[..len]).unwrap_err();
            assert!(error.at() <= len.max(4) as u64, "{packing:?} {len} {error}");
        }
        assert!(read(packing, &[&block[..], b"\0"].concat()).is_err(), "{packing:?}");
    }
}

#[test]
fn what_is_stored_twice_must_agree() {
    let elements: Vec<_> = (0..5).map(Element::Int).collect();
    for (packing, block, at, expected) in [
        (Packing::Listpack, listpack(&elements), 4, 4),
        (Packing::Listpack, listpack(&elements), 7, 7),
        (Packing::Ziplist, ziplist(&elements), 4, 4),
        (Packing::Ziplist, ziplist(&elements), 8, 8),
        (Packing::Ziplist, ziplist(&elements), 12, 12),
        (Packing::Zipmap, zipmap(&[b"a".to_vec(), b"b".to_vec()]), 0, 0),
        (Packing::Intset, intset(&[1]), 4, 4),
    ] {
        let mut block = block;
        block[at] += 1;
        let error = read(packing, &block).unwrap_err();
        assert_eq!(error.at(), expected, "{packing:?} {error}");
    }
}

#[test]
fn the_borders_of_lengths_in_listpacks_are_those_of_the_servers() {
    // listpack.c lpEncodeBacklen, Redis 7.2: 16383 takes three bytes already.
    let of = |len: usize| listpack(&[Element::Bytes(vec![0; len])]).len() - 7 - len - 5;
    assert_eq!((of(16_377), of(16_378)), (2, 3));
    for len in [16_377, 16_378, 2_097_145, 2_097_146] {
        let elements = vec![Element::Bytes(vec![1; len]), Element::Int(1)];
        assert_eq!(read(Packing::Listpack, &listpack(&elements)).unwrap(), elements);
    }
}

#[test]
fn contents_stay_out_of_debug_output() {
    assert_eq!(format!("{:?} {:?}", Scalar::Bytes(b"secret"), Scalar::Int(7)), "Bytes(6 bytes) Int");
    let mut out = b"=".to_vec();
    Scalar::Int(-7).append_to(&mut out);
    Scalar::Bytes(b"x").append_to(&mut out);
    assert_eq!(out, b"=-7x");
}
