//! `keyferry rdb`: what is in a dump file.
//!
//! Everything reads the file once, from its start, in memory that does not grow with it: [`walk`] goes through the dump and
//! shows keys and the elements of their values to one of the commands. Nothing here talks to a server.

mod args;
mod commands;
mod failure;
mod info;
mod input;
mod json;
mod keys;
mod output;
mod select;
mod text;
mod verify;
mod walk;

use std::process::ExitCode;

pub(crate) use args::Args;
use args::Tool;
use failure::{Result, Stop};
use input::Input;

use crate::sync::failed;

/// Runs one of the tools. Exit codes: 0 done; 1 the dump is not as it should be; 2 usage, or the file cannot be read.
pub(crate) fn main(args: &Args) -> ExitCode {
    match run(&args.tool) {
        Ok(()) | Err(Stop::ReaderGone) => ExitCode::SUCCESS,
        Err(Stop::Failed(error)) => failed(&error),
    }
}

fn run(tool: &Tool) -> Result<()> {
    let mut input = Input::open(&tool.select().file)?;
    let result = match tool {
        Tool::Info(args) => info::run(&mut input, args),
        Tool::Json(args) => json::run(&mut input, args),
        Tool::Keys(args) => keys::run(&mut input, args),
        Tool::Commands(args) => commands::run(&mut input, args),
        Tool::Verify(args) => verify::run(&mut input, args),
    };
    // Before anything else is said on stderr.
    input.clear_bar();
    result?.say();
    Ok(())
}

/// What is said on stderr when all went well.
struct Words(Vec<String>);

impl Words {
    fn say(&self) {
        for line in &self.0 {
            crate::sync::say(line);
        }
    }
}
