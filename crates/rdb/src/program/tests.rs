use super::*;
use crate::{Magic, ValueType, table};

fn depth(ops: &[Op]) -> usize {
    ops.iter().map(|op| if let Op::Repeat(inner) = op { 1 + depth(inner) } else { 0 }).max().unwrap_or(0)
}

#[test]
fn the_stack_is_deep_enough_for_every_layout() {
    for magic in [Magic::Redis, Magic::Valkey] {
        for kind in (0..=255).filter_map(|byte| ValueType::from_byte(byte, magic)) {
            assert!(depth(kind.program()) <= MAX_DEPTH, "{kind}");
        }
    }
    assert!(depth(table::KEY_META).max(depth(table::SLOT_IMPORT)) <= MAX_DEPTH);
}

#[test]
fn tokens_come_in_the_order_of_the_layout() {
    const OPS: &[Op] = &[Op::Repeat(&[Op::Str, Op::Repeat(&[Op::Len]), Op::Fixed(2)]), Op::DoubleStr];
    let input = b"\x02\x01a\x02\x05\x06zz\x01b\x00zz\x03inf";
    let mut machine = Machine::new(OPS, 0, 100);
    let mut tokens = Vec::new();
    loop {
        let step = machine.step(input).unwrap();
        if step == Step::Done {
            break;
        }
        tokens.push((step, machine.pos()));
    }
    let expected = [
        (Step::Count(2), 1),
        (Step::Str, 3),
        (Step::Count(2), 4),
        (Step::Len, 5),
        (Step::Len, 6),
        (Step::Fixed, 8),
        (Step::Str, 10),
        (Step::Count(0), 11),
        (Step::Fixed, 13),
        (Step::Double, 17),
    ];
    assert_eq!(tokens, expected);
}

#[test]
fn bytes_of_a_long_string_are_stepped_over_before_they_arrive() {
    let mut machine = Machine::new(&[Op::Str, Op::Len], 0, 1 << 30);
    let mut input = b"\x80\x00\x01\x00\x00".to_vec();
    assert_eq!(machine.step(&input), Ok(Step::Str));
    assert_eq!(machine.pos(), 65_541);
    assert_eq!(machine.step(&input), Ok(Step::Short));
    input.resize(65_541, 0);
    assert_eq!(machine.step(&input), Ok(Step::Short));
    input.push(9);
    assert_eq!(machine.run(&input), Ok(true));
}
