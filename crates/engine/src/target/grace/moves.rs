//! Moving the deadlines of some keys, or of some fields of one hash, while the stream may move them too.

use std::{borrow::Cow, time::Duration};

use keyferry_keyspace::objects::Objects;
use keyferry_model::{Error, ErrorKind, Result, Side, failpoint};
use keyferry_net::{Connection, Value};

use super::odd;
use crate::{
    source::now_ms,
    target::{
        fence::{Fence, behind_fence},
        refusal::ask,
    },
};

/// By how much a time to live may have shrunk between two looks at it, in milliseconds. An absolute deadline stays.
const SLACK: i64 = 400;
/// Longer than any key is renewed each time exactly between two questions.
const ROUNDS: usize = 20;

/// Where a deadline is lowered in a cut-over (`ARGV[4]` is 1), the checkpoint has to say that such are there: behind a target that
/// falls back, or when the cut-over is undone by then, nobody would lift it.
macro_rules! behind_exact {
    ($script:literal) => {
        behind_fence!(
            "if ARGV[4]=='1' and math.floor(string.byte(v,29)/32)%2==0 then return 0 end local done={} ",
            $script,
            " return done"
        )
    };
}

/// Sets the deadline of each key from `KEYS[2]` on with `ARGV[6]`, where what `ARGV[5]` says is still what is expected, or less
/// by up to `ARGV[7]`. Behind these come pairs of what is expected and what to set. Answers the places of those that were set.
const SET_KEYS: &[u8] = behind_exact!(
    "local slack=tonumber(ARGV[7]) for i=2,#KEYS do local key=KEYS[i] \
    local now,was=redis.call(ARGV[5],key),tonumber(ARGV[4+2*i]) \
    if now>0 and now<=was and now>=was-slack then redis.call(ARGV[6],key,ARGV[5+2*i]) done[#done+1]=i-1 end end"
);

/// Likewise for fields of the hash `KEYS[2]`: from `ARGV[5]` on are a field, what is expected and what to set, one after the other.
const SET_FIELDS: &[u8] = behind_exact!(
    "if redis.call('TYPE',KEYS[2]).ok~='hash' then return done end \
    for i=5,#ARGV,3 do if redis.call('HPEXPIRETIME',KEYS[2],'FIELDS',1,ARGV[i])[1]==tonumber(ARGV[i+1]) then \
    redis.call('HPEXPIREAT',KEYS[2],ARGV[i+2],'FIELDS',1,ARGV[i]) done[#done+1]=(i-2)/3 end end"
);

/// Whose deadlines are moved.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    /// Of keys.
    Keys,
    /// Of fields of this hash.
    Hash(&'a [u8]),
}

/// Both sides, and from which distance to which deadlines are moved.
pub(super) struct Moves<'a> {
    pub(super) ours: &'a mut Connection,
    pub(super) theirs: &'a mut Connection,
    pub(super) objects: &'a Objects,
    pub(super) fence: Fence,
    /// They are lowered in a cut-over.
    exact: bool,
    from: i64,
    to: i64,
    /// How far away a deadline of the source must be.
    beyond: i64,
    /// Both sides tell deadlines of keys as they are; else as the time that is left.
    absolute: bool,
}

/// What one deadline is to become.
struct Move<'a> {
    name: &'a [u8],
    /// What it is on the target.
    was: i64,
    /// What it is at the source.
    at: i64,
}

impl<'a> Moves<'a> {
    pub(super) fn new(
        [ours, theirs]: [&'a mut Connection; 2],
        objects: &'a Objects,
        fence: Fence,
        [from, to, beyond]: [Duration; 3],
        [exact, absolute]: [bool; 2],
    ) -> Self {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4);
        Self { ours, theirs, objects, fence, exact, from: ms(from), to: ms(to), beyond: ms(beyond), absolute }
    }

    /// How a server is asked for the deadline of a key.
    pub(super) fn question(&self) -> &'static [u8] {
        if self.absolute { b"PEXPIRETIME" } else { b"PTTL" }
    }

    /// Moves the deadlines of those that were `found` on the target, each with its own; answers how many.
    pub(super) async fn shift(&mut self, of: Of<'_>, found: Vec<(&[u8], i64)>) -> Result<u64> {
        let names: Vec<&[u8]> = found.iter().map(|(name, _)| *name).collect();
        let at = self.at_source(of, &names).await?;
        // The stream may have counted a relative time from a little later than the source did.
        let least = match of {
            Of::Keys if !self.absolute => self.beyond,
            _ if self.beyond == 0 => 0,
            _ => self.beyond.saturating_add_unsigned(now_ms()),
        };
        let about = |was: i64, at: i64| at > least && was - at > self.from / 2 && was - at < self.from / 2 * 3;
        let moves = found.into_iter().zip(at).filter(|&((_, was), at)| about(was, at));
        let mut moves: Vec<Move<'_>> = moves.map(|((name, was), at)| Move { name, was, at }).collect();
        let mut count = 0;
        for round in 0..ROUNDS {
            if moves.is_empty() {
                break;
            }
            let set = self.set(of, &moves).await?;
            failpoint(if self.to < self.from { "grace-lowered" } else { "grace-given-back" });
            if round == 0 {
                count = set.len() as u64;
            }
            // What the source has renewed since it was asked might have come from the stream before, and looked as expected.
            let names: Vec<&[u8]> = set.iter().map(|&i| moves[i].name).collect();
            let now = self.at_source(of, &names).await?;
            let renewed = set.iter().zip(now).filter(|&(&i, now)| now > moves[i].at);
            let next = renewed.map(|(&i, at)| Move { name: moves[i].name, was: moves[i].at + self.to, at });
            moves = next.collect();
        }
        Ok(count)
    }

    /// The name of a key at the source. Only those that have one are looked at.
    fn source_name<'k>(&self, key: &'k [u8]) -> Cow<'k, [u8]> {
        self.objects.source_key(key).unwrap_or(Cow::Borrowed(key))
    }

    /// The deadlines that the source has for these.
    async fn at_source(&mut self, of: Of<'_>, names: &[&[u8]]) -> Result<Vec<i64>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let replies = match of {
            Of::Keys => {
                let question = self.question();
                let names: Vec<Cow<'_, [u8]>> = names.iter().map(|key| self.source_name(key)).collect();
                let questions: Vec<[&[u8]; 2]> = names.iter().map(|key| [question, key.as_ref()]).collect();
                self.theirs.ask_all(&questions).await?
            }
            Of::Hash(key) => {
                let name = self.source_name(key);
                match deadlines_of_fields(self.theirs, &name, names).await? {
                    Value::Array(deadlines) if deadlines.len() == names.len() => deadlines,
                    // At the source it is no hash any more.
                    Value::Error(text) if text.starts_with(b"WRONGTYPE") => return Ok(vec![-2; names.len()]),
                    reply => vec![reply],
                }
            }
        };
        let deadline = |reply: &Value| match reply {
            Value::Int(at) => Ok(*at),
            Value::Error(text) => {
                Err(self.theirs.refused(self.theirs.kind_of(text), "a question for a deadline", text))
            }
            _ => Err(odd(Side::Source)),
        };
        replies.iter().map(deadline).collect()
    }

    /// Sets deadlines that still are what is expected; answers which of `moves` were set.
    async fn set(&mut self, of: Of<'_>, moves: &[Move<'_>]) -> Result<Vec<usize>> {
        let numbers: Vec<[String; 2]> =
            moves.iter().map(|m| [m.was.to_string(), (m.at + self.to).to_string()]).collect();
        let (count, slack) = ((moves.len() + 1).to_string(), if self.absolute { 0 } else { SLACK }.to_string());
        let (question, fence) = (self.question(), self.fence.args());
        let exact: &[u8] = if self.exact { b"1" } else { b"0" };
        let mut args: Vec<&[u8]> = Vec::with_capacity(3 * moves.len() + 11);
        match of {
            Of::Keys => {
                args.extend([b"EVAL", SET_KEYS, count.as_bytes(), &self.fence.key]);
                args.extend(moves.iter().map(|m| m.name));
                args.extend(fence.iter().map(Vec::as_slice));
                args.extend([exact, question, if self.absolute { b"PEXPIREAT" } else { b"PEXPIRE" }]);
                args.push(slack.as_bytes());
                args.extend(numbers.iter().flatten().map(String::as_bytes));
            }
            Of::Hash(key) => {
                args.extend([b"EVAL", SET_FIELDS, b"2", &self.fence.key, key]);
                args.extend(fence.iter().map(Vec::as_slice));
                args.push(exact);
                let triples = moves.iter().zip(&numbers).map(|(m, [was, to])| [m.name, was.as_bytes(), to.as_bytes()]);
                args.extend(triples.flatten());
            }
        }
        let set = match ask(self.ours, &args).await? {
            Value::Array(set) => set,
            Value::Int(0) => {
                let what = "move deadlines of the target: its position is not that of this connection any more";
                return Err(Error::new(ErrorKind::CheckpointChanged, what));
            }
            _ => return Err(odd(Side::Target)),
        };
        let place = |value: &Value| match value {
            Value::Int(i) => usize::try_from(*i - 1).ok().filter(|&i| i < moves.len()).ok_or_else(|| odd(Side::Target)),
            _ => Err(odd(Side::Target)),
        };
        set.iter().map(place).collect()
    }
}

/// Asks for the deadlines of these fields; an error reply is given as it is.
pub(super) async fn deadlines_of_fields(conn: &mut Connection, key: &[u8], names: &[&[u8]]) -> Result<Value> {
    let count = names.len().to_string();
    let mut question: Vec<&[u8]> = vec![b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
    question.extend(names);
    conn.ask(&question).await
}
