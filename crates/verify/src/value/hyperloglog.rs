//! HyperLogLogs: strings in which servers keep the same registers in two forms. From which size on, and whether PFMERGE makes
//! the one or the other, depends on the version; and the header holds a count that is filled in when it is asked for.

/// Magic, form, three unused bytes, the count (hyperloglog.c, struct hllhdr).
const HEADER: usize = 16;
const REGISTERS: usize = 1 << 14;
const BITS: usize = 6;

/// Whether both strings are HyperLogLogs with the same registers.
pub(super) fn same(source: &[u8], target: &[u8]) -> bool {
    registers(source).is_some_and(|ours| registers(target).is_some_and(|theirs| ours == theirs))
}

fn registers(bytes: &[u8]) -> Option<Vec<u8>> {
    bytes.strip_prefix(b"HYLL")?;
    let body = bytes.get(HEADER..)?;
    match bytes.get(4)? {
        0 => (0..REGISTERS).map(|i| dense(body, i)).collect(),
        1 => sparse(body),
        _ => None,
    }
}

/// Six bits each, the lowest first. The last register has no byte behind it.
fn dense(body: &[u8], i: usize) -> Option<u8> {
    let (byte, shift) = (i * BITS / 8, i * BITS % 8);
    let two = u16::from(*body.get(byte)?) | u16::from(body.get(byte + 1).copied().unwrap_or(0)) << 8;
    Some((two >> shift) as u8 & 0x3f)
}

/// Runs: `00llllll` and `01llllll llllllll` of zeros, `1vvvvvll` of a value.
fn sparse(body: &[u8]) -> Option<Vec<u8>> {
    let mut registers = Vec::with_capacity(REGISTERS);
    let mut bytes = body.iter();
    while let Some(&byte) = bytes.next() {
        let (value, len) = match byte >> 6 {
            0 => (0, usize::from(byte & 0x3f) + 1),
            1 => (0, (usize::from(byte & 0x3f) << 8 | usize::from(*bytes.next()?)) + 1),
            _ => ((byte >> 2 & 0x1f) + 1, usize::from(byte & 3) + 1),
        };
        if registers.len() + len > REGISTERS {
            return None;
        }
        registers.resize(registers.len() + len, value);
    }
    (registers.len() == REGISTERS).then_some(registers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(form: u8) -> Vec<u8> {
        [&b"HYLL"[..], &[form], &[0; 11]].concat()
    }

    #[test]
    fn both_forms_of_the_same_registers() {
        // Register 2 is 5: two zeros, one 5, and 16381 zeros.
        let rest = REGISTERS - 3 - 1;
        let runs = [1, 0x80 | 4 << 2, 0x40 | (rest >> 8) as u8, rest as u8];
        let sparse = [header(1), runs.to_vec()].concat();
        let mut dense = [header(0), vec![0; REGISTERS * BITS / 8]].concat();
        // Bits 12 to 17: four in byte 1, two in byte 2.
        dense[HEADER + 1] = 5 << 4;
        assert!(same(&sparse, &dense) && same(&dense, &sparse));
        // The count that is kept beside them does not matter.
        dense[8] = 7;
        assert!(same(&sparse, &dense));
        dense[HEADER + 50] = 1;
        assert!(!same(&sparse, &dense));
    }

    #[test]
    fn other_strings_are_none() {
        assert!(!same(b"HYLL", b"HYLL") && !same(b"", b""));
        let long = [header(1), vec![0x7f, 0xff, 0x7f, 0xff]].concat();
        assert!(!same(&long, &long));
    }
}
