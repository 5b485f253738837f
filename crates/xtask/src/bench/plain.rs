//! A plain pipelined client: what a target can take at all.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, ensure};
use keyferry_testkit::{Rng, Server, wire};

use super::{STRING, native};
use crate::stop;

/// As much is written at once, and read.
const PIECE: usize = 256 * 1024;
const REPLY: &[u8] = b"+OK\r\n";

/// Writes what `data::fill_strings` writes and returns the seconds until the last reply.
///
/// Unlike there, replies are read by a thread of their own, so that nothing but the server sets the pace.
pub(super) fn write(target: &Server, commands: u64, seed: u64) -> Result<f64> {
    let mut stream = TcpStream::connect(target.address())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(native::PATIENCE))?;
    stream.set_write_timeout(Some(native::PATIENCE))?;
    let replies = stream.try_clone()?;
    let start = Instant::now();
    thread::scope(|scope| {
        let reader = scope.spawn(move || read(replies, commands));
        let mut rng = Rng::new(seed);
        let (mut out, mut value) = (Vec::with_capacity(2 * PIECE), Vec::new());
        for i in 0..commands {
            value.clear();
            rng.fill(&mut value, STRING);
            wire::encode(&mut out, &[b"SET", format!("key:{i:010}").as_bytes(), &value]);
            if out.len() >= PIECE || i + 1 == commands {
                let sent = stream.write_all(&out).context("write to the target").and_then(|()| stop::check());
                if sent.is_err() {
                    // The reader must not wait for what will never come.
                    stream.shutdown(std::net::Shutdown::Both).ok();
                }
                sent?;
                out.clear();
            }
        }
        reader.join().map_err(|_| anyhow!("the reader of the replies has panicked"))?
    })?;
    Ok(start.elapsed().as_secs_f64())
}

fn read(mut stream: TcpStream, replies: u64) -> Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut expected = REPLY.iter().cycle();
    let mut left = replies * REPLY.len() as u64;
    while left > 0 {
        let n = stream.read(&mut buffer).context("read the replies of the target")?;
        ensure!(n > 0, "the target has closed the connection");
        ensure!(buffer[..n].iter().all(|byte| Some(byte) == expected.next()), "the target has refused a SET");
        left = left.checked_sub(n as u64).context("the target has sent more replies than commands")?;
    }
    Ok(())
}
