//! A server in front of a real one, which gives other answers to some commands.

use std::{
    io::{BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use keyferry_testkit::{Server, wire::read_command};
use redis::{ConnectionLike as _, Value};

/// What is done with a command that begins with these words.
pub(crate) enum Answer {
    /// These bytes, and the real server is not asked.
    Say(&'static str),
    /// The text of the real server, changed.
    Edit(Box<dyn Fn(&str) -> String + Send + Sync>),
}

pub(crate) type Rules = Vec<(&'static str, Answer)>;

/// An INFO without a field.
pub(crate) fn without(field: &'static str) -> (&'static str, Answer) {
    let keep = move |line: &&str| line.split(':').next() != Some(field);
    ("INFO", Answer::Edit(Box::new(move |text| text.split("\r\n").filter(keep).collect::<Vec<_>>().join("\r\n"))))
}

/// An INFO with another value of a field, which it may not have had.
pub(crate) fn with(field: &'static str, value: &'static str) -> (&'static str, Answer) {
    let (_, Answer::Edit(edit)) = without(field) else { unreachable!() };
    ("INFO", Answer::Edit(Box::new(move |text| format!("{field}:{value}\r\n{}", edit(text)))))
}

/// Listens until the test ends, and gives its URL.
pub(crate) fn start(server: &Server, rules: Rules) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (rules, real) = (Arc::new(rules), server.url());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (rules, real) = (Arc::clone(&rules), real.clone());
            thread::spawn(move || serve(stream, &real, &rules));
        }
    });
    url
}

fn serve(mut stream: TcpStream, real: &str, rules: &Rules) -> Option<()> {
    let mut input = BufReader::new(stream.try_clone().ok()?);
    let mut real = redis::Client::open(real).ok()?.get_connection().ok()?;
    loop {
        let words = read_command(&mut input)?;
        let line = words.iter().map(|w| String::from_utf8_lossy(w)).collect::<Vec<_>>().join(" ").to_uppercase();
        let mut out = Vec::new();
        let mut rules = rules.iter().filter(|(begin, _)| line.starts_with(begin)).peekable();
        if let Some((_, Answer::Say(bytes))) = rules.peek() {
            out.extend_from_slice(bytes.as_bytes());
        } else {
            let mut packed = redis::Cmd::new();
            words.iter().for_each(|word| {
                packed.arg(word);
            });
            match real.req_packed_command(&packed.get_packed_command()) {
                Ok(Value::BulkString(text)) => {
                    let edit = |text: String, rule: &(&str, Answer)| match &rule.1 {
                        Answer::Edit(edit) => edit(&text),
                        Answer::Say(_) => text,
                    };
                    let text = rules.fold(String::from_utf8_lossy(&text).into_owned(), edit);
                    encode(&mut out, &Value::BulkString(text.into_bytes()));
                }
                Ok(value) => encode(&mut out, &value),
                Err(_) => return None,
            }
        }
        stream.write_all(&out).ok()?;
    }
}

fn encode(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Int(n) => out.extend_from_slice(format!(":{n}\r\n").as_bytes()),
        Value::BulkString(text) => {
            out.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Value::SimpleString(text) => out.extend_from_slice(format!("+{text}\r\n").as_bytes()),
        Value::Okay => out.extend_from_slice(b"+OK\r\n"),
        Value::Array(values) => {
            out.extend_from_slice(format!("*{}\r\n", values.len()).as_bytes());
            values.iter().for_each(|value| encode(out, value));
        }
        Value::ServerError(e) => {
            out.extend_from_slice(format!("-{} {}\r\n", e.code(), e.details().unwrap_or("")).as_bytes());
        }
        _ => out.extend_from_slice(b"$-1\r\n"),
    }
}
