//! The elements of an array reply without nested ones, as they lie in it.

/// Walks over the elements of an array as it came from the wire, which the scanner has found to be whole. Integers give their
/// digits, nil gives `None`. An element that is an array itself ends the walk.
pub(crate) fn elements(raw: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = line(raw).map_or(&[][..], |(_, rest)| rest);
    std::iter::from_fn(move || {
        let (marker, (head, after)) = (*rest.first()?, line(rest.get(1..)?)?);
        match marker {
            b'$' => {
                let Ok(len) = std::str::from_utf8(head).ok()?.parse::<usize>() else {
                    rest = after;
                    return Some(None);
                };
                let body = after.get(..len)?;
                rest = after.get(len + 2..)?;
                Some(Some(body))
            }
            b':' | b'+' => {
                rest = after;
                Some(Some(head))
            }
            _ => None,
        }
    })
}

/// The cursor and the array of elements in the reply of SCAN and its kin.
pub(crate) fn scanned(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = line(raw)?;
    let (head, after) = line(rest.strip_prefix(b"$")?)?;
    let len: usize = std::str::from_utf8(head).ok()?.parse().ok()?;
    Some((after.get(..len)?, after.get(len + 2..)?))
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\r', bytes)?;
    Some((bytes.get(..end)?, bytes.get(end + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_form() {
        let raw = b"*5\r\n$3\r\na\r\n\r\n$0\r\n\r\n$-1\r\n:-7\r\n+ok\r\n";
        let found: Vec<_> = elements(raw).collect();
        assert_eq!(found, [Some(&b"a\r\n"[..]), Some(b""), None, Some(b"-7"), Some(b"ok")]);
        assert_eq!(elements(b"*0\r\n").count(), 0);
        assert_eq!(elements(b"*1\r\n$9\r\nab").count(), 0);
    }

    #[test]
    fn cursor_and_keys() {
        let (cursor, keys) = scanned(b"*2\r\n$2\r\n17\r\n*1\r\n$1\r\nk\r\n").unwrap();
        assert_eq!(cursor, b"17");
        assert_eq!(elements(keys).collect::<Vec<_>>(), [Some(&b"k"[..])]);
        assert!(scanned(b"*0\r\n").is_none());
    }
}
