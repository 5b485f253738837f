//! What the target does with each command that comes: transactions, what is watched, scripts, and refusals.

use std::mem::take;

use super::{
    super::{
        judge::shown,
        model::{Args, Key, array, bulk, int, is_write, needs_memory, number},
    },
    CHECKPOINT, State, Target,
};

/// The scripts as they are known here: with another text, what they do has to be looked at again.
const FENCE: &[u8] = b"local v=redis.pcall('HGET',KEYS[1],'v') \
    if type(v)=='string' and string.sub(v,5,20)==ARGV[1] then return 1 end \
    redis.call('SET',KEYS[2],'1') redis.call('DEL',KEYS[2]) return 0";
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

/// Why a target refuses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::sim) enum Refusal {
    Oom,
    ReadOnly,
    Busy,
    Loading,
}

impl Refusal {
    fn text(self) -> &'static str {
        match self {
            Self::Oom => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::ReadOnly => "READONLY You can't write against a read only replica.",
            Self::Busy => "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            Self::Loading => "LOADING Redis is loading the dataset in memory",
        }
    }

    /// Whether a command that writes is refused.
    fn refuses_write(self, name: &[u8]) -> bool {
        self != Self::Oom || needs_memory(name)
    }

    /// Whether a command is refused before it runs or is queued; of EXEC, what is in it counts (server.c processCommand).
    fn refuses(self, name: &[u8], queue: Option<&[Args]>) -> bool {
        match (name, self) {
            (b"WATCH" | b"MULTI" | b"DISCARD", _) | (b"EXEC", Self::Busy) | (b"SELECT", Self::Loading) => false,
            (b"EXEC", _) => queue.is_some_and(|queue| queue.iter().any(|args| self.refuses(&args[0], None))),
            (_, Self::Busy | Self::Loading) => true,
            _ => is_write(name) && self.refuses_write(name),
        }
    }
}

/// What a connection has under way.
#[derive(Default)]
pub(in crate::sim) struct Client {
    db: u32,
    watched: Vec<(Key, u64)>,
    queue: Option<Vec<Args>>,
    /// A command was refused while it was to be queued.
    dirty: bool,
}

impl Target {
    /// Runs one command; gives its reply.
    pub(in crate::sim) fn execute(&self, id: u64, client: &mut Client, args: Args) -> Vec<u8> {
        let reply = self.reply(id, client, args);
        self.state().look_at_claims();
        reply
    }

    fn reply(&self, id: u64, client: &mut Client, args: Args) -> Vec<u8> {
        let mut state = self.state();
        let refusal = state.refusing.map(|(refusal, _)| refusal);
        state.refusing = state.refusing.filter(|(_, left)| *left > 1).map(|(refusal, left)| (refusal, left - 1));
        let name = args[0].as_slice();
        let refused = refusal.filter(|refusal| refusal.refuses(name, client.queue.as_deref()));
        match (refused, name) {
            (Some(refusal), _) => {
                drop(state);
                self.event(&format!("connection {id}: refuses {}", shown(client.db, &args)));
                self.refused(client, refusal, &args)
            }
            (None, b"EXEC") => {
                drop(state);
                self.exec(id, client)
            }
            _ if client.queue.is_some() => {
                client.queue.iter_mut().for_each(|queue| queue.push(args.clone()));
                b"+QUEUED\r\n".to_vec()
            }
            (None, b"WATCH") => {
                for key in &args[1..] {
                    let key = (client.db, key.clone());
                    let at = state.touched(&key);
                    client.watched.push((key, at));
                }
                b"+OK\r\n".to_vec()
            }
            (None, b"MULTI") => {
                client.queue = Some(Vec::new());
                b"+OK\r\n".to_vec()
            }
            (None, b"EVAL") => {
                drop(state);
                match args[1].as_slice() {
                    FENCE => self.fence(client.db, refusal, &args),
                    TAKE => self.take(id, client.db, refusal, &args),
                    _ => b"-ERR the simulation does not know this script\r\n".to_vec(),
                }
            }
            _ => state.run(client, &args, false),
        }
    }

    fn refused(&self, client: &mut Client, refusal: Refusal, args: &Args) -> Vec<u8> {
        let text = refusal.text();
        if args[0] == b"EXEC" {
            *client = Client { db: client.db, ..Client::default() };
            self.count("batches refused");
            return format!("-EXECABORT Transaction discarded because of: {text}\r\n").into_bytes();
        }
        client.dirty = client.queue.is_some();
        self.state().unfenced |= args[0] == b"EVAL" && args[1] == FENCE;
        format!("-{text}\r\n").into_bytes()
    }

    fn exec(&self, id: u64, client: &mut Client) -> Vec<u8> {
        let (watched, queue, dirty) = (take(&mut client.watched), client.queue.take(), take(&mut client.dirty));
        let Some(queue) = queue else { return b"-ERR EXEC without MULTI\r\n".to_vec() };
        if dirty {
            self.count("batches refused");
            self.event(&format!("connection {id}: a batch is refused"));
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n".to_vec();
        }
        let mut state = self.state();
        if watched.iter().any(|(key, at)| state.touched(key) != *at) {
            drop(state);
            self.count("batches kept out");
            self.event(&format!("connection {id}: a batch is kept out"));
            return b"*-1\r\n".to_vec();
        }
        let replies: Vec<_> = queue.iter().map(|args| state.run(client, args, true)).collect();
        state.judge();
        if state.rng.one_in(6) {
            state.saved = state.held.clone();
        }
        drop(state);
        self.count("batches");
        self.event(&format!("connection {id}: a batch of {} commands", queue.len()));
        array(&replies)
    }

    /// Touches the fence when the checkpoint is another one.
    fn fence(&self, db: u32, refusal: Option<Refusal>, args: &Args) -> Vec<u8> {
        let (key, fence, turn) = ((db, args[3].clone()), (db, args[4].clone()), &args[5]);
        let mut state = self.state();
        if state.held.model.field(&key, b"v").is_some_and(|v| v[4..20] == **turn) {
            return int(1);
        }
        // What a script may not write ends it.
        if let Some(refusal) = refusal {
            state.unfenced = true;
            return format!("-{} script: 1\r\n", refusal.text()).into_bytes();
        }
        state.touch(fence);
        drop(state);
        self.count("fence touched");
        int(0)
    }

    /// Makes a holder the holder, in the next epoch.
    fn take(&self, id: u64, db: u32, refusal: Option<Refusal>, args: &Args) -> Vec<u8> {
        let (key, holder, had) = ((db, args[3].clone()), &args[4], args[6] == b"1");
        let ours = number(&args[5]).unwrap_or_default() as u64;
        let mut state = self.state();
        let field = |name: &[u8]| state.held.model.field(&key, name).map(<[u8]>::to_vec);
        let (Some(v), n) = (field(b"v"), field(b"n").unwrap_or_default()) else { return array(&[]) };
        let [epoch, seq] = [4, 12].map(|at| u64::from_le_bytes(v[at..at + 8].try_into().unwrap()));
        if had && v[20..28] != **holder && epoch > ours {
            return int(0);
        }
        if let Some(refusal) = refusal {
            return format!("-{} script: 1\r\n", refusal.text()).into_bytes();
        }
        let next = epoch.max(ours) + 1;
        let taken = [&v[..4], &next.to_le_bytes(), &[0; 8], holder.as_slice(), &v[28..]].concat();
        let count = if number(&n) == Some(seq as i64) { b"0" } else { b"-" };
        let write = [b"HMSET", key.1.as_slice(), b"v", &taken, b"n", count].map(|arg: &[u8]| arg.to_vec());
        state.held.model.write(db, &write);
        state.touch(key);
        drop(state);
        self.event(&format!("connection {id}: epoch {next} is taken"));
        if epoch > 0 && v[20..28] != **holder {
            self.count("processes taken over");
        }
        array(&[bulk(Some(&v)), bulk(Some(&n))])
    }
}

impl State {
    fn touched(&self, key: &Key) -> u64 {
        self.touched.get(key).copied().unwrap_or_default()
    }

    fn touch(&mut self, key: Key) {
        self.clock += 1;
        self.touched.insert(key, self.clock);
    }

    fn claim(&mut self, result: Result<(), String>) {
        if let Err(fault) = result {
            self.fault.get_or_insert(fault);
        }
    }

    /// A command that is not about transactions.
    fn run(&mut self, client: &mut Client, args: &Args, in_transaction: bool) -> Vec<u8> {
        match args[0].as_slice() {
            b"PING" => return b"+PONG\r\n".to_vec(),
            b"SELECT" => {
                client.db = number(&args[1]).unwrap_or_default() as u32;
                return b"+OK\r\n".to_vec();
            }
            name if !is_write(name) => return b"-ERR unknown command\r\n".to_vec(),
            _ => {}
        }
        let key = (client.db, args[1].clone());
        if !in_transaction {
            self.claim(Err(format!("outside of a transaction: {}", shown(client.db, args))));
        }
        if key != (0, CHECKPOINT.to_vec()) && !self.held.holed {
            let noted = self.source.note(&mut self.held, client.db, args);
            self.missing(noted);
        }
        self.touch(key);
        self.held.model.write(client.db, args)
    }

    /// What is wrong on the target is a fault, but for the hole that a refused fence leaves: it has to be found, though.
    fn missing(&mut self, result: Result<(), String>) {
        match result {
            Err(_) if self.unfenced => self.held.holed = true,
            result => self.claim(result),
        }
    }

    fn judge(&mut self) {
        if self.held.holed {
            return;
        }
        let key = (0, CHECKPOINT.to_vec());
        let field = |name: &[u8]| self.held.model.field(&key, name).unwrap_or_default().to_vec();
        let (v, n) = (field(b"v"), field(b"n"));
        if self.held.came[0] {
            *self.trace.borrow_mut().counts.entry("batches with held deadlines").or_default() += 1;
        }
        let judged = self.source.judge(&mut self.held, &v, &n);
        self.missing(judged);
    }

    /// Nobody may say that more is applied than is there.
    fn look_at_claims(&mut self) {
        if self.held.holed {
            return;
        }
        let highest = self.source.highest_applied(&self.held);
        let copied = !self.source.is_within_snapshot(&self.held);
        for (stats, generation) in &self.watching {
            let applied = stats.applied.get();
            if *generation == self.generation && (applied > highest || stats.is_copied() && !copied) {
                let what = format!("{applied} is said to be applied, and {highest} is");
                self.fault.get_or_insert(what);
            }
        }
    }
}
