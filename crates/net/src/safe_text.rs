//! Error texts of servers, without what they may hold of the user's: some repeat arguments, and those may be keys,
//! values or passwords.

/// What stands before the first quote, at most 120 characters.
pub fn safe_text(text: &[u8]) -> String {
    let end = text.iter().position(|b| matches!(b, b'\'' | b'`' | b'"')).unwrap_or(text.len());
    let text = String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned();
    text.chars().filter(|c| !c.is_control()).take(120).collect::<String>().trim_end().to_owned()
}

/// The first word, which is the error's code.
pub fn first_word(text: &[u8]) -> String {
    safe_text(text.split(|&b| b == b' ').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_cut_off() {
        let text = b"ERR unknown command 'AUTH', with args beginning with: 'topsecret'";
        assert_eq!(safe_text(text), "ERR unknown command");
        assert_eq!(
            safe_text(b"ERR unknown command `AUTH`, with args beginning with: `topsecret`"),
            "ERR unknown command"
        );
        assert_eq!(safe_text(b"OOM command not allowed\r\n"), "OOM command not allowed");
        assert_eq!(first_word(b"MYERR user alice@example.org"), "MYERR");
        assert_eq!(safe_text(&[b'x'; 500]).len(), 120);
    }
}
