//! Each item against real servers, and against ones that give other answers where a real one cannot be brought to it.

mod buffers;
mod fake;
mod pairs;
mod reach;
mod rights;
mod targets;
mod whole;

use std::{path::PathBuf, time::Duration};

use keyferry_keyspace::objects::{Objects, Rule};
use keyferry_model::{OnConflict, OnUnsupported, Side};
use keyferry_net::Endpoint;
use keyferry_precheck::{Finding, Item, Report, Request, Source, Status, check};
use keyferry_testkit::Server;
use redis::{FromRedisValue, cmd};

/// What a test asks for, with defaults that are in no item's way.
struct Ask {
    source: String,
    target: String,
    on_conflict: OnConflict,
    on_unsupported: OnUnsupported,
    ttl_grace: Duration,
    spool_dir: PathBuf,
    spool_limit: Option<u64>,
    sample: Duration,
    /// A rule for databases, when the URLs choose none.
    databases: Option<&'static str>,
    /// A dump file of so many bytes is the source instead.
    file: Option<u64>,
}

impl Ask {
    fn new(source: &str, target: &str) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            on_conflict: OnConflict::Abort,
            on_unsupported: OnUnsupported::Fail,
            ttl_grace: Duration::from_secs(30),
            spool_dir: std::env::temp_dir().join("keyferry-precheck.spool"),
            spool_limit: Some(16 << 20),
            sample: Duration::from_millis(300),
            databases: None,
            file: None,
        }
    }

    fn of(source: &Server, target: &Server) -> Self {
        Self::new(&source.url(), &target.url())
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn report(&self, skip: &[Item]) -> Report {
        let source = Endpoint::parse(Side::Source, &self.source).unwrap();
        let target = Endpoint::parse(Side::Target, &self.target).unwrap();
        let chosen = source.db.filter(|_| self.file.is_none()).map(|db| format!("{db}:{}", target.db.unwrap_or(db)));
        let rules = chosen.iter().map(String::as_str).chain(self.databases);
        let objects = Objects::parse(rules.map(|text| (Rule::Databases, text))).unwrap();
        let request = Request {
            source: self.file.map_or(Source::Server(&source), Source::File),
            target: &target,
            objects: &objects,
            on_conflict: self.on_conflict,
            on_unsupported: self.on_unsupported,
            ttl_grace: self.ttl_grace,
            task: "task",
            reverse_tasks: &["reverse".into()],
            spool_dir: &self.spool_dir,
            spool_limit: self.spool_limit,
            sample: self.sample,
            skip,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&request))
    }

    /// Looks at one item alone, or also at the one without which it leaves the source out.
    fn look(&self, item: Item) -> Finding {
        let needed = |other: &Item| *other == item || item == Item::Commands && *other == Item::SourcePermission;
        let skip: Vec<Item> = Item::ALL.into_iter().filter(|other| !needed(other)).collect();
        self.report(&skip).items.into_iter().find(|finding| finding.item == item).unwrap()
    }

    /// Looks at one item alone, which is found so; gives its reason. What is not passed has a remedy.
    #[track_caller]
    fn finds(&self, item: Item, status: Status) -> String {
        let finding = self.look(item);
        assert_eq!(finding.status, status, "{finding:?}");
        assert!(!finding.reason.is_empty(), "{finding:?}");
        assert_eq!(finding.remedy.is_empty(), status == Status::Passed, "{finding:?}");
        finding.reason
    }

    #[track_caller]
    fn passes(&self, item: Item) -> String {
        self.finds(item, Status::Passed)
    }

    #[track_caller]
    fn warns(&self, item: Item) -> String {
        self.finds(item, Status::Warning)
    }

    #[track_caller]
    fn fails(&self, item: Item) -> String {
        self.finds(item, Status::Failed)
    }
}

fn start(version: &str) -> Server {
    Server::start(version).unwrap()
}

fn pair(version: &str) -> (Server, Server) {
    (start(version), start(version))
}

/// One command, its words between blanks.
fn ask<T: FromRedisValue>(server: &Server, words: &str) -> T {
    server.ask(0, words).unwrap()
}

/// A user beside the default one, by its URL.
fn user(server: &Server, rights: &str) -> String {
    let () = ask(server, &format!("ACL SETUSER one reset on >pw {rights}"));
    format!("redis://one:pw@{}", server.address())
}
