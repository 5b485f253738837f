//! What a server holds, as a map that can be filtered and compared: for small data sets.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use redis::{Value, cmd};

use crate::Server;

/// By database and name: type, and elements in the order which they have, or by themselves.
pub type Contents = BTreeMap<(u32, String), (String, Vec<String>)>;

/// Everything in the first 16 databases but the position that the product keeps there. Of a stream only the entries: what
/// groups have read is not carried. Expiries are left out.
pub fn contents(server: &Server) -> Result<Contents> {
    let mut contents = BTreeMap::new();
    let mut conn = server.conn()?;
    for db in 0..16 {
        cmd("SELECT").arg(db).exec(&mut conn)?;
        let keys: Vec<String> = cmd("KEYS").arg("*").query(&mut conn)?;
        for key in keys.into_iter().filter(|key| !key.starts_with("__keyferry_checkpoint:")) {
            let kind: String = cmd("TYPE").arg(&key).query(&mut conn)?;
            let (command, args): (_, &[&str]) = match kind.as_str() {
                "string" => ("GET", &[]),
                "list" => ("LRANGE", &["0", "-1"]),
                "set" => ("SMEMBERS", &[]),
                "zset" => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
                "hash" => ("HGETALL", &[]),
                _ => ("XRANGE", &["-", "+"]),
            };
            let value = cmd(command).arg(&key).arg(args).query(&mut conn);
            let mut parts = match value.with_context(|| format!("{command} {key}"))? {
                Value::Array(parts) => parts.iter().map(|part| format!("{part:?}")).collect(),
                other => vec![format!("{other:?}")],
            };
            match kind.as_str() {
                "set" => parts.sort(),
                "hash" => {
                    parts = parts.chunks(2).map(|pair| pair.join(" ")).collect();
                    parts.sort();
                }
                _ => {}
            }
            contents.insert((db, key), (kind, parts));
        }
    }
    Ok(contents)
}
