//! Values of every type with contents made at random from the type's own layout: whatever the parts, the reader finds where
//! the value ends. (That the layouts are those of the servers is what the golden dumps show.)

use super::*;
use crate::program::Op;

/// A source of choices.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's MMIX constants.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// A number in a width at random.
    fn number(&mut self, out: &mut Vec<u8>, value: u64) {
        match self.below(4) {
            0 if value < 64 => out.push(value as u8),
            1 if value < 1 << 14 => out.extend((value as u16 | 0x4000).to_be_bytes()),
            2 => {
                out.push(0x81);
                out.extend(value.to_be_bytes());
            }
            _ => {
                out.push(0x80);
                out.extend((value as u32).to_be_bytes());
            }
        }
    }

    fn string(&mut self, out: &mut Vec<u8>) {
        match self.below(8) {
            0 => out.extend([0xc0, 7]),
            1 => out.extend([0xc1, 7, 8]),
            2 => out.extend([0xc2, 7, 8, 9, 10]),
            3 => out.extend(b"\xc3\x05\x0a\x00a\xe0\x00\x00"),
            _ => {
                let long = self.below(20) == 0;
                let len = if long { self.below(20_000) } else { self.below(90) };
                self.number(out, len);
                out.extend((0..len).map(|_| 0xee));
            }
        }
    }

    fn value(&mut self, out: &mut Vec<u8>, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Str => self.string(out),
                Op::Len => {
                    let value = self.below(70_000);
                    self.number(out, value);
                }
                Op::Fixed(len) => out.extend((0..*len).map(|_| 0xff)),
                Op::DoubleStr => match self.below(4) {
                    0 => out.push(253 + self.below(3) as u8),
                    _ => out.extend(b"\x043.25"),
                },
                Op::Repeat(inner) => {
                    let rounds = self.below(5);
                    self.number(out, rounds);
                    for _ in 0..rounds {
                        self.value(out, inner);
                    }
                }
                Op::ModuleUntilEof => {
                    while let opcode @ 1.. = self.below(7) {
                        let opcode = opcode.min(5);
                        self.number(out, opcode);
                        match opcode {
                            3 => out.extend([0; 4]),
                            4 => out.extend([0; 8]),
                            5 => self.string(out),
                            _ => self.number(out, 1000),
                        }
                    }
                    self.number(out, 0);
                }
            }
        }
    }
}

#[test]
fn the_end_of_every_value_is_found() {
    let mut choices = Choices(42);
    for (header, magic) in [("REDIS0013", Magic::Redis), ("VALKEY080", Magic::Valkey)] {
        for kind in (0..=255).filter_map(|byte| ValueType::from_byte(byte, magic)) {
            let mut bytes = header.as_bytes().to_vec();
            let mut values = Vec::new();
            for _ in 0..50 {
                bytes.push(kind.byte());
                choices.string(&mut bytes);
                let mut value = Vec::new();
                choices.value(&mut value, kind.program());
                bytes.extend_from_slice(&value);
                values.push(value);
            }
            bytes.extend(b"\xff\0\0\0\0\0\0\0\0");
            for cut in [1, 3, 1000, usize::MAX] {
                let mut left = values.iter();
                let (reader, error) = golden::read(
                    &bytes,
                    Limits::default(),
                    || cut,
                    |item| {
                        if let Item::Entry(entry) = item {
                            assert_eq!(entry.kind, kind);
                            assert!(entry.raw == left.next().unwrap(), "{kind}");
                        }
                    },
                );
                assert_eq!((error, left.len()), (None, 0), "{kind}");
                assert!(reader.is_finished());
            }
        }
    }
}

#[test]
fn what_was_looked_at_is_not_looked_at_again() {
    // A list of 200 000 elements, shown in 1 KiB pieces.
    let mut bytes = b"REDIS0011".to_vec();
    let start = bytes.len();
    bytes.extend(b"\x01\x01k\x80\x00\x03\x0d\x40");
    bytes.extend(b"\x01x".repeat(200_000));
    let mut reader = Reader::new(Limits::default());
    reader.next(&bytes[..start]).unwrap();
    for end in (start + 1024..bytes.len()).step_by(1024) {
        assert_eq!(reader.next(&bytes[start..end]), Ok(None));
        let reached = reader.scan.machine.as_ref().unwrap().pos();
        assert!(reached + 2 > end - start, "{reached} of {}", end - start);
    }
    assert!(matches!(reader.next(&bytes[start..]), Ok(Some((_, Item::Entry(_))))));
}
