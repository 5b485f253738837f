//! What a target cannot hold, from what is known of the versions. Nothing here is asked from the product.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::{
    oracle::{Difference, Kind, Report},
    server::Version,
};

/// What gets lost between two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Losses {
    /// Streams came with Redis 5.0.
    pub streams: bool,
    /// Vector sets came with Redis 8.0, and no fork has them.
    pub vector_sets: bool,
    /// Redis 8.0 does not read what later ones save of vector sets. What is written later on is built anew, so that the
    /// target has a part of them.
    pub vector_payloads: bool,
    /// The deadlines of hash fields came with Redis 7.4 and Valkey 9.0.
    pub field_deadlines: bool,
    /// Functions came with Redis 7.0.
    pub functions: bool,
    /// Which producer has written an entry came with Redis 8.6. Only primaries can pass on all of it.
    pub producers: bool,
    /// What is found by place and stored came with Redis 3.2, as GEOSEARCHSTORE with 6.2, by polygon with Valkey 9.0.
    pub places: bool,
}

impl Losses {
    /// What the source may have and the target cannot hold.
    pub fn between(source: &Version, target: &Version) -> Self {
        let lost = |has: fn(&Version) -> bool| has(source) && !has(target);
        Self {
            streams: lost(|version| version.has(5, 0)),
            vector_sets: lost(|version| version.has(8, 0)),
            vector_payloads: target.has(8, 0) && lost(|version| version.has(8, 2)),
            field_deadlines: lost(|version| version.has(7, 4) || version.valkey(9, 0)),
            functions: lost(|version| version.has(7, 0)),
            producers: source.has(8, 6) && target.has(5, 0),
            places: lost(|version| version.has(3, 2))
                || lost(|version| version.has(6, 2))
                || lost(|version| version.valkey(9, 0)),
        }
    }

    /// Whether nothing is lost.
    pub fn none(&self) -> bool {
        let Self { streams, vector_sets, vector_payloads, field_deadlines, functions, producers, places } = *self;
        !(streams || vector_sets || vector_payloads || field_deadlines || functions || producers || places)
    }

    fn is_expected(&self, difference: &Difference) -> bool {
        match difference.kind {
            Kind::MissingOnTarget => {
                self.streams && difference.detail == "a stream"
                    || self.places && difference.key.starts_with(b"geo:") && difference.detail == "a zset"
                    || (self.vector_sets || self.vector_payloads) && difference.detail == "a vectorset"
            }
            Kind::Value => self.vector_payloads && difference.key.starts_with(b"vset:"),
            // Only that it is kept for ever, not that it goes at another time.
            Kind::FieldExpiry => self.field_deadlines && difference.detail.ends_with("target at never"),
            _ => false,
        }
    }

    /// Takes what must be lost off the differences that were found. Returns how many keys that were, or the rest. A type
    /// that cannot be held must be missing as a whole, each single key of it.
    pub(super) fn judge(&self, report: &Report) -> Result<u64> {
        let (lost, rest): (Vec<_>, Vec<_>) = report.differences.iter().partition(|found| self.is_expected(found));
        if !rest.is_empty() {
            let shown: Vec<String> = rest.iter().take(20).map(ToString::to_string).collect();
            bail!("{} differences:\n  {}", rest.len(), shown.join("\n  "));
        }
        for (kind, lacks) in [("stream", self.streams), ("vectorset", self.vector_sets)] {
            let there = report.types.get(kind).copied().unwrap_or(0);
            let missing = lost.iter().filter(|found| found.detail == format!("a {kind}")).count() as u64;
            if lacks && missing != there {
                bail!("{missing} of {there} keys of the type {kind} are missing on a target that cannot hold them");
            }
        }
        Ok(lost.len() as u64)
    }

    /// Compares what the product has listed as lost with what had to be, when all of it was there.
    pub(super) fn judge_listed(&self, listed: &BTreeMap<String, u64>, all_there: bool) -> Result<()> {
        let due: [(bool, &[&str]); 6] = [
            (self.streams, &["stream dropped", "stream command"]),
            (self.vector_sets || self.vector_payloads, &["vector set"]),
            (self.field_deadlines, &["hash field deadline"]),
            (self.functions, &["function library"]),
            (self.producers, &["stream producer"]),
            (self.places, &["GEO"]),
        ];
        let about = |what: &str, names: &[&str]| names.iter().any(|name| what.starts_with(name));
        for (lost, names) in due {
            if all_there && lost && !listed.keys().any(|what| about(what, names)) {
                bail!("lost, and not listed: {}; listed is {listed:?}", names[0]);
            }
        }
        match listed.keys().find(|what| !due.iter().any(|(lost, names)| *lost && about(what, names))) {
            Some(what) => bail!("listed as lost, and the target can hold it: {what}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(source: &str, target: &str) -> Losses {
        Losses::between(&Version::parse(source).unwrap(), &Version::parse(target).unwrap())
    }

    #[test]
    fn upwards_nothing_is_lost() {
        for (source, target) in [("redis-3.0", "redis-8.6"), ("redis-7.4", "valkey-9.0"), ("valkey-8.1", "redis-7.2")] {
            assert!(between(source, target).none(), "{source} -> {target}");
        }
    }

    #[test]
    fn downwards_only_what_the_target_lacks() {
        let none = between("redis-7.0", "redis-7.0");
        let all =
            Losses { streams: true, vector_sets: true, field_deadlines: true, functions: true, places: true, ..none };
        assert_eq!(between("redis-8.0", "redis-4.0"), all);
        assert_eq!(between("redis-8.6", "valkey-9.1"), Losses { vector_sets: true, producers: true, ..none });
        assert_eq!(between("redis-8.2", "redis-8.0"), Losses { vector_payloads: true, ..none });
        let fields = Losses { field_deadlines: true, ..none };
        let both = Losses { places: true, ..fields };
        assert_eq!(between("redis-7.4", "valkey-8.1"), fields);
        assert_eq!(between("valkey-9.0", "redis-7.2"), both);
    }

    #[test]
    fn only_what_is_due_is_excused() {
        let losses = between("redis-6.2", "redis-4.0");
        let found = |kind, detail: &str| Difference { db: 0, key: b"k".to_vec(), kind, detail: detail.into() };
        let report = |differences: Vec<Difference>, streams| Report {
            types: [("stream".to_owned(), streams)].into(),
            total: differences.len() as u64,
            differences,
            ..Report::default()
        };
        let stream = || found(Kind::MissingOnTarget, "a stream");
        assert_eq!(losses.judge(&report(vec![stream(), stream()], 2)).unwrap(), 2);
        assert!(losses.judge(&report(vec![stream()], 2)).is_err());
        assert!(losses.judge(&report(vec![stream(), found(Kind::MissingOnTarget, "a list")], 1)).is_err());
        let late = found(Kind::FieldExpiry, "source expires at 5, target at never");
        assert!(losses.judge(&report(vec![stream(), late], 1)).is_err());
        assert!(between("redis-6.2", "redis-5.0").judge(&report(vec![stream()], 1)).is_err());
    }
}
