//! Elements of what servers keep in no order: held, sorted, written.

use std::cmp::Ordering;

use keyferry_rdb::packed::Scalar;

use crate::rdb_tool::{failure::Result, text};

/// May take away what has been written so far, element by element.
pub(super) type Spill<'a> = &'a mut dyn FnMut(&mut Vec<u8>) -> Result<()>;

/// What is kept in memory from one value to the next.
const KEEP: usize = 1 << 20;

/// An element by its place in the bytes that are held.
struct Piece {
    start: usize,
    /// End of the member, or of the field, where its value starts.
    mid: usize,
    end: usize,
    score: f64,
    expire_ms: Option<u64>,
}

/// The elements of one value.
#[derive(Default)]
pub(super) struct Sorted {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Sorted {
    /// Starts the next value.
    pub(super) fn clear(&mut self) {
        if self.held() > KEEP {
            *self = Self::default();
        }
        self.bytes.clear();
        self.pieces.clear();
    }

    /// Bytes of memory that the value takes.
    pub(super) fn held(&self) -> usize {
        self.bytes.len() + self.pieces.len() * size_of::<Piece>()
    }

    pub(super) fn member(&mut self, member: Scalar<'_>) {
        self.add(member, None, 0.0, None);
    }

    pub(super) fn scored(&mut self, member: Scalar<'_>, score: f64) {
        self.add(member, None, score, None);
    }

    pub(super) fn field(&mut self, field: Scalar<'_>, value: Scalar<'_>, expire_ms: Option<u64>) {
        self.add(field, Some(value), 0.0, expire_ms);
    }

    fn add(&mut self, first: Scalar<'_>, second: Option<Scalar<'_>>, score: f64, expire_ms: Option<u64>) {
        let start = self.bytes.len();
        first.append_to(&mut self.bytes);
        let mid = self.bytes.len();
        if let Some(second) = second {
            second.append_to(&mut self.bytes);
        }
        self.pieces.push(Piece { start, mid, end: self.bytes.len(), score, expire_ms });
    }

    /// Appends the members by their bytes: `["a","b"]`.
    pub(super) fn write_set(&mut self, out: &mut Vec<u8>, spill: Spill<'_>) -> Result<()> {
        let show = |piece: &Piece, bytes: &[u8], out: &mut Vec<u8>| {
            text::json_bytes(&bytes[piece.start..piece.mid], out);
        };
        self.write(out, spill, |_, _| Ordering::Equal, show)
    }

    /// Appends the members by score and then by their bytes: `[["a",1],["b","inf"]]`.
    pub(super) fn write_zset(&mut self, out: &mut Vec<u8>, spill: Spill<'_>) -> Result<()> {
        // A score is never NaN.
        let order = |a: &Piece, b: &Piece| a.score.partial_cmp(&b.score).unwrap_or(Ordering::Equal);
        let show = |piece: &Piece, bytes: &[u8], out: &mut Vec<u8>| {
            out.push(b'[');
            text::json_bytes(&bytes[piece.start..piece.mid], out);
            out.push(b',');
            text::json_score(piece.score, out);
            out.push(b']');
        };
        self.write(out, spill, order, show)
    }

    /// Appends the fields by their bytes: `[{"field":"a","value":"1","expire_ms":4102444800000}]`.
    pub(super) fn write_hash(&mut self, out: &mut Vec<u8>, spill: Spill<'_>) -> Result<()> {
        let show = |piece: &Piece, bytes: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"field\":");
            text::json_bytes(&bytes[piece.start..piece.mid], out);
            out.extend_from_slice(b",\"value\":");
            text::json_bytes(&bytes[piece.mid..piece.end], out);
            if let Some(ms) = piece.expire_ms {
                out.extend_from_slice(format!(",\"expire_ms\":{ms}").as_bytes());
            }
            out.push(b'}');
        };
        self.write(out, spill, |_, _| Ordering::Equal, show)
    }

    /// Sorts by `order`, then by bytes, and writes each with `show`.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        spill: Spill<'_>,
        order: impl Fn(&Piece, &Piece) -> Ordering,
        show: impl Fn(&Piece, &[u8], &mut Vec<u8>),
    ) -> Result<()> {
        let Self { bytes, pieces } = self;
        let name = |piece: &Piece| &bytes[piece.start..piece.mid];
        pieces.sort_unstable_by(|a, b| order(a, b).then_with(|| name(a).cmp(name(b))));
        out.push(b'[');
        for (i, piece) in pieces.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            show(piece, bytes, out);
            spill(out)?;
        }
        out.push(b']');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sorted: &mut Sorted, write: impl Fn(&mut Sorted, &mut Vec<u8>, Spill<'_>) -> Result<()>) -> String {
        let mut out = Vec::new();
        write(sorted, &mut out, &mut |_| Ok(())).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn orders() {
        let mut sorted = Sorted::default();
        for member in [&b"b"[..], b"a", b"\xff", b"aa"] {
            sorted.member(Scalar::Bytes(member));
        }
        sorted.member(Scalar::Int(-7));
        assert_eq!(text(&mut sorted, Sorted::write_set), r#"["-7","a","aa","b",{"base64":"/w=="}]"#);
        sorted.clear();
        for (member, score) in [(&b"x"[..], f64::INFINITY), (b"b", 1.5), (b"a", 1.5), (b"y", f64::NEG_INFINITY)] {
            sorted.scored(Scalar::Bytes(member), score);
        }
        assert_eq!(text(&mut sorted, Sorted::write_zset), r#"[["y","-inf"],["a",1.5],["b",1.5],["x","inf"]]"#);
        sorted.clear();
        sorted.field(Scalar::Bytes(b"f"), Scalar::Int(2), Some(9));
        sorted.field(Scalar::Bytes(b"e"), Scalar::Bytes(b""), None);
        let expected = r#"[{"field":"e","value":""},{"field":"f","value":"2","expire_ms":9}]"#;
        assert_eq!(text(&mut sorted, Sorted::write_hash), expected);
        sorted.clear();
        assert_eq!(text(&mut sorted, Sorted::write_hash), "[]");
    }
}
