//! Values that should not be whole in the input: the reader stands aside while someone else reads the value.
//!
//! What must be whole is then only the key with its attributes. The reader still counts the bytes and adds them to the
//! checksum, as it is shown them.

use super::{Phase, Reader};
use crate::item::Entry;

impl Reader {
    /// Hands out the entry at the start of `input` without its value, where [`next`](Reader::next) has come to a value that is
    /// not yet whole, and says how many bytes that took; `raw` is empty. `None` elsewhere: nothing has changed then.
    ///
    /// The value follows. Whoever reads it, as a [`ValueDecoder`](crate::object::ValueDecoder) does, shows its bytes to
    /// [`pass`](Reader::pass), piece by piece, and calls [`end_value`](Reader::end_value) behind the last; `next` gives
    /// nothing until then. Values longer than [`Limits::max_value`](crate::Limits::max_value) are an error of `next` before
    /// they can be handed out here: who streams sets that limit higher.
    pub fn stream_value<'a>(&'a mut self, input: &'a [u8]) -> Option<(usize, Entry<'a>)> {
        let used = self.scan.value_start().filter(|_| self.phase == Phase::Body)?;
        self.phase = Phase::Value;
        self.consume(input, used);
        Some((used, self.scan.entry(input, &self.key, self.db)))
    }

    /// Counts bytes of a value as read. Does nothing outside a value.
    pub fn pass(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Value {
            self.consume(bytes, bytes.len());
        }
    }

    /// Goes on behind a value. Does nothing outside one.
    pub fn end_value(&mut self) {
        if self.phase == Phase::Value {
            self.phase = Phase::Body;
            self.scan.restart();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Checksum, Item, Limits, Reader, golden,
        object::{DecodeLimits, ValueDecoder},
    };

    /// Reads a dump in windows of so many bytes, all values that are not whole in one by a decoder; gives the keys, the
    /// number of values that a decoder read, and the last item.
    fn read(bytes: &[u8], window: usize) -> (Vec<Vec<u8>>, usize, String) {
        let mut reader = Reader::new(Limits::default());
        let (mut start, mut end) = (0, 0);
        let (mut keys, mut streamed, mut last) = (Vec::new(), 0, String::new());
        while !reader.is_finished() {
            if let Some((used, item)) = reader.next(&bytes[start..end]).unwrap() {
                start += used;
                if let Item::Entry(entry) = item {
                    keys.push(entry.key.to_vec());
                }
                last = format!("{item:?}");
                continue;
            }
            let Some((used, entry)) = reader.stream_value(&bytes[start..end]) else {
                end = bytes.len().min(end + window);
                continue;
            };
            assert!(entry.raw.is_empty());
            keys.push(entry.key.to_vec());
            let mut decoder = ValueDecoder::new(entry.kind, DecodeLimits::default());
            streamed += 1;
            start += used;
            while !decoder.is_finished() {
                assert_eq!(reader.next(&bytes[start..end]), Ok(None));
                let (used, element) = decoder.next(&bytes[start..end]).unwrap();
                if element.is_none() {
                    end = bytes.len().min(end + window);
                }
                reader.pass(&bytes[start..start + used]);
                start += used;
            }
            reader.end_value();
            assert_eq!(reader.offset(), start as u64);
        }
        (keys, streamed, last)
    }

    #[test]
    fn keys_and_checksum_are_the_same_whoever_reads_the_values() {
        for golden in golden::all("").iter().filter(|golden| golden.name != "redis-4.0-hellotype") {
            let (whole, streamed, last) = read(&golden.bytes, usize::MAX / 2);
            assert_eq!(streamed, 0);
            if !golden.name.contains("nochecksum") {
                assert_eq!(last, format!("{:?}", Item::End { checksum: Checksum::Ok }));
            }
            for window in [1, 5, 60] {
                let (keys, streamed, again) = read(&golden.bytes, window);
                assert_eq!((&keys, &again), (&whole, &last), "{}", golden.name);
                assert!(streamed > 0 || window > 1, "{}", golden.name);
            }
        }
    }

    #[test]
    fn outside_a_value_nothing_is_handed_out() {
        let golden = &golden::all("redis-7.4")[0];
        let mut reader = Reader::new(Limits::default());
        assert_eq!(reader.stream_value(&golden.bytes), None);
        let (used, _) = reader.next(&golden.bytes).unwrap().unwrap();
        reader.pass(b"abc");
        reader.end_value();
        assert_eq!(reader.offset(), used as u64);
        assert_eq!(reader.stream_value(&golden.bytes[used..]), None);
    }
}
