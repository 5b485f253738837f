//! Both sides together: what they are, and a connection to each that is asked at the same time.

use keyferry_keyspace::Kind;
use keyferry_model::{Error, ErrorKind, Result, Side as Which};
use tokio::time::Instant;

use crate::{
    asker::{Answer, Answers, Asker, Batch},
    deadline::Rules,
    side::{Side, Start},
    spec::Spec,
    walk::Key,
};

/// A database of the source and the one of the target that is compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dbs {
    pub(crate) source: u32,
    pub(crate) target: u32,
}

/// Facts of both sides and what is wanted of them.
pub(crate) struct Pair<'a> {
    pub(crate) source: Side,
    pub(crate) target: Side,
    pub(crate) spec: &'a Spec,
    pub(crate) rules: Rules,
}

impl<'a> Pair<'a> {
    pub(crate) fn new(source: Side, target: Side, spec: &'a Spec) -> Self {
        Self { source, target, spec, rules: Rules::new(spec.ttl_tolerance, spec.ttl_grace) }
    }

    /// The databases to compare: the chosen ones, or all that hold a key on either side.
    pub(crate) fn databases(&self) -> Vec<Dbs> {
        if let Some(chosen) = self.spec.objects.databases() {
            return chosen.iter().map(|&(source, target)| Dbs { source, target }).collect();
        }
        let both = self.source.databases.iter().chain(&self.target.databases);
        let mut all: Vec<Dbs> = both.map(|found| Dbs { source: found.db.0, target: found.db.0 }).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether both sides are the same databases of one server, under the same names.
    pub(crate) fn is_one(&self) -> bool {
        let (source, target) = (&self.source.start.run_id, &self.target.start.run_id);
        let same = !source.is_empty() && source == target;
        same && self.spec.objects.is_whole() && self.databases().iter().all(|dbs| dbs.source == dbs.target)
    }

    /// The side whose server is another one than in `before`, or was started again.
    pub(crate) fn started_again(&self, before: &Self) -> Option<Which> {
        before.other_start(&self.source.start, &self.target.start)
    }

    /// A side of which nobody knows whether it was started again.
    pub(crate) fn hides_starts(&self) -> Option<Which> {
        match (self.source.start.is_told(), self.target.start.is_told()) {
            (false, _) => Some(Which::Source),
            (true, false) => Some(Which::Target),
            (true, true) => None,
        }
    }

    fn other_start(&self, source: &Start, target: &Start) -> Option<Which> {
        match (source.is(&self.source.start), target.is(&self.target.start)) {
            (false, _) => Some(Which::Source),
            (true, false) => Some(Which::Target),
            (true, true) => None,
        }
    }

    /// Why nothing more is repaired when a side was started again: what it has now is not what was compared.
    pub(crate) fn refused(&self, which: Which) -> Error {
        let side = if which == Which::Source { &self.source } else { &self.target };
        let what = format!(
            "repair the target {}: the {which} {} was started again, or is another server now; see that it has its data, \
             then compare again",
            self.target.endpoint, side.endpoint
        );
        Error::new(ErrorKind::RepairRefused, what)
    }

    /// Whether the source had keys in the databases that are compared.
    pub(crate) fn source_has_keys(&self) -> bool {
        self.databases().iter().any(|dbs| self.source.keys(dbs.source).0 > 0)
    }

    /// A database of the source that is compared, with the one of the target that belongs to it.
    pub(crate) fn dbs(&self, source: u32) -> Dbs {
        Dbs { source, target: self.spec.objects.database(source).unwrap_or(source) }
    }

    /// Whether values of some types are not compared, so that a key that is there may be left out.
    pub(crate) fn leaves_out_types(&self) -> bool {
        Kind::ALL.into_iter().any(|kind| !self.spec.objects.allows_type(kind))
    }

    /// Whether equal values of most types have equal payloads on both sides.
    pub(crate) fn same_dumps(&self) -> bool {
        let (source, target) = (&self.source.version, &self.target.version);
        source.flavor == target.flavor && source.dump_version() == target.dump_version()
    }

    /// New connections to both sides.
    pub(crate) async fn connect(&self) -> Result<Link> {
        let (source, target) = tokio::try_join!(Half::open(&self.source), Half::open(&self.target))?;
        Ok(Link { source, target })
    }
}

/// A connection to each side.
pub(crate) struct Link {
    pub(crate) source: Half,
    pub(crate) target: Half,
}

/// One connection with what it is asked next and has answered last.
pub(crate) struct Half {
    pub(crate) asker: Asker,
    pub(crate) batch: Batch,
    pub(crate) answers: Answers,
}

impl Half {
    pub(crate) async fn open(side: &Side) -> Result<Self> {
        let asker = Asker::open(&side.endpoint).await?;
        Ok(Self { asker, batch: Batch::default(), answers: Answers::default() })
    }

    /// Sends the batch and empties it.
    pub(crate) async fn ask(&mut self) -> Result<()> {
        self.asker.ask(&self.batch, &mut self.answers).await?;
        self.batch.clear();
        Ok(())
    }

    pub(crate) async fn select(&mut self, db: u32) -> Result<()> {
        self.asker.select(db, &mut self.answers).await
    }

    /// Which start of a server has answered INFO.
    fn start(&mut self, asked: Instant) -> Result<Start> {
        match self.answers.next() {
            Answer::Bytes(text) => Ok(Start::read(text, asked)),
            Answer::Error(text) => Err(self.asker.refused("INFO", text)),
            _ => Err(self.asker.unexpected("INFO")),
        }
    }
}

impl Link {
    /// Looks whether these connections lead to the servers that were met.
    ///
    /// Errors: `RepairRefused` when they do not.
    pub(crate) async fn must_lead_to(&mut self, pair: &Pair<'_>) -> Result<()> {
        self.source.batch.push(&[b"INFO", b"server"]);
        self.target.batch.push(&[b"INFO", b"server"]);
        let asked = Instant::now();
        self.ask().await?;
        match pair.other_start(&self.source.start(asked)?, &self.target.start(asked)?) {
            Some(which) => Err(pair.refused(which)),
            None => Ok(()),
        }
    }

    /// Sends both batches at the same time and empties them.
    pub(crate) async fn ask(&mut self) -> Result<()> {
        tokio::try_join!(self.source.ask(), self.target.ask()).map(|_| ())
    }

    pub(crate) async fn select(&mut self, dbs: Dbs) -> Result<()> {
        tokio::try_join!(self.source.select(dbs.source), self.target.select(dbs.target)).map(|_| ())
    }

    /// Asks both sides the same of one key: `command` stands in front of it, `args` behind it.
    pub(crate) fn push(&mut self, command: &[&[u8]], key: Key<'_>, args: &[&[u8]]) {
        self.source.batch.push_on(command, key.source, args);
        self.target.batch.push_on(command, key.target, args);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keyferry_net::Endpoint;
    use keyferry_testkit::Server;

    use super::*;
    use crate::spec::Mode;

    /// A server that is started again between the question what it is and the connection that reads its keys.
    #[tokio::test]
    async fn connections_that_lead_elsewhere() {
        let spec = Spec {
            objects: Default::default(),
            mode: Mode::Full,
            big_key_limit: 1,
            sample: 0.0,
            rounds: 1,
            interval: Duration::ZERO,
            ttl_tolerance: Duration::ZERO,
            ttl_grace: Duration::ZERO,
            rate: None,
            repair: true,
        };
        let mut servers = ["redis-7.0", "redis-3.0"].map(|name| Server::start(name).unwrap());
        for (at, said) in [(0, "the source redis://"), (1, "the target redis://")] {
            let endpoint = |side: Which, server: &Server| Endpoint::parse(side, &server.url()).unwrap();
            let source = Side::meet(&endpoint(Which::Source, &servers[0])).await.unwrap();
            let target = Side::meet(&endpoint(Which::Target, &servers[1])).await.unwrap();
            let pair = Pair::new(source, target, &spec);
            pair.connect().await.unwrap().must_lead_to(&pair).await.unwrap();
            servers[at].restart().unwrap();
            let error = pair.connect().await.unwrap().must_lead_to(&pair).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::RepairRefused) && error.to_string().contains(said), "{error}");
        }
    }
}
