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
    match reply {
        Value::Error(text) => Err(refused(conn, &String::from_utf8_lossy(name), &text)),
        reply => Ok(reply),
    }
}

/// The error for an error reply to the command `name`.
pub(super) fn refused(conn: &Connection, name: &str, text: &[u8]) -> Error {
    let kind = match conn.kind_of(text) {
        ErrorKind::Protocol(_) => kind_of(text, What::Setup),
        kind => kind,
    };
    Error::new(kind, format!("ask the target: it answers {name} with `{}`", safe_text(text)))
}

/// Whether an error in answer to a script says that the script has not come to its end: the server has not begun with it, or an
/// error has ended it, which names the script. Whatever else stands between here and the server says something else. What stands
/// between may also ask again when the server is gone: a word that another one says, or the same one when it was started again, is
/// not among these.
pub(super) fn script_was_refused(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 5] = [b"NOPERM", b"OOM", b"MISCONF", b"NOREPLICAS", b"BUSY"];
    let word = text.split(|&b| b == b' ').next().unwrap_or_default();
    WORDS.contains(&word) || text.windows(b"user_script".len()).any(|part| part == b"user_script")
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

    #[test]
    fn what_was_not_done_for_sure() {
        for text in [
            "NOREPLICAS Not enough good replicas to write. script: 8a, on @user_script:1.",
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            "NOPERM User default has no permissions to access the 'k' key",
            "READONLY You can't write against a read only replica. script: 8a, on @user_script:1.",
            "ERR Error running script (call to f_8a): @user_script:4: @user_script: 4: -MISCONF Errors writing to the AOF file",
        ] {
            assert!(script_was_refused(text.as_bytes()), "{text}");
        }
        for text in [
            "ERR upstream failure",
            "ERR",
            "",
            "ERR max number of clients reached",
            "BUSYGROUP",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "NOAUTH Authentication required.",
            "READONLY You can't write against a read only replica.",
        ] {
            assert!(!script_was_refused(text.as_bytes()), "{text}");
        }
    }
}
