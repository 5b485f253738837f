//! Where a report goes. Each file is written beside its place and moved there when it is whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use keyferry_model::{ErrorKind, Result, ResultExt as _};

use super::{args::Args, name};

/// What lies beside the JSON.
pub(super) enum Side {
    Digest,
    Signature,
}

/// Where a report's JSON has what belongs to it.
pub(super) fn beside(json: &Path, side: Side) -> PathBuf {
    let mut name = json.as_os_str().to_owned();
    name.push(match side {
        Side::Digest => ".sha256",
        Side::Signature => ".sig",
    });
    name.into()
}

/// Where a report goes.
pub(super) struct Places {
    json: PathBuf,
    html: PathBuf,
}

impl Places {
    pub(super) fn of(args: &Args, task: &str) -> Self {
        let dir = args.output_dir.as_deref().unwrap_or(Path::new(""));
        let place = |given: &Option<PathBuf>, form: &str| {
            given.clone().unwrap_or_else(|| dir.join(format!("{task}.report.{form}")))
        };
        Self { json: place(&args.json, "json"), html: place(&args.html, "html") }
    }

    /// Errors: `ReportFile`.
    pub(super) fn write(&self, json: &[u8], digest: &str, signature: Option<&[u8]>, page: &[u8]) -> Result<()> {
        let of_signature = beside(&self.json, Side::Signature);
        match fs::remove_file(&of_signature) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(e).or_err(ErrorKind::ReportFile, || format!("remove {}", of_signature.display()));
            }
            _ => {}
        }
        put(&self.json, json)?;
        put(&beside(&self.json, Side::Digest), format!("{digest}  {}\n", name(&self.json)).as_bytes())?;
        if let Some(signature) = signature {
            put(&of_signature, signature)?;
        }
        put(&self.html, page)
    }

    /// The files that were written.
    pub(super) fn written(&self, signed: bool) -> impl Iterator<Item = PathBuf> {
        let signature = signed.then(|| beside(&self.json, Side::Signature));
        [self.json.clone(), beside(&self.json, Side::Digest), self.html.clone()].into_iter().chain(signature)
    }
}

/// Reads a file of a report.
///
/// Errors: `ReportFile`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).or_err(ErrorKind::ReportFile, || format!("read {}", path.display()))
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written.or_err(ErrorKind::ReportFile, || format!("write {}", path.display()))
}
