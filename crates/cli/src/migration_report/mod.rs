//! `keyferry report`: what a migration has moved, as JSON and as a page, with a digest and a signature. See docs/report.md.
//!
//! - `content.rs`: what stands in it; `collect.rs`: how that follows from the history of a task.
//! - `html.rs`: the page; `seal.rs`: digest and signature; `files.rs`: where all of it goes; `date.rs`: times.
//!
//! Invariants:
//! - The JSON file is the report: digest and signature are of its bytes as they stand in the file, and the page shows the same.
//! - Whatever a server, a user or a history says is text: nothing of it is markup on the page.
//! - Nothing that is signed is older or newer than its signature: an old signature goes before anything is written.

mod args;
mod collect;
mod content;
mod date;
mod files;
mod html;
#[cfg(test)]
mod killed;
mod seal;

use std::{path::Path, process::ExitCode};

pub(crate) use args::Args;
use args::{Command, VerifyArgs};
use keyferry_model::{Error, ErrorKind, Result};

use crate::{
    history,
    sync::{failed, say},
    task_lock::state_dir,
};
use files::{Places, Side, beside};

pub(crate) fn main(args: &Args) -> ExitCode {
    let result = match &args.command {
        Some(Command::Verify(args)) => verify(args),
        None => write(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failed(&e),
    }
}

fn write(args: &Args) -> Result<()> {
    let task = args.task.as_deref().unwrap_or_default();
    let key = args.sign_key.as_deref().map(seal::Key::read).transpose()?;
    let lines = history::read(&state_dir(args.state_dir.as_deref())?, task)?;
    let report = collect::report(task, &lines, date::now());
    let mut json = serde_json::to_vec_pretty(&report)
        .map_err(|e| Error::new(ErrorKind::Internal, "write the report as JSON").caused_by(e))?;
    json.push(b'\n');
    let digest = seal::digest(&json);
    let page = html::page(&report, &digest);
    let places = Places::of(args, task);
    places.write(&json, &digest, key.map(|key| key.sign(&json)).as_deref(), page.as_bytes())?;
    for path in places.written(args.sign_key.is_some()) {
        println_or_gone(&path.display().to_string());
    }
    Ok(())
}

fn verify(args: &VerifyArgs) -> Result<()> {
    let key = args.public_key.as_deref().map(seal::PublicKey::read).transpose()?;
    let json = files::read(&args.file)?;
    let digest = seal::digest(&json);
    let altered = |what: &str| Error::new(ErrorKind::ReportAltered, format!("verify {}: {what}", args.file.display()));
    let written = beside(&args.file, Side::Digest);
    match files::read(&written) {
        Ok(text) if seal::names(&text, &digest) => say(&format!("the SHA-256 fits: {digest}")),
        Ok(_) => return Err(altered(&format!("its SHA-256 is {digest}, and {} has another one", written.display()))),
        // The signature says more than the digest.
        Err(e) if key.is_none() => return Err(e),
        Err(_) => {}
    }
    match key {
        Some(key) => {
            let signature = files::read(&beside(&args.file, Side::Signature))?;
            if !key.fits(&json, &signature) {
                return Err(altered("the signature is not one of this key for this file"));
            }
            say("the signature fits");
        }
        None => say("who has made it was not looked at: give --public-key for that"),
    }
    Ok(())
}

/// A reader of stdout that has gone does not change how the process ends.
fn println_or_gone(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// The name of a file without its directory.
fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
