//! Commands on vector sets. The target has them, or not: that is asked at the start.

use super::{Abilities, Lesser, Older, Rule, Verdict, always, lacks, rule};

pub(super) const OF_4: &[Rule] =
    &[rule(b"VADD", Abilities::VECTORS, always, no_vectors), rule(b"VREM", Abilities::VECTORS, always, no_vectors)];

pub(super) const OF_8: &[Rule] = &[rule(b"VSETATTR", Abilities::VECTORS, always, no_vectors)];

fn no_vectors(_: &Older, _: &[&[u8]], _: &mut Vec<u8>) -> Verdict {
    lacks("vector set command", Lesser::Nothing)
}

#[cfg(test)]
mod tests {
    use keyferry_model::OnUnsupported;

    use super::super::{
        Older,
        tests::{rewrite, server},
    };

    #[test]
    fn vector_sets_are_where_the_target_says() {
        let words = ["VADD v VALUES 1 1 e", "VREM v e", "VSETATTR v e {}"];
        for (source, target, has, expected) in [
            ("redis 8.0.2", "redis 8.6.3", None, "="),
            ("redis 8.0.2", "redis 8.6.3", Some(false), "vector set command, Nothing:"),
            ("redis 8.0.2", "redis 7.4.1", None, "vector set command, Nothing:"),
            ("redis 8.0.2", "redis 7.4.1", Some(true), "="),
            ("redis 8.0.2", "valkey 9.1.2", Some(false), "vector set command, Nothing:"),
            ("redis 7.4.1", "redis 7.4.1", Some(false), "="),
        ] {
            let source = server(source);
            let older = Older::new(&source, &server(target), OnUnsupported::Fail, b"place")
                .with_vector_sets(has, true, &source);
            for words in words {
                assert_eq!(rewrite(&older, words), expected, "{words} for {target}");
            }
        }
        // Values that only later versions read.
        let (source, target) = (server("redis 8.2.3"), server("redis 8.0.2"));
        for (reads, expected) in [(true, "="), (false, "payload")] {
            let older = Older::new(&source, &target, OnUnsupported::Fail, b"place");
            let older = older.with_vector_sets(Some(true), reads, &source);
            assert_eq!(rewrite(&older, "RESTORE k 0 payload"), expected);
        }
    }
}
