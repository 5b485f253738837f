//! What both connections are judged by.

use keyferry_model::{Error, ErrorKind};

use crate::{
    report::{Checked, Verdict},
    server::Server,
};

/// The verdict on a connection that was made, or was not. A server that loads its data answers later, by itself.
pub(super) fn judge(server: &Result<Server, Error>) -> Checked {
    let server = match server {
        Ok(server) => server,
        Err(error) => {
            let policy = error.kind().policy();
            let verdict = match error.kind() {
                ErrorKind::Loading(_) => Verdict::warning(error.to_string(), policy.remedy),
                _ => Verdict::failed(error.to_string(), policy.remedy),
            };
            return Err(verdict.with("code", policy.code));
        }
    };
    let ms = server.round_trip.as_secs_f64() * 1000.0;
    let verdict = Verdict::passed(format!("{} answers within {ms:.1} ms", server.version));
    Ok(verdict.with("version", server.version.to_string()).with("round_trip_ms", (ms * 10.0).round() / 10.0))
}
