//! What the engine relies on, against real servers.

mod key_table;
