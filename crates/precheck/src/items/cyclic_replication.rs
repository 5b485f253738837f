//! What is copied does not come back to the source: neither side is the other's replica, and no task copies the other way.
//!
//! Failed: one is a replica of the other, both follow one primary, or the source holds the position of a task that has
//! copied from this target. Warning: the source holds the position of a task that copies from elsewhere, or its keys
//! cannot be looked at.

use keyferry_keyspace::info;
use keyferry_model::ErrorKind;
use keyferry_net::{Endpoint, Value};

use crate::{
    facts::Facts,
    needed::POSITION,
    report::{Checked, Verdict},
    sample::scanned,
    server::Server,
};

/// Steps of a search for positions, of 1000 keys each: some ten milliseconds.
const STEPS: u64 = 100;
/// docs/design/checkpoint.md: the first bytes of a position, and the id of the history that it belongs to.
const MAGIC: &[u8] = b"KFC1";
const HISTORY: std::ops::Range<usize> = 88..128;

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let request = facts.request;
    let source_at = facts.source_at()?;
    let (source, target) = facts.both()?;
    if let Some(why) = linked(source, target, source_at, request.target) {
        return Ok(Verdict::failed(why, ErrorKind::SameInstance.policy().remedy));
    }
    let likely = request.reverse_tasks.iter().map(String::as_str).chain([request.task]);
    let found = match positions(source, likely.collect()).await {
        Ok(found) => found,
        Err(why) => {
            let reason = format!("whether a task copies to the source cannot be known: {why}");
            return Ok(Verdict::warning(reason, "see that no task copies from the target to the source"));
        }
    };
    let histories = ["master_replid", "master_replid2"].map(|name| target.field(name).unwrap_or_default());
    let ours = |position: &Vec<u8>| {
        let history = position.get(HISTORY).filter(|_| position.starts_with(MAGIC));
        histories.iter().any(|id| id.len() == 40 && history == Some(id.as_bytes()) && !id.bytes().all(|b| b == b'0'))
    };
    let verdict = match (found.seen.iter().any(ours), found.seen.is_empty()) {
        (true, _) => Verdict::failed(
            "the source holds the position of a task that copies to it from this target",
            "end that task; when it is over, delete its key __keyferry_checkpoint:<task> on the source",
        ),
        (false, false) => Verdict::warning(
            format!("the source is the target of {} other tasks", found.seen.len()),
            "see that they do not lead back to the source; delete the keys __keyferry_checkpoint:<task> of tasks \
             that are over",
        ),
        (false, true) if found.all => Verdict::passed("neither side follows the other"),
        (false, true) => Verdict::passed(format!(
            "neither side follows the other, as far as can be seen in some {} keys of the source",
            STEPS * 1000
        )),
    };
    Ok(verdict.with("positions", found.seen.len()))
}

/// Why one side follows the other, as far as INFO tells.
fn linked(source: &Server, target: &Server, source_at: &Endpoint, target_at: &Endpoint) -> Option<&'static str> {
    let follows = |server: &Server, at: &Endpoint| {
        server.field("master_host") == Some(&at.host) && server.number("master_port") == Some(u64::from(at.port))
    };
    if follows(source, target_at) {
        return Some("the source is a replica of the target");
    }
    if follows(target, source_at) {
        return Some("the target is a replica of the source");
    }
    // Servers before 4.0 have no such id.
    let history =
        |server: &Server| server.field("master_replid").filter(|id| !id.bytes().all(|b| b == b'0')).map(str::to_owned);
    (history(source).is_some() && history(source) == history(target))
        .then_some("one side is a replica of the other, or both follow the same primary")
}

struct Found {
    /// The bytes of the positions.
    seen: Vec<Vec<u8>>,
    /// All keys were looked at.
    all: bool,
}

/// Looks in each database that is used: first for the likely names, then among the first keys.
async fn positions(source: &mut Server, tasks: Vec<&str>) -> Result<Found, String> {
    let databases: Vec<(u32, u64)> = info::keyspace(&source.info).map(|k| (k.db.0, k.keys)).collect();
    let mut found = Found { seen: Vec::new(), all: true };
    let mut steps = STEPS;
    for (db, _) in databases {
        source.ask(&[b"SELECT", db.to_string().as_bytes()]).await?;
        let mut names: Vec<Vec<u8>> = tasks.iter().map(|task| [POSITION, task.as_bytes()].concat()).collect();
        let pattern = [POSITION, b"*"].concat();
        let mut cursor = b"0".to_vec();
        while steps > 0 {
            steps -= 1;
            let question: [&[u8]; 6] = [b"SCAN", &cursor, b"MATCH", &pattern, b"COUNT", b"1000"];
            let (next, more) = scanned(source.ask(&question).await?)?;
            names.extend(more);
            cursor = next;
            if cursor == b"0" {
                break;
            }
        }
        found.all &= cursor == b"0" && steps > 0;
        names.sort();
        names.dedup();
        for name in names {
            if let Ok(Value::Bulk(position)) = source.ask(&[b"HGET", &name, b"v"]).await {
                found.seen.push(position);
            }
        }
    }
    Ok(found)
}
