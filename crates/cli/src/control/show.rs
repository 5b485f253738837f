//! What a task says of itself, in words.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use serde_json::Value;

use super::message::{Bounds, Status, StepNews};
use crate::history::Replicas;

/// One line for where it stands, and one for its limits where it has some.
pub(super) fn status(status: &Status) -> String {
    let p = &status.progress;
    let number = |name: &str| p[name].as_f64().unwrap_or_default();
    let phase = p["phase"].as_str().unwrap_or("?").replace('_', " ");
    let mut text = format!("{}: {phase}", status.task);
    if number("percent") < 100.0 {
        text += &format!(", {:.1} %", number("percent"));
    }
    text += &format!(", {} keys, offset {}", HumanCount(number("keys") as u64), number("applied_offset"));
    if !p["delay_bytes"].is_null() {
        text += &format!(", delay {} / {:.1} s", HumanBytes(number("delay_bytes") as u64), number("delay_seconds"));
    }
    text += &format!(
        ", {} keys/s, {} commands/s, spool {}",
        HumanCount(number("keys_per_second") as u64),
        HumanCount(number("commands_per_second") as u64),
        HumanBytes(number("spool_bytes") as u64)
    );
    if p["in_step"] == Value::Bool(true) {
        text += ", in step";
    }
    if let Some(error) = p["last_error"].as_str() {
        text += &format!("\nlast error: {error}");
    }
    match limits(&status.limits) {
        Some(limits) => format!("{text}\nlimits: {limits}"),
        None => text,
    }
}

/// What can be changed, as it is now.
pub(super) fn settings(status: &Status) -> String {
    let state = if status.paused { "paused" } else { "running" };
    format!("{}: {state}, limits: {}", status.task, limits(&status.limits).unwrap_or_else(|| "none".into()))
}

/// One line for a step of a cut-over.
pub(super) fn step(news: &StepNews) -> String {
    let name = news.step.replace('_', " ");
    let detail = if news.detail.is_empty() { String::new() } else { format!(": {}", news.detail) };
    match news.state.as_str() {
        "running" => format!("{name}{detail}"),
        state => format!("{name} {state} after {:.1} s{detail}", news.ms as f64 / 1000.0),
    }
}

/// The last words of a cut-over that was done.
pub(super) fn cut_over(write_pause_ms: u64, offset: u64) -> String {
    format!("cut over at offset {offset}, with a write pause of {write_pause_ms} ms: write to the target now.")
}

/// The source is not what was paused any more, or nobody could tell.
pub(super) fn source_changed(what: &str, offset: u64) -> String {
    format!(
        "ATTENTION: the source may have changed meanwhile: {what}. What it, or a new primary in its place, has answered behind offset \
         {offset} is not on the target and may be lost: keep all writers away from it, look what it was with `keyferry \
         compare`, and carry it over.\n"
    )
}

/// Replicas of the target that did not have all, where there are any.
pub(super) fn replicas_behind(Replicas { connected, had_all }: Replicas) -> String {
    match connected.saturating_sub(had_all) {
        0 => String::new(),
        n => format!(
            "ATTENTION: {n} of {connected} replicas of the target were behind it. Do not let it fail over to one of them before it \
             has caught up (INFO replication): what it lacks would be lost.\n"
        ),
    }
}

/// How it stands with the old side then. `stops`: the process was asked to.
pub(super) fn behind(
    unpause: &str,
    pause: Option<Duration>,
    reverse_task: Option<&str>,
    late_writes: u64,
    stops: bool,
) -> String {
    let late = match late_writes {
        0 => String::new(),
        n => format!(
            "ATTENTION: clients have come back to the old side and written there {n} times. The new side lacks that, and what it \
             gets is written over it there: look what it was with `keyferry compare`. "
        ),
    };
    match (reverse_task, pause) {
        (Some(task), _) if stops => format!(
            "{late}The process was asked to stop: the old side follows as task {task} when that is started, with keyferry sync NEW OLD \
             --task {task} --on-lost-backlog stop. Keep the writers away from it."
        ),
        (Some(task), _) => format!(
            "{late}The old side follows from now on, as task {task}, in the same process. Keep the writers away from it; its clients were \
             sent away. Should that process end: keyferry sync NEW OLD --task {task} --on-lost-backlog stop"
        ),
        (None, Some(_)) if stops && unpause != "CLIENT UNPAUSE" => {
            "The process was asked to stop: the source takes writes again. Keep the writers away from it.".into()
        }
        (None, Some(time)) => format!(
            "The source takes no writes for up to {} s more, so that late writers are noticed. To allow them before: {unpause}",
            time.as_secs()
        ),
        (None, None) => "Keep the writers away from the source.".into(),
    }
}

fn limits(bounds: &Bounds) -> Option<String> {
    let bytes = |what, n: Option<u64>| n.map(|n| format!("{what} {}/s", HumanBytes(n)));
    let commands = bounds.write_commands.map(|n| format!("write {} commands/s", HumanCount(n)));
    let all = [bytes("read", bounds.read_bytes), bytes("write", bounds.write_bytes), commands];
    let set: Vec<String> = all.into_iter().flatten().collect();
    (!set.is_empty()).then(|| set.join(", "))
}
