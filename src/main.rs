//! The `forepost` command.

use std::process::ExitCode;

use clap::Parser as _;
use forepost::cli::{self, Arguments, Command};
use forepost::settings::Settings;
use mimalloc::MiMalloc;

/// A check makes and frees some thirty small things, most of them hyper's: docs/decisions tells what this is worth.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.clone().unwrap_or(Command::Serve) {
        Command::Serve => configured(&arguments, |settings| cli::serve(&arguments, settings)),
        Command::Check { json } => configured(&arguments, |settings| cli::check(&settings, json)),
        Command::Explain(asked) => configured(&arguments, |settings| cli::explain(&settings, &asked)),
        Command::Healthcheck => configured(&arguments, |settings| cli::healthcheck(&settings)),
        Command::Reload(asked) => cli::reload(&arguments, &asked),
        Command::Status(asked) => cli::status(&arguments, &asked),
        Command::Sessions(asked) => cli::sessions(&arguments, &asked),
        Command::Token(asked) => cli::token(&asked),
    }
}

fn configured(arguments: &Arguments, run: impl FnOnce(Settings) -> ExitCode) -> ExitCode {
    match cli::settings(arguments) {
        Ok(settings) => run(settings),
        Err(mistakes) => cli::usage_error(&mistakes),
    }
}
