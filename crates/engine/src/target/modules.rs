//! Which values of modules the target can hold, as far as that can be known beforehand.
//!
//! A dump names the module's data type, a server its modules. Which type is whose is known of the common ones only.

use keyferry_keyspace::{Flavor, ServerVersion};
use keyferry_model::Result;
use keyferry_net::{Connection, Value};

const VECTOR_SET: &[u8; 9] = b"vectorset";

/// Data types and the modules that they belong to.
const OWNERS: [(&[u8; 9], &str); 8] = [
    (VECTOR_SET, "vectorset"),
    (b"ReJSON-RL", "ReJSON"),
    (b"TSDB-TYPE", "timeseries"),
    (b"MBbloom--", "bf"),
    (b"MBbloomCF", "bf"),
    (b"CMSk-TYPE", "bf"),
    (b"TopK-TYPE", "bf"),
    (b"TDIS-TYPE", "bf"),
];

/// What is known of the modules of a target, and of who has written their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Modules {
    /// Names of the modules that are loaded; `None` when the target does not tell.
    loaded: Option<Vec<String>>,
    /// Whether `VADD` is there; likewise.
    vector_sets: Option<bool>,
    /// The target reads what Redis 8.2 and later write of vector sets.
    reads_new_vectors: bool,
    /// The values come from Redis 8.2 or later.
    new_vectors: bool,
}

impl Modules {
    /// Asks a target of this version. What it does not answer is not known.
    pub(crate) async fn ask(conn: &mut Connection, server: &ServerVersion) -> Result<Self> {
        let mut found = Self { reads_new_vectors: server.redis >= NEW_VECTORS, ..Self::default() };
        // Others may hold such values without any module.
        if server.flavor == Flavor::Other {
            return Ok(found);
        }
        if let Value::Array(modules) = conn.ask(&[b"MODULE", b"LIST"]).await? {
            found.loaded = Some(modules.iter().filter_map(module_name).collect());
        }
        if let Value::Array(commands) = conn.ask(&[b"COMMAND", b"INFO", b"VADD"]).await? {
            found.vector_sets = commands.first().map(|command| *command != Value::Nil);
        }
        Ok(found)
    }

    /// Notes the version of who has written the snapshot.
    pub(crate) fn written_by(&mut self, version: &ServerVersion) {
        self.new_vectors = version.redis >= NEW_VECTORS;
    }

    /// Whether the target may read vector sets as a source of this version writes them.
    pub(crate) fn read_vectors_of(&self, source: &ServerVersion) -> bool {
        let mut modules = self.clone();
        modules.written_by(source);
        !modules.lack(VECTOR_SET)
    }

    /// Whether the target has vector sets; `None` when that is not known.
    pub(crate) fn vector_sets(&self) -> Option<bool> {
        self.vector_sets
    }

    /// Whether the target cannot hold a value of this data type. When that is not known, the target is to judge.
    pub(crate) fn lack(&self, data_type: &[u8; 9]) -> bool {
        if data_type == VECTOR_SET
            && let Some(has) = self.vector_sets
        {
            return !has || self.new_vectors && !self.reads_new_vectors;
        }
        let Some(loaded) = &self.loaded else { return false };
        let owner = OWNERS.iter().find(|(name, _)| *name == data_type).map(|(_, owner)| *owner);
        loaded.is_empty() || owner.is_some_and(|owner| !loaded.iter().any(|name| name.eq_ignore_ascii_case(owner)))
    }
}

/// hnsw.c, Redis 8.2: nodes carry a version, which 8.0 takes for a level.
const NEW_VECTORS: (u32, u32, u32) = (8, 2, 0);

/// What values of a data type are counted as, when they are left out.
pub(super) fn label(data_type: &[u8; 9]) -> &'static str {
    if data_type == VECTOR_SET { "vector set" } else { "module" }
}

/// A module as `MODULE LIST` tells of it: `name`, its name, and more such pairs.
fn module_name(module: &Value) -> Option<String> {
    let Value::Array(pairs) = module else { return None };
    let mut pairs = pairs.iter();
    loop {
        let (key, value) = (text(pairs.next()?)?, pairs.next()?);
        if key == b"name" {
            return text(value).map(|name| String::from_utf8_lossy(name).into_owned());
        }
    }
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bulk(text) | Value::Status(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_decides() {
        let with = |loaded: Option<&[&str]>, vector_sets| Modules {
            loaded: loaded.map(|names| names.iter().map(|name| (*name).into()).collect()),
            vector_sets,
            ..Modules::default()
        };
        let unknown = with(None, None);
        let none = with(Some(&[]), Some(false));
        let json = with(Some(&["search", "ReJSON"]), None);
        for (kind, of_unknown, of_none, of_json) in [
            (b"vectorset", false, true, true),
            (b"ReJSON-RL", false, true, false),
            (b"MBbloom--", false, true, true),
            (b"hellotype", false, true, false),
        ] {
            assert_eq!((unknown.lack(kind), none.lack(kind), json.lack(kind)), (of_unknown, of_none, of_json));
        }
        assert!(!with(Some(&[]), Some(true)).lack(VECTOR_SET), "the command says more than the list");
    }

    #[test]
    fn vectors_of_8_2_are_not_for_8_0() {
        let server =
            |version: &str| ServerVersion::from_info(format!("redis_version:{version}\r\n").as_bytes()).unwrap();
        for (source, target, lacks) in
            [("8.0.2", "8.0.2", false), ("8.2.3", "8.0.2", true), ("8.0.2", "8.2.3", false), ("8.6.3", "8.2.3", false)]
        {
            let reads_new_vectors = server(target).redis >= NEW_VECTORS;
            let mut modules = Modules { vector_sets: Some(true), reads_new_vectors, ..Modules::default() };
            modules.written_by(&server(source));
            assert_eq!(modules.lack(VECTOR_SET), lacks, "{source} -> {target}");
            assert_eq!(modules.read_vectors_of(&server(source)), !lacks, "{source} -> {target}");
        }
    }

    #[test]
    fn names_in_the_list_of_modules() {
        let bulk = |text: &str| Value::Bulk(text.into());
        let listed = [bulk("ver"), Value::Int(1), bulk("name"), bulk("bf"), bulk("path"), bulk("")];
        assert_eq!(module_name(&Value::Array(listed.into())), Some("bf".into()));
        assert_eq!(module_name(&Value::Array(Vec::new())), None);
    }
}
