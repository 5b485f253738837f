//! The test kit tested: servers start and stop, and the oracle finds what differs and nothing else.

mod data;
mod families;
mod keyferry;
mod load;
mod oracle;
mod server;
