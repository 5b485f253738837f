//! How a tool ends before its end.

use keyferry_model::{Error, ErrorKind};
use keyferry_rdb as rdb;

/// Why a tool stops.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something is wrong.
    Failed(Error),
    /// Nobody reads standard output any more: nothing is wrong, but there is nothing left to do.
    ReaderGone,
}

pub(super) type Result<T> = std::result::Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// An error of the codec as one that a user can act on.
pub(super) fn refused(context: String, error: rdb::Error) -> Stop {
    Error::new(kind_of(&error), context).caused_by(error).into()
}

/// A fault that the codec cannot see.
pub(super) fn corrupt(context: String) -> Stop {
    Error::new(ErrorKind::RdbCorrupt, context).into()
}

fn kind_of(error: &rdb::Error) -> ErrorKind {
    use rdb::Error::{FunctionPreGa, OpaqueModule, OverLimit, UnknownOpcode, UnknownType, UnsupportedVersion};
    match error {
        UnknownType { .. } | UnknownOpcode { .. } | FunctionPreGa { .. } | OpaqueModule { .. } => {
            ErrorKind::RdbUnknownType
        }
        UnsupportedVersion { .. } => ErrorKind::RdbVersion,
        OverLimit { .. } => ErrorKind::RdbTooLarge,
        _ => ErrorKind::RdbCorrupt,
    }
}
