//! What stands in braces in a table, and is known only when it is sent.
//!
//! | in the table | becomes |
//! |---|---|
//! | `{at:N}`, `{atms:N}` | the time in N seconds, in seconds or milliseconds since 1970 |
//! | `{dump:KEY}` | the payload of a key of database 0 |
//! | `{digest:KEY}` | the digest of a string of database 0 |
//! | `{library:NAME}` | a library with one function, both of that name |
//! | `{functions}` | the payload of all functions, as they were when a runner asked first |
//! | `{sha}` | the name of a loaded script that sets its key |
//! | `{fp32}` | three numbers of 32 bits |
//! | `{dollar}` | `$`, which otherwise is the name of the run |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use redis::{Connection, cmd};

const SCRIPT: &str = "return redis.call('SET', KEYS[1], ARGV[1])";

/// Fills in, with a connection of its own that stays in database 0.
pub(super) struct Filler {
    conn: Connection,
    functions: Option<Vec<u8>>,
}

impl Filler {
    pub(super) fn new(conn: Connection) -> Self {
        Self { conn, functions: None }
    }

    /// Whether a word asks the server for something that calls before it may have written.
    pub(super) fn asks(word: &str) -> bool {
        ["{dump:", "{digest:", "{functions}", "{sha}"].iter().any(|start| word.starts_with(start))
    }

    pub(super) fn word(&mut self, word: &str) -> Result<Vec<u8>> {
        let Some(inner) = word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            return Ok(word.into());
        };
        let (what, of) = inner.split_once(':').unwrap_or((inner, ""));
        Ok(match what {
            "at" => (now()?.as_secs() + of.parse::<u64>()?).to_string().into_bytes(),
            "atms" => (now()?.as_millis() as u64 + 1000 * of.parse::<u64>()?).to_string().into_bytes(),
            "dump" => {
                let payload: Option<Vec<u8>> = cmd("DUMP").arg(of).query(&mut self.conn)?;
                payload.with_context(|| format!("no payload of {of}"))?
            }
            "digest" => cmd("DIGEST").arg(of).query(&mut self.conn)?,
            "library" => format!(
                "#!lua name={of}\nredis.register_function('{of}', function(keys, args) return redis.call('SET', keys[1], args[1]) end)"
            )
            .into_bytes(),
            "functions" => match &self.functions {
                Some(functions) => functions.clone(),
                None => {
                    let functions: Vec<u8> = cmd("FUNCTION").arg("DUMP").query(&mut self.conn)?;
                    self.functions.insert(functions).clone()
                }
            },
            "sha" => cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query(&mut self.conn)?,
            "fp32" => [0.5f32, -0.25, 0.125].iter().flat_map(|number| number.to_le_bytes()).collect(),
            "dollar" => b"$".to_vec(),
            _ => word.into(),
        })
    }
}

fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}
