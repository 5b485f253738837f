//! One connection as the target sees it: what comes, when it is worked off, and how it ends.

use std::{rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    select,
    time::sleep,
};

use super::{
    Rng,
    model::Args,
    target::{Client, Refusal, Target},
};

/// What goes wrong on a connection, behind so many bytes or commands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// It ends, and what has come until then is worked off later.
    CutIn(u64),
    /// It ends within the replies.
    CutOut(u64),
    /// Nothing is read and answered for a long time.
    Silent(u64),
    FailOver(u64),
    Refuse(u64, Refusal, u64),
}

impl Fault {
    fn new(rng: &mut Rng) -> Self {
        match rng.below(9) {
            0 | 1 => Self::CutIn(rng.size(14) - 1),
            2 | 3 => Self::CutOut(rng.size(12) - 1),
            4 => Self::Silent(rng.size(14) - 1),
            5 | 6 => Self::FailOver(rng.size(8)),
            _ => {
                let refusals = [Refusal::Oom, Refusal::ReadOnly, Refusal::Busy, Refusal::Loading];
                Self::Refuse(rng.size(8), refusals[rng.index(4)], rng.size(6))
            }
        }
    }
}

struct Connection {
    target: Rc<Target>,
    id: u64,
    rng: Rng,
    fault: Fault,
    generation: u64,
    /// `None`: it has ended.
    pipe: Option<DuplexStream>,
    inbox: Vec<u8>,
    received: u64,
    sent: u64,
    commands: u64,
    client: Client,
    /// One pause in so many steps.
    pauses: u64,
}

/// Serves a connection until it has ended and all that came on it is worked off.
pub(super) async fn serve(target: Rc<Target>, pipe: DuplexStream, id: u64, mut rng: Rng) {
    let fault = match target.faults.get() {
        0 => Fault::None,
        left => {
            target.faults.set(left - 1);
            Fault::new(&mut rng)
        }
    };
    target.event(&format!("connection {id}: {fault:?}"));
    let generation = target.generation();
    let pauses = [3, 20, 1000][rng.index(3)];
    let mut connection = Connection {
        target,
        id,
        rng,
        fault,
        generation,
        pipe: Some(pipe),
        inbox: Vec::new(),
        received: 0,
        sent: 0,
        commands: 0,
        client: Client::default(),
        pauses,
    };
    while connection.step().await {}
}

impl Drop for Connection {
    /// Without this, the other side would try again without end.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.target.fail("the target of the simulation panics");
        }
    }
}

impl Connection {
    /// Reads something and works it off. `false` at the end.
    async fn step(&mut self) -> bool {
        let n = self.read().await;
        if !self.lives() {
            return false;
        }
        if n == 0 {
            // The bytes of a connection that has ended may have been on their way for long.
            self.pipe = None;
            self.pause(5000).await;
        }
        if let Fault::Silent(at) = self.fault
            && self.received >= at
        {
            self.fault = Fault::None;
            self.target.count("silences");
            self.target.event(&format!("connection {}: says nothing", self.id));
            // Or for longer than anybody waits.
            let most = if self.rng.one_in(3) { 2 * 3600 } else { 1 };
            let silence = Duration::from_secs(most) + self.rng.millis(300_000);
            self.sleep(silence).await;
        }
        let mut out = Vec::new();
        let mut used = 0;
        while let Some((len, args)) = self.lives().then(|| parse(&self.inbox[used..])).flatten() {
            used += len;
            self.command(args, &mut out).await;
            if self.rng.one_in(4) {
                self.send(&mut out).await;
            }
        }
        self.inbox.drain(..used);
        self.send(&mut out).await;
        self.lives() && self.pipe.is_some()
    }

    fn lives(&self) -> bool {
        self.generation == self.target.generation() && self.target.fault().is_none()
    }

    async fn read(&mut self) -> usize {
        let room = match self.fault {
            Fault::CutIn(at) => at - self.received,
            _ => u64::MAX,
        };
        let most = self.rng.size(15).min(room) as usize;
        let Some(pipe) = self.pipe.as_mut() else { return 0 };
        if most == 0 {
            self.target.count("connections cut");
            self.target.event(&format!("connection {}: is cut", self.id));
            return 0;
        }
        let start = self.inbox.len();
        self.inbox.resize(start + most, 0);
        let n = select! {
            biased;
            () = self.target.failed_over.notified() => 0,
            n = pipe.read(&mut self.inbox[start..]) => n.unwrap_or(0),
        };
        self.inbox.truncate(start + n);
        self.received += n as u64;
        n
    }

    async fn command(&mut self, args: Args, out: &mut Vec<u8>) {
        if self.rng.one_in(self.pauses) {
            self.pause(200).await;
            if !self.lives() {
                return;
            }
        }
        self.commands += 1;
        match self.fault {
            Fault::FailOver(at) if self.commands == at => return self.target.fail_over(),
            Fault::Refuse(at, refusal, commands) if self.commands == at => self.target.refuse(refusal, commands),
            _ => {}
        }
        if self.pipe.is_none() {
            self.target.count("late commands");
        }
        out.extend(self.target.execute(self.id, &mut self.client, args));
    }

    /// Sends replies, cut anywhere.
    async fn send(&mut self, out: &mut Vec<u8>) {
        let mut left = out.as_slice();
        while !left.is_empty() && self.lives() {
            let mut most = self.rng.size(12) as usize;
            if let Fault::CutOut(at) = self.fault {
                most = most.min((at - self.sent) as usize);
            }
            let Some(pipe) = self.pipe.as_mut() else { break };
            if most == 0 {
                self.cut_out().await;
                break;
            }
            let n = select! {
                biased;
                () = self.target.failed_over.notified() => break,
                n = pipe.write(&left[..most.min(left.len())]) => n,
            };
            // Who does not listen any more may have sent much: it is read all the same.
            let Ok(n) = n else { break };
            self.sent += n as u64;
            left = &left[n..];
            if self.rng.one_in(self.pauses) {
                self.pause(50).await;
            }
        }
        out.clear();
    }

    /// Ends it for the other side; some of what that has sent has come, or is on its way.
    async fn cut_out(&mut self) {
        self.target.count("connections cut");
        self.target.event(&format!("connection {}: is cut within a reply", self.id));
        if let Some(pipe) = self.pipe.as_mut() {
            let mut rest = vec![0; self.rng.size(16) as usize];
            let n = select! {
                biased;
                n = pipe.read(&mut rest) => n.unwrap_or(0),
                () = std::future::ready(()) => 0,
            };
            self.inbox.extend_from_slice(&rest[..n]);
        }
        self.pipe = None;
    }

    async fn pause(&mut self, most: u64) {
        let pause = self.rng.millis(most);
        self.sleep(pause).await;
    }

    async fn sleep(&self, pause: Duration) {
        select! {
            biased;
            () = self.target.failed_over.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// A command at the front of `input`, and how long it is.
fn parse(input: &[u8]) -> Option<(usize, Args)> {
    let (mut at, count) = header(input, 0)?;
    let mut args = Vec::with_capacity(count);
    for _ in 0..count {
        let (start, len) = header(input, at)?;
        at = start + len + 2;
        args.push(input.get(start..at)?[..len].to_vec());
    }
    Some((at, args))
}

/// The number in the line at `at`, behind its first byte, and where the next line begins.
fn header(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let end = at + input.get(at..)?.iter().position(|&byte| byte == b'\n')?;
    let n = std::str::from_utf8(&input[at + 1..end - 1]).unwrap().parse().unwrap();
    Some((end + 1, n))
}
