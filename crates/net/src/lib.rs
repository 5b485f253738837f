//! Connections to Redis-compatible servers: endpoint URLs, TLS, authentication, and the control connection that
//! asks one question at a time.
//!
//! Knows nothing of what is migrated: the replication stream and the pipelined writes are the engine's.

mod connect;
mod connection;
mod endpoint;
mod safe_text;
mod stream;
mod tls;

pub use connection::Connection;
pub use endpoint::Endpoint;
pub use keyferry_resp::Value;
pub use safe_text::{first_word, safe_text};
pub use stream::{ReadHalf, Stream, WriteHalf};
