//! The commands that are needed on each side.

/// Under these names a task keeps what is its own on the target.
pub(crate) const POSITION: &[u8] = b"__keyferry_checkpoint:";

/// Asked of the source.
pub(crate) const OF_SOURCE: [&str; 4] = ["PING", "INFO", "REPLCONF", "PSYNC"];

/// Without these on the target nothing works.
pub(crate) const OF_TARGET: [&str; 17] = [
    "PING",
    "INFO",
    "SELECT",
    "WATCH",
    "MULTI",
    "EXEC",
    "EVAL",
    "HGET",
    "HSET",
    "HMSET",
    "SET",
    "MSET",
    "MSETNX",
    "DEL",
    "RESTORE",
    "PEXPIREAT",
    "SCAN",
];

/// The same for a dump file, of which no position is kept.
pub(crate) const OF_FILE: [&str; 10] =
    ["PING", "INFO", "SELECT", "EVAL", "SET", "MSET", "MSETNX", "DEL", "RESTORE", "PEXPIREAT"];

/// What builds values that cannot be restored as they are, with the Redis that has brought it.
pub(crate) const OF_VALUES: [(&str, (u32, u32, u32)); 6] = [
    ("APPEND", (2, 8, 0)),
    ("RPUSH", (2, 8, 0)),
    ("SADD", (2, 8, 0)),
    ("ZADD", (2, 8, 0)),
    ("HMSET", (2, 8, 0)),
    ("XADD", (5, 0, 0)),
];

/// What a stream commonly brings, with the Redis that has brought it. One that the target refuses stops a task when it
/// comes.
pub(crate) const OF_STREAM: [(&str, (u32, u32, u32)); 16] = [
    ("APPEND", (2, 8, 0)),
    ("INCRBY", (2, 8, 0)),
    ("SETRANGE", (2, 8, 0)),
    ("RPUSH", (2, 8, 0)),
    ("LPOP", (2, 8, 0)),
    ("SADD", (2, 8, 0)),
    ("SREM", (2, 8, 0)),
    ("ZADD", (2, 8, 0)),
    ("HDEL", (2, 8, 0)),
    ("PERSIST", (2, 8, 0)),
    ("RENAME", (2, 8, 0)),
    ("PUBLISH", (2, 8, 0)),
    ("PFADD", (2, 8, 9)),
    ("XADD", (5, 0, 0)),
    ("FLUSHDB", (2, 8, 0)),
    ("FLUSHALL", (2, 8, 0)),
];
