//! The command line of `keyferry report`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::args::running_task;

/// Exit codes: 0 written, or what was verified fits; 1 not; 2 usage, or a key that cannot be used.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// Name of the task, as its `keyferry sync` was given it or says it in its log. It may run or have ended.
    #[arg(long, value_name = "NAME", value_parser = running_task, required = true)]
    pub(super) task: Option<String>,
    /// The state directory of the task [default: $XDG_STATE_HOME/keyferry or ~/.local/state/keyferry].
    #[arg(long, value_name = "DIR", env = "KEYFERRY_STATE_DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// Where NAME.report.json and NAME.report.html go, and what belongs to them [default: the current directory].
    #[arg(long, value_name = "DIR", conflicts_with_all = ["json", "html"])]
    pub(super) output_dir: Option<PathBuf>,
    /// Where the JSON goes; its digest and signature go beside it, as FILE.sha256 and FILE.sig.
    #[arg(long, value_name = "FILE", requires = "html")]
    pub(super) json: Option<PathBuf>,
    /// Where the page goes.
    #[arg(long, value_name = "FILE", requires = "json")]
    pub(super) html: Option<PathBuf>,
    /// PEM file with an Ed25519 key (PKCS#8, without a password) to sign the JSON with.
    #[arg(long, value_name = "FILE")]
    pub(super) sign_key: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Look whether a report is as it was written, and who has signed it.
    Verify(VerifyArgs),
}

#[derive(clap::Args)]
pub(super) struct VerifyArgs {
    /// The JSON of the report. FILE.sha256 and FILE.sig are looked for beside it.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// PEM file with the public Ed25519 key of who has signed it.
    #[arg(long, value_name = "FILE")]
    pub(super) public_key: Option<PathBuf>,
}
