//! Clients that wait for data and are served by the write of another one.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::{Cmd, Value};

use super::Known;
use crate::{Server, wait};

const PATIENCE: Duration = Duration::from_secs(30);

/// What waits, and what serves it. `$` stands for the name of the run.
const PAIRS: [(&str, &str); 10] = [
    ("BLPOP list:$w1 30", "RPUSH list:$w1 a b c"),
    ("BRPOP list:$w2 30", "RPUSH list:$w2 a b c"),
    ("BRPOPLPUSH list:$w3 list:$w4 30", "LPUSH list:$w3 a b c"),
    ("BLMOVE list:$w5 list:$w6 LEFT RIGHT 30", "RPUSH list:$w5 a b c"),
    ("BLMPOP 30 1 list:$w7 LEFT COUNT 2", "RPUSH list:$w7 a b c"),
    ("BZPOPMIN zset:$w1 30", "ZADD zset:$w1 1 a 2 b"),
    ("BZPOPMAX zset:$w2 30", "ZADD zset:$w2 1 a 2 b"),
    ("BZMPOP 30 1 zset:$w3 MIN COUNT 2", "ZADD zset:$w3 1 a 2 b 3 c"),
    ("XREADGROUP GROUP g c BLOCK 30000 STREAMS stream:$w >", "XADD stream:$w 1-1 f v"),
    ("XREADGROUP GROUP g d COUNT 5 BLOCK 30000 NOACK STREAMS stream:$w >", "XADD stream:$w 2-1 f v"),
];

/// Lets a client wait with each blocking command that the server has, and serves it.
pub fn serve_waiting(server: &Server, run: &str) -> Result<()> {
    let known = Known::of(server)?;
    let mut writer = server.conn()?;
    let command =
        |words: &str| -> Cmd { Cmd::new().arg(words.replace('$', run).split(' ').collect::<Vec<_>>()).take() };
    if known.has("xadd") {
        command("XGROUP CREATE stream:$w g 0 MKSTREAM").exec(&mut writer)?;
    }
    for (waits, serves) in PAIRS {
        let words: Vec<&str> = waits.split(' ').collect();
        if known.name(&words).is_none() {
            continue;
        }
        let mut waiter = server.conn()?;
        waiter.send_packed_command(&command(waits).get_packed_command())?;
        wait::poll("a client that waits", PATIENCE, || {
            let clients = server.info("clients")?;
            Ok(clients.get("blocked_clients").is_some_and(|count| count == "1").then_some(()))
        })
        .with_context(|| format!("{waits} on {}", server.version()))?;
        command(serves).exec(&mut writer)?;
        match waiter.recv_response()? {
            Value::Array(_) | Value::BulkString(_) => {}
            other => bail!("{waits} on {} was answered with {other:?}", server.version()),
        }
    }
    Ok(())
}
