//! What can be wrong with bytes that should be RESP.
//!
//! An error says where and what was expected, never what was there: the bytes may belong to a key or a value.

/// Bytes that are not RESP, or that ask for more than the limits allow.
///
/// `at` is the offset in bytes from the start of the request or reply in which the error was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A byte is not what the protocol has at this place.
    #[error("at byte {at}: expected {expected}")]
    Unexpected {
        /// Offset of the byte.
        at: u64,
        /// What the protocol has there.
        expected: &'static str,
    },
    /// A length is larger than the limit for it.
    #[error("at byte {at}: expected {what} of at most {limit}")]
    TooLarge {
        /// Offset of the length's type byte.
        at: u64,
        /// What the length counts.
        what: &'static str,
        /// The limit, in the unit of `what`.
        limit: u64,
    },
    /// A reply is nested deeper than any server sends.
    #[error("at byte {at}: expected at most {limit} levels of nesting")]
    TooDeep {
        /// Offset of the type byte that opens the level too many.
        at: u64,
        /// The number of levels allowed.
        limit: u64,
    },
}

impl Error {
    /// Offset in bytes from the start of the request or reply.
    pub fn at(&self) -> u64 {
        match *self {
            Self::Unexpected { at, .. } | Self::TooLarge { at, .. } | Self::TooDeep { at, .. } => at,
        }
    }

    /// The same error, for a part that starts `base` bytes into the request or reply.
    pub(crate) fn offset_by(mut self, base: u64) -> Self {
        match &mut self {
            Self::Unexpected { at, .. } | Self::TooLarge { at, .. } | Self::TooDeep { at, .. } => {
                *at = at.saturating_add(base);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_and_what() {
        let e = Error::Unexpected { at: 2, expected: "a digit" }.offset_by(5);
        assert_eq!(e.at(), 7);
        assert_eq!(e.to_string(), "at byte 7: expected a digit");
        let e = Error::TooLarge { at: 4, what: "bytes in a bulk string", limit: 10 };
        assert_eq!(e.to_string(), "at byte 4: expected bytes in a bulk string of at most 10");
    }
}
