//! `keyferry rdb keys`: one key a line.

use keyferry_rdb::{Item, object::Element};

use super::{
    Words,
    args::{Form, KeysArgs},
    failure::Result,
    input::Input,
    output::Output,
    select::Select,
    text,
    walk::{Found, Visit, walk},
};

struct Keys {
    form: Form,
    out: Output,
}

pub(super) fn run(input: &mut Input, args: &KeysArgs) -> Result<Words> {
    let mut keys = Keys { form: args.output, out: Output::open()? };
    let walked = walk(input, &Select::new(&args.select), &mut keys);
    // All keys in front of a fault are shown.
    keys.out.finish()?;
    walked.map(|_| Words(Vec::new()))
}

impl Visit for Keys {
    fn item(&mut self, _: &Item<'_>) -> Result<()> {
        Ok(())
    }

    fn begin(&mut self, _: &Found, _: Option<&[u8]>) -> Result<bool> {
        Ok(false)
    }

    fn element(&mut self, _: &Found, _: &Element<'_>) -> Result<()> {
        Ok(())
    }

    fn end(&mut self, found: &Found, bytes: u64) -> Result<()> {
        let line = self.out.buffer();
        match self.form {
            Form::Text => text::escape(&found.key, line),
            Form::Json => {
                begin_object(found, line);
                line.extend_from_slice(format!(",\"bytes\":{bytes}").as_bytes());
                expiry(found, line);
                line.push(b'}');
            }
        }
        line.push(b'\n');
        self.out.flush_full()
    }
}

/// Appends the start of an object of a key: database, key and type.
pub(super) fn begin_object(found: &Found, line: &mut Vec<u8>) {
    line.extend_from_slice(format!("{{\"db\":{},\"key\":", found.db).as_bytes());
    text::json_bytes(&found.key, line);
    line.extend_from_slice(b",\"type\":");
    text::json_text(found.kind.group().name(), line);
}

/// Appends the expiry of a key that has one.
pub(super) fn expiry(found: &Found, line: &mut Vec<u8>) {
    if let Some(ms) = found.expire_ms {
        line.extend_from_slice(format!(",\"expire_ms\":{ms}").as_bytes());
    }
}
