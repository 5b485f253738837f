//! The options that say what is migrated.

use clap::Args;
use keyferry_keyspace::objects::{Objects, Rule};
use keyferry_model::{Error, ErrorKind, OnConflict, Result};

/// What data is chosen, next to the databases of the URLs.
#[derive(Args, Default)]
pub(crate) struct DataArgs {
    /// Only these databases, and where they go: 0,3:5 copies 0, and 3 as 5.
    #[arg(long, value_name = "DB[:DB]")]
    pub(crate) db: Vec<String>,
    /// Only keys like this pattern, as KEYS takes it. Can be given several times, as all of these options.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) key: Vec<String>,
    /// Only keys that begin so; together with --key: what any of them says.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) key_prefix: Vec<String>,
    /// No keys like this pattern, whatever else says.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) block_key: Vec<String>,
    /// No keys that begin so.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) block_key_prefix: Vec<String>,
    /// Keys that begin with OLD begin with NEW on TARGET.
    #[arg(long, value_name = "OLD=NEW")]
    pub(crate) rename_prefix: Vec<String>,
    /// Only values of these types: string, list, set, zset, hash, stream, module.
    #[arg(long, value_name = "TYPE,...")]
    pub(crate) r#type: Vec<String>,
    /// No values of these types.
    #[arg(long, value_name = "TYPE,...")]
    pub(crate) block_type: Vec<String>,
}

/// The same for a task, which has a stream.
#[derive(Args, Default)]
pub(crate) struct ChosenArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Not these commands of the stream, nor those of a group: FLUSHALL,@scripting. Data then differs by what they do.
    #[arg(long, value_name = "COMMAND,...")]
    pub(crate) block_command: Vec<String>,
}

impl DataArgs {
    /// The rules as options, for people.
    pub(crate) fn rules(&self, of_urls: Option<(u32, u32)>) -> Vec<String> {
        let of_url = of_urls.map(|(from, to)| format!("{from}:{to}"));
        let options = [
            ("--db", of_url.as_slice()),
            ("--db", &self.db),
            ("--key", &self.key),
            ("--key-prefix", &self.key_prefix),
            ("--block-key", &self.block_key),
            ("--block-key-prefix", &self.block_key_prefix),
            ("--rename-prefix", &self.rename_prefix),
            ("--type", &self.r#type),
            ("--block-type", &self.block_type),
        ];
        options.into_iter().flat_map(|(name, texts)| texts.iter().map(move |text| format!("{name} {text}"))).collect()
    }

    /// What the options choose, and the URLs: a database of the source, and where it goes.
    ///
    /// Errors: `BadObjects`, which says what is wrong.
    pub(crate) fn objects(&self, of_urls: Option<(u32, u32)>) -> Result<Objects> {
        self.with(of_urls, &[])
    }

    fn with(&self, of_urls: Option<(u32, u32)>, block_command: &[String]) -> Result<Objects> {
        let of_url = of_urls.map(|(from, to)| format!("{from}:{to}"));
        if of_urls.is_some() && !self.db.is_empty() {
            let what = "read --db: the source URL chooses a database already; leave it out of the URLs";
            return Err(Error::new(ErrorKind::BadObjects, what));
        }
        let rules = [
            (Rule::Databases, of_url.as_slice()),
            (Rule::Databases, &self.db),
            (Rule::Key, &self.key),
            (Rule::Prefix, &self.key_prefix),
            (Rule::BlockKey, &self.block_key),
            (Rule::BlockPrefix, &self.block_key_prefix),
            (Rule::Rename, &self.rename_prefix),
            (Rule::Types, &self.r#type),
            (Rule::BlockTypes, &self.block_type),
            (Rule::BlockCommands, block_command),
        ];
        let rules = rules.into_iter().flat_map(|(rule, texts)| texts.iter().map(move |text| (rule, text.as_str())));
        Objects::parse(rules).map_err(|e| Error::new(ErrorKind::BadObjects, format!("read what is chosen: {e}")))
    }
}

impl ChosenArgs {
    /// The rules as options, for people.
    pub(crate) fn rules(&self, of_urls: Option<(u32, u32)>) -> Vec<String> {
        let commands = self.block_command.iter().map(|text| format!("--block-command {text}"));
        self.data.rules(of_urls).into_iter().chain(commands).collect()
    }

    /// What the options choose, and the URLs.
    ///
    /// Errors: `BadObjects`, which says what is wrong.
    pub(crate) fn objects(&self, of_urls: Option<(u32, u32)>, on_conflict: OnConflict) -> Result<Objects> {
        let objects = self.data.with(of_urls, &self.block_command)?;
        if on_conflict == OnConflict::Clear && !objects.is_whole() {
            let what = "clear the target: it would lose whole databases, of which not all is chosen; use another --on-conflict";
            return Err(Error::new(ErrorKind::BadObjects, what));
        }
        Ok(objects)
    }
}

/// A rule, as an option, of the way back, where there is one: databases change sides.
pub(crate) fn turned(rule: &str) -> String {
    let Some(databases) = rule.strip_prefix("--db ") else { return rule.to_owned() };
    let turn = |part: &str| part.split_once(':').map_or_else(|| part.to_owned(), |(from, to)| format!("{to}:{from}"));
    format!("--db {}", databases.split(',').map(turn).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_the_way_back() {
        let of = |db: &str| DataArgs { db: vec![db.into()], key: vec!["--db 1:2".into()], ..DataArgs::default() };
        let (there, back) = (of("0,3:5"), of("0,5:3"));
        let turned: Vec<String> = there.rules(None).iter().map(|rule| turned(rule)).collect();
        assert_eq!(turned, ["--db 0,5:3", "--key --db 1:2"]);
        assert_eq!((back.rules(None), back.objects(None).ok()), (turned, there.objects(None).unwrap().reversed()));
        assert_eq!(super::turned(&there.rules(Some((3, 5)))[0]), "--db 5:3");
    }

    #[test]
    fn options_and_urls_together() {
        let some = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let task = |data| ChosenArgs { data, ..ChosenArgs::default() };
        let keys = task(DataArgs { key: some(&["a*"]), block_key_prefix: some(&["ab"]), ..DataArgs::default() });
        let chosen = keys.objects(Some((3, 5)), OnConflict::Replace).unwrap();
        assert_eq!((chosen.database(3), chosen.database(0)), (Some(5), None));
        assert!(!chosen.is_whole());
        assert!(ChosenArgs::default().objects(None, OnConflict::Clear).unwrap().is_all());
        let databases = task(DataArgs { db: some(&["0", "3:5"]), ..DataArgs::default() });
        assert_eq!(databases.objects(None, OnConflict::Clear).unwrap().database(3), Some(5));
        let wrong = task(DataArgs { r#type: some(&["lists"]), ..DataArgs::default() });
        let refused = [
            databases.objects(Some((3, 5)), OnConflict::Abort),
            keys.objects(None, OnConflict::Clear),
            wrong.objects(None, OnConflict::Abort),
        ];
        for error in refused.map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::BadObjects, "{error}");
        }
    }
}
