//! All servers there are, each asked the same.

use std::thread;

use super::Server;

/// The servers by which statements about all versions are judged, oldest first.
pub const SERVERS: [&str; 18] = [
    "redis-2.8",
    "redis-3.0",
    "redis-3.2",
    "redis-4.0",
    "redis-5.0",
    "redis-6.0",
    "redis-6.2",
    "redis-7.0",
    "redis-7.2",
    "redis-7.4",
    "redis-8.0",
    "redis-8.2",
    "redis-8.6",
    "redict-7.3",
    "valkey-8.0",
    "valkey-8.1",
    "valkey-9.0",
    "valkey-9.1",
];

/// Does the work with each server, with all at once; gives the faults of all of them.
///
/// # Panics
/// When a server cannot be started, or the work panics.
pub fn faults_on_each(work: impl Fn(&Server) -> Vec<String> + Sync) -> Vec<String> {
    thread::scope(|scope| {
        let work = &work;
        let started = |name| Server::start(name).unwrap_or_else(|e| panic!("start {name}: {e:#}"));
        let threads = SERVERS.map(|name| scope.spawn(move || work(&started(name))));
        threads.into_iter().flat_map(|thread| thread.join().expect("the work is done")).collect()
    })
}
