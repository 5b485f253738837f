//! The user of the source may replicate: PING, INFO, REPLCONF and PSYNC. No replication link is opened for that.
//!
//! Failed: one of them is not allowed, or not there. Warning: it cannot be known without opening a link.

use keyferry_keyspace::Flavor;
use keyferry_model::ErrorKind;
use keyferry_net::Value;

use crate::{
    facts::Facts,
    probe,
    report::{Checked, Verdict},
    server::{Server, refusal},
};

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let source = facts.source()?;
    // PING and INFO were answered.
    for (name, answer) in [("REPLCONF", replconf(source).await), ("PSYNC", psync(source).await)] {
        match answer {
            Allowed::Yes => {}
            Allowed::No(why) => {
                let kind = match why.contains("NOPERM") {
                    true => ErrorKind::Permission(keyferry_model::Side::Source),
                    false => ErrorKind::PsyncRefused,
                };
                let reason = format!("{name} is refused: `{why}`");
                return Ok(Verdict::failed(reason, kind.policy().remedy).with("refused", name));
            }
            Allowed::Unknown(why) => {
                let reason = format!("whether {name} is allowed cannot be known without opening a link: {why}");
                let remedy = "see that the user has `+psync +replconf +ping +info`; sync says at once when it has not";
                return Ok(Verdict::warning(reason, remedy).with("unknown", name));
            }
        }
    }
    Ok(Verdict::passed("the user may run PING, INFO, REPLCONF and PSYNC"))
}

enum Allowed {
    Yes,
    No(String),
    Unknown(String),
}

/// Without options it changes nothing.
async fn replconf(source: &mut Server) -> Allowed {
    match source.ask_all(&[[&b"REPLCONF"[..]]]).await.map(|mut replies| replies.pop()) {
        Ok(Some(Value::Error(text))) if refuses(&text) => Allowed::No(refusal(&text)),
        Ok(_) => Allowed::Yes,
        Err(why) => Allowed::Unknown(why),
    }
}

async fn psync(source: &mut Server) -> Allowed {
    // Without arguments: a server that knows it complains of their number before it looks at anything else.
    match source.ask_all(&[[&b"PSYNC"[..]]]).await.map(|mut replies| replies.pop()) {
        Ok(Some(Value::Error(text))) if text.starts_with(b"ERR wrong number of arguments") => {}
        Ok(Some(Value::Error(text))) => return Allowed::No(refusal(&text)),
        Ok(_) => return Allowed::Unknown("it has an unexpected reply".into()),
        Err(why) => return Allowed::Unknown(why),
    }
    if source.version.redis < (6, 0, 0) {
        // There are no rights but the password's.
        return Allowed::Yes;
    }
    if source.version.redis < (7, 0, 0) {
        return match probe::queue(source, &[vec![b"PSYNC", b"?", b"-1"]]).await {
            Ok(answers) => match answers.into_iter().next().flatten() {
                None => Allowed::Yes,
                Some(text) => Allowed::No(text),
            },
            Err(why) => Allowed::Unknown(why),
        };
    }
    // Others may take any offset for the wish to have everything.
    if source.version.flavor == Flavor::Other {
        return Allowed::Unknown("this kind of server has no harmless way to ask".into());
    }
    // replication.c syncCommand, Redis 7.0: an offset that is no number is refused before anything else is done.
    match source.ask_all(&[[&b"PSYNC"[..], b"?", b"none"]]).await.map(|mut replies| replies.pop()) {
        Ok(Some(Value::Error(text))) if refuses(&text) => Allowed::No(refusal(&text)),
        Ok(Some(Value::Error(_))) => Allowed::Yes,
        Ok(_) => Allowed::Unknown(source.give_up("PSYNC has an unexpected reply".into())),
        Err(why) => Allowed::Unknown(why),
    }
}

fn refuses(text: &[u8]) -> bool {
    text.starts_with(b"NOPERM") || text.starts_with(b"ERR unknown command")
}
