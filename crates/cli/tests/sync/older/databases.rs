//! Chosen databases, and whole ones.

use super::*;

/// With one chosen database, which has another number on the target.
#[test]
fn one_database() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-5.0").unwrap());
    let run = sync(&format!("{}/2", source.url()), &format!("{}/5", target.url())).spawn().unwrap();
    run.wait_for(LONG, |p| p.phase == "incremental").unwrap();
    let conn = &mut source.conn().unwrap();
    for line in [
        "LPUSH other 1",
        "COPY other copy",
        "SPUBLISH channel message",
        "SELECT 2",
        "RPUSH l 1 2 3",
        "COPY l m DB 2",
        "COPY l m REPLACE",
        "LPOP l 2",
        "XADD s NOMKSTREAM 1-1 f v",
        "SET n 1",
    ] {
        send(conn, line);
    }
    let following = Following { source, target, run };
    following.wait_in_step();
    assert_eq!(ask::<Vec<String>>(&following.target, 5, "LRANGE l 0 -1"), ["3"]);
    assert_eq!(ask::<Vec<String>>(&following.target, 5, "LRANGE m 0 -1"), ["1", "2", "3"]);
    assert_eq!(following.target.keys().unwrap(), 3 + 1, "and the position of the task");
}

/// Whole databases change places, or are emptied in ways that the target has no word for.
#[test]
fn whole_databases() {
    let following = Following::start("redis-6.2", "redis-3.2", &[]);
    let conn = &mut following.source.conn().unwrap();
    for line in [
        "SET both 0",
        "SET a 0 PX 4000000",
        "RPUSH list 1 2",
        "SELECT 1",
        "SET both 1 PX 4000000",
        "SET b 1",
        "SELECT 0",
        "SWAPDB 0 1",
        "SET c 0",
        "SWAPDB 3 3",
        "SWAPDB 1 4",
        "SELECT 7",
        "SET gone 1",
        "FLUSHDB SYNC",
        "SET gone 1",
        "FLUSHDB ASYNC",
        "SET stays 1",
    ] {
        send(conn, line);
    }
    following.assert_equal_but(|_| false);
    assert_eq!(keys(&following.target, 4), 3);
    for line in ["SCRIPT FLUSH ASYNC", "FLUSHALL SYNC", "SET stays 1"] {
        send(conn, line);
    }
    following.assert_equal_but(|_| false);
    assert_eq!(following.target.keys().unwrap(), 1 + 1, "and the position of the task");
}
