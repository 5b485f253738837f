//! Replies of a target on a pipelined connection, RESP2 and RESP3.
//!
//! A lane sends thousands of commands and wants to know of each only whether it went well. [`Scanner`] therefore consumes
//! the bytes as they come, in any cut, and gives a [`Summary`] for each reply: contents are skipped, only the text of an
//! error is kept. Which command a reply belongs to is for the caller to count.

mod frames;
mod scan;

pub use scan::Scanner;

/// What a complete reply at the top level was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The type of the reply itself.
    pub kind: Kind,
    /// Whether an error is nested in it at any depth, as in the reply of EXEC.
    pub nested_error: bool,
    /// The greatest of the integers that are nested in it at any depth.
    pub greatest: Option<i64>,
}

/// The type of a reply, with its value where that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A simple string, `+`.
    Status,
    /// A simple or bulk error, `-` or `!`; its text is in [`Scanner::error_text`].
    Error,
    /// An integer, `:`.
    Int(i64),
    /// No value: `$-1`, `*-1` or `_`.
    Nil,
    /// A bulk or verbatim string, `$` or `=`.
    Bulk,
    /// An array or set, `*` or `~`, and the number of its elements.
    Array(u64),
    /// A RESP3 push, `>`, which answers no command: whoever counts replies does not count it.
    Push,
    /// A RESP3 double, boolean, big number or map.
    Other,
}

#[cfg(test)]
mod tests;
