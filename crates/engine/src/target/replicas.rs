//! What the target's replicas have in front of the last step of a cut-over: should the primary die behind it, one of them
//! takes its place.
//!
//! Replicas are those that name a port at which they can be connected to. Who only reads the stream names none, such as this
//! process for the way back: it is never promoted.

use std::time::Duration;

use keyferry_keyspace::info;
use keyferry_model::Result;
use keyferry_net::{Connection, Value};
use tokio::time::{Instant, sleep};

/// One question waits so long at most for the replicas' answers; a target that does not take it is asked that often.
const ASK: Duration = Duration::from_millis(100);
/// Behind an answer that was not about these replicas alone.
const AGAIN: Duration = Duration::from_millis(10);

/// The replicas that a target had in front of the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    /// How many of them were connected, also when they have lost their link since.
    pub connected: u64,
    /// How many of these had all that the source has written.
    pub had_all: u64,
}

impl Replicas {
    /// Waits until all replicas have what the target had when its INFO said `text`, for `time` at most. `conn` has written to
    /// the target since. One that loses its link meanwhile is waited for, too. `None` when there were none, or the target does
    /// not tell.
    ///
    /// Errors: those of the connection.
    pub(super) async fn wait(conn: &mut Connection, text: &str, time: Duration) -> Result<Option<Self>> {
        let Some(offset) = info::field(text.as_bytes(), "master_repl_offset").and_then(|n| n.parse().ok()) else {
            return Ok(None);
        };
        let end = Instant::now() + time;
        let mut seen = Self::read(text, offset);
        let mut connected = seen.connected;
        while connected > seen.had_all {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // It makes replicas answer at once, and not only once a second.
            let asked = Instant::now();
            let (count, ms) = (connected.to_string(), left.min(ASK).as_millis().max(1).to_string());
            if let Value::Error(_) = conn.ask(&[b"WAIT", count.as_bytes(), ms.as_bytes()]).await? {
                sleep(left.min(ASK)).await;
            }
            seen = Self::read(&conn.info("replication").await?, offset);
            connected = connected.max(seen.connected);
            if connected > seen.had_all {
                sleep(AGAIN.saturating_sub(asked.elapsed())).await;
            }
        }
        Ok(Some(Self { connected, ..seen }).filter(|seen| seen.connected > 0))
    }

    /// What INFO says of them.
    fn read(text: &str, offset: u64) -> Self {
        let mut seen = Self { connected: 0, had_all: 0 };
        for n in 0.. {
            let Some(line) = info::field(text.as_bytes(), &format!("slave{n}")) else { return seen };
            let of = |name| line.split(',').filter_map(|part| part.split_once('=')).find(|part| part.0 == name);
            let number = |name| of(name).and_then(|(_, n)| n.parse::<u64>().ok()).unwrap_or(0);
            if number("port") > 0 {
                seen.connected += 1;
                seen.had_all += u64::from(of("state").is_some_and(|s| s.1 == "online") && number("offset") >= offset);
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_say() {
        let seen = |text: &str, offset| {
            let Replicas { connected, had_all } = Replicas::read(text, offset);
            (connected, had_all)
        };
        assert_eq!(seen("role:master\r\nconnected_slaves:0\r\nmaster_repl_offset:7\r\n", 7), (0, 0));
        let text = "role:master\r\nconnected_slaves:4\r\n\
            slave0:ip=127.0.0.1,port=6380,state=online,offset=100,lag=0\r\n\
            slave1:ip=::1,port=6381,state=online,offset=99,lag=1,type=replica\r\n\
            slave2:ip=127.0.0.1,port=0,state=online,offset=100,lag=0\r\n\
            slave3:ip=127.0.0.1,port=6382,state=wait_bgsave,offset=100,lag=0\r\nmaster_repl_offset:100\r\n";
        assert_eq!((seen(text, 100), seen(text, 99)), ((3, 1), (3, 2)));
    }
}
