//! What an error reply of the target means. Every error reply passes here; none is dropped.

use keyferry_model::{ErrorKind, Side};

use super::batch::What;

/// The kind of the error that `text`, without its leading `-`, stands for.
pub(crate) fn kind_of(text: &[u8], what: What) -> ErrorKind {
    let side = Side::Target;
    let contains = |part: &[u8]| text.windows(part.len()).any(|w| w == part);
    match text.split(|&b| b == b' ').next().unwrap_or_default() {
        b"OOM" => ErrorKind::TargetFull,
        b"MISCONF" => ErrorKind::TargetMisconf,
        b"READONLY" => ErrorKind::TargetDemoted,
        b"BUSY" => ErrorKind::Timeout(side),
        b"LOADING" => ErrorKind::Loading(side),
        b"NOAUTH" | b"WRONGPASS" => ErrorKind::Auth(side),
        b"NOPERM" => ErrorKind::Permission(side),
        // Also within the error text of a script.
        _ if contains(b"BUSYKEY") => ErrorKind::KeyExists,
        _ if what == What::Select => ErrorKind::NoSuchDatabase,
        _ if contains(b"unknown command") || contains(b"Bad data format") || contains(b"DUMP payload version") => {
            ErrorKind::UnsupportedByTarget
        }
        _ => ErrorKind::CommandRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_replies_of_real_servers() {
        let kind = |text: &str| kind_of(text.as_bytes(), What::Command);
        assert_eq!(kind("OOM command not allowed when used memory > 'maxmemory'."), ErrorKind::TargetFull);
        assert_eq!(kind("READONLY You can't write against a read only replica."), ErrorKind::TargetDemoted);
        assert_eq!(kind("ERR unknown command 'FUNCTION', with args"), ErrorKind::UnsupportedByTarget);
        assert_eq!(kind("ERR Bad data format"), ErrorKind::UnsupportedByTarget);
        assert_eq!(kind("ERR DUMP payload version or checksum are wrong"), ErrorKind::UnsupportedByTarget);
        assert_eq!(kind("BUSYKEY Target key name already exists."), ErrorKind::KeyExists);
        assert_eq!(kind("WRONGTYPE Operation against a key"), ErrorKind::CommandRefused);
        assert_eq!(kind_of(b"ERR DB index is out of range", What::Select), ErrorKind::NoSuchDatabase);
        assert_eq!(kind(""), ErrorKind::CommandRefused);
    }
}
