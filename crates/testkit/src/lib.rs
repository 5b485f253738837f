//! Real servers by version, data generator, write load and an independent oracle.
//!
//! Everything here drives real processes over real sockets. Nothing of the product is linked in: the oracle must be
//! able to contradict the product, so it shares no line of code with it.
//!
//! Every process that is started here dies with the process that started it, see [`process`].

pub mod chaos;
pub mod contents;
pub mod data;
pub mod families;
pub mod keyferry;
pub mod load;
pub mod matrix;
pub mod oracle;
pub mod process;
pub mod proxy;
pub mod server;
pub mod wait;
pub mod wire;

mod features;
mod rng;

pub use keyferry::{Keyferry, Progress};
pub use proxy::Proxy;
pub use rng::Rng;
pub use server::Server;
pub use wait::wait_until;
