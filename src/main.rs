//! The `forepost` command.

use std::process::ExitCode;

use clap::Parser as _;
use forepost::cli::{self, Arguments, Command};
use mimalloc::MiMalloc;

/// A check makes and frees some thirty small things, most of them hyper's: docs/decisions tells what this is worth.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = match cli::settings(&arguments) {
        Ok(settings) => settings,
        Err(mistakes) => return cli::usage_error(&mistakes),
    };
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => cli::serve(settings),
        Command::Check { json } => cli::check(&settings, json),
        Command::Healthcheck => cli::healthcheck(&settings),
    }
}
