//! What several items need: both servers, and what was learnt of the source on the way. Each question is asked once.

use keyferry_model::{Error, Side};
use keyferry_net::Endpoint;

use crate::{
    Request, Source,
    rate::{self, Rate},
    report::Verdict,
    sample::{self, Sample},
    server::Server,
};

/// Both servers and what is known of them.
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a Request<'a>,
    /// Or why it cannot be asked; `None` for a dump file.
    pub(crate) source: Option<Result<Server, Error>>,
    pub(crate) target: Result<Server, Error>,
    sample: Option<Result<Sample, String>>,
    rate: Option<Result<Rate, String>>,
}

impl<'a> Facts<'a> {
    pub(crate) async fn gather(request: &'a Request<'a>) -> Self {
        let source = async {
            match request.source {
                Source::Server(at) => Some(Server::open(at).await),
                Source::File(_) => None,
            }
        };
        let (source, target) = tokio::join!(source, Server::open(request.target));
        Self { request, source, target, sample: None, rate: None }
    }

    /// The source, when it answers. Else an item about it has nothing to look at.
    pub(crate) fn source(&mut self) -> Result<&mut Server, Verdict> {
        answering(&mut self.source)
    }

    /// Where the source is, when it is a server.
    pub(crate) fn source_at(&self) -> Result<&'a Endpoint, Verdict> {
        match self.request.source {
            Source::Server(at) => Ok(at),
            Source::File(_) => Err(no_server()),
        }
    }

    pub(crate) fn target(&mut self) -> Result<&mut Server, Verdict> {
        self.target.as_mut().map_err(|_| unreachable(Side::Target))
    }

    pub(crate) fn both(&mut self) -> Result<(&mut Server, &mut Server), Verdict> {
        let source = answering(&mut self.source)?;
        let target = self.target.as_mut().map_err(|_| unreachable(Side::Target))?;
        Ok((source, target))
    }

    /// Which databases of the source are chosen.
    pub(crate) fn chosen(&self) -> impl Fn(u32) -> bool + use<'a> {
        let objects = self.request.objects;
        |db| objects.database(db).is_some()
    }

    /// Into which of the target something goes.
    pub(crate) fn chosen_of_target(&self) -> impl Fn(u32) -> bool + use<'a> {
        let objects = self.request.objects;
        |db| objects.source_database(db).is_some()
    }

    /// The databases of the target in which something comes, where not all are chosen.
    pub(crate) fn target_databases(&self) -> Option<impl Iterator<Item = u32> + use<'a>> {
        self.request.objects.databases().map(|databases| databases.iter().map(|(_, to)| *to))
    }

    /// Some keys of the source.
    pub(crate) async fn sample(&mut self) -> Result<&Result<Sample, String>, Verdict> {
        if self.sample.is_none() {
            let chosen = self.chosen();
            self.sample = Some(sample::take(self.source()?, chosen).await);
        }
        Ok(self.sample.get_or_insert_with(|| Err("it was not taken".into())))
    }

    /// How fast the source is written to.
    pub(crate) async fn write_rate(&mut self) -> Result<Result<Rate, String>, Verdict> {
        if self.rate.is_none() {
            let sample = self.request.sample;
            self.rate = Some(rate::measure(self.source()?, sample).await);
        }
        Ok(self.rate.clone().unwrap_or_else(|| Err("it was not measured".into())))
    }
}

fn answering(source: &mut Option<Result<Server, Error>>) -> Result<&mut Server, Verdict> {
    match source {
        Some(source) => source.as_mut().map_err(|_| unreachable(Side::Source)),
        None => Err(no_server()),
    }
}

/// Of an item that asks the source.
pub(crate) fn no_server() -> Verdict {
    Verdict::skipped("the source is a dump file, which cannot be asked")
}

fn unreachable(side: Side) -> Verdict {
    Verdict::skipped(format!("the {side} cannot be asked, see {side}-connection"))
}
