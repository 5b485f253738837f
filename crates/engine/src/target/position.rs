//! Reading the checkpoint of a task, and taking the task over.
//!
//! On the target it is a hash: `v` the bytes of the checkpoint, `n` how many batches have applied since the epoch began, `t` up
//! to when all that the source had written was there.
//!
//! Invariants:
//! - Taking over is one step: from then on nothing applies that an earlier holder or connection has on its way, and what it
//!   gives is all that they have done.
//! - Where `n` is not the number of the last batch, one before it is missing: nobody goes on from there.
//! - The last step of a cut-over is done in time or not at all, also by a target that runs it long after it was asked: by
//!   then somebody may have written to the source.
//! - The last thing that it does is to remove the position: where it ends with an error, the position is still there.

use std::{cell::Cell, time::Duration};

use keyferry_keyspace::{ReplId, info};
use keyferry_model::{Error, ErrorKind, Result, Side, failpoint, reverse_task};
use keyferry_net::{Connection, Endpoint, Value};

use super::{
    checkpoint::{self, Checkpoint},
    refusal::{ask, refused, script_was_refused},
    replicas::Replicas,
};
use crate::{cutover::Moment, source::now_ms};

/// Where the count does not fit, that stays so. Makes holder `ARGV[1]` the holder, with an epoch above all before it and above `ARGV[2]`. Answers what was there, or
/// nothing. When `ARGV[3]` is 1 it gives way to another holder with an epoch above `ARGV[2]`, and answers 0.
const TAKE: &[u8] = b"local v,n=redis.call('HGET',KEYS[1],'v'),redis.call('HGET',KEYS[1],'n') \
    if not v then return {} end \
    if string.sub(v,1,4)~='KFC1' then return {v,'0'} end \
    local e,ours=0,tonumber(ARGV[2]) for i=12,5,-1 do e=e*256+string.byte(v,i) end \
    if ARGV[3]=='1' and string.sub(v,21,28)~=ARGV[1] and e>ours then return 0 end \
    local s=0 for i=20,13,-1 do s=s*256+string.byte(v,i) end \
    e=math.max(e,ours)+1 local text='' \
    for i=1,8 do text=text..string.char(e%256) e=math.floor(e/256) end \
    redis.call('HMSET',KEYS[1],'v',string.sub(v,1,4)..text..string.rep(string.char(0),8)..ARGV[1]..string.sub(v,29), \
    'n',tonumber(n)==s and '0' or '-') \
    return {v,n}";

/// Puts `ARGV[2]`, or nothing when it is empty, where `ARGV[1]` says whose checkpoint is there, or that there is none.
const PUT: &[u8] = b"local v=redis.call('HGET',KEYS[1],'v') \
    if (v and string.sub(v,5,12)..string.sub(v,21,28) or '')~=ARGV[1] then return 0 end \
    if ARGV[2]=='' then redis.call('DEL',KEYS[1]) else redis.call('HMSET',KEYS[1],'v',ARGV[2],'n','0') end return 1";

/// The last step: puts `ARGV[3]` at `KEYS[2]` where there is such a key, and removes the checkpoint of `ARGV[1]`. Answers 2, and
/// does nothing, when it is run later than `ARGV[2]`, in milliseconds of the target's clock. Before 3.2 a script that has asked for
/// the time may not write.
///
/// A user may be allowed one of these commands and not the other, and what a script has done before an error stays. DEL comes
/// first: a script that has written is not refused for want of memory (script.c scriptVerifyOOM, Redis 7.0).
const LAST: &[u8] = b"if redis.replicate_commands then redis.replicate_commands() local t=redis.call('TIME') \
    if t[1]*1000+t[2]/1000>=tonumber(ARGV[2]) then return 2 end end \
    local v=redis.call('HGET',KEYS[1],'v') \
    if (v and string.sub(v,5,12)..string.sub(v,21,28) or '')~=ARGV[1] then return 0 end \
    if KEYS[2] then redis.call('DEL',KEYS[2]) redis.call('HMSET',KEYS[2],'v',ARGV[3],'n','0','t',ARGV[4],'s',ARGV[5]) end \
    redis.call('DEL',KEYS[1]) return 1";

/// What the target's clock says, in milliseconds; 0 when [`LAST`] cannot look at it.
const CLOCK: &[u8] = b"if not redis.replicate_commands then return 0 end redis.replicate_commands() \
    local t=redis.call('TIME') return t[1]*1000+math.floor(t[2]/1000)";

/// For the replicas of the target, in front of the last step; no more than half of the time that is left for it.
const REPLICAS: Duration = Duration::from_secs(1);

/// The last step of a cut-over.
pub(crate) struct Last<'a> {
    /// It is not done later than this.
    pub(crate) until: Moment,
    /// What is put on the target with it.
    pub(crate) turn: Option<&'a Turn>,
    /// What the replicas of the target had in front of it.
    pub(crate) replicas: &'a Cell<Option<Replicas>>,
}

/// Who was asked to remove the position; the answer may be lost.
pub(crate) struct Asked {
    run: Option<Run>,
}

/// A run of the target, and the history that it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    id: String,
    history: ReplId,
    /// It was a replica, and is none any more. A server also begins another history when it gets its first replica, and loses
    /// nothing by it.
    promoted: bool,
}

/// From where the task in the other direction goes on, and where on the target that is put when this one ends.
pub(crate) struct Turn {
    pub(crate) key: Vec<u8>,
    pub(crate) db: u32,
    pub(crate) checkpoint: Checkpoint,
    /// Where the old side is by then: history and offset.
    pub(crate) stands: (ReplId, u64),
    /// The run of the target in whose stream it is.
    pub(crate) run: Option<Run>,
}

/// Where the position of one task is kept.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) task: &'a str,
    /// Database of the target.
    pub(crate) db: u32,
    /// This process.
    pub(crate) holder: u64,
}

impl Place<'_> {
    /// Connects to a primary, with the database of the checkpoint selected.
    ///
    /// Errors: those of [`Connection::open`], and `TargetDemoted`.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        self.connect_and_ask().await.map(|(conn, _)| conn)
    }

    /// Likewise; gives what it says of its replication, too.
    async fn connect_and_ask(&self) -> Result<(Connection, String)> {
        let mut conn = Connection::open(self.endpoint).await?;
        let said = conn.info("replication").await?;
        if info::field(said.as_bytes(), "role") == Some("slave") {
            let what = format!("write to the target {}: it is a replica", self.endpoint);
            return Err(Error::new(ErrorKind::TargetDemoted, what));
        }
        ask(&mut conn, &[b"SELECT", self.db.to_string().as_bytes()]).await?;
        Ok((conn, said))
    }

    /// The checkpoint that is there. What is on its way from an earlier connection may still change it.
    ///
    /// Errors: `Checkpoint`, `Broken`.
    pub(crate) async fn read(&self, conn: &mut Connection) -> Result<Option<Checkpoint>> {
        let key = checkpoint::key(self.task);
        match ask(conn, &[b"HMGET", &key, b"v", b"n"]).await? {
            Value::Array(found) if matches!(&found[..], [Value::Bulk(_), _]) => self.decode(&found).map(Some),
            _ => Ok(None),
        }
    }

    /// Up to when, in Unix milliseconds by the clock of whoever had the task, all that the source had written is there.
    pub(crate) async fn all_until_ms(&self, conn: &mut Connection) -> Result<Option<u64>> {
        let time = ask(conn, &[b"HGET", &checkpoint::key(self.task), b"t"]).await?;
        Ok(time.as_bytes().and_then(|ms| std::str::from_utf8(ms).ok()?.parse().ok()))
    }

    /// Removes what a cut-over has left here for the task in the other direction.
    pub(crate) async fn forget_turn(&self, conn: &mut Connection) -> Result<()> {
        ask(conn, &[b"DEL", &checkpoint::turn_key(&reverse_task(self.task))]).await.map(drop)
    }

    /// Whether the task has ended here, by a cut-over whose way back has not begun.
    pub(crate) async fn has_turned(&self, conn: &mut Connection) -> Result<bool> {
        let key = checkpoint::turn_key(&reverse_task(self.task));
        Ok(ask(conn, &[b"EXISTS", &key]).await? == Value::Int(1))
    }

    /// Another database with a position of the task: it has begun with other databases. With `remove` it is removed.
    pub(crate) async fn elsewhere(&self, conn: &mut Connection, remove: bool) -> Result<Option<u32>> {
        let text = conn.info("keyspace").await?;
        let (key, home) = (checkpoint::key(self.task), self.db.to_string());
        let mut found = None;
        for db in info::keyspace(text.as_bytes()).map(|k| k.db.0).filter(|db| *db != self.db) {
            ask(conn, &[b"SELECT", db.to_string().as_bytes()]).await?;
            let what: &[u8] = if remove { b"DEL" } else { b"EXISTS" };
            if matches!(ask(conn, &[what, &key]).await?, Value::Int(1)) {
                found = Some(db);
            }
        }
        ask(conn, &[b"SELECT", home.as_bytes()]).await?;
        Ok(found)
    }

    /// Takes the task over, from whoever has it; gives the checkpoint as it is now. `ours`: the epoch of this process's last
    /// connection, when it had one.
    ///
    /// Errors: as [`Self::read`]; `TakenOver` when this process had the task and another has it now.
    pub(crate) async fn take(&self, conn: &mut Connection, ours: Option<u64>) -> Result<Option<Checkpoint>> {
        let key = checkpoint::key(self.task);
        let (epoch, had): (_, &[u8]) = (ours.unwrap_or_default(), if ours.is_some() { b"1" } else { b"0" });
        let holder = self.holder.to_le_bytes();
        failpoint("before-take");
        let reply = ask(conn, &[b"EVAL", TAKE, b"1", &key, &holder, epoch.to_string().as_bytes(), had]).await?;
        failpoint("after-take");
        match reply {
            Value::Array(found) if found.is_empty() => Ok(None),
            Value::Array(found) => {
                let found = self.decode(&found)?;
                let epoch = found.epoch.max(epoch) + 1;
                Ok(Some(Checkpoint { epoch, seq: 0, holder: self.holder, ..found }))
            }
            _ => Err(self.taken_over()),
        }
    }

    /// Puts `to` in the place of `from`, which must still be there; `None` stands for no checkpoint.
    ///
    /// Errors: `TakenOver` when another one is there.
    pub(crate) async fn put(
        &self,
        conn: &mut Connection,
        from: Option<&Checkpoint>,
        to: Option<&Checkpoint>,
    ) -> Result<()> {
        let key = checkpoint::key(self.task);
        let from = from.map_or(Vec::new(), |c| c.owner().to_vec());
        let to = to.map_or(Vec::new(), |c| c.encode().to_vec());
        failpoint("before-put");
        let reply = ask(conn, &[b"EVAL", PUT, b"1", &key, &from, &to]).await?;
        failpoint("after-put");
        match reply {
            Value::Int(1) => Ok(()),
            _ => Err(self.taken_over()),
        }
    }

    /// Writes `checkpoint` in a transaction that is open.
    pub(crate) async fn queue(&self, conn: &mut Connection, checkpoint: &Checkpoint) -> Result<()> {
        let key = checkpoint::key(self.task);
        ask(conn, &[b"HMSET", &key, b"v", &checkpoint.encode(), b"n", b"0"]).await.map(|_| ())
    }

    /// Removes whatever is there.
    pub(crate) async fn remove(&self, conn: &mut Connection) -> Result<()> {
        ask(conn, &[b"DEL", &checkpoint::key(self.task)]).await.map(|_| ())
    }

    /// Notes that both sides differ. What is on its way does not apply behind it. `epoch`: that of the last connection.
    pub(crate) async fn note_broken(&self, epoch: u64) -> Result<()> {
        let mut conn = self.connect().await?;
        let found = match self.take(&mut conn, Some(epoch)).await {
            Ok(Some(found)) => found,
            // It says so itself.
            Err(e) if e.kind() == ErrorKind::Broken => return Ok(()),
            result => return result.map(|_| ()),
        };
        let mut broken = found;
        broken.flags.broken = true;
        self.put(&mut conn, Some(&found), Some(&broken)).await?;
        failpoint("broken-noted");
        Ok(())
    }

    /// Removes the checkpoint when it says that everything up to `applied` is there: the task has ended. `epoch`: that of
    /// the last connection. `asked`: who was asked to remove it, and may still do so, or has done. `last`: it is the last step
    /// of a cut-over, in front of which is a `check`, as close as can be. `false` when the target no longer has all that it has
    /// answered, or has another run or history since the turn.
    ///
    /// Errors: those of the connection and of the check; `TakenOver`; `Timeout` when it is too late; `CutoverUndone` when the
    /// target answers the last step with an error, and `asked` stays when that may have come from somebody else on the way.
    pub(crate) async fn forget(
        &self,
        epoch: u64,
        applied: u64,
        asked: &mut Option<Asked>,
        last: Option<&Last<'_>>,
        check: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<bool> {
        let (mut conn, said) = self.connect_and_ask().await?;
        let run = run_of(&mut conn).await?;
        let found = self.take(&mut conn, Some(epoch)).await?;
        if found.is_none() {
            let turn = last.and_then(|last| last.turn);
            return match asked {
                // At a plain end nothing depends on it but what is said.
                Some(Asked { run: None }) if last.is_none() && run.is_none() => Ok(true),
                Some(asked) => is_done(&mut conn, &run, asked, turn).await,
                None => Ok(false),
            };
        }
        // What was asked for before names another epoch: nothing comes of it any more.
        *asked = None;
        let Some(found) = found.filter(|found| found.snapshot.is_none() && found.offset >= applied) else {
            return Ok(false);
        };
        let Some(Last { until, turn, replicas }) = last else {
            *asked = Some(Asked { run });
            return self.put(&mut conn, Some(&found), None).await.map(|()| true);
        };
        // All that the lane has written was answered before `said`.
        replicas.set(Replicas::wait(&mut conn, &said, REPLICAS.min(until.left() / 2)).await?);
        // That may have taken a while.
        let run = if replicas.get().is_some() { run_of(&mut conn).await? } else { run };
        if turn.is_some_and(|turn| !is_same(&turn.run, &run)) {
            return Ok(false);
        }
        let late = || Error::new(ErrorKind::Timeout(Side::Target), "end the task: the time for it is over");
        let clock = self.clock(&mut conn).await?;
        // What the clock says was true before this moment: it is not later by then than what is given.
        let left = Some(until.left()).filter(|left| !left.is_zero()).ok_or_else(late)?;
        let latest = clock.unwrap_or_default() + left.as_millis() as u64;
        let ours = checkpoint::key(self.task);
        let mut keys = vec![ours.as_slice()];
        let mut args = vec![found.owner().to_vec(), latest.to_string().into_bytes()];
        if let Some(Turn { key, checkpoint: back, stands, .. }) = turn {
            keys.push(key);
            let stands = format!("{} {}", stands.0, stands.1);
            args.extend([back.encode(), now_ms().to_string().into_bytes(), stands.into_bytes()]);
        }
        let count = keys.len().to_string();
        let command: Vec<&[u8]> =
            [b"EVAL", LAST, count.as_bytes()].into_iter().chain(keys).chain(args.iter().map(Vec::as_slice)).collect();
        check().await?;
        failpoint("before-promote");
        *asked = Some(Asked { run });
        match conn.ask(&command).await? {
            Value::Int(1) => Ok(true),
            Value::Error(text) => {
                if script_was_refused(&text) {
                    *asked = None;
                }
                let what = "end the task: the target refuses the last step";
                Err(Error::new(ErrorKind::CutoverUndone, what).caused_by(refused(&conn, "EVAL", &text)))
            }
            // It was not done, and nothing else is on its way.
            reply => {
                *asked = None;
                Err(if reply == Value::Int(2) { late() } else { self.taken_over() })
            }
        }
    }

    /// Whether the last step, that the target was `asked` for, was done; when it was not, it never will be. `None` when nobody
    /// knows. `epoch`: that of the last connection.
    ///
    /// Errors: those of the connection.
    pub(crate) async fn has_ended(&self, epoch: u64, asked: &Asked, turn: Option<&Turn>) -> Result<Option<bool>> {
        let mut conn = self.connect().await?;
        let run = run_of(&mut conn).await?;
        match self.take(&mut conn, Some(epoch)).await {
            // The position has another owner now, which is not the one that was asked for.
            Ok(Some(_)) => Ok(Some(false)),
            Err(e) if matches!(e.kind(), ErrorKind::Broken | ErrorKind::TakenOver) => Ok(Some(false)),
            Ok(None) => Ok(is_done(&mut conn, &run, asked, turn).await?.then_some(true)),
            Err(e) => Err(e),
        }
    }

    /// The target's clock in Unix milliseconds; `None` when a script that has looked at it may not write.
    ///
    /// Errors: those of the target, also when a script may not ask for it.
    pub(crate) async fn clock(&self, conn: &mut Connection) -> Result<Option<u64>> {
        match ask(conn, &[b"EVAL", CLOCK, b"0"]).await {
            Ok(Value::Int(ms)) => Ok(u64::try_from(ms).ok().filter(|ms| *ms > 0)),
            // What a script is not allowed to do is said in many words.
            Err(e) if matches!(e.kind(), ErrorKind::CommandRefused | ErrorKind::UnsupportedByTarget) => {
                let what = "look at the target's clock in a script: its user needs +time";
                Err(Error::new(ErrorKind::Permission(Side::Target), what).caused_by(e))
            }
            Err(e) => Err(e),
            Ok(_) => Err(Error::new(ErrorKind::Protocol(Side::Target), "ask for the time: an unexpected reply")),
        }
    }

    fn decode(&self, found: &[Value]) -> Result<Checkpoint> {
        let bytes = found.first().and_then(Value::as_bytes).unwrap_or_default();
        let checkpoint = Checkpoint::decode(bytes)?;
        let applied = found.get(1).and_then(Value::as_bytes).and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
        if applied != Some(checkpoint.seq) {
            let what = format!("go on with task `{}`: commands in front of its position were refused", self.task);
            return Err(Error::new(ErrorKind::Broken, what));
        }
        Ok(checkpoint)
    }

    fn taken_over(&self) -> Error {
        let what =
            format!("write to the target {}: another process has taken over task `{}`", self.endpoint, self.task);
        Error::new(ErrorKind::TakenOver, what)
    }
}

/// Whether the position is not there because this process has `asked` for that. Another run or history may have lost more than
/// the position, and where a turn was to be put, it is there.
async fn is_done(conn: &mut Connection, run: &Option<Run>, asked: &Asked, turn: Option<&Turn>) -> Result<bool> {
    let (Some(before), Some(now)) = (&asked.run, run) else { return Ok(false) };
    if before.id != now.id || before.history != now.history && now.promoted {
        return Ok(false);
    }
    let Some(Turn { key, checkpoint, .. }) = turn else { return Ok(true) };
    Ok(ask(conn, &[b"HGET", key, b"v"]).await?.as_bytes() == Some(&checkpoint.encode()))
}

/// Which run of the server this is, with which history; `None` when it does not tell.
pub(crate) async fn run_of(conn: &mut Connection) -> Result<Option<Run>> {
    let text = conn.info("default").await?;
    let field = |name| info::field(text.as_bytes(), name);
    // Before 4.0 a history has the name of the run.
    let history = field("master_replid").or(field("run_id")).and_then(|id| ReplId::parse(id.as_bytes()).ok());
    let promoted = field("master_replid2").is_some_and(|id| id.bytes().any(|digit| digit != b'0'));
    Ok(field("run_id").map(str::to_owned).zip(history).map(|(id, history)| Run { id, history, promoted }))
}

/// Those that are not told are not the same.
fn is_same(before: &Option<Run>, now: &Option<Run>) -> bool {
    before.is_some() && before == now
}
