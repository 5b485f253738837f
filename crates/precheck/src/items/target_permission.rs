//! The user of the target may write what is going to be written. Nothing is: all is queued in a transaction that is given
//! up.
//!
//! Failed: a command that every task needs is refused, or the names that a task keeps its position under. Warning: a
//! command that streams commonly bring is refused, or the key that it was tried with, or nothing can be tried; or TIME is, without
//! which there is no cut-over.

use keyferry_model::{ErrorKind, Side};

use crate::{
    Source,
    facts::Facts,
    needed::{OF_FILE, OF_STREAM, OF_VALUES, POSITION},
    probe,
    report::{Checked, Verdict},
    server::Server,
};

/// Never written: a name that no pattern of a user names by itself.
const KEY: &[u8] = b"keyferry-precheck";

/// The last step of a cut-over asks for it in a script, where the rights are the same.
const LAST_STEP: &str = "TIME";

pub(super) async fn check(facts: &mut Facts<'_>) -> Checked {
    let position = [POSITION, facts.request.task.as_bytes()].concat();
    let file = matches!(facts.request.source, Source::File(_));
    let target = facts.target()?;
    let remedy = ErrorKind::Permission(Side::Target).policy().remedy;
    let fails = |what: &str, why: &str| Verdict::failed(format!("{what} is refused: {why}"), remedy);
    // It cannot be queued; the end of the transaction behind it takes it back.
    if !file
        && let Err(why) = target.ask(&[b"WATCH", &position]).await
        && why.contains("NOPERM")
    {
        return Ok(fails("WATCH", &why).with("refused", vec!["WATCH"]));
    }
    let mut of_task = of_task(&position);
    if file {
        of_task.retain(|command| command.first().is_some_and(|name| OF_FILE.iter().any(|n| n.as_bytes() == *name)));
    }
    let answers = match probe::queue(target, &of_task).await {
        Ok(answers) => answers,
        Err(why) if why.contains("NOPERM") && !file => return Ok(fails("MULTI", &why).with("refused", vec!["MULTI"])),
        Err(why) => {
            let reason = format!("the rights cannot be known without writing: {why}");
            return Ok(Verdict::warning(reason, "check the rights of the target's user"));
        }
    };
    if let Some((refused, why)) = refused(&of_task, &answers).next() {
        return Ok(fails(&refused, &why).with("refused", vec![refused]));
    }
    if !file
        && let Err(why) = exec_alone(target).await
        && why.contains("NOPERM")
    {
        return Ok(fails("EXEC", &why).with("refused", vec!["EXEC"]));
    }
    let mut of_data = of_data(target, if file { &OF_VALUES } else { &OF_STREAM });
    if !file {
        of_data.push(vec![LAST_STEP.as_bytes()]);
    }
    let answers = match probe::queue(target, &of_data).await {
        Ok(answers) => answers,
        Err(why) => {
            let reason = format!("not all rights can be known without writing: {why}");
            return Ok(Verdict::warning(reason, "check the rights of the target's user"));
        }
    };
    let (late, refused): (Vec<_>, Vec<_>) = refused(&of_data, &answers).partition(|(name, _)| name == LAST_STEP);
    let Some((first, why)) = refused.first() else {
        if let Some((name, why)) = late.into_iter().next() {
            let reason = format!("{name} is refused: {why}; the task runs, but a cut-over would be refused");
            let remedy = "before a cut-over, allow the target user: ACL SETUSER <user> +time";
            return Ok(Verdict::warning(reason, remedy).with("refused", vec![name]));
        }
        let tried = of_task.len() + of_data.len() + if file { 0 } else { 3 };
        return Ok(Verdict::passed(format!("the user may run all of {tried} commands")).with("tried", tried));
    };
    let data = if file { "a value" } else { "a write" };
    let names: Vec<String> = refused.iter().chain(&late).map(|(name, _)| name.clone()).collect();
    let reason = match refused.len() {
        1 => format!("{first} is refused: {why}; {data} of that kind would stop the task"),
        n => format!("{n} commands are refused, such as {first}: {why}; {data} of that kind would stop the task"),
    };
    Ok(Verdict::warning(reason, remedy).with("refused", names))
}

fn of_task(position: &[u8]) -> Vec<Vec<&[u8]>> {
    vec![
        vec![b"SELECT", b"0"],
        vec![b"HGET", position, b"v"],
        vec![b"HSET", position, b"v", b"x"],
        vec![b"HMSET", position, b"v", b"x"],
        vec![b"SET", position, b"x"],
        vec![b"MSET", position, b"x"],
        vec![b"MSETNX", position, b"x"],
        vec![b"RESTORE", position, b"0", b"x"],
        vec![b"PEXPIREAT", position, b"1"],
        vec![b"DEL", position],
        vec![b"EVAL", b"return 1", b"1", position],
        vec![b"SCAN", b"0"],
    ]
}

/// What is queued of what data needs. Commands that empty a database are not sent, not even so.
fn of_data(target: &Server, names: &[(&'static str, (u32, u32, u32))]) -> Vec<Vec<&'static [u8]>> {
    let known = names.iter().filter(|(name, since)| !name.starts_with("FLUSH") && target.version.redis >= *since);
    let words = |name: &'static str| -> Vec<&'static [u8]> {
        let rest: &[&[u8]] = match name {
            "APPEND" | "RPUSH" | "SADD" | "SREM" | "HDEL" | "PFADD" | "PUBLISH" | "RENAME" => &[KEY],
            "INCRBY" => &[b"1"],
            "SETRANGE" => &[b"0", b"x"],
            "ZADD" => &[b"1", b"x"],
            "XADD" => &[b"*", b"f", b"v"],
            "HMSET" => &[b"f", b"v"],
            _ => &[],
        };
        [&[name.as_bytes(), KEY], rest].concat()
    };
    known.map(|(name, _)| words(name)).collect()
}

/// What is refused for want of a right. Other refusals, such as those of a full server, are for other items.
fn refused(commands: &[Vec<&[u8]>], answers: &[Option<String>]) -> impl Iterator<Item = (String, String)> {
    let pairs = commands.iter().zip(answers);
    pairs.filter_map(|(command, answer)| {
        let why = answer.as_ref().filter(|why| why.starts_with("NOPERM")).map(|why| format!("`{why}`"))?;
        let name = String::from_utf8_lossy(command.first().copied().unwrap_or_default()).into_owned();
        Some((name, why))
    })
}

/// A transaction without any command.
async fn exec_alone(target: &mut Server) -> Result<(), String> {
    target.ask(&[b"MULTI"]).await?;
    match target.ask(&[b"EXEC"]).await {
        Ok(_) => Ok(()),
        Err(why) => {
            if let Err(open) = target.ask(&[b"DISCARD"]).await {
                target.give_up(open);
            }
            Err(why)
        }
    }
}
