//! Neither side is a node of a cluster, which holds only a part of the data, or a Sentinel, which holds none.
//!
//! Failed: one is. Warning: a server that could be a node does not say whether it is.

use keyferry_model::{ErrorKind, Side};

use crate::{
    Source,
    facts::Facts,
    report::{Checked, Verdict},
};

pub(super) fn check(facts: &mut Facts<'_>) -> Checked {
    let one_database = facts.request.objects.databases().is_some_and(|databases| databases.len() == 1);
    let sides = match facts.request.source {
        Source::Server(_) => {
            let (source, target) = facts.both()?;
            vec![(Side::Source, &*source), (Side::Target, &*target)]
        }
        Source::File(_) => vec![(Side::Target, &*facts.target()?)],
    };
    let several = sides.iter().any(|(side, server)| *side == Side::Source && server.keys(|db| db > 0) > 0);
    let mut hidden = None;
    for (side, server) in sides {
        let mode = server.field("redis_mode");
        if mode == Some("sentinel") {
            let reason = format!("the {side} is a Sentinel, which holds no data");
            return Ok(Verdict::failed(reason, "name the primary that it watches").with("side", side.name()));
        }
        match server.field("cluster_enabled") {
            Some("1") => {
                let mut reason = format!("the {side} is a node of a cluster");
                if side == Side::Target && !one_database && several {
                    reason.push_str(", which has one database, and the source uses several");
                }
                let verdict = Verdict::failed(reason, ErrorKind::Cluster(side).policy().remedy);
                return Ok(verdict.with("side", side.name()));
            }
            Some(_) => {}
            // Clusters came with 3.0.
            None if mode == Some("standalone") || server.version.redis < (3, 0, 0) => {}
            None => hidden = Some(side),
        }
    }
    Ok(match hidden {
        Some(side) => {
            let reason = format!("the {side} does not say whether it is a node of a cluster");
            Verdict::warning(reason, "see that it is none: a node holds only a part of the data")
        }
        None => Verdict::passed("neither side is a node of a cluster"),
    })
}
