//! What an error reply of the target means. Every error reply passes here; none is dropped.

use keyferry_model::{Error, ErrorKind, Result, Side};
use keyferry_net::{Connection, Value, safe_text};

use super::batch::What;

const EXEC_REFUSED: &[u8] = b"EXECABORT Transaction discarded because of: ";

/// The kind of the error that `text`, without its leading `-`, stands for.
pub(crate) fn kind_of(text: &[u8], what: What) -> ErrorKind {
    let side = Side::Target;
    // EXEC itself was refused; the reason has its own word (multi.c execCommandAbort, Redis 6.0).
    let text = text.strip_prefix(EXEC_REFUSED).unwrap_or(text);
    let contains = |part: &[u8]| text.windows(part.len()).any(|w| w == part);
    match text.split(|&b| b == b' ').next().unwrap_or_default() {
        b"OOM" => ErrorKind::TargetFull,
        b"MISCONF" | b"NOREPLICAS" => ErrorKind::TargetMisconf,
        b"READONLY" => ErrorKind::TargetDemoted,
        b"BUSY" => ErrorKind::Timeout(side),
        b"LOADING" => ErrorKind::Loading(side),
        b"NOAUTH" | b"WRONGPASS" => ErrorKind::Auth(side),
        b"NOPERM" => ErrorKind::Permission(side),
        // Also within the error text of a script.
        _ if contains(b"OOM command not allowed") => ErrorKind::TargetFull,
        // EXEC on 5.0.
        _ if contains(b"instance is now a read-only") => ErrorKind::TargetDemoted,
        _ if contains(b"BUSYKEY") => ErrorKind::KeyExists,
        _ if what == What::Select => ErrorKind::NoSuchDatabase,
        _ if contains(b"unknown command") || contains(b"Bad data format") || contains(b"DUMP payload version") => {
            ErrorKind::UnsupportedByTarget
        }
        _ => ErrorKind::CommandRefused,
    }
}

/// Asks on a control connection; an error reply becomes an error whose kind is the one that the same reply to a write has.
pub(crate) async fn ask(conn: &mut Connection, args: &[&[u8]]) -> Result<Value> {
    let reply = conn.ask(args).await?;
    answered(conn, args.first().copied().unwrap_or_default(), reply)
}

/// What [`ask`] gives for this reply to the command `name`.
pub(crate) fn answered(conn: &Connection, name: &[u8], reply: Value) -> Result<Value> {
    let Value::Error(text) = reply else { return Ok(reply) };
    let kind = match conn.kind_of(&text) {
        ErrorKind::Protocol(_) => kind_of(&text, What::Setup),
        kind => kind,
    };
    let name = String::from_utf8_lossy(name);
    Err(Error::new(kind, format!("ask the target: it answers {name} with `{}`", safe_text(&text))))
}

/// An error reply to what stands around the commands of a batch: nothing of it was written.
pub(crate) fn of_guard(text: &[u8]) -> Error {
    let shown = safe_text(text);
    Error::new(kind_of(text, What::Checkpoint), format!("write to the target: it answers a transaction with `{shown}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_replies_of_real_servers() {
        let kind = |text: &str| kind_of(text.as_bytes(), What::Command);
        assert_eq!(kind("OOM command not allowed when used memory > 'maxmemory'."), ErrorKind::TargetFull);
        assert_eq!(kind("READONLY You can't write against a read only replica."), ErrorKind::TargetDemoted);
        let of_exec =
            "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.";
        assert_eq!(kind(of_exec), ErrorKind::TargetDemoted);
        let of_5_0 = "ERR Transaction contains write commands but instance is now a read-only slave. EXEC aborted.";
        assert_eq!(kind(of_5_0), ErrorKind::TargetDemoted);
        assert_eq!(kind("EXECABORT Transaction discarded because of previous errors."), ErrorKind::CommandRefused);
        assert_eq!(kind("ERR unknown command 'FUNCTION', with args"), ErrorKind::UnsupportedByTarget);
        assert_eq!(kind("ERR Bad data format"), ErrorKind::UnsupportedByTarget);
        assert_eq!(kind("ERR DUMP payload version or checksum are wrong"), ErrorKind::UnsupportedByTarget);
        assert_eq!(kind("BUSYKEY Target key name already exists."), ErrorKind::KeyExists);
        assert_eq!(kind("WRONGTYPE Operation against a key"), ErrorKind::CommandRefused);
        assert_eq!(kind_of(b"ERR DB index is out of range", What::Select), ErrorKind::NoSuchDatabase);
        assert_eq!(kind(""), ErrorKind::CommandRefused);
    }
}
