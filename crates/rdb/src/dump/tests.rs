use proptest::prelude::*;

use super::*;

/// `DUMP` of the string `value` on Redis 7.2.4.
const REDIS_7_2: &[u8] = b"\x00\x05value\x0b\x00\xe8\x29\x7c\x4b\x3c\x35\x72\xe7";

#[test]
fn versions_decide_the_family() {
    for (version, name) in [(12, "hash-metadata-pre-ga"), (80, "hash-2")] {
        let mut payload = Vec::new();
        write(&mut payload, ValueType::from_byte(22, family(version)).unwrap(), b"\x00", version);
        let (kind, raw, found) = verify(&payload).unwrap();
        assert_eq!((kind.name(), raw, found), (name, &b"\x00"[..], version));
    }
}

fn family(version: u16) -> Magic {
    if version < 80 { Magic::Redis } else { Magic::Valkey }
}

#[test]
fn broken_payloads_are_refused() {
    let mut payload = Vec::new();
    write(&mut payload, ValueType::STRING, b"\x05value", 11);
    assert_eq!(payload, REDIS_7_2);
    assert_eq!(payload.len(), len(6));
    for cut in 0..payload.len() {
        assert!(verify(&payload[..cut]).is_err());
    }
    let mut flipped = payload.clone();
    flipped[3] ^= 1;
    assert!(matches!(verify(&flipped), Err(Error::Checksum { at: 9, .. })));
    let mut unknown = vec![8, 0, 11, 0];
    unknown.extend(crc::checksum(&unknown).to_le_bytes());
    assert_eq!(verify(&unknown), Err(Error::UnknownType { ty: 8, db: 0, at: 0 }));
}

proptest! {
    #[test]
    fn what_was_written_is_verified(
        raw in prop::collection::vec(any::<u8>(), 0..300),
        before in prop::collection::vec(any::<u8>(), 0..5),
        version in 6..81_u16,
    ) {
        let mut out = before.clone();
        write(&mut out, ValueType::STRING, &raw, version);
        prop_assert_eq!(&out[..before.len()], &before[..]);
        let payload = &out[before.len()..];
        prop_assert_eq!(payload.len(), len(raw.len()));
        prop_assert_eq!(verify(payload), Ok((ValueType::STRING, &raw[..], version)));
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(payload in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Err(error) = verify(&payload) {
            prop_assert!(error.at() <= payload.len() as u64);
        }
    }
}

#[test]
fn another_version_in_the_footer() {
    let mut payload = Vec::new();
    write(&mut payload, ValueType::STRING, b"\x01a", 13);
    let mut older = Vec::new();
    assert!(write_again(&mut older, &payload, 6));
    assert_eq!(verify(&older).unwrap(), (ValueType::STRING, &b"\x01a"[..], 6));
    let mut expected = Vec::new();
    write(&mut expected, ValueType::STRING, b"\x01a", 6);
    assert_eq!(older, expected);
    let mut none = Vec::new();
    assert!(!write_again(&mut none, &payload[..FOOTER_LEN - 1], 6));
    assert!(none.is_empty());
}
