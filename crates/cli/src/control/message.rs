//! What is said on the socket of a task: one JSON object a line, each way.
//!
//! A request names its command, a reply its kind; both begin with the version of this language. What is added later is left
//! out by who does not know it; what changes its meaning takes another version, and the other end says that it cannot.

use keyferry_engine::Limits;
use keyferry_model::{Error, Progress};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::history::Replicas;

/// The version of this language.
pub(super) const VERSION: u32 = 1;
/// Longer than any request, and the most that is held of one: names of keys, two digits a byte.
pub(super) const MAX_REQUEST: usize = 256 * 1024;
/// So many bytes of names are in one request at most.
pub(super) const MAX_NAMES: usize = MAX_REQUEST / 2 - 8 * 1024;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Message<T> {
    pub(super) v: u32,
    #[serde(flatten)]
    pub(super) body: T,
}

impl<T: Serialize> Message<T> {
    /// The line of `body`, with its end.
    pub(super) fn line(body: T) -> Vec<u8> {
        let mut line = serde_json::to_vec(&Self { v: VERSION, body }).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Read first: what follows may be of a language that is not known here.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) v: u32,
}

/// What a client wants.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(super) enum Request {
    /// Answered by [`Reply::Status`], once or each second.
    Status {
        #[serde(default)]
        watch: bool,
    },
    /// Answered by [`Reply::Status`].
    Pause,
    /// Likewise.
    Resume,
    /// Likewise. 0 takes a limit away, and what is not named stays.
    Limit { read_bytes: Option<u64>, write_bytes: Option<u64>, write_commands: Option<u64> },
    /// Answered by [`Reply::Step`]s and a [`Reply::CutOver`]. Undone when the connection ends before that.
    Cutover {
        timeout_ms: u64,
        /// `null`: the writers are stopped by hand.
        source_pause_ms: Option<u64>,
        /// The task goes on in the other direction.
        #[serde(default)]
        reverse: bool,
    },
    /// Answered by [`Reply::Repaired`].
    Repair {
        /// Database of the source.
        db: u32,
        /// Names of keys there, each byte as two hexadecimal digits.
        keys: Vec<String>,
    },
}

/// What the task says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub(super) enum Reply {
    Status(Status),
    /// A step of a cut-over has come to another state.
    Step(StepNews),
    /// A cut-over is done.
    CutOver {
        write_pause_ms: u64,
        offset: u64,
        /// What allows writes at the source again, before they are by themselves.
        unpause: String,
        /// The task that goes on in the other direction.
        reverse_task: Option<String>,
        /// What clients have written to the old side behind the last step.
        late_writes: u64,
        /// What was seen of the source then, when it was not what was paused any more.
        #[serde(default)]
        source_changed: Option<String>,
        /// What the replicas of the target had in front of the last step.
        #[serde(default)]
        target_replicas: Option<Replicas>,
        /// The process was asked to stop meanwhile.
        #[serde(default)]
        stops: bool,
    },
    /// For each key why it was not copied; `null`: it is on the target.
    Repaired {
        reasons: Vec<Option<String>>,
    },
    /// What was wanted cannot be had.
    Error {
        code: String,
        error: String,
        remedy: String,
    },
}

/// Where a task stands.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) task: String,
    pub(super) pid: u32,
    pub(super) paused: bool,
    pub(super) limits: Bounds,
    /// As in a line of `--progress json`.
    pub(super) progress: Value,
}

/// What `keyferry cutover --output json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) write_pause_ms: u64,
    pub(super) offset: u64,
    pub(super) steps: Vec<StepNews>,
    pub(super) unpause: String,
    pub(super) reverse_task: Option<String>,
    pub(super) late_writes: u64,
    pub(super) source_changed: Option<String>,
    pub(super) target_replicas: Option<Replicas>,
    pub(super) stops: bool,
}

/// What has become of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StepNews {
    pub(super) step: String,
    /// `running`, `done`, `skipped`, `failed` or `undone`.
    pub(super) state: String,
    /// How long the step has taken so far.
    pub(super) ms: u64,
    /// More, in words.
    pub(super) detail: String,
}

/// Bounds a second; `null`: none.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bounds {
    pub(super) read_bytes: Option<u64>,
    pub(super) write_bytes: Option<u64>,
    pub(super) write_commands: Option<u64>,
}

/// A name as it stands in a request.
pub(super) fn hex(name: &[u8]) -> String {
    name.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name that stands in a request; `None` when it is none.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [a, b] = *pair { Some(digit(a)? << 4 | digit(b)?) } else { None }).collect()
}

impl From<Limits> for Bounds {
    fn from(limits: Limits) -> Self {
        let Limits { read_bytes, write_bytes, write_commands } = limits;
        Self { read_bytes, write_bytes, write_commands }
    }
}

impl Status {
    pub(super) fn new(task: &str, paused: bool, limits: Limits, progress: &Progress) -> Self {
        let progress = serde_json::to_value(progress).unwrap_or_default();
        Self { task: task.into(), pid: std::process::id(), paused, limits: limits.into(), progress }
    }
}

impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        let policy = error.kind().policy();
        Self::Error { code: policy.code.into(), error: error.to_string(), remedy: policy.remedy.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&all)), Some(all));
        assert_eq!((hex(b"a\n\xff"), unhex("")), ("610aff".into(), Some(Vec::new())));
        for bad in ["a", "6g", "+1", "é1"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }

    #[test]
    fn lines_are_what_scripts_rely_on() {
        let line = Message::line(Request::Limit { read_bytes: None, write_bytes: Some(5), write_commands: Some(0) });
        let expected = "{\"v\":1,\"command\":\"limit\",\"read_bytes\":null,\"write_bytes\":5,\"write_commands\":0}\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
        let status: Message<Request> = serde_json::from_str("{\"v\":1,\"command\":\"status\",\"new\":2}").unwrap();
        assert_eq!((status.v, status.body), (1, Request::Status { watch: false }));
        assert!(serde_json::from_str::<Message<Request>>("{\"v\":1,\"command\":\"other\"}").is_err());
        let status = Status::new("t", true, Limits::default(), &Progress::default());
        let line = String::from_utf8(Message::line(Reply::Status(status))).unwrap();
        assert!(line.starts_with("{\"v\":1,\"reply\":\"status\",\"task\":\"t\",\"pid\":"), "{line}");
    }
}
