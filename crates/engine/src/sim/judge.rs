//! Whether the target has what the source has sent: each write once, in order, no transaction in part, and a position that
//! says just that. Reads the checkpoint by the table in docs/design/checkpoint.md.

use super::{
    model::{Args, Model, number},
    source::{GRACE_MS, START, Source},
};

/// What a target holds, and how much of what the source has sent that is.
#[derive(Clone, Default)]
pub(super) struct Held {
    pub(super) model: Model,
    /// How many of the source's writes have run.
    pub(super) writes: usize,
    /// Writes are missing in front of others: the target has refused what would have kept them out.
    pub(super) holed: bool,
    /// Deadlines that have come since the last checkpoint: held ones, and others.
    pub(super) came: [bool; 2],
    /// Epoch of the last checkpoint, and whether it says that deadlines are being held.
    pub(super) said: (u64, bool),
}

/// Distance of a held deadline, see docs/design/full-sync.md.
const HELD: i64 = 1 << 52;

/// What a deadline is when it is settled.
fn settled(at: i64) -> i64 {
    if at < HELD { at } else { at - HELD + GRACE_MS }
}

impl Source {
    /// Notes a write that has run in database `db`.
    pub(super) fn note(&self, held: &mut Held, db: u32, args: &Args) -> Result<(), String> {
        // What was being rebuilt is removed wherever the snapshot is begun or gone on with. There never is such a key.
        if args[0] == b"DEL" && args[1].starts_with(b"__keyferry_rebuild:") {
            return Ok(());
        }
        // What was joined is what it was made of, in its order.
        let option: &[&[u8]] = match args[0].as_slice() {
            b"MSET" => &[],
            b"MSETNX" => &[b"NX"],
            _ => return self.note_one(held, db, args),
        };
        for pair in args[1..].chunks(2) {
            let words = [b"SET".as_slice(), &pair[0], &pair[1]].into_iter().chain(option.iter().copied());
            self.note_one(held, db, &words.map(<[u8]>::to_vec).collect())?;
        }
        Ok(())
    }

    fn note_one(&self, held: &mut Held, db: u32, args: &Args) -> Result<(), String> {
        let mut settled_args = args.clone();
        if let (b"PEXPIREAT", Some(at)) = (args[0].as_slice(), args.get(2).and_then(|at| number(at))) {
            settled_args[2] = settled(at).to_string().into_bytes();
            held.came[usize::from(at < HELD)] = true;
        }
        match self.writes.get(held.writes) {
            Some(write) if write.db == db && write.args == settled_args => {
                held.writes += 1;
                Ok(())
            }
            due => {
                let due = due.map(|write| shown(write.db, &write.args));
                Err(format!("write {} is {due:?}, and the target gets {}", held.writes, shown(db, args)))
            }
        }
    }

    /// The first offset, or position in the snapshot, that the target does not hold.
    fn next(&self, held: &Held) -> u64 {
        match self.writes.get(held.writes) {
            Some(write) => write.begin,
            None => self.offset(),
        }
    }

    /// The highest offset that may be said to be applied.
    pub(super) fn highest_applied(&self, held: &Held) -> u64 {
        if self.is_within_snapshot(held) { START } else { self.next(held) }
    }

    /// Keys of the snapshot are missing.
    pub(super) fn is_within_snapshot(&self, held: &Held) -> bool {
        self.writes.get(held.writes).is_some_and(|write| write.snapshot)
    }

    /// Looks at what a transaction has left: `v` and `n` of the checkpoint.
    pub(super) fn judge(&self, held: &mut Held, v: &[u8], n: &[u8]) -> Result<(), String> {
        let number = |at: usize, len: usize| v[at..at + len].iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte));
        // Within the snapshot it also counts.
        let counted = v.get(29) == Some(&1);
        if v.len() != if counted { 288 } else { 176 } || v[31] != u8::from(counted) || &v[..4] != b"KFC1" {
            return Err("what is there is no checkpoint".to_owned());
        }
        if n != number(12, 8).to_string().as_bytes() {
            return Err(format!("batch {} is batch {} of its epoch", number(12, 8), String::from_utf8_lossy(n)));
        }
        let (before, [came_held, came_late]) = (held.said, std::mem::take(&mut held.came));
        let (said, any_held) = ((number(4, 8), v[28] & 16 != 0), v[28] & 2 != 0);
        held.said = said;
        // What is held, somebody has to settle; and nobody before a checkpoint says that no more is to come.
        if came_held && !(any_held && (said.1 || before.1)) {
            return Err("deadlines are held, and the checkpoint does not say so".to_owned());
        }
        // What is there is held behind a checkpoint that says it: what comes behind that has to be held by itself.
        if came_late && said.1 && before == said {
            return Err("a deadline is not held, behind a checkpoint that says that they are".to_owned());
        }
        if self.writes.get(held.writes).is_some_and(|write| write.inside) {
            return Err(format!("a transaction is there in part, up to write {}", held.writes));
        }
        let (offset, in_snapshot, position, db) = (number(128, 8), v[29] == 1, number(136, 8), number(152, 4));
        let last = held.writes.checked_sub(1).map(|last| &self.writes[last]);
        if in_snapshot {
            let from = last.filter(|write| write.snapshot).map_or(0, |write| write.end);
            let to = if self.is_within_snapshot(held) { self.next(held) } else { self.stream_from };
            let in_order = last.is_none_or(|write| write.snapshot) && (from..=to).contains(&position);
            // All of them are strings, of the database in which the position is.
            let here = self.writes[..held.writes].iter().filter(|write| u64::from(write.db) == number(148, 4));
            let bytes: usize = here.clone().map(|write| write.args[1].len()).sum();
            let counts = (168..280).step_by(8).map(|at| number(at, 8));
            let (keys, bytes) = (here.count() as u64, bytes as u64);
            if !counts.clone().skip(2).all(|n| n == 0) || number(168, 8) != keys || number(176, 8) < bytes {
                return Err(format!("counts {:?} with {keys} keys", counts.collect::<Vec<_>>()));
            }
            return match in_order && offset == START {
                true => Ok(()),
                false => Err(format!("position {position}, offset {offset}, with {} writes", held.writes)),
            };
        }
        let from = last.filter(|write| !write.snapshot).map_or(START, |write| write.end);
        if self.is_within_snapshot(held) || !(from..=self.next(held)).contains(&offset) {
            return Err(format!("offset {offset} with {} writes: {from}..={}", held.writes, self.next(held)));
        }
        if db != u64::from(self.db_at(offset)) {
            return Err(format!("at offset {offset} database {} is selected, not {db}", self.db_at(offset)));
        }
        Ok(())
    }

    /// Looks at what there is when all has been applied.
    pub(super) fn judge_end(&self, held: &Held) -> Result<(), String> {
        if held.holed {
            return Err("somebody has gone on behind a hole".to_owned());
        }
        let mut model = held.model.clone();
        model.keys.retain(|(_, key), _| !key.starts_with(b"__keyferry"));
        model.keys.values_mut().for_each(|entry| entry.deadline = entry.deadline.map(settled));
        if model == self.model && held.writes == self.writes.len() {
            return Ok(());
        }
        let differs = |(key, entry): &(_, _)| self.model.keys.get(*key) != Some(*entry);
        let differing = model.keys.iter().filter(differs).count();
        let what = format!("{} of {} writes, {differing} keys differ", held.writes, self.writes.len());
        Err(format!("the target does not hold what the source has: {what}"))
    }
}

pub(super) fn shown(db: u32, args: &[Vec<u8>]) -> String {
    let args: Vec<_> = args.iter().map(|arg| arg[..arg.len().min(24)].escape_ascii().to_string()).collect();
    format!("{db}: {}", args.join(" "))
}
