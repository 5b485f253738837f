//! A value for the target: as the payload of the source, as the same with an older footer, or as commands that build it.

use keyferry_keyspace::{Flavor, Kind, ServerVersion};
use keyferry_rdb::{
    Group, ValueType, dump,
    object::{DecodeLimits, Element, ValueDecoder},
    rebuild::{PendingIds, Plan, Rebuilder, Target},
};

use super::restore_ttl;
use crate::{asker::Batch, deadline::Deadline};

/// The type of the value in a payload; `None` when it cannot be told.
pub(super) fn kind(payload: &[u8]) -> Option<Kind> {
    // Both name types as TYPE does.
    Kind::parse(dump::verify(payload).ok()?.0.group().name().as_bytes())
}

/// Appends the commands that put the value under `key`, and gives their number; the reason when the target cannot hold it, and
/// then nothing is appended.
pub(super) fn write(
    batch: &mut Batch,
    target: &ServerVersion,
    key: &[u8],
    payload: &[u8],
    deadline: Deadline,
    now: i64,
) -> Result<usize, String> {
    let (kind, raw, version) = dump::verify(payload).map_err(|e| format!("its payload cannot be read: {e}"))?;
    // A target without the module refuses it at best; Redis 5.0 and 6.0 end their process.
    if kind.group() == Group::Module {
        return Err("a value of a module".into());
    }
    if target.reads_dump(version) && kind.readable_by(target.dump_version().into()) {
        restore(batch, target, key, payload, deadline, now);
        return Ok(1);
    }
    let lowest = u16::try_from(kind.dump_version()).unwrap_or(u16::MAX);
    if target.reads_dump(lowest) && kind.readable_by(target.dump_version().into()) {
        let mut older = Vec::with_capacity(payload.len());
        dump::write(&mut older, kind, raw, lowest);
        restore(batch, target, key, &older, deadline, now);
        return Ok(1);
    }
    let expire_ms = if let Deadline::At(at) = deadline { u64::try_from(at.max(1)).ok() } else { None };
    let plan = Plan { expire_ms, ..Plan::default() };
    let refused = |e: &dyn std::fmt::Display| format!("the target cannot hold it: {e}");
    let mut rebuilder = Rebuilder::new(key, kind.group(), abilities(target), plan).map_err(|e| refused(&e))?;
    if kind.group() == Group::Stream {
        let mut pending = PendingIds::default();
        decode(kind, raw, |element| {
            pending.note(element);
            Ok(())
        })?;
        rebuilder = rebuilder.with_pending(pending);
    }
    let mut out = Vec::new();
    decode(kind, raw, |element| rebuilder.push(element, &mut out).map_err(|e| refused(&e)))?;
    // Nobody sees a value in part.
    let commands = usize::try_from(rebuilder.commands()).unwrap_or(usize::MAX);
    batch.push(&[b"MULTI"]);
    batch.push_encoded(&out, commands);
    batch.push(&[b"EXEC"]);
    Ok(commands + 2)
}

/// Gives each element of a value to `take`.
fn decode(kind: ValueType, raw: &[u8], mut take: impl FnMut(&Element<'_>) -> Result<(), String>) -> Result<(), String> {
    let mut decoder = ValueDecoder::new(kind, DecodeLimits::default());
    let mut rest = raw;
    loop {
        let (used, element) = decoder.next(rest).map_err(|e| format!("its payload cannot be read: {e}"))?;
        match &element {
            Some(element) => take(element)?,
            None if used == 0 => return Err("its payload ends too early".into()),
            None => {}
        }
        if matches!(element, Some(Element::End)) {
            return Ok(());
        }
        rest = rest.get(used..).unwrap_or_default();
    }
}

fn restore(batch: &mut Batch, target: &ServerVersion, key: &[u8], payload: &[u8], deadline: Deadline, now: i64) {
    let absolute = target.restore_absttl();
    let ttl = restore_ttl(deadline, now, absolute).to_string();
    let args: [&[u8]; 6] = [b"RESTORE", key, ttl.as_bytes(), payload, b"REPLACE", b"ABSTTL"];
    batch.push(args.get(..if absolute { 6 } else { 5 }).unwrap_or(&args));
}

fn abilities(server: &ServerVersion) -> Target {
    let small = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    let target = match server.flavor {
        Flavor::Valkey => Target::valkey(small(server.own.0), small(server.own.1)),
        _ => Target::redis(small(server.redis.0), small(server.redis.1)),
    };
    Target { unlink: server.unlink(), ..target }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_in_a_payload_has_a_type() {
        // A string, a list, a set, a sorted set, a hash, a stream, and a value of a module, in this order.
        for (byte, expected) in [0, 1, 2, 3, 4, 15, 7].into_iter().zip(Kind::ALL) {
            let value = ValueType::from_byte(byte, keyferry_rdb::Magic::Redis).unwrap();
            assert_eq!(Kind::parse(value.group().name().as_bytes()), Some(expected), "{value:?}");
        }
        let mut payload = Vec::new();
        dump::write(&mut payload, ValueType::STRING, b"\x01a", 9);
        assert_eq!((kind(&payload), kind(b"none")), (Some(Kind::String), None));
    }
}
