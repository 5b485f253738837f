//! The test kit tested: servers start and stop, and the oracle finds what differs and nothing else.

mod keyferry;
mod oracle;
mod server;
