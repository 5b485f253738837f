//! The way back: the task that goes on in the other direction behind a cut-over, so that the old side stays a fallback.
//!
//! | when | what | where |
//! |---|---|---|
//! | before anything is changed | both sides are asked whether the other direction is possible; a link to the target begins its backlog and keeps it | |
//! | behind `drain` | a mark is written into the position of the task; where it comes in the stream of the target is the turn | target |
//! | `promote` | the position of the task is removed, and the turn put there, in one step | target |
//! | behind it | the clients of the source are sent away, its pause is ended, and its deadlines become later by the grace | source |
//! | | what has run out there meanwhile is removed; then it is said that the target is the place to write | target |
//! | the other task begins | the turn becomes its position; then it is removed | source; target |
//!
//! Invariants:
//! - All that this process has written to the target is in front of the turn, but for its own position; all that clients
//!   write there, who may do so only behind `promote`, is behind it. So nothing goes round, and nothing is left out.
//! - At each moment at most one direction has a position: whoever starts the wrong one finds none, and a server that holds keys.
//! - The database that the stream of the target has selected at the turn is known: the mark was written there.

use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    time::Duration,
};

use keyferry_keyspace::{
    Db, ReplId, ReplOffset,
    objects::{Choice, Objects},
};
use keyferry_model::{Error, ErrorKind, Result, Side, SyncSpec, failpoint};
use keyferry_net::{Connection, Endpoint, Value};
use keyferry_resp::request::Request;
use tokio::time::timeout;

use super::Pause;
use crate::{
    begin::{Task, reversed},
    checks,
    source::{self, Attached, Report},
    stop::Stop,
    target::{Checkpoint, Flags, Gone, LogId, SOON, Turn, ask, checkpoint, lift, run_of, try_out},
};

/// For how long the writes of the target are watched, to say how long its backlog lasts.
const SAMPLE: Duration = Duration::from_millis(300);
/// For lifting, of the time in which the old side is made ready: what has run out by then is still removed.
const LIFTING: Duration = Duration::from_secs(8);
/// Likewise, once a stop was asked for.
const LIFTING_IN_STOP: Duration = Duration::from_secs(1);
/// A backlog that lasts shorter than this is warned of: a process that dies has to be started again within that time.
const ENOUGH: f64 = 60.0;
/// In the stream of the old side behind the last step: what lifting is, and what belongs to no data.
const OURS: [&[u8]; 10] = [
    b"PING",
    b"REPLCONF",
    b"MULTI",
    b"EXEC",
    b"PEXPIRE",
    b"PEXPIREAT",
    b"HPEXPIREAT",
    b"EVAL",
    b"PUBLISH",
    b"SPUBLISH",
];
/// Removes `KEYS[2]`, or of it the fields from `ARGV[5]` on, in database `ARGV[3]`: what has run out on the old side, so no more
/// than the grace `ARGV[4]` is left of it. Nothing is done when the turn `KEYS[1]` in database `ARGV[2]` is not `ARGV[1]` any
/// more: then clients have been writing for long.
const REMOVE: &[u8] =
    b"redis.call('SELECT',ARGV[2]) local v=redis.call('HGET',KEYS[1],'v') redis.call('SELECT',ARGV[3]) \
    if v~=ARGV[1] then return 0 end local most=tonumber(ARGV[4])+1000 \
    if #ARGV==4 then local left=redis.call('PTTL',KEYS[2]) \
    if left>=0 and left<=most then return redis.call('DEL',KEYS[2]) end return 0 end \
    for i=5,#ARGV do local left=redis.call('HPTTL',KEYS[2],'FIELDS',1,ARGV[i])[1] \
    if left and left>=0 and left<=most then redis.call('HDEL',KEYS[2],ARGV[i]) end end return 1";
/// Commands that are sent together.
const AT_ONCE: usize = 200;
/// As long as a name of a file may be, with what stands behind it.
const LONGEST_NAME: usize = 240;

/// What is needed for the task in the other direction.
pub(crate) struct WayBack {
    spec: SyncSpec,
    source: Endpoint,
    target: Endpoint,
    link: Attached,
    /// Where the task is at the turn: history, offset and selected database of what was its source.
    stands: (ReplId, u64, u32),
}

impl WayBack {
    /// Asks both sides, without changing anything on them, and opens the link. With words on the backlog. `owner`: the target
    /// held nothing of its own when the task began.
    ///
    /// Errors: `CutoverRefused` with the reason; those of both connections and of the checks.
    pub(super) async fn open(task: Task<'_>, owner: bool, pause: &Pause) -> Result<(Self, String)> {
        let refused = |what: String| Error::new(ErrorKind::CutoverRefused, format!("prepare the way back: {what}"));
        if !owner {
            return Err(refused("the target held keys of its own when the task began, which the source lacks".into()));
        }
        let spec = task.spec.reversed().ok_or_else(|| {
            refused("its rules cannot be said: keys get new names, or types or commands are left out".into())
        })?;
        if spec.task.len() > LONGEST_NAME {
            return Err(refused(format!("the name {} is too long: give the task a name with --task", spec.task)));
        }
        let (source, target) = reversed(task.source, task.target);
        let mut theirs = Connection::open(&source).await?;
        let mut ours = Connection::open(&target).await?;
        checks::ask(&mut theirs, &mut ours, &source, &target, &spec.objects).await?;
        let back = Task { source: &source, target: &target, spec: &spec, ..task };
        let place = back.place();
        ask(&mut ours, &[b"SELECT", place.db.to_string().as_bytes()]).await?;
        if place.read(&mut ours).await?.is_some() || place.elsewhere(&mut ours, false).await?.is_some() {
            let key = String::from_utf8_lossy(&checkpoint::key(place.task)).into_owned();
            return Err(refused(format!("the source holds a position of it already: delete {key} there")));
        }
        try_out(&mut ours).await?;
        pause.try_out_end(&mut ours).await?;
        let mut link = Attached::open(&source).await?;
        let from = link.offset;
        if let Ok(error) = timeout(SAMPLE, link.go_on()).await {
            return Err(error);
        }
        let rate = (link.offset - from) as f64 / SAMPLE.as_secs_f64();
        let seconds = (link.backlog as f64 / rate.max(1.0)).min(86_400.0);
        let words =
            format!("the backlog of the target, {} bytes, lasts for {seconds:.1} s of such writes", link.backlog);
        if seconds < ENOUGH {
            tracing::warn!(
                bytes = link.backlog,
                seconds,
                "raise repl-backlog-size at the target: the way back needs it"
            );
        }
        Ok((Self { spec, source, target, link, stands: (ReplId::NONE, 0, 0) }, words))
    }

    /// Keeps the link alive. It only ends with an error.
    pub(super) async fn keep(&mut self) -> Error {
        self.link.go_on().await
    }

    /// The name of the task in the other direction.
    pub(super) fn name(&self) -> &str {
        &self.spec.task
    }

    /// Finds the turn, while nobody but this process writes to the target: where the position of the other task is to be put,
    /// and what it is.
    pub(crate) async fn turn(&mut self, task: Task<'_>) -> Result<Turn> {
        let number = RandomState::new().build_hasher().finish();
        let (place, mark) = (task.place(), number.to_string());
        let key = checkpoint::key(place.task);
        let mut conn = place.connect().await?;
        let odd = || Error::new(ErrorKind::CheckpointChanged, "find the turn: the target has no position of the task");
        let found = place.read(&mut conn).await?.ok_or_else(odd)?;
        self.stands = (found.replid, found.offset, found.source_db);
        let run = run_of(&mut conn).await?;
        ask(&mut conn, &[b"HSET", &key, b"mark", mark.as_bytes()]).await?;
        let written = [&key, b"mark".as_slice(), mark.as_bytes()];
        let offset = self.link.until(|request| request.argc() == 4 && request.args().skip(1).eq(written)).await?;
        failpoint("turn-marked");
        let back = Task { source: &self.source, target: &self.target, spec: &self.spec, ..task };
        let replid = self.link.replid;
        let checkpoint = Checkpoint {
            log: LogId { number, replid, start: ReplOffset(offset) },
            replid,
            offset,
            snapshot: None,
            source_db: place.db,
            chosen: back.chosen(),
            flags: Flags { owner: true, exact: true, ..Flags::default() },
            ..Checkpoint::BEGINNING
        };
        let stands = (found.replid, found.offset);
        Ok(Turn { key: checkpoint::turn_key(back.place().task), db: place.db, checkpoint, stands, run })
    }

    /// Behind the last step, and before anybody is told of it: sends the clients of the old side away, lets it take writes
    /// again, and lifts those of its deadlines that are near. What runs out there until it is lifted goes on the new side, too:
    /// nobody can have renewed it.
    ///
    /// `late_writes`: how many commands have come there so far that neither this process nor a deadline has written: a client that
    /// was sent away and has come back. Errors: those of both sides. Then the task in the other direction does what is left of it.
    pub(super) async fn settle_old_side(
        &self,
        task: Task<'_>,
        pause: &Pause,
        turn: &Turn,
        stop: &Stop<'_>,
        late_writes: &Cell<u64>,
    ) -> Result<()> {
        let (replid, offset, mut db) = self.stands;
        let mut link = Attached::at(task.source, replid, offset).await?;
        pause.end_without_clients(&self.target).await?;
        failpoint("source-released");
        let (mut gone, mut fields): (Vec<Gone>, Vec<Gone>) = Default::default();
        let mut note = |request: &Request<'_>| {
            let is = |name: &[u8]| request.name().eq_ignore_ascii_case(name);
            let key = request.arg(1).unwrap_or_default();
            let objects = &task.spec.objects;
            let chosen = !checkpoint::is_key(key) && matches!(objects.key(key), Choice::Same);
            if is(b"SELECT") {
                db = Db::parse(key).map_or(db, |db| db.0);
            } else if let Some(to) = objects.database(db).filter(|_| chosen) {
                if is(b"DEL") || is(b"UNLINK") || is(b"HDEL") {
                    gone.push((to, request.args().map(<[u8]>::to_vec).collect()));
                } else if !OURS.iter().any(|name| is(name)) {
                    late_writes.update(|n| n + 1);
                }
            }
            false
        };
        let back = Task { source: &self.source, target: &self.target, spec: &self.spec, ..task };
        let (objects, grace, control) = (&self.spec.objects, self.spec.ttl_grace, &task.stats.control);
        let lifting = lift(&self.source, back.place(), None, objects, [grace, SOON], control, Some(&mut fields));
        let lifted = tokio::select! {
            biased;
            lifted = timeout(LIFTING, lifting) => lifted.ok().transpose()?,
            () = stop.over(LIFTING_IN_STOP) => None,
            result = link.until(&mut note) => return result.map(drop),
        };
        if lifted == Some(false) {
            let what = "lift the deadlines of the old side: the other task has begun already";
            return Err(Error::new(ErrorKind::CheckpointChanged, what));
        }
        let Report { offset: end, .. } = source::ask(&mut None, task.source, "default").await?;
        while link.offset < end {
            link.until(|request| {
                note(request);
                true
            })
            .await?;
        }
        gone.append(&mut fields);
        failpoint("lifted");
        let mut conn = task.place().connect().await?;
        let (grace, turn_db) = (self.spec.ttl_grace.as_millis().to_string(), turn.db.to_string());
        let position = turn.checkpoint.encode();
        for some in gone.chunk_by(|a, b| a.0 == b.0).flat_map(|same| same.chunks(AT_ONCE)) {
            let db = some[0].0.to_string();
            ask(&mut conn, &[b"SELECT", db.as_bytes()]).await?;
            let fixed: [&[u8]; 4] = [&position, turn_db.as_bytes(), db.as_bytes(), grace.as_bytes()];
            let objects = &task.spec.objects;
            let commands: Vec<Vec<&[u8]>> =
                some.iter().flat_map(|(_, command)| removals(&turn.key, fixed, command, objects)).collect();
            if let Some(Value::Error(text)) =
                conn.ask_all(&commands).await?.into_iter().find(|reply| matches!(reply, Value::Error(_)))
            {
                return Err(conn.refused(conn.kind_of(&text), "the removal of what has run out", &text));
            }
        }
        if lifted.is_none() {
            return Err(Error::new(
                ErrorKind::Timeout(Side::Source),
                "lift the deadlines of the old side: it takes too long",
            ));
        }
        tracing::info!(gone = gone.len(), "what would soon run out on the old side lives longer by the grace");
        Ok(())
    }
}

/// What removes, of what was written in the words of `command`, that which has run out: [`REMOVE`] for each chosen key.
fn removals<'a>(turn: &'a [u8], fixed: [&'a [u8]; 4], command: &'a [Vec<u8>], objects: &Objects) -> Vec<Vec<&'a [u8]>> {
    let Some((name, args)) = command.split_first() else { return Vec::new() };
    let (keys, fields) = match name.eq_ignore_ascii_case(b"HDEL") {
        true => args.split_at(args.len().min(1)),
        false => (args, &args[..0]),
    };
    let chosen = keys.iter().filter(|key| matches!(objects.key(key), Choice::Same));
    chosen
        .map(|key| {
            let words = [b"EVAL".as_slice(), REMOVE, b"2", turn, key].into_iter().chain(fixed);
            words.chain(fields.iter().map(Vec::as_slice)).collect()
        })
        .collect()
}
