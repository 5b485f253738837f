//! HyperLogLogs: strings of which servers keep one and the same counters in two forms. From which size on, and whether
//! PFMERGE makes the one or the other, depends on the version (hyperloglog.c, Redis 4.0 and 5.0).

/// Magic, form, three unused bytes, and the count as it was when it was asked for the last time.
const HEADER: usize = 16;
const REGISTERS: usize = 1 << 14;
const BITS: usize = 6;

/// Whether two strings are HyperLogLogs with the same counters.
pub(super) fn same(source: &[u8], target: &[u8]) -> bool {
    registers(source).is_some_and(|ours| registers(target).is_some_and(|theirs| ours == theirs))
}

fn registers(bytes: &[u8]) -> Option<Vec<u8>> {
    let body = bytes.strip_prefix(b"HYLL").and_then(|_| bytes.get(HEADER..))?;
    match bytes.get(4)? {
        0 if body.len() >= REGISTERS * BITS / 8 => Some(dense(body)),
        1 => sparse(body),
        _ => None,
    }
}

/// Six bits each, the lowest first.
fn dense(body: &[u8]) -> Vec<u8> {
    let register = |i: usize| {
        let (byte, shift) = (i * BITS / 8, i * BITS % 8);
        let two = u16::from(body[byte]) | u16::from(body.get(byte + 1).copied().unwrap_or(0)) << 8;
        (two >> shift) as u8 & 0x3f
    };
    (0..REGISTERS).map(register).collect()
}

/// Runs: `00len` and `01len len` of zeros, `1valuelen` of a value.
fn sparse(body: &[u8]) -> Option<Vec<u8>> {
    let mut registers = Vec::with_capacity(REGISTERS);
    let mut bytes = body.iter();
    while let Some(&byte) = bytes.next() {
        let (value, count) = match byte >> 6 {
            0 => (0, usize::from(byte & 0x3f) + 1),
            1 => (0, (usize::from(byte & 0x3f) << 8 | usize::from(*bytes.next()?)) + 1),
            _ => ((byte >> 2 & 0x1f) + 1, usize::from(byte & 3) + 1),
        };
        registers.resize(registers.len() + count, value);
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
    fn both_forms_hold_the_same() {
        // Register 5 is 3: five zeros, one 3, 16378 zeros.
        let run = REGISTERS - 6 - 1;
        let sparse = [header(1), vec![4, 0x80 | 2 << 2, 0x40 | (run >> 8) as u8, run as u8]].concat();
        let mut dense = [header(0), vec![0; 12_289]].concat();
        dense[HEADER + 3] = 3 << 6;
        dense[HEADER + 4] = 3 >> 2;
        assert!(same(&sparse, &dense) && same(&dense, &sparse));
        dense[HEADER + 100] = 1;
        assert!(!same(&sparse, &dense));
        assert!(!same(&sparse[..HEADER + 3], &dense) && !same(b"HYLL", b"HYLL") && !same(b"a", b"a"));
    }
}
