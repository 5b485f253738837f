//! What is asked of both sides before anything is written.

use keyferry_keyspace::{Flavor, ServerVersion, info, objects::Objects};
use keyferry_model::{Error, ErrorKind, Result, Side, SyncSpec};
use keyferry_net::{Connection, Endpoint, Value};

use crate::{holding::Bounds, target::Modules};

/// What the answers are good for later.
pub(crate) struct Facts {
    /// The target's version.
    pub(crate) target: ServerVersion,
    /// What is known of the target's modules.
    pub(crate) modules: Modules,
    /// The source's version.
    pub(crate) source: ServerVersion,
    /// Keys of the source in the chosen databases.
    pub(crate) source_keys: u64,
    /// How many databases the target has.
    pub(crate) target_databases: u32,
}

impl Facts {
    /// Whether deadlines of a snapshot are held, since a stream follows.
    pub(crate) fn holds(&self, spec: &SyncSpec) -> bool {
        // Other servers may not keep a deadline that is so far away.
        !spec.full_only && self.target.flavor != Flavor::Other
    }

    /// When deadlines of the stream are held, too. Without a grace, nobody wants them to be later.
    pub(crate) fn holds_stream(&self, spec: &SyncSpec) -> Option<Bounds> {
        (self.holds(spec) && !spec.ttl_grace.is_zero()).then(|| Bounds::of(spec.ttl_grace))
    }
}

/// Errors: `SameInstance`, `Cluster`, `TooOld`, `TargetReplica`, `NoSuchDatabase`.
pub(crate) async fn ask(
    source_conn: &mut Connection,
    target_conn: &mut Connection,
    source: &Endpoint,
    target: &Endpoint,
    objects: &Objects,
) -> Result<Facts> {
    if target.db.is_some() && source.db.is_none() {
        let what = "read the URLs: a database is chosen on the target but not on the source";
        return Err(Error::new(ErrorKind::BadUrl, what));
    }
    if source.db.is_some_and(|db| objects.database(db) != Some(target.db.unwrap_or(db))) {
        return Err(Error::new(ErrorKind::Internal, "choose the database of the URLs: the rules say something else"));
    }
    let source_info = source_conn.info("all").await?;
    let target_info = target_conn.info("all").await?;
    let source_version = version(&source_info, source, ServerVersion::OLDEST_SOURCE)?;
    if let Some(why) = same_data(&source_info, &target_info, target) {
        return Err(Error::new(ErrorKind::SameInstance, format!("compare {source} with {target}: {why}")));
    }
    let target_version = can_be_written(&target_info, target)?;
    if info::field(source_info.as_bytes(), "master_repl_offset").is_none() {
        let what = format!("read INFO of the source {source}: it does not tell its replication offset");
        return Err(Error::new(ErrorKind::Protocol(Side::Source), what));
    }
    let source_keys =
        info::keyspace(source_info.as_bytes()).filter(|k| objects.database(k.db.0).is_some()).map(|k| k.keys).sum();
    // The first database beyond the target's last one would stop the copy in its middle.
    let found = info::keyspace(source_info.as_bytes()).filter_map(|k| objects.database(k.db.0));
    let named = objects.databases().unwrap_or_default().iter().map(|(_, to)| *to);
    if let Some(highest) = found.chain(named).max() {
        select(target_conn, target, highest).await?;
    }
    select(target_conn, target, 0).await?;
    tracing::info!(
        source = %source, source_version = %source_version,
        target = %target, target_version = %target_version,
        source_keys, "both sides answer"
    );
    let modules = Modules::ask(target_conn, &target_version).await?;
    let mut lacking = source_version.more_than(&target_version);
    if source_version.redis >= (8, 0, 0) && modules.vector_sets() == Some(false) {
        lacking.push("vector sets");
    }
    if !lacking.is_empty() {
        let what = lacking.join(", ");
        tracing::warn!(what, "the target's version cannot hold what the source may have, see --on-unsupported");
    }
    let target_databases = count_databases(target_conn).await?;
    Ok(Facts { target: target_version, modules, source: source_version, source_keys, target_databases })
}

/// The version of a target that nothing but its own state is asked about.
pub(crate) async fn ask_target(conn: &mut Connection, target: &Endpoint) -> Result<ServerVersion> {
    let text = conn.info("all").await?;
    can_be_written(&text, target)
}

/// What is asked when the source, which was `source`, cannot be reached.
pub(crate) async fn ask_target_alone(conn: &mut Connection, target: &Endpoint, source: ServerVersion) -> Result<Facts> {
    let version = ask_target(conn, target).await?;
    let modules = Modules::ask(conn, &version).await?;
    let target_databases = count_databases(conn).await?;
    Ok(Facts { target: version, modules, source, source_keys: 0, target_databases })
}

fn can_be_written(text: &str, target: &Endpoint) -> Result<ServerVersion> {
    let version = version(text, target, ServerVersion::OLDEST_TARGET)?;
    if info::field(text.as_bytes(), "role") == Some("slave") {
        let of = info::field(text.as_bytes(), "master_host").unwrap_or("an unknown primary");
        let what = format!("check the target {target}: it is a replica of {of}");
        return Err(Error::new(ErrorKind::TargetReplica, what));
    }
    Ok(version)
}

/// Why both are one and the same, as far as INFO tells. Writing to the primary that the source itself follows would
/// come back through the source, without end.
fn same_data(source: &str, target: &str, endpoint: &Endpoint) -> Option<&'static str> {
    let both = |name: &str| {
        let of = |text: &str| info::field(text.as_bytes(), name).map(str::to_owned);
        of(source).filter(|id| !id.bytes().all(|b| b == b'0') && Some(id) == of(target).as_ref()).is_some()
    };
    if both("run_id") {
        return Some("both are the same server");
    }
    // Servers before 4.0 have no such id; a chain of more than one link between them is not seen there.
    if both("master_replid") {
        return Some("one of them is a replica of the other, or both follow the same primary");
    }
    let field = |name| info::field(source.as_bytes(), name);
    let follows =
        field("master_host") == Some(&endpoint.host) && field("master_port") == Some(&endpoint.port.to_string());
    follows.then_some("the source is a replica of the target")
}

fn version(text: &str, endpoint: &Endpoint, oldest: (u32, u32, u32)) -> Result<ServerVersion> {
    let side = endpoint.side;
    let Some(version) = ServerVersion::from_info(text.as_bytes()) else {
        let what = format!("read INFO of the {side} {endpoint}: it names no version");
        return Err(Error::new(ErrorKind::Protocol(side), what));
    };
    if version.redis < oldest {
        return Err(Error::new(ErrorKind::TooOld(side), format!("check the {side} {endpoint}: it is {version}")));
    }
    if info::field(text.as_bytes(), "cluster_enabled") == Some("1") {
        return Err(Error::new(ErrorKind::Cluster(side), format!("check the {side} {endpoint}: cluster_enabled is 1")));
    }
    Ok(version)
}

/// How many databases a server has: asked by selecting them, since managed servers hide the setting. Leaves one selected.
pub(crate) async fn count_databases(conn: &mut Connection) -> Result<u32> {
    // There is a database `low`, and none `high`.
    let (mut low, mut high) = (0, u32::MAX >> 1);
    while high - low > 1 {
        // Nearly all have 16.
        let middle = if high > low.max(8) * 2 { low.max(8) * 2 } else { low + (high - low) / 2 };
        match conn.ask(&[b"SELECT", middle.to_string().as_bytes()]).await? {
            Value::Error(text) if text.starts_with(b"ERR") => high = middle,
            Value::Error(text) => return Err(conn.refused(conn.kind_of(&text), "SELECT", &text)),
            _ => low = middle,
        }
    }
    Ok(high)
}

async fn select(conn: &mut Connection, endpoint: &Endpoint, db: u32) -> Result<()> {
    match conn.ask(&[b"SELECT", db.to_string().as_bytes()]).await? {
        Value::Error(text) => Err(conn.refused(ErrorKind::NoSuchDatabase, &format!("SELECT {db}"), &text)),
        _ => {
            tracing::trace!(%endpoint, db, "the database exists");
            Ok(())
        }
    }
}

/// Errors: `NotEmpty` when the chosen databases of the target hold a key, or the target a function library.
/// `ours`: the database that holds one key of ours, which does not count.
pub(crate) async fn target_is_empty(
    conn: &mut Connection,
    target: &Endpoint,
    objects: &Objects,
    ours: Option<u32>,
) -> Result<()> {
    let text = conn.info("keyspace").await?;
    let held: Vec<String> = info::keyspace(text.as_bytes())
        .filter(|k| k.keys > u64::from(ours == Some(k.db.0)) && objects.source_database(k.db.0).is_some())
        .map(|k| format!("{} in database {}", k.keys, k.db))
        .collect();
    if !held.is_empty() {
        let what = format!("check the target {target}: it holds keys already: {}", held.join(", "));
        return Err(Error::new(ErrorKind::NotEmpty, what));
    }
    // Servers before 7.0 answer with an error; they have no functions.
    if let Value::Array(libraries) = conn.ask(&[b"FUNCTION", b"LIST"]).await?
        && !libraries.is_empty()
    {
        let what = format!("check the target {target}: it holds {} function libraries already", libraries.len());
        return Err(Error::new(ErrorKind::NotEmpty, what));
    }
    tracing::debug!(side = %Side::Target, "the target is empty");
    Ok(())
}
