//! Where passwords come from, and how they stay out of the process list.
//!
//! A password in a URL on the command line can be read by every user of the machine. So the process replaces itself
//! by one whose URLs have none and whose environment, which only its own user can read, has them.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Args, CommandFactory as _, Parser as _};
use keyferry_model::{ErrorKind, Result, ResultExt as _, Side};
use keyferry_net::Endpoint;
use secrecy::SecretString;

use crate::args::Cli;

/// The environment variable with the password of a side.
fn variable(side: Side) -> &'static str {
    match side {
        Side::Source => "KEYFERRY_SOURCE_PASSWORD",
        Side::Target => "KEYFERRY_TARGET_PASSWORD",
    }
}

/// Replaces the process when a URL among its arguments holds a password; else returns.
pub(crate) fn hide_from_process_list() {
    let given: Vec<OsString> = env::args_os().skip(1).collect();
    let (args, mut found) = without_passwords(given.clone());
    if args == given {
        return;
    }
    // What the user has set otherwise wins, as it does for a URL without a password.
    found.retain(|(variable, _)| env::var_os(variable).is_none_or(|p| p.is_empty()));
    let Ok(program) = env::current_exe() else { return };
    let name = env::args_os().next().unwrap_or_else(|| "keyferry".into());
    // Returns only when it fails; then the work goes on with the password where it was.
    let error = Command::new(program).arg0(name).args(args).envs(found).exec();
    eprintln!("keyferry: cannot hide the password from the process list: {error}");
}

/// The arguments with URLs that have no password, and the variables that have it instead. Which argument is a URL is said by
/// its place alone: a pattern of keys may look like one.
fn without_passwords(mut args: Vec<OsString>) -> (Vec<OsString>, Vec<(&'static str, String)>) {
    let cli = Cli::command();
    let command = args.first().and_then(|name| cli.find_subcommand(name));
    let takes_value = |name: &str| {
        let mut options = command.into_iter().flat_map(clap::Command::get_arguments);
        options.any(|option| option.get_long() == Some(name) && option.get_action().takes_values())
    };
    let mut sides = [Side::Source, Side::Target].into_iter();
    let mut found = Vec::new();
    let (mut is_value, mut only_places) = (false, false);
    for arg in args.iter_mut().skip(1) {
        // Also what is not UTF-8 is an option or its value.
        let text = arg.to_string_lossy();
        if std::mem::take(&mut is_value) {
            continue;
        }
        if let Some(option) = text.strip_prefix('-').filter(|_| !only_places) {
            only_places = option == "-";
            is_value = option.strip_prefix('-').is_some_and(takes_value);
            continue;
        }
        // Also what has no password, or that nothing can be read from, takes its place.
        let side = sides.next();
        if let Some((url, password)) = arg.to_str().and_then(split) {
            // One too many is no side, and an error that is shown.
            found.extend(side.map(|side| (variable(side), password)));
            *arg = url.into();
        }
    }
    (args, found)
}

/// The command line; where it cannot be read, the process ends with what is wrong, in which no password stands.
pub(crate) fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        let said = error.render().to_string();
        let given: Vec<OsString> = env::args_os().skip(1).collect();
        let shown = masked(said.clone(), &given);
        if shown == said {
            error.exit();
        }
        eprint!("{shown}");
        std::process::exit(error.exit_code())
    })
}

/// A text without the passwords of what is like a URL among these arguments, wherever it stands, also where it is none.
fn masked(mut text: String, args: &[OsString]) -> String {
    for arg in args {
        let arg = arg.to_string_lossy();
        let Some((_, rest)) = arg.split_once("://") else { continue };
        let Some((user, _)) = rest.rsplit_once('@') else { continue };
        if let Some((_, password)) = user.split_once(':').filter(|(_, password)| !password.is_empty()) {
            text = text.replace(&format!(":{password}@"), ":***@");
        }
    }
    text
}

/// `scheme://user:password@rest` without and with only the password, which is percent-decoded. Without a user the
/// colon stays, since it says that the password is the default user's.
fn split(url: &str) -> Option<(String, String)> {
    let parsed = url::Url::parse(url).ok()?;
    let password = parsed.password().filter(|p| !p.is_empty())?;
    let password = percent_encoding::percent_decode_str(password).decode_utf8().ok()?.into_owned();
    let mut without = parsed;
    without.set_password(None).ok()?;
    Some((without.into(), password))
}

/// How both servers are reached, next to their URLs.
#[derive(Args)]
pub(crate) struct AccessArgs {
    /// File with the password of SOURCE (else KEYFERRY_SOURCE_PASSWORD or the URL).
    #[arg(long, value_name = "FILE")]
    source_password_file: Option<PathBuf>,
    /// File with the password of TARGET (else KEYFERRY_TARGET_PASSWORD or the URL).
    #[arg(long, value_name = "FILE")]
    target_password_file: Option<PathBuf>,
    /// PEM file with the CA certificates to trust for SOURCE instead of the system's.
    #[arg(long, value_name = "FILE")]
    source_tls_ca: Option<PathBuf>,
    /// PEM file with the CA certificates to trust for TARGET instead of the system's.
    #[arg(long, value_name = "FILE")]
    target_tls_ca: Option<PathBuf>,
}

impl AccessArgs {
    /// A server with its password and the certificates to trust.
    pub(crate) fn endpoint(&self, side: Side, url: &str) -> Result<Endpoint> {
        let (password_file, ca_file) = match side {
            Side::Source => (&self.source_password_file, &self.source_tls_ca),
            Side::Target => (&self.target_password_file, &self.target_tls_ca),
        };
        let mut endpoint = Endpoint::parse(side, url)?;
        if let Some(found) = password(side, password_file.as_deref())? {
            endpoint.password = Some(found);
        }
        endpoint.ca_file.clone_from(ca_file);
        Ok(endpoint)
    }
}

/// The password of a side: from a file, else from the environment. The URL's own stands behind both.
fn password(side: Side, file: Option<&Path>) -> Result<Option<SecretString>> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .or_err(ErrorKind::SecretFile, || format!("read the password of the {side} from {}", file.display()))?;
        return Ok(Some(SecretString::from(text.trim_end_matches(['\r', '\n']))));
    }
    Ok(env::var(variable(side)).ok().filter(|p| !p.is_empty()).map(SecretString::from))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn splits_what_has_a_password() {
        let cut = |url| split(url).unwrap();
        assert_eq!(cut("redis://:p%40ss@h:1/2"), ("redis://h:1/2".into(), "p@ss".into()));
        assert_eq!(cut("rediss://al%3Aice:x@[::1]:7"), ("rediss://al%3Aice@[::1]:7".into(), "x".into()));
        assert_eq!(split("redis://h:1"), None);
        assert_eq!(split("redis://user@h:1"), None);
        assert_eq!(split("redis://user:@h:1"), None);
    }

    /// The password of one server never goes to the other one.
    #[test]
    fn urls_are_known_by_their_place() {
        let split = |line: &str| {
            let (args, found) = without_passwords(line.split(' ').map(OsString::from).collect());
            let line = args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ");
            (line, found.into_iter().map(|(variable, password)| format!("{variable}={password}")).collect::<Vec<_>>())
        };
        let (source, target) = ("KEYFERRY_SOURCE_PASSWORD=a", "KEYFERRY_TARGET_PASSWORD=b");
        for (given, left, found) in [
            ("sync redis://:a@s redis://u:b@t", "sync redis://s redis://u@t", &[source, target][..]),
            ("sync redis://s redis://:b@t", "sync redis://s redis://t", &[target]),
            // A file has no password, and is the source all the same.
            ("sync file:/d.rdb redis://:b@t", "sync file:/d.rdb redis://t", &[target]),
            // What is like a URL, where none is.
            (
                "sync --key http://* redis://:a@s redis://:b@t",
                "sync --key http://* redis://s redis://t",
                &[source, target],
            ),
            (
                "check --key=http://* --full-only redis://:a@s -- redis://:b@t",
                "check --key=http://* --full-only redis://s -- redis://t",
                &[source, target],
            ),
            ("compare redis://:a@s --repair redis://:b@t", "compare redis://s --repair redis://t", &[source, target]),
            (
                "compare redis://:a@s redis://:b@t redis://:c@u",
                "compare redis://s redis://t redis://u",
                &[source, target],
            ),
            ("report --task redis://:a@s", "report --task redis://:a@s", &[]),
        ] {
            assert_eq!(split(given), (left.to_owned(), found.iter().map(ToString::to_string).collect()), "{given}");
        }
        assert_eq!(without_passwords(Vec::new()), (Vec::new(), Vec::new()));
        // What is not UTF-8 is what its place says, too.
        for (arg, found) in [
            (&b"--key=\xff"[..], &[source, target][..]),
            (b"--key=http://:c@\xff", &[source, target]),
            (b"file:/\xff", &["KEYFERRY_TARGET_PASSWORD=a"]),
        ] {
            let arg = OsString::from_vec(arg.to_vec());
            let line = [OsString::from("sync"), arg.clone(), "redis://:a@s".into(), "redis://:b@t".into()];
            let (args, of) = without_passwords(line.to_vec());
            let of: Vec<String> = of.into_iter().map(|(variable, password)| format!("{variable}={password}")).collect();
            assert_eq!(
                (args[1..3].to_vec(), of),
                (vec![arg, "redis://s".into()], found.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_passwords() {
        for (arg, said, masked_as) in [
            ("redis://:secret@old", "'redis://:secret@old'", "'redis://:***@old'"),
            ("redis://u:se:c@r/et@old", "a 'redis://u:se:c@r/et@old' b", "a 'redis://u:***@old' b"),
            ("--type=redis://:secret@old", "'redis://:secret@old'", "'redis://:***@old'"),
            ("redis://old", "'redis://old'", "'redis://old'"),
            ("redis://:@old", "'redis://:@old'", "'redis://:@old'"),
        ] {
            assert_eq!(masked(said.into(), &[arg.into()]), masked_as);
        }
    }
}
