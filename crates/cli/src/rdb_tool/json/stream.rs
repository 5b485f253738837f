//! Streams as JSON, part by part as they come.

use keyferry_rdb::object::{Element, StreamId, StreamInfo};

use super::scalar;
use crate::rdb_tool::text;

/// What has been opened and is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// The list of entries.
    #[default]
    Entries,
    /// The list of groups.
    Groups,
    /// The list of consumers of a group.
    Consumers,
    /// The list of pending entries of a consumer.
    Pending,
    /// The list of what producers wrote.
    Produced,
    /// The stream itself.
    Stream,
}

/// How far a stream has been written.
#[derive(Default)]
pub(super) struct Stream {
    place: Place,
    /// Whether the list at hand has an element.
    some: bool,
    /// Whether a group has been written.
    some_group: bool,
    /// Whether the group has a consumer.
    some_consumer: bool,
}

impl Stream {
    /// Starts a stream.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        *self = Self::default();
        out.extend_from_slice(b"{\"entries\":[");
    }

    /// Writes the next part.
    pub(super) fn part(&mut self, part: &Element<'_>, out: &mut Vec<u8>) {
        match part {
            Element::StreamEntry { id, fields } => {
                comma(&mut self.some, out);
                put(out, &format!("{{\"id\":{},\"fields\":[", shown(*id)));
                let mut some = false;
                for (field, value) in fields.clone() {
                    comma(&mut some, out);
                    out.push(b'[');
                    scalar(field, out);
                    out.push(b',');
                    scalar(value, out);
                    out.push(b']');
                }
                put(out, "]}");
            }
            Element::StreamInfo(info) => self.info(info, out),
            Element::Group { group, last_id, entries_read } => {
                self.back_to(Place::Groups, out);
                comma(&mut self.some_group, out);
                named(group, out);
                put(out, &format!(",\"last_id\":{}", shown(*last_id)));
                if let Some(count) = entries_read {
                    put(out, &format!(",\"entries_read\":{count}"));
                }
                put(out, ",\"consumers\":[");
                (self.place, self.some_consumer) = (Place::Consumers, false);
            }
            Element::Consumer { consumer, seen_ms, active_ms, .. } => {
                self.back_to(Place::Consumers, out);
                comma(&mut self.some_consumer, out);
                named(consumer, out);
                put(out, &format!(",\"seen_ms\":{seen_ms}"));
                if let Some(ms) = active_ms {
                    put(out, &format!(",\"active_ms\":{ms}"));
                }
                put(out, ",\"pending\":[");
                (self.place, self.some) = (Place::Pending, false);
            }
            Element::Pending { id, delivered_ms, deliveries, .. } => {
                comma(&mut self.some, out);
                let (id, times) = (shown(*id), deliveries);
                put(out, &format!("{{\"id\":{id},\"delivered_ms\":{delivered_ms},\"deliveries\":{times}}}"));
            }
            Element::Idempotency { duration_s, max_entries } => {
                self.back_to(Place::Stream, out);
                put(out, &format!(",\"idempotency\":{{\"duration_s\":{duration_s},\"max_entries\":{max_entries},"));
                put(out, "\"produced\":[");
                (self.place, self.some) = (Place::Produced, false);
            }
            Element::Produced { producer, iid, id } => {
                comma(&mut self.some, out);
                put(out, "{\"producer\":");
                text::json_bytes(producer, out);
                put(out, ",\"iid\":");
                scalar(*iid, out);
                put(out, &format!(",\"id\":{}}}", shown(*id)));
            }
            _ => {}
        }
    }

    /// Ends the stream.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        self.back_to(Place::Stream, out);
        out.push(b'}');
    }

    fn info(&mut self, info: &StreamInfo, out: &mut Vec<u8>) {
        put(out, &format!("],\"length\":{},\"last_id\":{}", info.length, shown(info.last_id)));
        if let Some(past) = info.history {
            let (first, deleted) = (shown(past.first_id), shown(past.max_deleted_id));
            put(out, &format!(",\"first_id\":{first},\"max_deleted_id\":{deleted}"));
            put(out, &format!(",\"entries_added\":{}", past.entries_added));
        }
        put(out, ",\"groups\":[");
        self.place = Place::Groups;
    }

    /// Closes what is open inside `place`.
    fn back_to(&mut self, place: Place, out: &mut Vec<u8>) {
        while self.place != place {
            let (close, outer) = match self.place {
                Place::Pending => ("]}", Place::Consumers),
                Place::Consumers => ("]}", Place::Groups),
                Place::Produced => ("]}", Place::Stream),
                Place::Entries | Place::Groups => ("]", Place::Stream),
                // Nothing encloses a stream: a part that is out of place is written where it came.
                Place::Stream => return,
            };
            put(out, close);
            self.place = outer;
        }
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Starts an object with a name.
fn named(name: &[u8], out: &mut Vec<u8>) {
    put(out, "{\"name\":");
    text::json_bytes(name, out);
}

/// Separates elements of a list.
fn comma(some: &mut bool, out: &mut Vec<u8>) {
    if *some {
        out.push(b',');
    }
    *some = true;
}

/// A stream ID as a JSON string.
fn shown(id: StreamId) -> String {
    format!("\"{}-{}\"", id.ms, id.seq)
}
