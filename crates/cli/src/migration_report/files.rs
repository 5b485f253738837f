//! Where a report goes. Each file is written beside its place and moved there when it is whole.

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};

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

    /// Errors: `ReportFile`, also when the page would be in one of the other files.
    pub(super) fn write(&self, json: &[u8], digest: &str, signature: Option<&[u8]>, page: &[u8]) -> Result<()> {
        let [first, second] = [Side::Digest, Side::Signature].map(|side| whole(&beside(&self.json, side)));
        if [whole(&self.json), first, second].contains(&whole(&self.html)) {
            let what = format!(
                "write {}: the JSON of the report, or what belongs to it, has the same name",
                self.html.display()
            );
            return Err(Error::new(ErrorKind::ReportFile, what));
        }
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

/// The directory of a file.
fn dir(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name under which the file is the same, whatever way leads to its directory.
fn whole(path: &Path) -> PathBuf {
    let dir = dir(path);
    fs::canonicalize(dir).unwrap_or_else(|_| dir.into()).join(path.file_name().unwrap_or_default())
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    // Whoever may read other new files of this user may read it.
    let part =
        tempfile::Builder::new().prefix(".keyferry-").permissions(Permissions::from_mode(0o666)).tempfile_in(dir(path));
    let written = part.and_then(|mut part| {
        part.write_all(bytes)?;
        part.persist(path).map_err(|e| e.error)
    });
    written.map(drop).or_err(ErrorKind::ReportFile, || format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_takes_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let json = dir.path().join("r");
        let write = |html: PathBuf| Places { json: json.clone(), html }.write(b"{}", "d", Some(b"s"), b"page");
        for same in ["r", "r.sha256", "r.sig"] {
            for html in [dir.path().join(same), dir.path().join(".").join(same)] {
                assert_eq!(write(html).unwrap_err().kind(), ErrorKind::ReportFile, "{same}");
            }
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
        write(dir.path().join("r.html")).unwrap();
        assert_eq!(fs::read(&json).unwrap(), b"{}");
        let mode = fs::metadata(&json).unwrap().permissions().mode();
        let plain = dir.path().join("plain");
        fs::write(&plain, b"").unwrap();
        assert_eq!(mode, fs::metadata(plain).unwrap().permissions().mode());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5, "nothing is left over");
    }
}
