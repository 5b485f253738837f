//! `keyferry rdb info`: a dump in numbers.

mod report;
mod top;

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use keyferry_rdb::{Checksum, Item, Magic, module, object::Element};
use top::Top;

use super::{
    Words,
    args::{Form, GROUPS, InfoArgs},
    failure::Result,
    input::Input,
    output::Output,
    select::Select,
    text,
    walk::{Found, Visit, walk},
};

/// When keys expire: the name of each class, and the milliseconds from now below which a key belongs to it.
const EXPIRIES: [(&str, u64); 7] = [
    ("expired", 0),
    ("within_1m", 60_000),
    ("within_1h", 3_600_000),
    ("within_1d", 86_400_000),
    ("within_7d", 7 * 86_400_000),
    ("within_30d", 30 * 86_400_000),
    ("later", u64::MAX),
];
/// Keys that do not expire; behind all classes of those that do.
const NEVER: &str = "none";

/// AUX fields, function libraries and module names that are listed; what is beyond is only counted. Servers write about ten.
const MAX_LISTED: usize = 1000;
/// Bytes of a text that are shown.
const MAX_TEXT: usize = 256;

/// A number of keys, and the bytes that they and their values take in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    keys: u64,
    bytes: u64,
}

impl Sum {
    #[inline]
    fn add(&mut self, bytes: u64) {
        self.keys += 1;
        self.bytes += bytes;
    }
}

/// Everything that is known of a dump.
struct Info {
    now: u64,
    header: Option<(Magic, u32)>,
    aux: Vec<(String, String)>,
    /// Names of function libraries.
    functions: Vec<String>,
    function_count: u64,
    /// Names of modules that keep data beside the keys.
    modules: Vec<String>,
    /// Values of modules by the name of their type.
    module_values: BTreeMap<String, Sum>,
    slots: u64,
    slot_imports: u64,
    total: Sum,
    expiring: u64,
    types: [Sum; GROUPS.len()],
    /// By number; the one at hand is apart, since databases come one after the other.
    databases: BTreeMap<u32, Sum>,
    database: (u32, Sum),
    expiries: [u64; EXPIRIES.len() + 1],
    top: Top,
    /// Type of the module value at hand.
    module: Option<String>,
    checksum: Option<Checksum>,
    /// Bytes of the dump, and those that follow it in the file.
    bytes: u64,
    trailing: u64,
}

pub(super) fn run(input: &mut Input, args: &InfoArgs) -> Result<Words> {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
    let mut info = Info::new(args.now.unwrap_or_else(clock), args.top);
    info.bytes = walk(input, &Select::new(&args.select), &mut info)?;
    info.trailing = input.trailing(info.bytes)?;
    info.close_database();
    input.clear_bar();
    let mut out = Output::open()?;
    match args.output {
        Form::Text => report::text(&info, out.buffer()),
        Form::Json => report::json(&info, out.buffer()),
    }
    out.finish()?;
    Ok(Words(Vec::new()))
}

impl Info {
    fn new(now: u64, top: usize) -> Self {
        Self {
            now,
            header: None,
            aux: Vec::new(),
            functions: Vec::new(),
            function_count: 0,
            modules: Vec::new(),
            module_values: BTreeMap::new(),
            slots: 0,
            slot_imports: 0,
            total: Sum::default(),
            expiring: 0,
            types: [Sum::default(); GROUPS.len()],
            databases: BTreeMap::new(),
            database: (0, Sum::default()),
            expiries: [0; EXPIRIES.len() + 1],
            top: Top::new(top),
            module: None,
            checksum: None,
            bytes: 0,
            trailing: 0,
        }
    }

    /// Adds the database at hand to all.
    #[cold]
    fn close_database(&mut self) {
        let (number, sum) = self.database;
        if sum.keys > 0 {
            let all = self.databases.entry(number).or_default();
            all.keys += sum.keys;
            all.bytes += sum.bytes;
        }
    }

    fn class(&self, expire_ms: Option<u64>) -> usize {
        let Some(at) = expire_ms else { return EXPIRIES.len() };
        match at.checked_sub(self.now) {
            None | Some(0) => 0,
            Some(left) => EXPIRIES.iter().position(|&(_, below)| left < below).unwrap_or(EXPIRIES.len() - 1),
        }
    }
}

impl Visit for Info {
    fn item(&mut self, item: &Item<'_>) -> Result<()> {
        match item {
            Item::Header { version, magic } => self.header = Some((*magic, *version)),
            // rdb.c rdbSaveSlotInfo, Valkey 8.1: as an AUX field what Redis writes with an opcode.
            Item::Aux { key: b"slot-info", .. } => self.slots += 1,
            Item::Aux { key, value } if self.aux.len() < MAX_LISTED => self.aux.push((shown(key), shown(value))),
            Item::Function { code } => {
                self.function_count += 1;
                if self.functions.len() < MAX_LISTED {
                    self.functions.push(library(code));
                }
            }
            Item::ModuleAux { module } => {
                let name = shown(module);
                if !self.modules.contains(&name) && self.modules.len() < MAX_LISTED {
                    self.modules.push(name);
                }
            }
            Item::SlotInfo { .. } => self.slots += 1,
            Item::SlotImport { .. } => self.slot_imports += 1,
            Item::End { checksum } => self.checksum = Some(*checksum),
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn begin(&mut self, found: &Found, raw: Option<&[u8]>) -> Result<bool> {
        if found.kind.group() != keyferry_rdb::Group::Module {
            return Ok(false);
        }
        self.module = raw.and_then(module::name_of_value).map(|name| shown(&name));
        Ok(raw.is_none())
    }

    fn element(&mut self, _: &Found, element: &Element<'_>) -> Result<()> {
        if let Element::Module { name } = element {
            self.module = Some(shown(name));
        }
        Ok(())
    }

    #[inline]
    fn end(&mut self, found: &Found, bytes: u64) -> Result<()> {
        if found.db != self.database.0 {
            self.close_database();
            self.database = (found.db, Sum::default());
        }
        self.database.1.add(bytes);
        self.total.add(bytes);
        // The order of the groups is that of the list.
        self.types[found.kind.group() as usize].add(bytes);
        self.expiring += u64::from(found.expire_ms.is_some());
        self.expiries[self.class(found.expire_ms)] += 1;
        if let Some(name) = self.module.take() {
            self.module_values.entry(name).or_default().add(bytes);
        }
        self.top.add(found, bytes);
        Ok(())
    }
}

/// Name of a function library, from the line that its code starts with.
fn library(code: &[u8]) -> String {
    let line = code.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let name = line.split(|byte| byte.is_ascii_whitespace()).find_map(|word| word.strip_prefix(b"name="));
    shown(name.unwrap_or(b"?"))
}

/// Text of a dump for people, of bounded length.
fn shown(bytes: &[u8]) -> String {
    match bytes.get(..MAX_TEXT) {
        Some(start) if bytes.len() > MAX_TEXT => text::escaped(start) + "...",
        _ => text::escaped(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_in_the_order_of_their_list() {
        assert!(GROUPS.iter().enumerate().all(|(i, &group)| group as usize == i));
    }

    #[test]
    fn classes_of_expiry() {
        let info = Info::new(1_000_000, 0);
        let name = |ms| EXPIRIES.get(info.class(ms)).map_or(NEVER, |class| class.0);
        assert_eq!(name(None), "none");
        assert_eq!(name(Some(1)), "expired");
        assert_eq!(name(Some(1_000_000)), "expired");
        assert_eq!(name(Some(1_000_001)), "within_1m");
        assert_eq!(name(Some(1_059_999)), "within_1m");
        assert_eq!(name(Some(1_060_000)), "within_1h");
        assert_eq!(name(Some(1_000_000 + 86_400_000)), "within_7d");
        assert_eq!(name(Some(1_000_000 + 30 * 86_400_000)), "later");
        assert_eq!(name(Some(u64::MAX)), "later");
    }

    #[test]
    fn names_of_libraries() {
        assert_eq!(library(b"#!lua name=mylib\nredis.call()"), "mylib");
        assert_eq!(library(b"#!lua  name=x "), "x");
        assert_eq!(library(b""), "?");
    }
}
