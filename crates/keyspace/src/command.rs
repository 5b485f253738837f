//! Which commands of a replication stream need more than being passed on.
//!
//! Everything that only writes keys of the selected database is [`Class::Other`]. Not a command table: there are no key
//! positions and no flags here.

use std::fmt;

/// What a command on a replication stream is to the one who applies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// PING: keeps the link alive, counts for the offset only.
    Ping,
    /// SELECT: the database of what follows.
    Select,
    /// REPLCONF: on this link GETACK, which asks for an acknowledgement; counts for the offset only.
    Replconf,
    /// MULTI: a transaction begins.
    Multi,
    /// EXEC: the transaction is complete.
    Exec,
    /// DISCARD: the transaction is dropped. No primary sends it.
    Discard,
    /// FLUSHALL: every database becomes empty, and so would the checkpoint.
    FlushAll,
    /// FLUSHDB: the selected database becomes empty.
    FlushDb,
    /// SWAPDB: two databases change places.
    SwapDb,
    /// MOVE: a key goes to another database.
    Move,
    /// COPY: a key is copied, with `DB` into another database.
    Copy,
    /// SCRIPT: FLUSH or LOAD, which concern the whole server.
    ScriptCache,
    /// FUNCTION: LOAD, DELETE, FLUSH or RESTORE, which concern the whole server.
    Function,
    /// EVAL or EVALSHA: a script as it was called, from a source that does not send what scripts have done.
    Script,
    /// Anything else: passed on as it is.
    Other,
}

/// Classifies a command by its name, in any case.
#[inline]
pub fn classify(name: &[u8]) -> Class {
    // Setting bit 5 makes the letters lower case, and makes no letter of what is none: letters lie in 0x41..=0x5a and
    // 0x61..=0x7a, and the bit maps nothing else into the latter.
    const CASE: u8 = 0x20;
    fn fold<const N: usize>(name: &[u8]) -> [u8; N] {
        <[u8; N]>::try_from(name).map_or([0; N], |n| n.map(|b| b | CASE))
    }
    match name.len() {
        4 => match &fold(name) {
            b"ping" => Class::Ping,
            b"exec" => Class::Exec,
            b"move" => Class::Move,
            b"copy" => Class::Copy,
            b"eval" => Class::Script,
            _ => Class::Other,
        },
        5 if fold(name) == *b"multi" => Class::Multi,
        6 => match &fold(name) {
            b"select" => Class::Select,
            b"swapdb" => Class::SwapDb,
            b"script" => Class::ScriptCache,
            _ => Class::Other,
        },
        7 => match &fold(name) {
            b"flushdb" => Class::FlushDb,
            b"discard" => Class::Discard,
            b"evalsha" => Class::Script,
            _ => Class::Other,
        },
        8 => match &fold(name) {
            b"replconf" => Class::Replconf,
            b"flushall" => Class::FlushAll,
            b"function" => Class::Function,
            _ => Class::Other,
        },
        _ => Class::Other,
    }
}

/// A command name for messages: upper case, at most 24 bytes, printable ASCII only.
///
/// The name of a command is no secret, but what stands in its place in a broken stream may be: anything else than
/// printable ASCII becomes `?`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandName([u8; Self::MAX]);

impl CommandName {
    /// Bytes kept. The longest command of a server has 20 (GEORADIUSBYMEMBER_RO).
    pub const MAX: usize = 24;

    /// A printable copy of `name`.
    pub fn new(name: &[u8]) -> Self {
        let mut copy = [0; Self::MAX];
        for (to, b) in copy.iter_mut().zip(name) {
            *to = if b.is_ascii_graphic() { b.to_ascii_uppercase() } else { b'?' };
        }
        Self(copy)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&b| b == 0).unwrap_or(Self::MAX);
        let name = self.0.get(..len).unwrap_or_default();
        // ASCII by construction, so the default is never taken.
        std::str::from_utf8(name).unwrap_or_default()
    }
}

impl From<&[u8]> for CommandName {
    fn from(name: &[u8]) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandName({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECIAL: [(&str, Class); 15] = [
        ("PING", Class::Ping),
        ("SELECT", Class::Select),
        ("REPLCONF", Class::Replconf),
        ("MULTI", Class::Multi),
        ("EXEC", Class::Exec),
        ("DISCARD", Class::Discard),
        ("FLUSHALL", Class::FlushAll),
        ("FLUSHDB", Class::FlushDb),
        ("SWAPDB", Class::SwapDb),
        ("MOVE", Class::Move),
        ("COPY", Class::Copy),
        ("SCRIPT", Class::ScriptCache),
        ("FUNCTION", Class::Function),
        ("EVAL", Class::Script),
        ("EVALSHA", Class::Script),
    ];

    #[test]
    fn in_any_case() {
        for (name, class) in SPECIAL {
            assert_eq!(classify(name.as_bytes()), class);
            assert_eq!(classify(name.to_lowercase().as_bytes()), class);
            let mixed: Vec<u8> = name.bytes().enumerate().map(|(i, b)| b | ((i as u8 & 1) << 5)).collect();
            assert_eq!(classify(&mixed), class);
        }
    }

    #[test]
    fn only_those() {
        for name in ["", "SET", "DEL", "HSET", "INCR", "RPUSH", "EXPIRE", "PEXPIRE", "PEXPIREAT", "PINGS", "FLUSH"] {
            assert_eq!(classify(name.as_bytes()), Class::Other, "{name}");
        }
        // One changed byte, with and without bit 5, makes another command.
        for (name, _) in SPECIAL {
            for i in 0..name.len() {
                for b in (0..=255).filter(|b: &u8| !b.eq_ignore_ascii_case(&name.as_bytes()[i])) {
                    let mut other = name.as_bytes().to_vec();
                    other[i] = b;
                    assert_eq!(classify(&other), Class::Other);
                }
            }
        }
    }

    #[test]
    fn names_for_messages() {
        assert_eq!(CommandName::new(b"set").to_string(), "SET");
        assert_eq!(CommandName::new(b"").to_string(), "");
        assert_eq!(CommandName::from(&b"\0a b\xff\n"[..]).to_string(), "?A?B??");
        assert_eq!(CommandName::new(&[b'x'; 100]).as_str().len(), CommandName::MAX);
        assert_eq!(format!("{:?}", CommandName::new(b"json.set")), "CommandName(JSON.SET)");
    }
}
