//! What the target may refuse without an end of the task: the keys of a repair.
//!
//! A refusal within a transaction would come when the rest is applied, or keep all of it from being so. Within a script it is
//! an answer: also that the user may not have a key, for which a transaction would not be run. So the keys are not named as those
//! of the script.
//!
//! Invariant: of a value that is built by commands, all are run, or its key stays as it was.

use keyferry_resp::{
    Limits, encode,
    request::{Request, Scanner},
};

use super::{Batch, FULL, What};

/// Runs a command.
const TRY: &[u8] = b"return redis.pcall(unpack(ARGV))";

/// Runs commands that build a value under the name `ARGV[1]`, each with the number of its words in front. Where one is refused,
/// all that was built is removed. `ARGV[2]` says that there is something: without it one in an earlier script was refused. Lua
/// hands on less than 8000 words.
const BUILD: &[u8] =
    b"if ARGV[2]=='1' and redis.call('EXISTS',ARGV[1])==0 then return redis.error_reply('ERR it is not whole') end \
    local i,r=3 while ARGV[i] do local n=tonumber(ARGV[i]) \
    if n<7000 then r=redis.pcall(unpack(ARGV,i+1,i+n)) else r={err='ERR too many words for a script'} end \
    if type(r)=='table' and r.err then redis.call('DEL',ARGV[1]) return r end i=i+n+1 end return 1";

/// Moves what was built to its key, as is done for a value of the snapshot. Its deadline is set before: when that is refused
/// the key stays as it was. A value whose time is over by then leaves nothing under the key.
const MOVE: &[u8] = b"if redis.call('EXISTS',KEYS[1])==0 then return 1 end \
    if ARGV[2]~='0' then redis.call('PEXPIREAT',KEYS[1],ARGV[2]) end \
    if ARGV[1]~='1' and redis.call('EXISTS',KEYS[2])==1 then redis.call('DEL',KEYS[1]) return 0 end \
    if redis.call('EXISTS',KEYS[1])==0 then redis.call('DEL',KEYS[2]) \
    else redis.call('RENAME',KEYS[1],KEYS[2]) end return 1";

/// In front of a script of two keys and two arguments to which nothing is said to be a key.
const NO_KEYS: &[u8] = b"local KEYS,ARGV={ARGV[1],ARGV[2]},{ARGV[3],ARGV[4]} ";

impl Batch {
    /// Makes the last command, of one key, a try ([`What::Repair`]). `tells`: for targets that want to be told the keys of a
    /// script.
    pub(crate) fn try_last(&mut self, place: u32, tells: bool) {
        let Some(expect) = self.expects.last_mut() else { return };
        expect.what = What::Repair(place);
        let own = self.bytes.split_off(expect.at);
        let Ok(Some(request)) = Scanner::new(Limits::default()).next(&own) else { return };
        let key = request.arg(1).filter(|_| tells);
        let count: &[u8] = if key.is_some() { b"1" } else { b"0" };
        let args: Vec<&[u8]> = [b"EVAL", TRY, count].into_iter().chain(key).chain(request.args()).collect();
        encode::command(&mut self.bytes, &args);
    }

    /// Makes what is behind so many notes a try: commands that build a value `under` a name of our own, and the script that
    /// moves it from there.
    pub(crate) fn try_build(&mut self, place: u32, from: usize, under: &[u8], tells: bool) {
        let Some((at, offset)) = self.expects.get(from).map(|expect| (expect.at, expect.offset)) else { return };
        let (own, notes) = (self.bytes.split_off(at), self.expects.split_off(from));
        let mut script = Script { place, offset, under, tells, args: Vec::new(), words: 0, there: false };
        let mut rest = &own[..];
        for note in notes {
            let Ok(Some(request)) = Scanner::new(Limits::default()).next(rest) else { return };
            rest = &rest[request.bytes().len()..];
            let scripted = request.name() == b"EVAL";
            if scripted && rest.is_empty() {
                script.flush(self);
                self.try_move(place, offset, &request, tells);
            } else if request.name() == b"XREADGROUP" {
                // Makes a consumer; targets before 6.2 do not take it from scripts. One with pending entries comes with them.
            } else if scripted || note.what == What::Select {
                // What it is refused it keeps to itself.
                script.flush(self);
                self.expect(note.what, offset);
                self.bytes.extend_from_slice(request.bytes());
            } else {
                script.add(&request);
                if script.args.len() >= FULL {
                    script.flush(self);
                }
            }
        }
        script.flush(self);
        // What could not be moved.
        self.command(What::Command, offset, &[b"DEL", under]);
    }

    /// `EVAL text 2 from to argument argument`
    fn try_move(&mut self, place: u32, offset: u64, request: &Request<'_>, tells: bool) {
        self.expect(What::Repair(place), offset);
        let (text, count): (_, &[u8]) = if tells { (MOVE.to_vec(), b"2") } else { ([NO_KEYS, MOVE].concat(), b"0") };
        let args: Vec<&[u8]> = [b"EVAL", &text[..], count].into_iter().chain(request.args().skip(3)).collect();
        encode::command(&mut self.bytes, &args);
    }
}

/// Commands on their way into a script.
struct Script<'a> {
    place: u32,
    offset: u64,
    under: &'a [u8],
    tells: bool,
    args: Vec<u8>,
    words: usize,
    /// There was one before.
    there: bool,
}

impl Script<'_> {
    fn add(&mut self, request: &Request<'_>) {
        encode::bulk_int(&mut self.args, i64::try_from(request.argc()).unwrap_or(i64::MAX));
        request.args().for_each(|arg| encode::bulk(&mut self.args, arg));
        self.words += 1 + request.argc();
    }

    fn flush(&mut self, batch: &mut Batch) {
        if self.words == 0 {
            return;
        }
        let key = self.tells.then_some(self.under);
        let (count, there): (&[u8], &[u8]) =
            (if self.tells { b"1" } else { b"0" }, if self.there { b"1" } else { b"0" });
        let front: Vec<&[u8]> = [b"EVAL", BUILD, count].into_iter().chain(key).chain([self.under, there]).collect();
        batch.expect(What::Repair(self.place), self.offset);
        encode::array(&mut batch.bytes, front.len() + self.words);
        front.iter().for_each(|arg| encode::bulk(&mut batch.bytes, arg));
        batch.bytes.append(&mut self.args);
        (self.words, self.there) = (0, true);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpStream,
    };

    use keyferry_testkit::Server;

    use super::*;

    /// What a server answers, one line for each note.
    fn answers(server: &Server, batch: &Batch) -> Vec<String> {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(&batch.bytes).unwrap();
        BufReader::new(stream).lines().take(batch.expects.len()).map(Result::unwrap).collect()
    }

    /// A list of these elements, each with a command of its own; `""` is a command that is refused.
    fn build(elements: &[&str], tells: bool) -> Batch {
        let mut batch = Batch::default();
        batch.command(What::Command, 7, &[b"SET", b"before", b"1"]);
        batch.select(0, 7);
        batch.command(What::Command, 7, &[b"UNLINK", b"place"]);
        for element in elements {
            let name: &[u8] = if element.is_empty() { b"ZADD" } else { b"RPUSH" };
            batch.command(What::Command, 7, &[name, b"place", element.as_bytes()]);
        }
        batch.command(What::Command, 7, &[b"EVAL", MOVE, b"2", b"place", b"key", b"1", b"0"]);
        batch.try_build(3, 1, b"place", tells);
        let notes: Vec<What> = batch.expects.iter().map(|expect| expect.what).collect();
        assert_eq!(notes[..2], [What::Command, What::Select]);
        assert!(notes[2..notes.len() - 1].iter().all(|what| *what == What::Repair(3)), "{notes:?}");
        batch
    }

    /// With its deadline, or what was there stays.
    #[test]
    fn a_deadline_is_part_of_the_value() {
        for name in ["redis-4.0", "redis-7.2"] {
            let server = Server::start(name).unwrap();
            let wrote = |deadline: &[u8], tells: bool| {
                let _: redis::Value = server.ask(0, "SET key old").unwrap();
                let mut batch = Batch::default();
                batch.command(What::Command, 7, &[b"RPUSH", b"place", b"a"]);
                batch.command(What::Command, 7, &[b"EVAL", b"", b"2", b"place", b"key", b"1", deadline]);
                batch.try_build(0, 0, b"place", tells);
                let said = answers(&server, &batch);
                assert!(!server.ask::<bool>(0, "EXISTS place").unwrap(), "{name}: nothing is left over");
                let (kind, left) = (server.ask::<String>(0, "TYPE key"), server.ask::<i64>(0, "PTTL key"));
                (kind.unwrap(), left.unwrap(), said.into_iter().any(|line| line.starts_with('-')))
            };
            for tells in [false, true] {
                assert_eq!(wrote(b"0", tells), ("list".into(), -1, false), "{name}");
                let (kind, left, refused) = wrote(b"99999999999999", tells);
                assert!(kind == "list" && left > 0 && !refused, "{name}: {left}");
                assert_eq!(wrote(b"1", tells), ("none".into(), -2, false), "{name}");
                if name == "redis-7.2" {
                    let _: redis::Value = server.ask(0, "ACL SETUSER default -pexpireat").unwrap();
                    assert_eq!(wrote(b"99999999999999", tells), ("string".into(), -1, true), "{name}");
                    let _: redis::Value = server.ask(0, "ACL SETUSER default +pexpireat").unwrap();
                }
            }
        }
    }

    #[test]
    fn a_value_is_built_as_a_whole_or_what_was_there_stays() {
        let long = "x".repeat(FULL);
        let wide = vec!["1"; 8000];
        for name in ["redis-4.0", "redis-7.2"] {
            let server = Server::start(name).unwrap();
            let wrote = |elements: &[&str], tells: bool| {
                for words in ["DEL place", "RPUSH place left over", "SET key old"] {
                    let _: redis::Value = server.ask(0, words).unwrap();
                }
                let batch = build(elements, tells);
                let said = answers(&server, &batch);
                assert!(!server.ask::<bool>(0, "EXISTS place").unwrap(), "{name}: nothing is left over");
                let refused: Vec<String> = said.into_iter().filter(|line| line.starts_with('-')).collect();
                (server.ask::<Option<u64>>(0, "LLEN key").ok().flatten(), refused, batch.expects.len())
            };
            for tells in [false, true] {
                // Two notes in front, the scripts, the move, and a look for what is left over.
                assert_eq!(wrote(&["a", "b"], tells), (Some(2), vec![], 5), "{name}");
                assert_eq!(wrote(&[&long, "b", &long, "d"], tells), (Some(4), vec![], 7), "{name}");
                // The first of a script, and one behind; within the first script, and in a later one.
                for elements in
                    [vec!["", "a"], vec!["a", "", "b"], vec![&long, "", "b"], vec![&long, &long, "b", "", "c"]]
                {
                    let (written, refused, _) = wrote(&elements, tells);
                    assert_eq!(written, None, "{name}: {}", elements.len());
                    assert!(
                        refused[0].contains("wrong number of arguments") || refused[0].contains("Wrong number"),
                        "{refused:?}"
                    );
                }
                let mut batch = Batch::default();
                batch.command(What::Command, 7, &[b"UNLINK", b"place"]);
                let words: Vec<&[u8]> =
                    [&b"RPUSH"[..], b"place"].into_iter().chain(wide.iter().map(|w| w.as_bytes())).collect();
                batch.command(What::Command, 7, &words);
                batch.command(What::Command, 7, &[b"EVAL", MOVE, b"2", b"place", b"key", b"1", b"0"]);
                batch.try_build(0, 0, b"place", tells);
                assert!(answers(&server, &batch)[0].contains("too many words"));
                assert_eq!(server.ask::<String>(0, "GET key").unwrap(), "old");
            }
        }
    }
}
