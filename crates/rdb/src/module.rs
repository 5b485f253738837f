//! Names of module data types, which a dump carries as numbers.
//!
//! A number holds nine characters of six bits each and a ten-bit version. What a module writes after it is its own affair.

use crate::wire;

/// Bytes of a module type's name.
pub const NAME_LEN: usize = 9;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Name of the data type with this number, such as `ReJSON-RL`.
#[must_use]
pub fn name(id: u64) -> [u8; NAME_LEN] {
    // module.c moduleTypeNameByID, Redis 7.2
    let mut name = [b'?'; NAME_LEN];
    let mut rest = id >> 10;
    for slot in name.iter_mut().rev() {
        *slot = usize::try_from(rest & 63).ok().and_then(|i| ALPHABET.get(i)).copied().unwrap_or(b'?');
        rest >>= 6;
    }
    name
}

/// Name of the data type of a module value, from the value's raw bytes; `None` where they start with no number.
#[must_use]
pub fn name_of_value(raw: &[u8]) -> Option<[u8; NAME_LEN]> {
    wire::number(raw, 0).ok().flatten().map(|(id, _)| name(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Item, Limits, golden};

    #[test]
    fn names_are_those_of_the_modules() {
        let mut names = Vec::new();
        for golden in golden::all("stack").iter().chain(&golden::all("valkey-9.0-hellotype")) {
            golden::read(
                &golden.bytes,
                Limits::default(),
                || usize::MAX,
                |item| match item {
                    Item::ModuleAux { module } => names.push(String::from_utf8_lossy(module).into_owned()),
                    Item::Entry(entry) if entry.kind.byte() == 7 => {
                        names.push(String::from_utf8_lossy(&name_of_value(entry.raw).unwrap()).into_owned());
                    }
                    _ => {}
                },
            );
        }
        names.sort();
        names.dedup();
        let expected = ["MBbloom--", "ReJSON-RL", "TSDB-TYPE", "TopK-TYPE", "ft_index0", "hellotype", "scdtype00"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_value_without_a_number_has_no_name() {
        assert_eq!(name_of_value(b""), None);
        assert_eq!(name_of_value(b"\xc0\x01"), None);
        assert_eq!(&name(0), b"AAAAAAAAA");
        assert_eq!(&name(u64::MAX), b"_________");
    }
}
