//! `keyferry rdb commands`: the commands that make the data again, as a server reads them.
//!
//! Values go as the commands of their type, so that any server that has the type takes them, whatever its version. Values of
//! modules can only go as RESTORE, and function libraries as FUNCTION LOAD.

use indicatif::HumanCount;
use keyferry_keyspace::{Flavor, ServerVersion};
use keyferry_model::{Error, ErrorKind};
use keyferry_rdb::{
    Group, Item, dump,
    object::Element,
    rebuild::{Losses, PendingIds, Plan, Rebuilder, Refusal, Target},
};

use super::{
    Words,
    args::{CommandsArgs, written_by},
    failure::{Result, Stop},
    input::Input,
    output::Output,
    select::Select,
    walk::{Found, Visit, each, walk},
};

struct Commands {
    name: String,
    out: Output,
    /// What the user said, else what the dump says of the server that wrote it.
    version: Option<ServerVersion>,
    said: bool,
    replace: bool,
    /// Function libraries belong to no key: filters for keys leave them out.
    functions: bool,
    /// The database that the target has been told last.
    db: Option<u32>,
    rebuilder: Option<Rebuilder>,
    keys: u64,
    losses: Losses,
    /// Streams that were too large to look for what is pending and gone.
    large_streams: u64,
}

pub(super) fn run(input: &mut Input, args: &CommandsArgs) -> Result<Words> {
    let select = Select::new(&args.select);
    let mut commands = Commands {
        name: input.name().into(),
        out: Output::open()?,
        version: args.target_version,
        said: args.target_version.is_some(),
        replace: args.replace,
        functions: select.is_all(),
        db: None,
        rebuilder: None,
        keys: 0,
        losses: Losses::default(),
        large_streams: 0,
    };
    walk(input, &select, &mut commands)?;
    commands.out.finish()?;
    Ok(Words(commands.words()))
}

impl Commands {
    fn target(&self) -> Target {
        let number = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        // Servers before 3.2 do not say their version in a dump.
        let Some(version) = self.version else { return Target::default() };
        let target = match version.flavor {
            Flavor::Valkey => Target::valkey(number(version.own.0), number(version.own.1)),
            _ => Target::redis(number(version.redis.0), number(version.redis.1)),
        };
        // Pre-releases of 4.0 count as 4.0 and have not got it yet; HMSET is everywhere.
        Target { hset_many: version.redis >= (5, 0, 0), ..target }
    }

    fn refusal(&self, found: &Found, reason: &str) -> Stop {
        let what = format!(
            "read {}: database {}, value of type {} at byte {}: {reason} (--target-version names another target, --key and \
             --type leave it out)",
            self.name, found.db, found.kind, found.value_at
        );
        Error::new(ErrorKind::UnsupportedByTarget, what).into()
    }

    fn command(&mut self, arguments: &[&[u8]]) {
        let out = self.out.buffer();
        out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
        for argument in arguments {
            out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            out.extend_from_slice(argument);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// RESTORE of a value that only its module can read.
    fn restore(&mut self, found: &Found, raw: Option<&[u8]>) -> Result<()> {
        let raw = raw.ok_or_else(|| self.refusal(found, "a value of a module is too large for RESTORE"))?;
        // Without the module, Redis 5.0 and 6.0 end their process over such a payload; later ones answer an error.
        if self.version.is_none_or(|version| version.redis < (6, 2, 0)) {
            return Err(self.refusal(found, "values of modules are only for Redis 6.2 and newer"));
        }
        let mut payload = Vec::with_capacity(dump::len(raw.len()));
        let version = u16::try_from(found.kind.dump_version()).unwrap_or(u16::MAX);
        dump::write(&mut payload, found.kind, raw, version);
        let time = found.expire_ms.unwrap_or(0).to_string();
        let mut arguments: Vec<&[u8]> = vec![b"RESTORE", &found.key, time.as_bytes(), &payload, b"ABSTTL"];
        if self.replace {
            arguments.push(b"REPLACE");
        }
        self.command(&arguments);
        Ok(())
    }

    /// What the user should know of the commands.
    fn words(&self) -> Vec<String> {
        let mut words = vec![format!("wrote the commands for {} keys", HumanCount(self.keys))];
        let mut lost = |count: u64, what: &str| {
            if count > 0 {
                words.push(format!("not carried, since no command sets it: {what} ({})", HumanCount(count)));
            }
        };
        lost(self.losses.consumer_times, "when consumers were last seen");
        lost(self.losses.produced, "which entries idempotent producers wrote");
        lost(self.losses.stream_settings, "how long streams remember their producers");
        if self.large_streams > 0 {
            let count = self.large_streams;
            words.push(format!("not carried: entries that are pending and deleted, of {count} streams above 4 MiB"));
        }
        words
    }
}

impl Visit for Commands {
    fn item(&mut self, item: &Item<'_>) -> Result<()> {
        match item {
            Item::Aux { key, value } if !self.said => {
                let name = std::str::from_utf8(key).ok().and_then(|key| key.strip_suffix("-ver"));
                let name = name.filter(|name| matches!(*name, "redis" | "valkey" | "redict"));
                if let (Some(name), Ok(version)) = (name, std::str::from_utf8(value)) {
                    self.version = written_by(name, version).or(self.version);
                }
            }
            Item::Function { code } if self.functions => {
                if self.version.is_none_or(|version| !version.functions()) {
                    let what = format!("read {}: the target has no function libraries", self.name);
                    return Err(Error::new(ErrorKind::UnsupportedByTarget, what).into());
                }
                match self.replace {
                    true => self.command(&[b"FUNCTION", b"LOAD", b"REPLACE", code]),
                    false => self.command(&[b"FUNCTION", b"LOAD", code]),
                }
                self.out.flush_full()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, found: &Found, raw: Option<&[u8]>) -> Result<bool> {
        if self.db != Some(found.db) {
            self.db = Some(found.db);
            self.command(&[b"SELECT", found.db.to_string().as_bytes()]);
        }
        let group = found.kind.group();
        if group == Group::Module {
            self.restore(found, raw)?;
            return Ok(false);
        }
        let plan = Plan { replace: self.replace, expire_ms: found.expire_ms, ..Plan::default() };
        let mut rebuilder = Rebuilder::new(&found.key, group, self.target(), plan)
            .map_err(|refusal| self.refusal(found, &refusal.to_string()))?;
        match raw {
            Some(raw) if group == Group::Stream => {
                let mut pending = PendingIds::default();
                each(&self.name, found, raw, |element| {
                    pending.note(element);
                    Ok(())
                })?;
                rebuilder = rebuilder.with_pending(pending);
            }
            None if group == Group::Stream => self.large_streams += 1,
            _ => {}
        }
        self.rebuilder = Some(rebuilder);
        Ok(true)
    }

    fn element(&mut self, found: &Found, element: &Element<'_>) -> Result<()> {
        let Some(rebuilder) = &mut self.rebuilder else { return Ok(()) };
        let pushed = rebuilder.push(element, self.out.buffer());
        pushed.map_err(|refusal: Refusal| self.refusal(found, &refusal.to_string()))?;
        self.out.flush_full()
    }

    fn end(&mut self, _: &Found, _: u64) -> Result<()> {
        if let Some(rebuilder) = self.rebuilder.take() {
            let losses = rebuilder.losses();
            self.losses.consumer_times += losses.consumer_times;
            self.losses.produced += losses.produced;
            self.losses.stream_settings += losses.stream_settings;
        }
        self.keys += 1;
        self.out.flush_full()
    }
}
