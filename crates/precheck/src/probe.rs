//! Trying commands without running them: they are queued in a transaction that is then given up.
//!
//! A server refuses what it would not run already when it is queued: commands that it does not know, that the user may
//! not run, or that write where nothing may be written. This needs no right but MULTI and DISCARD, and works in every
//! version.

use keyferry_net::Value;

use crate::server::{Server, refusal};

/// For each command, `None` when it was queued, else what it was refused with. Errors: why nothing can be tried.
pub(crate) async fn queue(server: &mut Server, commands: &[Vec<&[u8]>]) -> Result<Vec<Option<String>>, String> {
    match server.ask(&[b"MULTI"]).await? {
        Value::Status(ok) if ok == b"OK" => {}
        _ => return Err("MULTI has an unexpected reply".into()),
    }
    let answers = queued(server, commands).await;
    if let Err(why) = server.ask(&[b"DISCARD"]).await {
        // All that follows on this connection would only be queued.
        return Err(server.give_up(format!("a transaction cannot be given up: {why}")));
    }
    answers
}

async fn queued(server: &mut Server, commands: &[Vec<&[u8]>]) -> Result<Vec<Option<String>>, String> {
    // Something in between that does not know transactions would run what comes: it is to show itself with a question.
    match server.ask(&[b"PING"]).await? {
        Value::Status(queued) if queued == b"QUEUED" => {}
        _ => return Err("it does not queue commands of a transaction".into()),
    }
    let replies = server.ask_all(commands).await?;
    let answer = |reply: Value| match reply {
        Value::Error(text) => Some(refusal(&text)),
        _ => None,
    };
    Ok(replies.into_iter().map(answer).collect())
}
