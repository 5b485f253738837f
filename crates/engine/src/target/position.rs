//! Reading the checkpoint of a task, and taking the task over.
//!
//! On the target it is a hash: `v` the bytes of the checkpoint, `n` how many batches have applied since the epoch began, `t` up
//! to when all that the source had written was there.
//!
//! Invariants:
//! - Taking over is one step: from then on nothing applies that an earlier holder or connection has on its way, and what it
//!   gives is all that they have done.
//! - Where `n` is not the number of the last batch, one before it is missing: nobody goes on from there.

use keyferry_keyspace::{ReplId, info};
use keyferry_model::{Error, ErrorKind, Result, failpoint, reverse_task};
use keyferry_net::{Connection, Endpoint, Value};

use super::{
    checkpoint::{self, Checkpoint},
    refusal::ask,
};
use crate::source::now_ms;

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

/// Removes the checkpoint of `ARGV[1]`, and puts `ARGV[2]` at `KEYS[2]`, in one step.
const TURN: &[u8] = b"local v=redis.call('HGET',KEYS[1],'v') \
    if (v and string.sub(v,5,12)..string.sub(v,21,28) or '')~=ARGV[1] then return 0 end \
    redis.call('DEL',KEYS[1],KEYS[2]) redis.call('HMSET',KEYS[2],'v',ARGV[2],'n','0','t',ARGV[3],'s',ARGV[4]) return 1";

/// From where the task in the other direction goes on, and where on the target that is put when this one ends.
pub(crate) struct Turn {
    pub(crate) key: Vec<u8>,
    pub(crate) db: u32,
    pub(crate) checkpoint: Checkpoint,
    /// Where the old side is by then: history and offset.
    pub(crate) stands: (ReplId, u64),
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
        let mut conn = Connection::open(self.endpoint).await?;
        if info::field(conn.info("replication").await?.as_bytes(), "role") == Some("slave") {
            let what = format!("write to the target {}: it is a replica", self.endpoint);
            return Err(Error::new(ErrorKind::TargetDemoted, what));
        }
        ask(&mut conn, &[b"SELECT", self.db.to_string().as_bytes()]).await?;
        Ok(conn)
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
    /// the last connection. `asked`: the run of the target that was asked to remove it; its answer may be lost. `false` when
    /// the target no longer has all that it has answered. `turn`: where to put what in the same step, for the way back.
    pub(crate) async fn forget(
        &self,
        epoch: u64,
        applied: u64,
        asked: &mut Option<String>,
        turn: Option<&Turn>,
    ) -> Result<bool> {
        let mut conn = self.connect().await?;
        let run = info::field(conn.info("server").await?.as_bytes(), "run_id").map(str::to_owned);
        let found = self.take(&mut conn, Some(epoch)).await?;
        // One that was restarted meanwhile may have lost more than the position.
        if found.is_none() && asked.is_some() && *asked == run {
            return Ok(true);
        }
        match found.filter(|found| found.snapshot.is_none() && found.offset >= applied) {
            Some(found) => {
                *asked = run;
                let Some(Turn { key, checkpoint: back, stands, .. }) = turn else {
                    return self.put(&mut conn, Some(&found), None).await.map(|()| true);
                };
                let ours = checkpoint::key(self.task);
                let now = now_ms().to_string();
                let stands = format!("{} {}", stands.0, stands.1);
                let args = [found.owner().to_vec(), back.encode(), now.into_bytes(), stands.into_bytes()];
                let mut command: Vec<&[u8]> = vec![b"EVAL", TURN, b"2", &ours, key];
                command.extend(args.iter().map(Vec::as_slice));
                let reply = ask(&mut conn, &command).await?;
                if reply == Value::Int(1) { Ok(true) } else { Err(self.taken_over()) }
            }
            None => Ok(false),
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
