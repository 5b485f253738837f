//! A source that answers the handshake as a server does and then sends whatever a test wants it to send.

use std::{
    io::{BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use keyferry_testkit::wire::read_command;

/// Listens until the test ends; its threads end with the process.
pub(crate) struct FakeSource {
    port: u16,
}

impl FakeSource {
    /// `payload` follows the reply to PSYNC: the length line, the snapshot, the stream.
    pub(crate) fn start(payload: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let payload = Arc::new(payload);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let payload = Arc::clone(&payload);
                // A peer that goes away is not this side's failure.
                thread::spawn(move || stream.map(|s| serve(s, &payload)));
            }
        });
        Self { port }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

fn serve(mut stream: TcpStream, payload: &[u8]) -> Option<()> {
    let mut input = BufReader::new(stream.try_clone().ok()?);
    loop {
        let words = read_command(&mut input)?;
        match String::from_utf8_lossy(words.first()?).to_ascii_uppercase().as_str() {
            "PING" => stream.write_all(b"+PONG\r\n").ok()?,
            "INFO" => {
                let text = "redis_version:7.0.15\r\nrun_id:fake\r\nrole:master\r\nmaster_repl_offset:1000\r\n";
                stream.write_all(format!("${}\r\n{text}\r\n", text.len()).as_bytes()).ok()?;
            }
            "PSYNC" => {
                stream.write_all(format!("+FULLRESYNC {} 1000\r\n", "ab".repeat(20)).as_bytes()).ok()?;
                stream.write_all(payload).ok()?;
                // Open until the other side closes it.
                let _ = std::io::copy(&mut input, &mut std::io::sink());
                return None;
            }
            _ => stream.write_all(b"+OK\r\n").ok()?,
        }
    }
}
