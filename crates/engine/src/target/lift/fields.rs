//! Lifting fields of hashes: of many hashes together, a step of each at a time, so that small ones do not cost a wait each.

use keyferry_model::{ErrorKind, Result};
use keyferry_net::Value;

use super::{Gone, Lift, MOST, NONE, deadline, must_last};
use crate::target::{fence::behind_fence, refusal::answered, walk::scanned};

/// Makes deadlines of fields of the hash `KEYS[2]` later, when it still is one: `ARGV[5]` and on are a field and what the source
/// says.
const LIFT_FIELDS: &[u8] = behind_fence!(
    "if redis.call('TYPE',KEYS[2]).ok~='hash' then return 1 end \
    local grace=tonumber(ARGV[4]) \
    for i=5,#ARGV,2 do local now=redis.call('HPEXPIRETIME',KEYS[2],'FIELDS',1,ARGV[i])[1] \
    if now>0 then local at,add=tonumber(ARGV[i+1]),grace \
    if at<0 then at=now elseif now>=2^45-2^41 and now<2^45+2^42 then add=2^45 end if at+add>now then \
    redis.call('HPEXPIREAT',KEYS[2],string.format('%.0f',at+add),'FIELDS',1,ARGV[i]) end end end return 1"
);

/// One step of an HSCAN of `KEYS[1]` from `ARGV[1]` on: the next cursor, and the fields with no more than `ARGV[2]` ms to live.
const NEAR_FIELDS: &[u8] = b"if redis.call('TYPE',KEYS[1]).ok~='hash' then return {'0',{}} end \
    local step,near,most=redis.call('HSCAN',KEYS[1],ARGV[1],'COUNT',ARGV[3],'NOVALUES'),{},tonumber(ARGV[2]) \
    for _,field in ipairs(step[2]) do local left=redis.call('HPTTL',KEYS[1],'FIELDS',1,field)[1] \
    if left>=0 and left<=most then near[#near+1]=field end end return {step[1],near}";

/// What a server says of a field that it does not have.
const GONE: i64 = -2;

/// Hashes that are gone through, each with the cursor of its next step.
type Open<'k> = Vec<(&'k [u8], Vec<u8>)>;
/// Fields of a hash, no more than a script takes.
type Names<'k> = Vec<(&'k [u8], Vec<Vec<u8>>)>;

impl Lift<'_> {
    /// Lifts the fields of these hashes. With `gone`, what has run out there is named in it.
    pub(super) async fn hashes(&mut self, keys: &[&[u8]], gone: &mut Option<(u32, &mut Vec<Gone>)>) -> Result<bool> {
        let mut open = begin(keys);
        while !open.is_empty() {
            let steps: Vec<[&[u8]; 6]> =
                open.iter().map(|(key, cursor)| [b"HSCAN", *key, cursor, b"COUNT", MOST, b"NOVALUES"]).collect();
            let mut replies = Vec::with_capacity(steps.len());
            for reply in self.ours.ask_all(&steps).await? {
                replies.push(match answered(&self.ours, b"HSCAN", reply) {
                    Ok(reply) => Some(reply),
                    // The stream has put something else in its place.
                    Err(e) if e.kind() == ErrorKind::CommandRefused => None,
                    Err(e) => return Err(e),
                });
            }
            let (next, names) = step(open, replies)?;
            if !self.fields(&names).await? {
                return Ok(false);
            }
            open = next;
        }
        if let Some((there, gone)) = gone {
            self.run_out(keys, *there, gone).await?;
        }
        Ok(true)
    }

    async fn fields(&mut self, names: &Names<'_>) -> Result<bool> {
        self.control.unpaused().await;
        let counts: Vec<String> = names.iter().map(|(_, names)| names.len().to_string()).collect();
        let replies = self.theirs.ask_all(&questions(names, &counts)).await?;
        must_last(&self.theirs, &replies)?;
        let there = names.iter().zip(replies).map(|((_, names), reply)| match reply {
            Value::Array(there) if there.len() == names.len() => {
                there.iter().map(|at| deadline(at).to_string()).collect()
            }
            // One without such deadlines, or where it is no hash any more.
            _ => vec![NONE.to_string(); names.len()],
        });
        let there: Vec<Vec<String>> = there.collect();
        let fence = self.fence.args();
        let commands = names.iter().zip(&there).map(|((key, names), there)| {
            let mut args: Vec<&[u8]> = vec![b"EVAL", LIFT_FIELDS, b"2", &self.fence.key, key];
            args.extend(fence.iter().map(Vec::as_slice));
            args.push(self.grace.as_bytes());
            args.extend(names.iter().zip(there).flat_map(|(name, at)| [name.as_slice(), at.as_bytes()]));
            args
        });
        let commands: Vec<Vec<&[u8]>> = commands.collect();
        for reply in self.ours.ask_all(&commands).await? {
            if answered(&self.ours, b"EVAL", reply)? == Value::Int(0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Behind lifting: what is left of the hashes here lives for long, and what has run out is only there.
    async fn run_out(&mut self, keys: &[&[u8]], there: u32, gone: &mut Vec<Gone>) -> Result<()> {
        let (mut open, most) = (begin(keys), self.most.to_string());
        while !open.is_empty() {
            let steps: Vec<[&[u8]; 7]> = open
                .iter()
                .map(|(key, cursor)| [b"EVAL", NEAR_FIELDS, b"1", *key, cursor, most.as_bytes(), MOST])
                .collect();
            let replies = self.theirs.ask_all(&steps).await?;
            if let Some(Value::Error(text)) = replies.iter().find(|reply| matches!(reply, Value::Error(_))) {
                return Err(self.theirs.refused(self.theirs.kind_of(text), "a question for fields", text));
            }
            let (next, names) = step(open, replies.into_iter().map(Some).collect())?;
            let counts: Vec<String> = names.iter().map(|(_, names)| names.len().to_string()).collect();
            let replies = self.ours.ask_all(&questions(&names, &counts)).await?;
            for ((key, names), reply) in names.iter().zip(replies) {
                let Value::Array(ours) = reply else { continue };
                let lost = names.iter().zip(&ours).filter(|(_, at)| **at == Value::Int(GONE));
                let mut command = vec![b"HDEL".to_vec(), key.to_vec()];
                command.extend(lost.map(|(name, _)| name.clone()));
                if command.len() > 2 {
                    gone.push((there, command));
                }
            }
            open = next;
        }
        Ok(())
    }
}

fn begin<'k>(keys: &[&'k [u8]]) -> Open<'k> {
    keys.iter().map(|key| (*key, b"0".to_vec())).collect()
}

/// What a step of each hash has brought: those that are not at their end, and fields. One without a reply is over.
fn step<'k>(open: Open<'k>, replies: Vec<Option<Value>>) -> Result<(Open<'k>, Names<'k>)> {
    let (mut next, mut found) = (Vec::new(), Vec::new());
    for ((key, _), reply) in open.into_iter().zip(replies) {
        let Some(reply) = reply else { continue };
        let (cursor, mut names) = scanned(reply)?;
        // A step of a table may give many more than were asked for, a script can take some thousands.
        while names.len() > 500 {
            found.push((key, names.split_off(names.len() - 500)));
        }
        if !names.is_empty() {
            found.push((key, names));
        }
        if cursor != b"0" {
            next.push((key, cursor));
        }
    }
    Ok((next, found))
}

fn questions<'a>(names: &'a Names<'a>, counts: &'a [String]) -> Vec<Vec<&'a [u8]>> {
    let question = |((key, names), count): (&'a (&'a [u8], Vec<Vec<u8>>), &'a String)| {
        let mut question: Vec<&[u8]> = vec![b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
        question.extend(names.iter().map(Vec::as_slice));
        question
    };
    names.iter().zip(counts).map(question).collect()
}
